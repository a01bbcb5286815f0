"""The log as server-sent events: what came before, what comes, who comes back, who reads too slowly, who leaves."""

import http.client
import json
import pathlib
import socket
import sys

import pytest

from client import Api, until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from place import Place  # noqa: E402

EVENTS = "text/event-stream"
SEATS = 256


@pytest.fixture(scope="module")
def api(build, tmp_path_factory):
    place = Place(build, tmp_path_factory.mktemp("log-events"))
    place.have("echo")
    place.good("settings", "set", "log_memory", "64KiB")
    place.good("settings", "set", "log_lines", "100000")  # of what it logs a worker itself passes on 1000 a second
    yield Api(place)
    place.close()


def say(api, text):
    """echo logs it, and prints it."""
    answer = api.ask("POST", "/api/plugins/execute/echo/log", {"text": text})
    assert answer.status_code == 200, answer.text
    return json.loads(answer.headers["Moat-Receipt"])["id"]


def flood(api, lines, text):
    """So many lines that are printed; of those that are logged a worker passes on some."""
    start = newest(api)
    while newest(api) - start < lines:
        say_it = {"plugin": "echo", "action": "log", "parameters": {"text": text}}
        assert all(call["success"] for call in api.good("POST", "/api/calls", [say_it] * 1000))


class Follower:
    def __init__(self, api, query="", last=None, room=None, method="GET", token=None, accept=EVENTS):
        host, port = api.url.removeprefix("http://").split(":")
        self.sock = socket.socket()
        if room:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.sock.settimeout(20)
        self.sock.connect((host, int(port)))
        more = f"Last-Event-ID: {last}\r\n" if last else ""
        self.sock.sendall((f"{method} /api/log?{query} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: {accept}\r\n"
                           f"Authorization: Bearer {token or api.admin}\r\n{more}\r\n").encode())
        self.answer, self.last, self.beats = None, None, 0

    def begin(self):
        if not self.answer:
            self.answer = http.client.HTTPResponse(self.sock)
            self.answer.begin()
            assert (self.answer.status, self.answer.headers["Content-Type"]) == (200, EVENTS)
        return self

    def event(self):
        """The next one with a name: its name and data."""
        self.begin()
        fields = {}
        while True:
            line = self.answer.readline().decode()
            assert line, "the events have ended"
            if line != "\n":
                name, _, value = line.rstrip("\n").partition(": ")
                fields[name] = value
                continue
            self.last = fields.get("id", self.last)
            if "event" in fields:
                return fields["event"], json.loads(fields["data"])
            self.beats += "id" in fields
            fields = {}

    def texts(self, n):
        return [self.event()[1]["text"] for _ in range(n)]

    def rest(self):
        """Without the heartbeats, until the end."""
        text = self.answer.read()
        return b"".join(part for part in text.split(b"\n\n") if b"data: " in part)

    def leave(self):
        self.sock.close()
        if self.answer:
            self.answer.close()

    __enter__ = begin

    def __exit__(self, *_):
        self.leave()


def newest(api):
    return api.good("GET", "/api/log?limit=1")["next"]


def test_what_came_and_what_comes(api):
    for n in range(3):
        say(api, f"before {n}")
    with Follower(api, "source=log&plugin=echo&limit=2") as follower:
        name, record = follower.event()
        assert (name, record["text"]) == ("record", "before 1")
        # The same as in a page, under an id that goes on from there.
        page = api.good("GET", f"/api/log?after={record['seq'] - 1}&limit=1")
        assert page["records"] == [record] and follower.last.endswith(f"-{record['seq']}")
        assert follower.texts(1) == ["before 2"]
        for n in range(20):
            call = say(api, f"now {n}")
            _, record = follower.event()
            assert (record["text"], record["call"]) == (f"now {n}", call)
    with Follower(api, f"after={record['seq']}&source=log") as follower:
        say(api, "behind it")
        assert follower.texts(1) == ["behind it"]


def test_who_comes_back_misses_nothing(api):
    first = Follower(api, f"source=log&after={newest(api)}").begin()
    say(api, "one")
    assert first.texts(1) == ["one"]
    first.leave()
    say(api, "two")
    say(api, "three")
    with Follower(api, "source=log", last=first.last) as again:
        assert again.texts(2) == ["two", "three"]
    # The id outdoes the query; one of another server's life begins with all there is.
    with Follower(api, f"after={newest(api)}&source=log", last=first.last) as again:
        assert again.texts(2) == ["two", "three"]
    oldest = api.good("GET", "/api/log?after=0&limit=1")["records"][0]
    name, number = first.last.split("-")
    other = ("f" if name[0] != "f" else "0") + name[1:]
    with Follower(api, last=f"{other}-{number}") as again:
        event = again.event()
        assert (again.event() if event[0] == "dropped" else event) == ("record", oldest)


@pytest.mark.parametrize("query, last, status", [
    ("before=3", None, 400), ("wait=1s", None, 400), ("heartbeat=1ms", None, 400), ("heartbeat=18446744073s", None, 400), ("level=loud", None, 400),
    ("", "12", 400), ("", "x-", 400), ("", "x-1x", 400), ("", "0-" + "9" * 20, 400), ("plugin=ecko", None, 404)])
