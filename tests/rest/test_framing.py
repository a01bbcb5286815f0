"""Where a request ends, on the wire: what two readers of HTTP could read as two requests or as one is refused, and
nothing behind it is read; what is refused for other reasons ends where it says it does."""

import re
import socket
import time

import pytest

import wire
from wire import AUTH, Rig

CALL = "POST /api/plugins/execute/a/b HTTP/1.1\r\nHost: localhost\r\n" + AUTH
HIDDEN = "POST /api/plugins/execute/hidden/hidden HTTP/1.1\r\nHost: localhost\r\n" + AUTH + 'Content-Length: 10\r\n\r\n"{hidden}"'
CHUNKS = "\r\n2\r\n{}\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def rig(build, tmp_path_factory):
    rig = Rig(build, tmp_path_factory.mktemp("framing") / "home", body_ms=1500)
    yield rig
    rig.end()


def send(rig, text, patience=5):
    """All that comes back until the server closes, or until it has nothing more to say; (statuses, closed, all of it)."""
    with wire.dial(rig.url, patience) as sock:
        sock.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))
        got, closed = b"", False
        # Whoever is not closed answers this one as well, and then all has been said.
        last = b"GET /api/plugins/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        try:
            sock.sendall(last)
            while got.count(b'"uptime_seconds"') == 0 and not got.endswith(b'{"fake":true}}'):
                data = sock.recv(65536)
                if not data:
                    closed = True
                    break
                got += data
        except (ConnectionResetError, BrokenPipeError):
            closed = True
    statuses = re.findall(rb"HTTP/1\.[01] (\d\d\d)", got)
    return [int(s) for s in statuses], closed, got


def headers(text):
    return CALL + text + "\r\n"


AMBIGUOUS = {
    "two lengths": headers("Content-Length: 2\r\nContent-Length: 3\r\n") + "{}",
    "the same length twice": headers("Content-Length: 2\r\nContent-Length: 2\r\n") + "{}",
    "length and chunks": headers("Transfer-Encoding: chunked\r\nContent-Length: 12\r\n") + CHUNKS[2:],
    "chunks and length": headers("Content-Length: 12\r\nTransfer-Encoding: chunked\r\n") + CHUNKS[2:],
    "two codings": headers("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n") + CHUNKS[2:],
    "space before the colon of the coding": headers("Transfer-Encoding : chunked\r\n") + CHUNKS[2:],
    "space before the colon of the length": headers("Content-Length : 2\r\n") + "{}",
    "tab before the colon": headers("Content-Length\t: 2\r\n") + "{}",
    "space in a name": headers("Content Length: 2\r\n") + "{}",
    "folded coding": headers("Transfer-Encoding:\r\n chunked\r\n") + CHUNKS[2:],
    "folded length": headers("Content-Length: 1\r\n 2\r\n") + "{}",
    "folded with a tab": headers("X: y\r\n\tContent-Length: 2\r\n") + "{}",
    "folded to become a length": headers(f"Content-Lengt: {len(HIDDEN)}\r\n h\r\n"),
    "folded to become a coding": headers("Transfer-Encodin: chunked\r\n g\r\n") + CHUNKS[2:],
    "folded value": headers("X: a\r\n b\r\nContent-Length: 2\r\n") + "{}",
    "folded at the end": headers("Content-Length: 2\r\nX: a\r\n\tb\r\n") + "{}",
    "folded to nothing": headers("X:\r\n \r\nContent-Length: 2\r\n") + "{}",
    "bare CR in a value": headers("X: a\rContent-Length: 2\r\nContent-Length: 0\r\n") + "{}",
    "control character in a value": headers("X: a\x01b\r\nContent-Length: 2\r\n") + "{}",
    "no colon": headers("Content-Length 2\r\n") + "{}",
    "two hosts": headers("Host: localhost\r\nContent-Length: 2\r\n") + "{}",
    "two tokens": headers(AUTH + "Content-Length: 2\r\n") + "{}",
}
for coding in ("xchunked", "chunked, chunked", "gzip, chunked", "identity", "chunked ", "chunked;q=1", '"chunked"',
               "chunked\x0b", "", "chunked,"):
    AMBIGUOUS[f"coding {coding!r}"] = headers(f"Transfer-Encoding:{coding}\r\n") + CHUNKS[2:]
    AMBIGUOUS[f"coding {coding!r} and length"] = headers(f"Transfer-Encoding:{coding}\r\nContent-Length: 2\r\n") + "{}"
