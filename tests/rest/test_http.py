"""The HTTP server on the wire, over a service that does what the test says: framing, limits, who is let in, clients
that are slow or leave, ending."""

import concurrent.futures
import json
import os
import pathlib
import socket
import stat
import threading
import time

import pytest

import wire
from wire import AUTH, Rig, head


@pytest.fixture
def rig(build, tmp_path):
    rig = Rig(build, tmp_path / "home")
    assert rig.url.startswith("http://127.0.0.1:")
    yield rig
    if rig.process.poll() is None:
        rig.end()


# ---- answers ----


def test_success_and_failure_have_one_shape(rig):
    good = rig.call("[1, 2]")
    assert (good.status, good.body) == (200, b'{"success":true,"result":[1, 2]}')
    assert good.headers["Content-Type"] == "application/json"
    assert json.loads(good.headers["Moat-Receipt"])["bytes_in"] == 6
    bad = rig.ask("GET", "/api/nothing")
    assert bad.status == 404 and bad.code == "not_found" and bad.json["success"] is False
    assert len(bad.json["error"]["id"]) == 32


def test_head_is_get_without_its_body(rig):
    get, without = rig.ask("GET", "/api/plugins/stats"), rig.ask("HEAD", "/api/plugins/stats")
    assert without.status == 200 and without.body == b""
    assert without.headers["Content-Length"] == str(len(get.body))


@pytest.mark.parametrize("target", ["/api/plugins/health", "/openapi.json"])
def test_nothing_of_a_body_follows_head(rig, target):
    """Not the last chunk either: its client would take it for the beginning of the next answer."""
    text = b""
    with wire.dial(rig.url) as sock:
        sock.sendall(head(rig, "HEAD", target, AUTH + "Accept-Encoding: gzip\r\n") + head(rig, "GET", "/api/nothing", AUTH + "Connection: close\r\n"))
        while part := sock.recv(65536):
            text += part
    first, _, rest = text.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ") and rest.startswith(b"HTTP/1.1 404 ")


def test_one_connection_serves_many(rig):
    connection = rig.connect()
    connection.connect()
    sock = connection.sock
    for i in range(200):
        assert wire.request(connection, "POST", "/api/plugins/execute/a/b", str(i), wire.TOKEN).json["result"] == i
        status = wire.request(connection, "GET", "/api/nothing", None, wire.TOKEN).status
        assert status == 404 and connection.sock is sock


