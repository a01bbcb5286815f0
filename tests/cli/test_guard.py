"""A change of a configuration is watched: taken back when calls are worse with it than before, whoever asks and
whatever happens meanwhile."""

import http.client
import json
import signal
import time
import urllib.parse

import pytest

CALLS_MAX = 4000  # every verdict falls long before


class Stage:
    """A server with the ledger, whose configuration says how many of its calls go wrong, and how."""

    def __init__(self, place):
        self.place = place
        self.number = 0
        place.have("ledger")
        self.serve()
        place.good("load", "ledger")

    def serve(self):
        ready = self.place.serve()
        url = urllib.parse.urlsplit(ready["url"])
        self.connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
        self.token = ready.get("admin_token") or self.token  # told once, and kept

    def ask(self, method, path, body=None, **headers):
        self.connection.request(method, path, body, {"Authorization": f"Bearer {self.token}",
                                                     "Content-Type": "application/json"} | headers)
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def call(self, action="note", body=None, **headers):
        """The failure's code, or None."""
        self.number += 1
        body = json.dumps({"n": self.number}) if body is None else body
        _, document = self.ask("POST", f"/api/plugins/execute/ledger/{action}", body, **headers)
        return None if document["success"] else document["error"]["code"]

    def calls(self, n):
        return [self.call() for _ in range(n)]

    def set(self, key, value, *more):
        return self.place.result("config", "set", "ledger", key, value, *more)

    def guard(self):
        return self.place.result("info", "ledger")["config_guard"]

    def until(self, *states, calls=40):
        """Calls until the guard is in one of these states; what the calls met."""
        met = []
        while len(met) < CALLS_MAX:
            met += self.calls(calls)
            if self.guard()["state"] in states:
                return met
        pytest.fail(f"after {CALLS_MAX} calls it is {self.guard()}")

    def history(self):
        """By revision."""
        told = self.place.result("config", "history", "ledger")["revisions"]
        assert [r["revision"] for r in told] == list(range(len(told), 0, -1))
        return {r["revision"]: r for r in told}

    def recorded(self, revision, state):
        """The record of a guard's end, which is written after the loader told it."""
        deadline = time.monotonic() + 20
        while self.history()[revision]["guard"]["state"] != state:
            assert time.monotonic() < deadline, self.history()[revision]
        self.place.good("audit", "verify")
        return [r for r in self.place.result("audit", "--action", "config.guard")["records"]
                if r["detail"]["revision"] == revision]

    def word(self):
        status, document = self.ask("POST", "/api/plugins/execute/ledger/configured", "{}")
        assert status == 200, document
        return document["result"]


@pytest.fixture
def stage(place):
    return Stage(place)


@pytest.mark.parametrize("note, code", [("fail", "action_failed"), ("crash", "plugin_crashed"), ("slow", None)])
def test_a_worse_one_is_taken_back_with_its_evidence(stage, note, code):
    stage.set("note", note, "--no-guard")
    assert stage.calls(250) == [None] * 250
    done = stage.set("note_percent", "60")
    assert done["guard"]["state"] == "running" and (done["guard"]["revision"], done["guard"]["base"]) == (2, 1)
    met = stage.until("rolled_back", calls=5)
    assert set(met) <= {None, code, "start_failed"}
    records = stage.recorded(2, "rolled_back")
    # What was before is again: for the calls, in the registry, for the next start.
    assert stage.calls(20) == [None] * 20
    assert "note_percent" not in stage.word() or stage.word()["note_percent"] == 0
    now = stage.place.result("config", "get", "ledger")
    assert now["revision"] == 3 and now["set"] == {"note": note}
    history = stage.history()
    assert history[3]["back"] == 1 and history[3]["set"] == {"note": note}
    assert history[2]["back"] is None and history[2]["set"] == {"note": note, "note_percent": 60}
    # The evidence: in info, in the history, in the trail, in the log.
    guard = stage.guard()
    assert guard["after"]["slow" if note == "slow" else "failed"] > 0
    assert guard["before"]["failed"] == 0 and guard["before"]["calls"] >= 100
    assert len(records) == 1
    detail = records[0]["detail"]
    assert (detail["outcome"], detail["base"], detail["back"]) == ("rolled_back", 1, 3)
    assert detail["why"] == guard["why"] == history[2]["guard"]["why"] != ""
    assert detail["guard"] == history[2]["guard"]["evidence"]
    assert detail["guard"]["after"] == guard["after"]
    text = stage.place.good("config", "history", "ledger").out
    assert "rolled_back" in text and guard["why"] in text
    assert "rolled_back" in stage.place.good("info", "ledger").out
    status, _, log = stage.place.end_server()
    assert status == 0
    told = [json.loads(line) for line in log.splitlines() if "config_guard_over" in line]
    assert told[0]["outcome"] == "worse" and told[0]["failed"] == guard["after"]["failed"]
    assert any("config_rolled_back" in line for line in log.splitlines())


def test_one_that_is_not_worse_stays(stage):
    stage.calls(250)
    stage.set("word", '"one"')
    assert set(stage.until("passed")) == {None}
    (record,) = stage.recorded(1, "passed")
    assert record["detail"]["guard"]["evidence_fine"] >= 100
    assert stage.place.result("config", "get", "ledger")["revision"] == 1
    assert stage.word()["word"] == "one"