for length in ("+2", "-2", "2, 2", "2,2", "0x2", "2 ", "2.0", "", "99999999999999999999", "18446744073709551615", "18446744073709551618", "2;", "\xb2"):
    AMBIGUOUS[f"length {length!r}"] = headers(f"Content-Length:{length}\r\n") + "{}"
for size in ("-2", "0x2", "2 ", " 2", "+2", "ffffffffffffffffff", "10000000000000002", "g", "", "2\n"):
    AMBIGUOUS[f"chunk of {size!r}"] = headers("Transfer-Encoding: chunked\r\n") + f"{size}\r\n{{}}\r\n0\r\n\r\n"
AMBIGUOUS["a chunk longer than it says"] = headers("Transfer-Encoding: chunked\r\n") + "2\r\n{}x\r\n0\r\n\r\n"
AMBIGUOUS["a chunk without its end"] = headers("Transfer-Encoding: chunked\r\n") + "2\r\n{}0\r\n\r\n"


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_could_be_read_in_two_ways_ends_the_connection(rig, name):
    statuses, closed, got = send(rig, AMBIGUOUS[name] + HIDDEN)
    # libmicrohttpd's own refusals have their status line twice: its defect, and the connection ends.
    assert closed and statuses and set(statuses) <= {400, 413, 501}, statuses
    assert b"{hidden}" not in got


@pytest.mark.parametrize("spaces", [1, 2, 3])
def test_a_folded_line_is_seen_wherever_it_lies(rig, spaces):
    """The library keeps a lengthened name in another place when it lies at the end of its buffer."""
    fold = "Content-Lengt:" + " " * spaces + f"{len(HIDDEN)}\r\n h\r\n\r\n"
    for padding in range(3840, 4096):
        with wire.dial(rig.url, 5) as sock:
            sock.sendall((CALL + "X: " + "a" * padding + "\r\n" + fold + HIDDEN).encode())
            reply = wire.read_reply(sock)
        assert reply is None or reply.status == 400, padding