def test_pipelined_requests_are_answered_in_order(rig):
    n = 1000
    one = [head(rig, more=f"{AUTH}Content-Length: {len(str(i))}\r\n") + str(i).encode() for i in range(n)]
    with wire.dial(rig.url) as sock:
        sender = threading.Thread(target=sock.sendall, args=(b"".join(one),))
        sender.start()
        file = sock.makefile("rb")
        for i in range(n):
            assert file.readline() == b"HTTP/1.1 200 OK\r\n"
            length = 0
            while (line := file.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert json.loads(file.read(length))["result"] == i
        sender.join()


@pytest.mark.parametrize("size", [0, 1, 511, 512, 4000, 16 * 1024 - 30, 16 * 1024, 100_000, 1 << 20])
def test_bodies_of_every_size(rig, rng, size):
    body = json.dumps("x" * max(0, size - 2))[:size] if size > 1 else "1" * size
    reply = rig.call(body)
    assert reply.body == b'{"success":true,"result":' + body.encode() + b"}"
    chunked = head(rig, more=AUTH + "Transfer-Encoding: chunked\r\n")
    at = 0
    while at < size:
        n = rng.randrange(1, 20_000)
        part = body[at:at + n].encode()
        chunked += b"%x\r\n%s\r\n" % (len(part), part)
        at += n
    assert wire.raw(rig.url, chunked + b"0\r\n\r\n").body == reply.body


# ---- who is let in ----


def test_token_and_socket(rig):
    assert rig.ask("GET", "/api/plugins/health", token=None).status == 200
    for token in (None, "wrong", wire.TOKEN[:-1], wire.TOKEN + "0"):
        reply = rig.ask("GET", "/api/plugins/stats", token=token)
        assert reply.status == 401 and reply.code == "unauthorized"
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    assert rig.ask("GET", "/api/plugins/stats").status == 200
    mode = os.stat(rig.socket).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    assert wire.request(wire.UnixConnection(rig.socket), "GET", "/api/plugins/stats").status == 200


def test_who_asks_comes_before_what_is_asked(rig):
    reply = rig.ask("POST", "/api/plugins/install?nonsense=1", "x", token=None, headers={"Content-Type": "text/x"})
    assert reply.status == 401


@pytest.mark.parametrize("host,status", [("localhost", 200), ("LOCALHOST:{port}", 200), ("127.0.0.1:{port}", 200),
                                         ("127.0.0.1:1", 403), ("evil.example", 403), ("127.0.0.1.evil.example", 403),
                                         ("localhost.", 403), ("", 403), ("localhost:{port}x", 403)])
def test_host_must_be_ours(rig, host, status):
    host = host.format(port=wire.address(rig.url)[1])
    reply = wire.raw(rig.url, f"GET /api/plugins/health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), "GET")
    assert reply.status == status


@pytest.mark.parametrize("target,status", [
    ("http://127.0.0.1:{port}/api/plugins/health", 200), ("HTTP://LOCALHOST/api/plugins/health?ready", 200),
    ("http://127.0.0.1:{port}/api/plugins/health?x", 400), ("http://127.0.0.1:{port}/nothing", 401),
    ("http://evil.example/api/plugins/health", 403), ("http:///api/plugins/health", 403),
    ("http://a@127.0.0.1:{port}/api/plugins/health", 403), ("http://127.0.0.1:{port}", 400),
    ("http://127.0.0.1:{port}?/api/plugins/health", 400), ("ftp://127.0.0.1:{port}/api/plugins/health", 400),
    ("127.0.0.1:{port}", 400)])
@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "evil.example"])
def test_a_target_in_absolute_form_names_the_host(rig, target, status, host):
    """And the header's does not count."""
    target, host = (text.format(port=wire.address(rig.url)[1]) for text in (target, host))
    reply = wire.raw(rig.url, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), "GET")
    absolute = "://" in target and status != 400
    assert reply.status == status if absolute or host != "evil.example" else reply.status in (status, 403)


def test_pages_of_elsewhere_are_refused(rig):
    for origin in ("http://evil.example", "null", rig.url):
        assert rig.ask("GET", "/api/plugins/health", headers={"Origin": origin}).status == 403


# ---- malformed ----


@pytest.mark.parametrize("data", [
    b"\r\n\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x00\xa5\x01", b"\x00" * 100,
    b"GET /api/plugins/health\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 20_000 + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n"])
def test_malformed_requests_do_no_harm(rig, data):
    with wire.dial(rig.url) as sock:
        sock.sendall(data)
        sock.settimeout(0.2)  # some of it is the beginning of a request, for whose rest the server waits
        try:
            reply = wire.read_reply(sock)
        except TimeoutError:
            reply = None
    assert reply is None or reply.status >= 400
    assert rig.call().status == 200


@pytest.mark.parametrize("more", ["Content-Length: 2\r\nContent-Length: 3\r\n",
                                  "Content-Length: 2\r\nContent-Length: 2\r\n",
                                  "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
                                  "Host: localhost\r\nContent-Length: 2\r\n",
                                  f"{AUTH}Content-Length: 2\r\n"])
def test_ambiguous_heads_are_refused(rig, more):
    with wire.dial(rig.url) as sock:
        sock.sendall(head(rig, more=AUTH + more) + (b"2\r\n{}\r\n0\r\n\r\n" if "chunked" in more else b"{}"))
        sock.shutdown(socket.SHUT_WR)
        reply = wire.read_reply(sock)
    assert reply is None or reply.status == 400
    assert rig.tell("asked") == ""


def test_http11_needs_a_host_and_http10_does_not(rig):
    assert wire.raw(rig.url, b"GET /api/plugins/health HTTP/1.1\r\n\r\n", "GET").status == 400
    assert wire.raw(rig.url, b"GET /api/plugins/health HTTP/1.0\r\n\r\n", "GET").status == 200


# ---- limits ----