def test_what_is_refused(api, query, last, status):
    more = {"Last-Event-ID": last} if last else {}
    answer = api.ask("GET", f"/api/log?{query}", Accept=EVENTS, **more)
    assert answer.status_code == status and answer.json()["success"] is False


def test_only_who_may_read(api):
    token = api.token("execute:*")["token"]
    api.bad(403, "forbidden", "GET", "/api/log", token=token, Accept=EVENTS)
    api.bad(401, "unauthorized", "GET", "/api/log", token=None, Accept=EVENTS)


def test_events_end_with_their_token(api):
    """Told nothing more from the answer to the revocation on, and left within moments; who waits for a page likewise."""
    token = api.token("read")
    follow = f"after={newest(api)}&source=log"
    with Follower(api, follow + "&heartbeat=1h", token=token["token"]) as gone, Follower(api, follow) as still:
        page = Follower(api, follow + "&wait=60s", token=token["token"], accept="*/*")
        api.good("DELETE", f"/api/tokens/{token['id']}")
        say(api, "a line")
        assert still.texts(1) == ["a line"]
        assert gone.rest() == b""
        answer = http.client.HTTPResponse(page.sock)
        answer.begin()
        assert answer.status == 401 and b"a line" not in answer.read()
        page.leave()


def test_events_end_when_their_token_does(api):
    for span in 2, 16:
        follower = Follower(api, f"after={newest(api)}&heartbeat=1h", token=api.token("read", **{"for": f"{span}s"})["token"])
        answer = follower.answer = http.client.HTTPResponse(follower.sock)
        answer.begin()
        if answer.status == 200:  # else this machine is slow today
            break
        follower.leave()
    assert follower.rest() == b""
    follower.leave()


def test_head_has_no_events(api):
    """Nor what ends them: all there is is the head."""
    follower = Follower(api, method="HEAD")
    text = b""
    while part := follower.sock.recv(4096):
        text += part
    first, _, rest = text.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ") and f"Content-Type: {EVENTS}".encode() in first and rest == b""
    follower.leave()


def test_who_reads_too_slowly_is_told_how_much_is_missing(api):
    """Each event is told or counted; nobody waits for the reader, and what it costs is the log's own memory."""
    start = newest(api)
    follower = Follower(api, f"after={start}", room=4096)
    flood(api, 12000, "x")  # 4 MB of events, of which the kernel's buffers take some
    last = say(api, "the last one")
    told = dropped = 0
    while True:
        name, data = follower.event()
        told += name == "record"
        dropped += data["events"] if name == "dropped" else 0
        if name == "record" and data["call"] == last:
            break
    assert dropped > 0 and told > 0
    assert told + dropped == data["seq"] - start
    follower.leave()


def test_a_filter_that_fits_nothing_is_not_told_of_loss(api):
    """What left the memory had been looked at: it was not missed. Heartbeats say how far."""
    with Follower(api, f"after={newest(api)}&source=host&level=warn&heartbeat=100ms") as follower:
        with Follower(api, f"after={newest(api)}&source=output") as pace:  # each was looked at before the next comes
            for n in range(300):  # more than the memory holds
                say(api, f"line {n}")
                assert pace.texts(1) == [f"line {n}"]
        api.bad(502, "plugin_crashed", "POST", "/api/plugins/execute/echo/crash", {})
        while "thrown away" in (record := follower.event()[1]).get("text", ""):
            pass  # the flood's, of a test before
        assert record.get("text") == "its worker was ended by SIGSEGV while it ran crash", record
        seen = follower.beats
        while follower.beats == seen:
            line = follower.answer.readline()
            follower.beats += line.startswith(b"id: ")


def test_only_so_many_follow(api):
    followers = [Follower(api, "limit=1") for _ in range(SEATS)]
    for follower in followers:
        follower.begin()
    answer = api.ask("GET", "/api/log", Accept=EVENTS)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
    assert "Retry-After" in answer.headers
    say(api, "for all")  # a page that waits is not crowded out by those who follow
    assert api.good("GET", f"/api/log?after={newest(api)}&wait=50ms")["records"] == []
    for n, follower in enumerate(followers):
        if n % 2:
            follower.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        follower.leave()
    until(lambda: api.session.get(api.url + "/api/log?limit=1", stream=True, timeout=20, headers={
        "Accept": EVENTS, "Authorization": f"Bearer {api.admin}"}).status_code == 200)


def test_a_server_that_ends_ends_the_events(build, tmp_path):
    place = Place(build, tmp_path)
    place.have("echo")
    api = Api(place)
    try:
        follower = Follower(api).begin()
        say(api, "the last line")
        assert {follower.event()[1]["text"], follower.event()[1]["text"]} == {"the last line"}
    finally:
        assert place.end_server()[0] == 0
    assert follower.answer.read() == b""  # whole: the last chunk came
    follower.leave()
