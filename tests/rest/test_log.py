"""What plugins say: by which call, within bounds, harmless, found again; asked for by page, waited for, followed."""

import contextlib
import json
import pathlib
import queue
import signal
import sys
import threading
import time

import pytest
import requests

from client import Api

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from place import Place  # noqa: E402

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def api(build, tmp_path):
    place = Place(build, tmp_path)
    place.have("echo")
    yield Api(place)
    place.close()


def log(api, **query):
    target = "/api/log?" + "&".join(f"{k}={v}" for k, v in query.items())
    return api.good("GET", target)


def until(api, count, **query):
    """The records once there are so many: output is read a moment after the call's answer."""
    end = time.monotonic() + 20
    while len(records := log(api, **query)["records"]) < count:
        assert time.monotonic() < end, records
        newest = log(api, limit=1)["next"]
        log(api, after=newest, wait="200ms")
    return records


def say(api, text, **headers):
    answer = api.ask("POST", "/api/plugins/execute/echo/log", {"text": text}, **headers)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.headers["Moat-Receipt"])["id"]


def test_a_line_knows_its_call(api):
    call = say(api, "hello", traceparent=PARENT)
    said, printed = sorted(until(api, 2, call=call), key=lambda r: r["source"])
    for record in (said, printed):
        assert record["text"] == "hello" and record["plugin"] == "echo" and record["version"] == "1.0.0"
        assert record["action"] == "log" and record["call"] == call and record["trace"] == TRACE
        assert record["level"] == "info" and record["dropped"] == 0 and record["pid"] > 0
    assert (said["source"], printed["source"]) == ("log", "output")
    assert len(log(api, trace=TRACE)["records"]) == 2
    # Without a trace of its caller's a call begins its own.
    other = say(api, "again")
    assert {r["trace"] for r in until(api, 2, call=other)} == {other}


def test_lines_steer_no_terminal(api):
    call = say(api, "\x1b]0;title\x07 \x9b31m ‮red\ttab\rover \x7f")
    for record in until(api, 2, call=call):
        assert record["text"] == "?]0;title? ?31m ?red tab?over ?", record
    shown = api.place.good("log", "--call", call).out
    assert not [c for c in shown if ord(c) < 0x20 and c != "\n" or 0x7f <= ord(c) < 0xa0 or c == "‮"]
    # Of several lines in one text the log has one line, the output several.
    call = say(api, "one\ntwo")
    assert sorted(r["text"] for r in until(api, 3, call=call)) == ["one", "one?two", "two"]


def test_long_lines_are_cut(api):
    call = say(api, "ä" * 5000)
    lines = {r["source"]: r["text"] for r in until(api, 2, call=call)}
    assert 2000 <= len(lines["log"].encode()) <= 2048 and set(lines["log"]) <= {"ä"}
    assert 1000 <= len(lines["output"].encode()) <= 1024 and set(lines["output"][:-3]) == {"ä"}
    assert lines["output"].endswith("...")


def test_filters_and_pages(api):
    for i in range(5):
        say(api, f"line {i}")
    api.bad(502, "plugin_crashed", "POST", "/api/plugins/execute/echo/crash", {})
    until(api, 13)
    texts = lambda **query: [r["text"] for r in log(api, plugin="echo", **query)["records"]]  # noqa: E731
    assert texts(source="log") == [f"line {i}" for i in range(5)] + ["about to crash, as asked"]
    assert texts(level="error") == ["about to crash, as asked"]
    assert texts(level="warn", source="host") == ["its worker was ended by SIGSEGV while it ran crash"]
    assert texts(source="log", limit=2) == ["line 4", "about to crash, as asked"]
    assert texts(since="1h") == texts() and texts(since="0s") == []
    # Forwards by `next`, backwards by the first number: each record once.
    seen, after = [], 0
    while (page := log(api, after=after, limit=3))["records"]:
        seen += page["records"]
        assert page["lost"] == 0 and len(page["records"]) <= 3
        after = page["next"]
    assert [r["seq"] for r in seen] == list(range(1, len(seen) + 1))
    back, before = [], 10 ** 9
    while (page := log(api, before=before, limit=4)["records"]):
        back = page + back
        before = page[0]["seq"]
    assert back == seen
    # A number of another server's life begins anew.
    assert log(api, after=10 ** 12, limit=1000)["records"] == seen