def test_too_large_is_said_and_read(rig):
    rig.tell("limits 1000 5000")
    for size in (1001, 200_000):
        reply = rig.call("1" * size)
        assert reply.status == 413 and reply.code == "too_large"
    reply = rig.ask("POST", "/api/plugins/install", "x" * 5001, headers={"Content-Type": "application/octet-stream"})
    assert reply.status == 413
    chunks = b"".join(b"1f4\r\n" + b"1" * 500 + b"\r\n" for _ in range(10)) + b"0\r\n\r\n"
    reply = wire.raw(rig.url, head(rig, more=AUTH + "Transfer-Encoding: chunked\r\n") + chunks)
    assert reply.status == 413
    assert rig.call("1" * 1000).status == 200


def test_who_expects_to_continue_is_refused_before_the_body(rig):
    rig.tell("limits 1000 5000")
    with wire.dial(rig.url) as sock:
        sock.sendall(head(rig, more=AUTH + "Expect: 100-continue\r\nContent-Length: 5000\r\n"))
        assert wire.read_reply(sock).status == 413
    with wire.dial(rig.url) as sock:
        sock.sendall(head(rig, more=AUTH + "Expect: 100-continue\r\nContent-Length: 2\r\n"))
        assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"{}")
        assert wire.read_reply(sock).status == 200


def test_a_huge_body_is_cut(rig):
    """A client that is refused and sends on and on does not hold its connection for ever."""
    rig.tell("limits 1000 5000")
    with wire.dial(rig.url) as sock:
        sock.sendall(head(rig, more=AUTH + "Transfer-Encoding: chunked\r\n"))
        chunk = b"10000\r\n" + b"1" * 65536 + b"\r\n"
        with pytest.raises(OSError):
            for _ in range(4096):
                sock.sendall(chunk)
    assert rig.call().status == 200


def incoming(rig):
    path = rig.home / "packages" / "incoming"
    return list(path.iterdir()) if path.exists() else []


def test_upload_arrives_and_a_broken_one_leaves_nothing(rig):
    octets = {"Content-Type": "application/octet-stream"}
    assert rig.ask("POST", "/api/plugins/install?auto_load=true", "a package", headers=octets).status == 200
    assert rig.tell("package") == "a package" and "load=1" in rig.tell("asked")
    before = rig.tell("asked")
    more = AUTH + "Content-Type: application/octet-stream\r\nContent-Length: 100000\r\n"
    for whole in (False, True) * 5:
        with wire.dial(rig.url) as sock:
            sock.sendall(head(rig, target="/api/plugins/install", more=more) + b"x" * 5000)
            if not whole:  # else its end comes together with its bytes
                rig.until("busy", "1")
            assert incoming(rig) == []
        rig.until("busy", "0")
    rig.until("busy", "0")
    descriptors = os.listdir(f"/proc/{rig.process.pid}/fd")
    assert not [fd for fd in descriptors if "incoming" in os.readlink(f"/proc/{rig.process.pid}/fd/{fd}")]
    assert rig.tell("asked") == before


# ---- slow clients and clients that leave ----


def test_a_client_that_only_ends_its_sending_is_answered(rig):
    """Half-closed with everything sent: that is no client that left, as long as its request is a short one."""
    body = b"1" * 100_000
    with wire.dial(rig.url) as sock:
        sock.sendall(head(rig, more=AUTH + f"Content-Length: {len(body)}\r\n") + body)
        sock.shutdown(socket.SHUT_WR)
        assert wire.read_reply(sock).status == 200


def test_a_slow_client_holds_nobody_up(rig):
    data = head(rig, more=AUTH + "Content-Length: 2\r\n") + b"{}"
    with wire.dial(rig.url) as slow:
        for i in range(len(data)):
            slow.sendall(data[i:i + 1])
            if i % 10 == 0:
                assert rig.call().status == 200
        assert wire.read_reply(slow).status == 200


