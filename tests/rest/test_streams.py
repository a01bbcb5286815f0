"""Answers that are told while they come about: a client that reads too slowly, one that leaves in the middle, one that
comes back; over a service that does what the test says."""

import http.client
import json
import socket

import pytest

import wire
from wire import AUTH, Rig, head

EVENTS = "Accept: text/event-stream\r\n"


@pytest.fixture
def rig(build, tmp_path):
    rig = Rig(build, tmp_path / "home")
    rig.tell("hold")
    yield rig
    rig.end()


class Stream:
    """A call whose answer is read event by event."""

    def __init__(self, rig, more="", room=None):
        self.sock = socket.socket()
        if room:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.sock.settimeout(20)
        self.sock.connect(wire.address(rig.url))
        self.sock.sendall(head(rig, more=AUTH + EVENTS + more + "Content-Length: 2\r\n") + b"{}")
        self.answer = None

    def begin(self):
        self.answer = http.client.HTTPResponse(self.sock, method="POST")
        self.answer.begin()
        assert (self.answer.status, self.answer.headers["Content-Type"]) == (200, "text/event-stream")

    def event(self):
        name = self.answer.readline().decode().strip().removeprefix("event: ")
        data = self.answer.readline().decode().strip().removeprefix("data: ")
        assert self.answer.readline() == b"\n"
        return name, json.loads(data)

    def rest(self):
        while True:
            name, data = self.event()
            yield name, data
            if name in ("result", "error"):
                assert self.answer.read() == b""
                return


def test_who_reads_too_slowly_is_told_how_much_is_missing(rig, sanitized):
    stream = Stream(rig, room=4096)
    rig.until("busy", "1")
    told, each = 0, 500
    for _ in range(40):  # 20 MB, of which the kernel's buffers take some
        rig.tell(f"tell {each} 1000")
        told += each
    with open(f"/proc/{rig.process.pid}/status", encoding="ascii") as status:
        grown = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    stream.begin()
    first = [stream.event() for _ in range(100)]
    assert [data["text"][:6] for _, data in first] == [f"{n:06}" for n in range(100)]
    rig.tell("finish")
    events = first + list(stream.rest())
    lines = sum(name == "log" for name, _ in events)
    dropped = [data["events"] for name, data in events if name == "dropped"]
    assert dropped and lines + sum(dropped) == told
    assert [name for name, _ in events][-2:] == ["receipt", "result"]
    assert sanitized or grown < 200_000, f"{grown} KiB for a client that does not read"
    assert rig.tell("cancelled") == "0"


def test_events_come_as_they_are_told(rig):
    stream = Stream(rig)
    rig.until("busy", "1")
    rig.tell("tell 1 10")
    stream.begin()
    assert stream.event() == ("log", {"level": "info", "text": "000000xxxx"})
    for _ in range(20):
        rig.tell("tell 1 10")
        assert stream.event()[0] == "log"
    rig.tell("finish")
    assert [name for name, _ in stream.rest()] == ["receipt", "result"]


@pytest.mark.parametrize("way", ["close", "reset", "half", "unread"])
def test_a_client_that_leaves_in_the_middle_cancels_its_call(rig, way):
    stream = Stream(rig, room=4096 if way == "unread" else None)
    rig.until("busy", "1")
    rig.tell("tell 3 10" if way != "unread" else "tell 500 1000")
    if way != "unread":
        stream.begin()
        assert stream.event()[0] == "log"
    assert rig.tell("cancelled") == "0"
    if way == "half":  # who sends nothing more and is not heard of again cannot be told from one that left
        stream.sock.shutdown(socket.SHUT_WR)
    if way == "reset":
        stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    if way != "half":
        stream.sock.close()
        stream.answer and stream.answer.close()
    rig.until("cancelled", "1")
    rig.until("busy", "0")
    stream.sock.close()


def test_a_client_that_leaves_a_stream_with_a_key_may_come_back(rig):
    key = "Idempotency-Key: again\r\n"
    stream = Stream(rig, key)
    rig.until("busy", "1")
    rig.tell("tell 1 10")
    stream.begin()
    assert stream.event()[0] == "log"
    stream.sock.close()
    stream.answer.close()
    rig.until("busy", "0")
    assert rig.tell("cancelled") == "0"
    rig.tell("finish")
    reply = rig.call("{}", headers={"Idempotency-Key": "again"})
    assert reply.status == 200 and reply.headers["Moat-Idempotency"].startswith("replayed")
    replayed = Stream(rig, key)
    replayed.begin()
    assert [name for name, _ in replayed.rest()] == ["receipt", "result"]


def test_many_streams_leave_at_once(rig):
    streams = [Stream(rig) for _ in range(100)]
    rig.until("busy", "100")
    for stream in streams:
        stream.sock.close()
    rig.until("cancelled", "100")
    rig.until("busy", "0")


def test_ending_with_streams_under_way(build, tmp_path):
    rig = Rig(build, tmp_path / "home")
    rig.tell("hold")
    streams = [Stream(rig) for _ in range(10)]
    rig.until("busy", "10")
    rig.tell("tell 1 10")
    rig.end()
    for stream in streams:
        stream.sock.close()
