"""The monitor over a real server: what it tells of calls and of what is recorded, and that it notices what becomes worse."""

import json
import pathlib
import re
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from client import Api, until
from place import Place

ACTIONS = [{"name": "echo", "description": "Answers its parameters", "idempotent": True, "result": {"type": "number"}},
           {"name": "sleep", "description": "Sleeps", "parameters": {
               "type": "object", "properties": {"ms": {"type": "integer"}}, "required": ["ms"]}}]


@pytest.fixture
def place(build, tmp_path):
    place = Place(build, tmp_path)
    yield place
    place.close()


@pytest.fixture
def api(place):
    """What is slow is looked at when somebody asks; and every tenth of a second."""
    place.install(actions=ACTIONS)
    place.good("settings", "set", "monitor_every", "100ms")
    return Api(place)


def calls(api, n, action, parameters):
    done = api.good("POST", "/api/calls", [{"plugin": "alpha", "action": action, "parameters": parameters}] * n)
    return len(done)


def entry(api, action, plugin="alpha"):
    found = [e for e in api.good("GET", f"/api/monitor?plugin={plugin}")["entries"] if e["action"] == action]
    return found[0] if found else None


def record(api, n, success, plugin="billing", action="charge", **more):
    for _ in range(n):
        api.good("POST", "/api/monitor", {"plugin": plugin, "action": action, "success": success, **more})


def samples(api, name):
    for family in text_string_to_metric_families(api.ask("GET", "/metrics").text):
        for sample in family.samples:
            if sample.name == name:
                yield sample.labels, sample.value


def test_calls_are_watched_without_being_asked_for(api):
    assert api.good("GET", "/api/monitor")["entries"] == []
    calls(api, 20, "echo", 7)
    api.bad(502, "bad_result", "POST", "/api/plugins/execute/alpha/echo", '"words"')
    api.bad(422, "bad_parameters", "POST", "/api/plugins/execute/alpha/sleep", {"ms": "long"})
    told = entry(api, "echo")
    assert (told["source"], told["calls"], told["failed"]) == ("calls", 21, 1)
    for window in told["minute"], told["hour"]:
        assert (window["calls"], window["failed"]) == (21, 1) and 0 < window["latency"]["p50_ns"] < 10**9
    sleep = entry(api, "sleep")
    assert sleep is None or sleep["failed"] == 0, "what the caller did wrong is not the plugin's failure"
    assert api.good("GET", "/api/plugins/stats")["platform_metrics"]["actions"] in (1, 2)
    assert ({"plugin": "alpha", "action": "echo", "source": "calls"}, 21) in list(samples(api, "moat_action_minute_calls"))
    assert ({"plugin": "alpha", "action": "echo", "source": "calls"}, 1) in list(samples(api, "moat_action_minute_failed"))
    assert "alpha" in api.place.good("monitor").out


def test_more_failures_than_before_are_told_of_everywhere_and_end(api):
    calls(api, 150, "echo", 7)
    until(lambda: entry(api, "echo")["calls"] == 150)
    assert api.good("GET", "/api/plugins/health")["anomalies"] == 0
    calls(api, 60, "echo", "words")
    until(lambda: entry(api, "echo")["anomalies"])
    [found] = entry(api, "echo")["anomalies"]
    assert (found["kind"], found["on"], found["until"]) == ("errors", True, None) and found["since"]
    assert found["before"] == {"calls": 150, "bad": 0}
    assert 0 < found["after"]["bad"] == found["after"]["calls"] <= 60 and found["evidence"] > 6
    assert "calls failed; before it were 0 of 150" in found["why"]
    health = api.good("GET", "/api/plugins/health")
    assert (health["status"], health["anomalies"]) == ("degraded", 1)
    assert api.good("GET", "/api/plugins/info/alpha")["anomalies"] == [found]
    label = {"plugin": "alpha", "action": "echo", "source": "calls", "kind": "errors"}
    assert list(samples(api, "moat_anomaly")) == [(label, 1)]
    assert "WORSE: alpha echo, errors" in api.place.good("monitor", "alpha").out
    for _ in range(20):
        calls(api, 100, "echo", 7)
        if not entry(api, "echo")["anomalies"][0]["on"]:
            break
    assert entry(api, "echo")["anomalies"][0]["until"]
    assert api.good("GET", "/api/plugins/health")["anomalies"] == 0
    assert list(samples(api, "moat_anomaly")) == [(label, 0)]
    assert api.good("GET", "/api/plugins/info/alpha")["anomalies"] == []
    _, _, log = api.place.end_server()
    events = [line for line in map(json.loads, filter(lambda t: t.startswith("{"), log.splitlines())) if line["event"].startswith("anomaly")]
    assert [(e["event"], e["plugin"], e["action"], e["kind"]) for e in events] == [
        ("anomaly", "alpha", "echo", "errors"), ("anomaly_over", "alpha", "echo", "errors")]