@pytest.mark.parametrize("query", ["level=loud", "source=elsewhere", "since=yesterday", "wait=61s", "wait=soon", "after=-1",
                                   "after=x", "limit=1.5", "call=" + "a" * 33, "plugin=Not-A-Name", "nonsense=1"])
def test_bad_filters_are_refused(api, query):
    assert api.ask("GET", f"/api/log?{query}").status_code == 400


def test_a_plugin_that_is_not_there(api):
    api.bad(404, "no_such_plugin", "GET", "/api/log?plugin=ecko")
    assert log(api, plugin="echo")["records"] == []
    say(api, "last words")
    until(api, 2)
    api.place.good("uninstall", "echo")
    assert len(log(api, plugin="echo")["records"]) == 2  # what it said stays


def test_only_who_may_read(api):
    token = api.good("POST", "/api/tokens", {"scopes": ["execute:*"]})["token"]
    api.bad(403, "forbidden", "GET", "/api/log", token=token)
    api.bad(401, "unauthorized", "GET", "/api/log", token=None)


# ---- bounds ----


@contextlib.contextmanager
def keeping(build, tmp_path, **settings):
    """A server that keeps so much."""
    place = Place(build, tmp_path)
    place.have("echo")
    for key, value in settings.items():
        place.good("settings", "set", key, str(value))
    try:
        yield Api(place)
    finally:
        place.close()


def test_a_flood_is_cut_and_counted(build, tmp_path):
    with keeping(build, tmp_path, log_lines=5) as api:
        for i in range(40):
            say(api, f"flood {i}")
        # A count is told with the next second's first line.
        host, end = [], time.monotonic() + 20
        while sum(r["dropped"] for r in host) + len(log(api, source="log")["records"]) < 41 and time.monotonic() < end:
            say(api, "more")
            host = [r for r in log(api, source="host", limit=1000)["records"] if "lines of its log" in r["text"]]
        said = log(api, source="log", limit=1000)["records"]
        dropped = sum(r["dropped"] for r in host)
        info = api.good("GET", "/api/plugins/info/echo")
        assert host and dropped > 0 and len(said) < 40 + dropped
        assert info["lines_dropped"] >= dropped
        assert "thrown away: at most 5 a second are kept (log_lines)" in host[0]["text"]


def test_as_many_as_the_setting_says(build, tmp_path):
    with keeping(build, tmp_path, log_lines=1000) as api:
        one = {"plugin": "echo", "action": "log", "parameters": {"text": "x"}}
        assert all(call["success"] for call in api.good("POST", "/api/calls", [one] * 900))
        said = log(api, source="log", limit=1000)["records"]
        assert len(said) == 900 and {r["text"] for r in said} == {"x"}
        assert api.good("GET", "/api/plugins/info/echo")["lines_dropped"] == 0


def test_a_plugin_silent_after_a_flood_is_told_of(build, tmp_path):
    """The last count does not wait for a line that never comes."""
    with keeping(build, tmp_path, log_lines=2) as api:
        for i in range(20):
            say(api, f"flood {i}")
        page = log(api, source="host", after=0, wait="30s")
        assert page["records"][0]["dropped"] > 0


def test_memory_is_bounded_and_loss_is_said(build, tmp_path):
    with keeping(build, tmp_path, log_memory="64KiB", log_lines=1000) as api:
        last = ""
        for i in range(100):
            last = say(api, f"{i} " + "x" * 900)
        until(api, 2, call=last)
        page = log(api, after=0, limit=1000)
        assert 40 < len(page["records"]) < 75 and page["lost"] == 200 - len(page["records"])
        assert page["records"][0]["seq"] == page["lost"] + 1
        assert page["records"][-1]["call"] == last


# ---- a crash ----


def test_the_last_lines_of_a_crash_are_found_by_its_id(api):
    before = say(api, "just before")
    until(api, 2, call=before)
    error = api.bad(502, "plugin_crashed", "POST", "/api/plugins/execute/echo/crash", {})
    why = api.good("GET", f"/api/why/{error['id']}")
    texts = [r["text"] for r in why["log"]]
    assert "about to crash, as asked" in texts and "echo: last words" in texts
    assert texts[-1] == "its worker was ended by SIGSEGV while it ran crash" and why["log"][-1]["source"] == "host"
    assert "just before" in texts  # of the same worker: what came before may be why
    shown = api.place.good("why", error["id"]).out
    assert "echo: last words" in shown
    # Another worker's lines, and those of calls that went well, are not part of it.
    say(api, "much later")
    assert [r["text"] for r in api.good("GET", f"/api/why/{error['id']}")["log"]] == texts