def test_the_operator_turns_it_off(stage):
    stage.set("note", "fail", "--no-guard")
    stage.calls(100)
    done = stage.set("note_percent", "60", "--no-guard")
    assert done["guard"]["state"] == "off"
    assert "action_failed" in stage.calls(100)
    assert stage.place.result("config", "get", "ledger")["revision"] == 2
    assert stage.history()[2]["guard"]["state"] == "off"
    text = stage.place.good("config", "set", "ledger", "note_percent", "0", "--no-guard").out
    assert "Not watched" in text
    # For good, at once.
    stage.place.good("settings", "set", "config_guard", '"0s"')
    assert stage.set("word", "two")["guard"]["state"] == "off"
    stage.place.good("settings", "set", "config_guard", '"10m"')
    stage.calls(30)  # what is compared with is the configuration before, not the ones before that
    assert "Watched until" in stage.place.good("config", "set", "ledger", "word", "three").out
    assert stage.place.result("config", "unset", "ledger", "word", "--no-guard")["guard"]["state"] == "off"
    status, document = stage.ask("PUT", "/api/plugins/info/ledger/config/word?no_guard=true", '"four"')
    assert status == 200 and document["result"]["guard"]["state"] == "off"
    assert stage.ask("GET", "/api/plugins/info/ledger/config-history?limit=0")[0] == 400


def test_there_is_nothing_to_compare_with(stage):
    stage.calls(5)
    done = stage.set("note", "fail")
    assert done["guard"]["state"] == "none" and "5 calls" in done["guard"]["why"]
    assert stage.history()[1]["guard"]["state"] == "none"
    stage.place.good("unload", "ledger")
    assert stage.set("word", "x")["guard"]["state"] == "none"


def test_its_window_ends(stage):
    stage.calls(100)
    stage.place.good("settings", "set", "config_guard", '"300ms"')
    stage.set("word", "one")
    (record,) = stage.recorded(1, "expired")
    assert "time was over" in record["detail"]["why"]
    assert stage.guard()["state"] == "expired" and stage.word()["word"] == "one"


def test_what_the_caller_did_does_not_count(stage):
    stage.calls(250)
    stage.set("word", "one")
    for _ in range(40):
        assert stage.call(body='{"n": "one"}') == "bad_parameters"
        assert stage.call(body='{"n": ') == "bad_json"
    for _ in range(4):
        assert stage.call("hang", "{}", **{"Moat-Deadline": "1ms"}) == "deadline"
    assert stage.guard()["state"] == "running"
    assert stage.guard()["after"]["calls"] == stage.guard()["after"]["failed"] == 0
    assert set(stage.until("passed")) == {None}


def test_a_second_change_is_judged_with_the_first(stage):
    stage.calls(250)
    assert stage.set("note", "fail")["guard"]["base"] == 0
    stage.calls(3)
    second = stage.set("note_percent", "60")["guard"]
    assert (second["state"], second["revision"], second["base"]) == ("running", 2, 0)
    (record,) = stage.recorded(1, "ended")
    assert "both are judged" in record["detail"]["why"]
    stage.until("rolled_back", calls=5)
    stage.recorded(2, "rolled_back")
    assert stage.place.result("config", "get", "ledger")["set"] == {}
    assert stage.history()[3]["back"] == 0
    # One that nobody wants to be watched ends the guard of the one before.
    stage.set("note", "fail")
    stage.set("word", "one", "--no-guard")
    stage.recorded(4, "ended")
    assert stage.guard()["state"] == "ended"


def test_it_outlives_a_reload_and_a_crash_but_no_unload(stage):
    stage.calls(250)
    stage.set("note", "fail", "--no-guard")
    stage.calls(250)
    stage.set("note_percent", "60")
    stage.place.good("reload", "ledger")
    assert stage.call("crash", "{}") == "plugin_crashed"
    assert stage.guard()["state"] == "running" and stage.guard()["after"]["failed"] == 1
    stage.until("rolled_back", calls=5)
    stage.recorded(2, "rolled_back")
    stage.set("word", "one")
    stage.place.good("unload", "ledger")
    (record,) = stage.recorded(4, "ended")
    assert "unloaded" in record["detail"]["why"]
    stage.place.good("load", "ledger")
    assert stage.word()["word"] == "one"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_host_that_ends_ends_it_and_the_change_stays(stage, how):
    stage.calls(250)
    stage.set("word", "one")
    stage.place.end_server(how)
    stage.serve()
    told = stage.history()[1]["guard"]
    assert told["state"] == "ended" and "host" in told["why"]
    assert stage.place.result("info", "ledger")["config_guard"] is None
    assert stage.word()["word"] == "one"


def test_a_secret_comes_back_and_is_kept_no_longer_than_needed(stage):
    def secrets():
        return [path for path in (stage.place.home / "registry").iterdir() if b"open sesame" in path.read_bytes()]

    stage.place.good("config", "set", "ledger", "key", "-", "--no-guard", input="open sesame")
    stage.set("note", "fail", "--no-guard")
    stage.calls(250)
    stage.set("note_percent", "60", "--no-guard")
    stage.set("note_percent", "0", "--no-guard")
    stage.calls(250)
    stage.place.good("config", "set", "ledger", "key", "-", input="shut")
    stage.set("note_percent", "60")
    stage.until("rolled_back", calls=5)
    stage.recorded(6, "rolled_back")
    assert stage.word()["key"] == "open sesame"
    for text in (stage.place.good("config", "history", "ledger", "--json").out,
                 stage.place.good("audit", "--json").out):
        assert "sesame" not in text and "shut" not in text