def test_slower_than_before_is_told_of(api):
    for i in range(12):  # from so many looks on the usual time is known
        calls(api, 150, "sleep", {"ms": 0})
        until(lambda: entry(api, "sleep")["calls"] == 150 * (i + 1))
    slow = entry(api, "sleep")["hour"]["latency"]["p99_ns"] * 1.5 // 10**6 + 3
    calls(api, 50, "sleep", {"ms": int(slow)})
    until(lambda: entry(api, "sleep")["anomalies"])
    [found] = entry(api, "sleep")["anomalies"]
    assert (found["kind"], found["on"]) == ("latency", True) and "took longer than" in found["why"]


def test_what_the_platform_records_is_watched_alike(api):
    record(api, 120, True, duration="2ms")
    told = entry(api, "charge", "billing")
    assert (told["source"], told["calls"], told["failed"]) == ("platform", 120, 0)
    assert abs(told["minute"]["latency"]["p50_ns"] - 2e6) <= 2e6 / 16
    record(api, 40, False)
    until(lambda: entry(api, "charge", "billing")["anomalies"])
    assert entry(api, "charge", "billing")["anomalies"][0]["kind"] == "errors"
    assert ({"plugin": "billing", "action": "charge", "source": "platform", "kind": "errors"}, 1) in list(samples(api, "moat_anomaly"))


@pytest.mark.parametrize("change", [{"plugin": ""}, {"plugin": "a b"}, {"action": 'x"y'}, {"action": "é"}, {"plugin": "x" * 64},
                                    {"action": "<script>"}, {"duration": "soon"}, {"duration": "36501d"}, {"success": "yes"}, {"more": 1}])
def test_what_cannot_be_recorded_is_refused(api, change):
    body = {"plugin": "billing", "action": "charge", "success": True, **change}
    answer = api.ask("POST", "/api/monitor", body)
    assert answer.status_code in (400, 422), answer.text
    assert api.good("GET", "/api/monitor")["recorded"] == 0


def test_there_is_room_for_so_many_and_no_more(api):
    for i in range(128):
        record(api, 1, True, action=f"a{i}")
    api.bad(507, "limit", "POST", "/api/monitor", {"plugin": "billing", "action": "one_more", "success": True})
    record(api, 1, True, action="a5")
    told = api.good("GET", "/api/monitor")
    assert (told["recorded"], told["refused"]) == (128, 1)
    assert sum(e["calls"] for e in told["entries"]) == 129


def test_who_may(api, place):
    token = place.result("token", "create", "--scope", "read")["token"]
    assert api.ask("GET", "/api/monitor", token=token).status_code == 200
    api.bad(403, "forbidden", "POST", "/api/monitor", {"plugin": "a", "action": "b", "success": True}, token=token)
    assert api.good("GET", "/api/monitor?plugin=nobody")["entries"] == []
    api.bad(400, "bad_usage", "GET", "/api/monitor?plugin=" + "x" * 64)


def looks(pid):
    """How often the threads that look were woken so far."""
    names = {task: (task / "comm").read_text().strip() for task in pathlib.Path(f"/proc/{pid}/task").iterdir()}
    told = [(task / "status").read_text() for task, name in names.items() if name == "loop"]
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M)[1]) for text in told)


def test_it_rests_when_nothing_happens_and_wakes_when_something_does(api):
    """Ten looks a second otherwise."""
    record(api, 110, True)

    def rests():
        before = looks(api.ready["pid"])
        time.sleep(0.6)
        return looks(api.ready["pid"]) - before <= 2

    until(rests)
    record(api, 60, False)  # nobody asks how it does: its own word for it, in the log
    while json.loads(line := api.place.server.stderr.readline())["event"] != "anomaly":
        assert line