def test_a_failure_shows_its_own_lines_only(api):
    other = say(api, "of another call")
    until(api, 2, call=other)  # what it prints is told of the call that runs when it is read
    error = api.bad(422, "action_failed", "POST", "/api/plugins/execute/echo/fail", {})
    assert api.good("GET", f"/api/why/{error['id']}")["log"] == []


# ---- waiting and following ----


def another(api):
    """The same server over a connection of its own, which stands already."""
    other = Api.__new__(Api)
    other.__dict__.update(api.__dict__, session=requests.Session())
    log(other, limit=1)
    return other


def test_waiting_ends_with_a_line(api):
    newest = log(api)["next"]
    found, other = queue.Queue(), another(api)
    waiter = threading.Thread(target=lambda: found.put(log(other, after=newest, source="log", wait="60s")))
    waiter.start()
    with pytest.raises(queue.Empty):
        found.get(timeout=0.3)
    call = say(api, "here it is")
    page = found.get(timeout=20)
    waiter.join()
    assert [r["call"] for r in page["records"]] == [call]


def test_waiting_ends_with_its_time(api):
    newest = log(api)["next"]
    begun = time.monotonic()
    page = log(api, after=newest, wait="300ms")
    assert page == {"records": [], "next": newest, "lost": 0}
    assert 0.3 <= time.monotonic() - begun < 20


def test_a_server_that_ends_lets_nobody_wait(api):
    say(api, "the last line")
    newest = until(api, 2)[-1]["seq"]
    follower = api.place.start("log", "-f")
    follower.stdout.readline(), follower.stdout.readline()
    answers, other = queue.Queue(), another(api)

    def wait():
        try:
            answers.put(other.ask("GET", f"/api/log?after={newest}&wait=60s").status_code)
        except requests.ConnectionError:  # it came when nobody was let in any more
            answers.put(503)

    waiter = threading.Thread(target=wait)
    waiter.start()
    begun = time.monotonic()
    assert api.place.end_server()[0] == 0
    assert time.monotonic() - begun < 8  # requests under way have ten seconds: nobody used them
    waiter.join(20)
    assert answers.get(timeout=1) in (200, 503)
    assert follower.wait(timeout=20) in (7, 8)  # nobody is there any more, or is about to leave
    follower.communicate()


def test_follow(api):
    say(api, "already there")
    until(api, 2)
    follower = api.place.start("log", "echo", "-f", "--source", "log")
    try:
        assert "already there" in follower.stdout.readline()
        for i in range(3):
            say(api, f"later {i}")
            line = follower.stdout.readline()
            assert line.rstrip().endswith(f"later {i}") and " info  echo.log " in line
    finally:
        follower.send_signal(signal.SIGINT)
        follower.communicate(timeout=20)


def test_follow_as_json(api):
    follower = api.place.start("log", "-f", "--json", "--source", "output")
    try:
        call = say(api, "for programs")
        assert json.loads(follower.stdout.readline())["call"] == call
    finally:
        follower.terminate()
        follower.communicate(timeout=20)


def test_without_a_server(place_alone):
    assert place_alone.good("log").out == ""
    assert place_alone.good("log", "--json").json == {"records": [], "next": 0, "lost": 0}
    place_alone.bad(7, "no_answer", "log", "-f")
    place_alone.bad(4, "no_such_plugin", "log", "nobody")


@pytest.fixture
def place_alone(build, tmp_path):
    place = Place(build, tmp_path)
    place.trust()
    yield place
    place.close()


def test_the_servers_log_has_them(api):
    call = say(api, "for the operator")
    until(api, 2, call=call)
    _, _, err = api.place.end_server()
    events = [json.loads(line) for line in err.splitlines()]
    mine = {e["event"]: e for e in events if e.get("call") == call}
    assert set(mine) == {"plugin_log", "plugin_output"}
    for event in mine.values():
        assert event["text"] == "for the operator" and event["plugin"] == "echo" and event["action"] == "log"
        assert event["level"] == "info" and event["line_level"] == "info" and event["version"] == "1.0.0"