@pytest.mark.parametrize("way", ["close", "reset", "unix"])
def test_a_client_that_leaves_cancels_its_call(rig, way):
    rig.tell("hold")
    if way == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(rig.socket))
    else:
        sock = wire.dial(rig.url)
    sock.sendall(head(rig, more=AUTH + "Content-Length: 2\r\n") + b"{}")
    rig.until("busy", "1")
    rig.until("asked", "call a b deadline=0 trace=")
    time.sleep(0.05)
    assert rig.tell("cancelled") == "0"
    if way == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
    rig.until("cancelled", "1")
    rig.until("busy", "0")
    rig.tell("release")
    assert rig.call().status == 200


def test_many_clients_leave_at_once(rig):
    rig.tell("hold")
    socks = [wire.dial(rig.url) for _ in range(200)]
    for sock in socks:
        sock.sendall(head(rig, more=AUTH + "Content-Length: 2\r\n") + b"{}")
    rig.until("busy", "200")
    for sock in socks:
        sock.close()
    rig.until("cancelled", "200")
    rig.until("busy", "0")


def test_slow_calls_do_not_stop_fast_ones(rig):
    rig.tell("hold")
    with wire.dial(rig.url) as held:
        held.sendall(head(rig, more=AUTH + "Content-Length: 2\r\n") + b"{}")
        rig.until("busy", "1")
        rig.tell("release")
        for _ in range(100):
            assert rig.call().status == 200
        assert rig.tell("busy") == "1"


def test_answers_from_the_loop_and_from_other_threads_at_once(rig):
    """Each wakes the server by its own way; none of them may swallow another's wake-up."""

    def many(kind):
        connection = rig.connect()
        for i in range(400):
            if kind:
                reply = wire.request(connection, "POST", "/api/plugins/execute/a/b", str(i), wire.TOKEN)
            else:
                reply = wire.request(connection, "GET", "/api/plugins/stats", None, wire.TOKEN)
            assert reply.status == 200
        connection.close()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(many, i % 2) for i in range(16)]:
            done.result()


# ---- ending ----


def test_draining_answers_503_and_takes_no_connection(rig):
    connection = rig.connect()
    assert wire.request(connection, "GET", "/api/plugins/stats", None, wire.TOKEN).status == 200
    rig.tell("drain")
    reply = wire.request(connection, "GET", "/api/plugins/stats", None, wire.TOKEN)
    assert reply.status == 503 and reply.code == "draining" and reply.headers["Connection"] == "close"
    with pytest.raises(OSError):
        rig.ask("GET", "/api/plugins/health")


def test_ending_with_calls_under_way(build, tmp_path):
    rig = Rig(build, tmp_path / "home")
    rig.tell("hold")
    socks = [wire.dial(rig.url) for _ in range(20)]
    for sock in socks:
        sock.sendall(head(rig, more=AUTH + "Content-Length: 2\r\n") + b"{}")
    rig.until("busy", "20")
    rig.end()
    for sock in socks:
        sock.close()
    assert not rig.socket.exists()


# ---- where it listens ----


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.1:80", "[::]:0", "127.0.0.1", "127.0.0.1:x", ":80",
                                    "127.0.0.1:70000", "example.com:80", ""])
def test_only_loopback(build, tmp_path, listen):
    rig = Rig(build, tmp_path / "home", listen)
    assert "://" not in rig.url and rig.url
    assert rig.process.wait(20) == 1
    assert not rig.socket.exists()


def test_stale_socket_and_long_home(build, tmp_path):
    home = pathlib.Path(tmp_path, "a" * 60, "b" * 60, "c" * 60)
    (home / "registry").mkdir(parents=True)
    stale = socket.socket(socket.AF_UNIX)
    old = os.open(home / "registry", os.O_PATH)
    stale.bind(f"/proc/self/fd/{old}/moat.sock")
    stale.close()
    rig = Rig(build, home)
    assert rig.url.startswith("http://")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"/proc/self/fd/{old}/moat.sock")
        sock.sendall(b"GET /api/plugins/stats HTTP/1.0\r\n\r\n")
        assert wire.read_reply(sock, "GET").status == 200
    os.close(old)
    rig.end()


def test_taken_port_is_said(build, tmp_path):
    first = Rig(build, tmp_path / "one")
    second = Rig(build, tmp_path / "two", first.url.removeprefix("http://"))
    assert "cannot listen" in second.url
    assert second.process.wait(20) == 1
    first.end()