PLAIN = {
    "length": headers("Content-Length: 2\r\n") + "{}",
    "chunks": headers("Transfer-Encoding: chunked\r\n") + CHUNKS[2:],
    "coding in capitals": headers("Transfer-Encoding: CHUNKED\r\n") + CHUNKS[2:],
    "chunk extension": headers("Transfer-Encoding: chunked\r\n") + "2;a=b\r\n{}\r\n0\r\n\r\n",
    "zeros before the length": headers("Content-Length: 0002\r\n") + "{}",
    "lines before the request": "\r\n" + headers("Content-Length: 2\r\n") + "{}",
    "trailers": headers("Transfer-Encoding: chunked\r\n") + "2\r\n{}\r\n0\r\nX: y\r\n\r\n",
    "an unknown header": headers("X-Any_thing!: \xfc, \"a\"\r\nContent-Length: 2\r\n") + "{}",
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_can_be_read_in_one_way_is_answered(rig, name):
    """And so is the request behind it."""
    statuses, closed, got = send(rig, PLAIN[name] + CALL + "Content-Length: 3\r\n\r\n[7]")
    assert statuses == [200, 200, 200] and not closed and b'"result":{}}' in got and b'"result":[7]}' in got


REFUSED = {
    "no token": (401, "POST /api/plugins/execute/a/b HTTP/1.1\r\nHost: localhost\r\n"),
    "another host": (403, CALL.replace("localhost", "elsewhere.example")),
    "no such path": (404, CALL.replace("/api/plugins/execute/a/b", "/nothing")),
    "no such method": (405, CALL.replace("POST", "PUT")),
    "wrong media": (415, CALL + "Content-Type: text/plain\r\n"),
    "a body where none is taken": (400, CALL.replace("POST /api/plugins/execute/a/b", "GET /api/plugins/stats")),
    "a bad deadline": (400, CALL + "Moat-Deadline: soon\r\n"),
}


@pytest.mark.parametrize("way", ["length", "chunks"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_body_is_not_taken_for_a_request(rig, name, way):
    status, start = REFUSED[name]
    if way == "length":
        text = start + f"Content-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}"
    else:
        text = start + f"Transfer-Encoding: chunked\r\n\r\n{len(HIDDEN):x}\r\n{HIDDEN}\r\n0\r\n\r\n"
    statuses, _, got = send(rig, text)
    assert statuses[0] == status and len(statuses) <= 2, statuses
    assert b"{hidden}" not in got


def test_who_expects_to_continue_and_does_not_wait(rig):
    """The body of a request that was refused early is not read as the next one."""
    text = CALL.replace("/api/plugins/execute/a/b", "/nothing") + f"Expect: 100-continue\r\nContent-Length: {len(HIDDEN)}\r\n\r\n"
    statuses, closed, got = send(rig, text + HIDDEN)
    assert statuses == [404] and closed and b"{hidden}" not in got


def test_http10_ends_with_its_answer(rig):
    text = CALL.replace("HTTP/1.1", "HTTP/1.0") + "Transfer-Encoding: chunked\r\n" + CHUNKS
    statuses, closed, got = send(rig, text + HIDDEN)
    assert len(statuses) == 1 and closed and b"{hidden}" not in got


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def spent_on(rig, text):
    """Processor time that the server takes until it gives the connection up."""
    with wire.dial(rig.url) as sock:
        before, begun = processor_seconds(rig.process.pid), time.monotonic()
        sock.sendall(text.encode())
        try:
            while sock.recv(65536):
                pass
        except ConnectionResetError:
            pass
        assert time.monotonic() - begun < 10
        return processor_seconds(rig.process.pid) - before


def endless(size, start=CALL):
    """A chunk's line without an end; one of some 7,900 bytes just fills the room there is for it."""
    return start + "Transfer-Encoding: chunked\r\n\r\n2;" + "a" * size


@pytest.mark.parametrize("text", [
    endless(20_000), endless(20_000, CALL.replace(AUTH, "")), *(endless(size) for size in range(7700, 8100, 50)),
    headers("Transfer-Encoding: chunked\r\n") + "2", headers("Content-Length: 2\r\n"),
    headers("Content-Length: 2\r\n") + "{", CALL + "X: ", headers("Transfer-Encoding: chunked\r\n") + "0\r\n" + "X: y\r\n" * 5000])
def test_what_never_ends_has_an_end_and_costs_no_time_till_then(build, tmp_path, sanitized, text):
    rig = Rig(build, tmp_path / "home", body_ms=500, head_ms=500, idle_ms=500)
    try:
        # Whoever spins does so each time; what else the server had to do meanwhile, it does not.
        spent = min(spent_on(rig, text) for _ in range(3))
        assert spent < (1 if sanitized else 0.3)
        rig.until("busy", "0")
        assert rig.call().status == 200
    finally:
        rig.end()


def unread(rig, sock):
    """Bytes that wait in the server's socket; None when it has closed it."""
    ends = [f":{wire.address(rig.url)[1]:04X}", f":{sock.getsockname()[1]:04X}"]
    with open(f"/proc/{rig.process.pid}/net/tcp", encoding="ascii") as table:
        for fields in (line.split() for line in table):
            if [fields[1][-5:], fields[2][-5:]] == ends and fields[3] == "01":
                return int(fields[4].split(":")[1], 16)
    return None


def room_for_a_line(rig):
    """How long an endless line may be so that all of it is read."""
    with wire.dial(rig.url) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(endless(7700).encode())
        for size in range(7700, 8200):
            while left := unread(rig, sock):
                time.sleep(0.001)
            if left is None:
                return size - 1
            sock.sendall(b"a")
    raise AssertionError("it is read without end")


def test_an_endless_line_that_just_fills_its_room(build, tmp_path, sanitized):
    """Then nothing waits in the socket, and nobody spins; what comes behind it ends the connection."""
    rig = Rig(build, tmp_path / "home", body_ms=20_000)
    try:
        room = room_for_a_line(rig)
        with wire.dial(rig.url) as sock:
            before = processor_seconds(rig.process.pid)
            sock.sendall(endless(room).encode())
            time.sleep(2)
            assert unread(rig, sock) == 0
            assert processor_seconds(rig.process.pid) - before < (1 if sanitized else 0.3)
            sock.sendall(b"a")
            try:
                assert sock.recv(1) == b""
            except ConnectionResetError:
                pass
        rig.until("busy", "0")
    finally:
        rig.end()


@pytest.mark.parametrize("start", [CALL, CALL.replace(AUTH, "")], ids=["token", "no token"])
def test_an_endless_line_ends_its_connection_long_before_its_phase(build, tmp_path, start):
    rig = Rig(build, tmp_path / "home", body_ms=30_000)
    try:
        spent_on(rig, endless(20_000, start))  # in less than ten seconds
        rig.until("busy", "0")
    finally:
        rig.end()


def test_an_endless_line_behind_a_call_that_took_long(build, tmp_path):
    """libmicrohttpd does not watch the descriptor then, and would never see it shut down."""
    rig = Rig(build, tmp_path / "home", body_ms=500)
    try:
        rig.tell("hold")
        with wire.dial(rig.url) as sock:
            sock.sendall((headers("Content-Length: 2\r\n") + "{}" + endless(40_000)).encode())
            rig.until("busy", "1")
            time.sleep(0.2)  # longer than a connection stays active for its call
            rig.tell("finish")
            rig.until("busy", "0")
        rig.tell("release")
        assert rig.call().status == 200
    finally:
        rig.end()


def test_a_body_that_comes_slowly_is_waited_for(build, tmp_path):
    """In pieces that end anywhere, a chunk's line with them, and with more between them than it takes to be suspended."""
    rig = Rig(build, tmp_path / "home", body_ms=20_000)
    pieces = [headers("Transfer-Encoding: chunked\r\n"), "3", ";a=b", "\r", "\n[", "7]", "\r\n0\r", "\n\r\n"]
    try:
        with wire.dial(rig.url) as slow, wire.dial(rig.url) as left, wire.dial(rig.url) as waits:
            for piece in pieces:
                slow.sendall(piece.encode())
                left.sendall(piece.encode() if piece in pieces[:4] else b"")
                waits.sendall(piece.encode() if piece in pieces[:4] else b"")
                time.sleep(0.25)
            reply = wire.read_reply(slow)
            assert reply.status == 200 and reply.json["result"] == [7]
            left.close()  # suspended, and noticed all the same
            rig.until("busy", "1")
    finally:
        rig.end()  # with one that is suspended


def test_resets_at_every_byte(rig):
    """Whatever part of a request has come when its connection breaks, nobody else notices."""
    text = (CALL + "Transfer-Encoding: chunked\r\n" + CHUNKS).encode()
    for at in range(0, len(text), 3):
        with wire.dial(rig.url) as sock:
            sock.sendall(text[:at])
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    rig.until("busy", "0")
    assert rig.call().status == 200
