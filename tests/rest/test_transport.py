"""What a client may take of the server, TLS, compressed answers, and what a supervisor gives: over a service that does
what the test says."""

import contextlib
import fcntl
import gzip
import http.client
import json
import os
import resource
import select
import signal
import socket
import ssl
import subprocess
import time

import pytest

import wire
from wire import AUTH, TOKEN, Rig, head

PLUGIN_CALL = "/api/plugins/execute/a/b"


@contextlib.contextmanager
def running(build, tmp_path, listen="127.0.0.1:0", **options):
    rig = Rig(build, tmp_path / "home", listen, **options)
    assert "://" in rig.url, rig.url
    try:
        yield rig
    finally:
        rig.end()


def closed_by_server(sock, within=20):
    """True once the server has ended the connection; what it sent before is thrown away."""
    sock.settimeout(within)
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def trickle(sock, data, every):
    """A byte now and then, until the server ends it; how many it took."""
    sock.setblocking(False)
    for i in range(len(data)):
        try:
            sock.send(data[i:i + 1])
        except OSError:
            return i
        readable, _, _ = select.select([sock], [], [], every)
        if readable:
            try:
                if not sock.recv(65536):
                    return i
            except OSError:
                return i
    return len(data)


# ---- time ----


def test_a_byte_now_and_then_does_not_live_for_ever(build, tmp_path):
    """In each phase the bytes come well within any idle timeout, and the end comes all the same."""
    long_head = b"GET /api/plugins/health HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 200
    with running(build, tmp_path, head_ms=400, idle_ms=400, body_ms=400, rate=1_000_000) as rig:
        with wire.dial(rig.url) as sock:  # the first head
            assert trickle(sock, long_head, 0.02) < len(long_head)
        with wire.dial(rig.url) as sock:  # a later one
            sock.sendall(head(rig, "GET", "/api/plugins/health"))
            assert wire.read_reply(sock, "GET").status == 200
            assert trickle(sock, long_head, 0.02) < len(long_head)
        body = b"1" * 2000
        with wire.dial(rig.url) as sock:
            sock.sendall(head(rig, more=AUTH + f"Content-Length: {len(body)}\r\n"))
            assert trickle(sock, body, 0.02) < len(body)
        chunks = b"1\r\n1\r\n" * 1000
        with wire.dial(rig.url) as sock:
            sock.sendall(head(rig, more=AUTH + "Transfer-Encoding: chunked\r\n"))
            assert trickle(sock, chunks, 0.02) < len(chunks)
        rig.until("busy", "0")
        assert rig.call().status == 200


def test_an_answer_that_nobody_reads_is_given_up(build, tmp_path):
    with running(build, tmp_path, body_ms=300, rate=100_000_000) as rig:
        rig.tell("limits 33554432 1000")
        body = b"1" * (16 << 20)
        with wire.dial(rig.url) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(head(rig, more=AUTH + f"Content-Length: {len(body)}\r\n"))
            sock.sendall(body)
            rig.until("busy", "1")
            rig.until("busy", "0")


def test_who_is_slow_but_fast_enough_is_served(build, tmp_path):
    """The time of a body grows with its length."""
    with running(build, tmp_path, body_ms=300, rate=2000) as rig:
        body = b"1" * 4000
        with wire.dial(rig.url) as sock:
            sock.sendall(head(rig, more=AUTH + f"Content-Length: {len(body)}\r\n"))
            for i in range(0, len(body), 400):
                sock.sendall(body[i:i + 400])
                time.sleep(0.08)
            assert wire.read_reply(sock).status == 200


def test_a_running_call_has_all_time(build, tmp_path):
    with running(build, tmp_path, head_ms=200, idle_ms=200, body_ms=200) as rig:
        rig.tell("hold")
        with wire.dial(rig.url) as sock:
            sock.sendall(head(rig, more=AUTH + "Content-Length: 2\r\n") + b"{}")
            assert not closed_by_server(sock, within=1)
            assert rig.tell("cancelled") == "0"
        rig.until("cancelled", "1")


# ---- how many ----


def test_connections_of_one_address(build, tmp_path):
    """Loopback has no such limit: many addresses of it are one machine."""
    with running(build, tmp_path, per_address=2) as rig:
        socks = [wire.dial(rig.url) for _ in range(20)]
        assert rig.call().status == 200
        for sock in socks:
            sock.close()


def test_connections_in_all(build, tmp_path):
    """Who comes when there is no room waits in the kernel's queue until somebody leaves; the Unix socket has its own."""
    with running(build, tmp_path, connections=4) as rig:
        socks = [wire.dial(rig.url) for _ in range(6)]
        for sock in socks:
            sock.sendall(head(rig, "GET", "/api/plugins/health"))
        for sock in socks[:4]:
            assert wire.read_reply(sock, "GET").status == 200
        readable, _, _ = select.select(socks[4:], [], [], 0.3)
        assert not readable
        assert wire.request(wire.UnixConnection(rig.socket), "GET", "/api/plugins/health").status == 200
        for sock in socks[:2]:
            sock.close()
        for sock in socks[4:]:
            assert wire.read_reply(sock, "GET").status == 200
        for sock in socks[2:]:
            sock.close()


def memory_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def test_idle_connections_by_the_thousand(build, tmp_path, sanitized):
    """They cost memory while they stand, hold nobody up, and are gone afterwards."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n = min(10_000, hard - 2000)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with running(build, tmp_path) as rig:
            assert rig.call().status == 200
            before = memory_kib(rig.process.pid)
            socks = []
            for _ in range(n):
                socks.append(wire.dial(rig.url))
            for sock in socks[::100]:
                sock.sendall(head(rig, "GET", "/api/plugins/health"))
            for sock in socks[::100]:
                assert wire.read_reply(sock, "GET").status == 200
            assert rig.call().status == 200
            grown = memory_kib(rig.process.pid) - before
            assert sanitized or grown < 20 * n, f"{grown} KiB for {n} connections"
            for sock in socks:
                sock.close()
            end = time.monotonic() + 20
            while len(os.listdir(f"/proc/{rig.process.pid}/fd")) > 60 and time.monotonic() < end:
                time.sleep(0.05)
            assert len(os.listdir(f"/proc/{rig.process.pid}/fd")) <= 60
            assert rig.call().status == 200
            while not sanitized and memory_kib(rig.process.pid) - before > 8 * 1024:
                assert time.monotonic() < end, f"{memory_kib(rig.process.pid) - before} of {grown} KiB are not given back"
                time.sleep(0.05)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- TLS ----


def make_certificate(directory, name):
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                    "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key,
                    "-out", cert], check=True, capture_output=True)
    key.chmod(0o600)
    return cert, key


def secure(cafile, **more):
    context = ssl.create_default_context(cafile=cafile)
    for name, value in more.items():
        setattr(context, name, value)
    return context


def ask_secure(rig, context, method="POST", target=PLUGIN_CALL, body="{}", headers=()):
    connection = http.client.HTTPSConnection(*wire.address(rig.url), timeout=20, context=context)
    try:
        return wire.request(connection, method, target, body, TOKEN, headers)
    finally:
        connection.close()


def test_tls(build, tmp_path):
    cert, key = make_certificate(tmp_path, "one")
    with running(build, tmp_path, cert=cert, key=key) as rig:
        assert rig.url.startswith("https://127.0.0.1:")
        assert ask_secure(rig, secure(cert)).status == 200
        for size in (1 << 10, 1 << 16, 1_000_000):
            assert len(ask_secure(rig, secure(cert), body="1" * size).body) > size
        connection = http.client.HTTPSConnection(*wire.address(rig.url), timeout=20, context=secure(cert))
        for i in range(200):
            assert wire.request(connection, "POST", PLUGIN_CALL, str(i), TOKEN).json["result"] == i
        connection.close()
        with pytest.raises(ssl.SSLError):
            ask_secure(rig, ssl.create_default_context())  # it is trusted by nobody else
        old = secure(cert, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(OSError):
            ask_secure(rig, old)
        assert ask_secure(rig, secure(cert, maximum_version=ssl.TLSVersion.TLSv1_2)).status == 200
        with wire.dial(rig.url) as sock:  # no TLS at all
            sock.sendall(head(rig, "GET", "/api/plugins/health"))
            assert closed_by_server(sock)
        assert wire.request(wire.UnixConnection(rig.socket), "GET", "/api/plugins/stats").status == 200


def test_chunks_over_tls(build, tmp_path):
    """What comes slowly is waited for, with pauses in which its connection is suspended; a line without an end is not."""
    cert, key = make_certificate(tmp_path, "one")
    with running(build, tmp_path, cert=cert, key=key) as rig:
        start = head(rig, more=AUTH + "Transfer-Encoding: chunked\r\n")
        with secure(cert).wrap_socket(wire.dial(rig.url), server_hostname="localhost") as sock:
            for piece in (start, b"3;a", b"=b\r\n[", b"7]\r", b"\n0\r\n\r\n"):
                sock.sendall(piece)
                time.sleep(0.25)
            assert wire.read_reply(sock).json["result"] == [7]
        with secure(cert).wrap_socket(wire.dial(rig.url), server_hostname="localhost") as sock:
            sock.sendall(start + b"2;" + b"a" * 40_000)
            assert closed_by_server(sock)
        rig.until("busy", "0")


def test_a_handshake_that_stays_away(build, tmp_path):
    cert, key = make_certificate(tmp_path, "one")
    with running(build, tmp_path, cert=cert, key=key, head_ms=400) as rig:
        with wire.dial(rig.url) as sock:
            assert closed_by_server(sock)
        with wire.dial(rig.url) as sock:
            hello = b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03" + b"\x00" * 200
            assert trickle(sock, hello, 0.02) < len(hello)
        assert ask_secure(rig, secure(cert)).status == 200


def test_certificates_are_exchanged_while_connections_stand(build, tmp_path):
    first, second = make_certificate(tmp_path, "one"), make_certificate(tmp_path, "two")
    cert, key = tmp_path / "cert", tmp_path / "key"

    def put(pair):
        for source, target in zip(pair, (cert, key)):
            fresh = target.with_suffix(".new")
            fresh.write_bytes(source.read_bytes())
            fresh.chmod(0o600)
            fresh.rename(target)

    put(first)
    with running(build, tmp_path, cert=cert, key=key) as rig:
        standing = http.client.HTTPSConnection(*wire.address(rig.url), timeout=20, context=secure(first[0]))
        assert wire.request(standing, "POST", PLUGIN_CALL, "1", TOKEN).status == 200
        put(second)
        assert rig.tell("reload") == "ok"
        assert ask_secure(rig, secure(second[0])).status == 200
        with pytest.raises(ssl.SSLError):
            ask_secure(rig, secure(first[0]))
        assert wire.request(standing, "POST", PLUGIN_CALL, "2", TOKEN).status == 200
        standing.close()
        put((first[0], second[1]))  # these do not belong together: what worked goes on
        assert "no certificate and its key" in rig.tell("reload")
        key.unlink()
        assert "cannot read" in rig.tell("reload")
        assert ask_secure(rig, secure(second[0])).status == 200


@pytest.mark.parametrize("what", ["missing", "mismatch", "garbage", "readable", "half"])
def test_certificates_that_cannot_be(build, tmp_path, what):
    cert, key = make_certificate(tmp_path, "one")
    options = {"cert": cert, "key": key}
    if what == "missing":
        key.unlink()
    elif what == "mismatch":
        options["key"] = make_certificate(tmp_path, "two")[1]
    elif what == "garbage":
        cert.write_text("nonsense")
    elif what == "readable":
        key.chmod(0o644)
    else:
        del options["key"]
    rig = Rig(build, tmp_path / "home", **options)
    assert "://" not in rig.url and rig.url
    assert rig.process.wait(20) == 1
    if what in ("missing", "garbage"):
        assert str(tmp_path) in rig.url
    if what == "readable":
        assert "chmod 600" in rig.url
    assert not rig.socket.exists()


# ---- compressed answers ----


@pytest.mark.parametrize("size", [100, 1000, 20_000, 3_000_000])
@pytest.mark.parametrize("tls", [False, True])
def test_compressed(build, tmp_path, rng, size, tls):
    options = dict(zip(("cert", "key"), make_certificate(tmp_path, "one"))) if tls else {}
    ask = (lambda rig, *a, **k: ask_secure(rig, secure(options["cert"]), *a, **k)) if tls else Rig.ask
    body = json.dumps([rng.random() for _ in range(size // 20)])
    with running(build, tmp_path, **options) as rig:
        rig.tell("limits 33554432 1000")
        plain = ask(rig, "POST", PLUGIN_CALL, body)
        assert "Content-Encoding" not in plain.headers
        packed = ask(rig, "POST", PLUGIN_CALL, body, headers={"Accept-Encoding": "br, gzip;q=0.5"})
        if size >= 1000:
            assert packed.headers["Content-Encoding"] == "gzip" and packed.headers["Vary"] == "Accept-Encoding"
            assert len(packed.body) < 0.7 * len(plain.body)
            assert gzip.decompress(packed.body) == plain.body
        else:
            assert packed.body == plain.body
        for refused in ("gzip;q=0", "identity", "br", "gzipped", ""):
            reply = ask(rig, "POST", PLUGIN_CALL, body, headers={"Accept-Encoding": refused})
            assert "Content-Encoding" not in reply.headers and reply.body == plain.body


def test_a_compressed_answer_that_nobody_reads_to_its_end(build, tmp_path, rng):
    body = json.dumps([rng.random() for _ in range(200_000)]).encode()
    with running(build, tmp_path) as rig:
        rig.tell("limits 33554432 1000")
        for _ in range(5):
            with wire.dial(rig.url) as sock:
                sock.sendall(head(rig, more=AUTH + f"Accept-Encoding: gzip\r\nContent-Length: {len(body)}\r\n") + body)
                assert sock.recv(100)
        rig.until("busy", "0")
        assert rig.call().status == 200


# ---- the access log ----


def test_one_request_in_so_many_is_logged(build, tmp_path):
    with running(build, tmp_path, access_every=10) as rig:
        for _ in range(25):
            rig.ask("GET", "/api/plugins/available?q=private")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    access = [line for line in lines if line["event"] == "access"]
    assert len(access) == 2
    assert all(a["method"] == "GET" and a["path"] == "/api/plugins/available" and a["status"] == 200 for a in access)
    assert "private" not in (tmp_path / "log").read_text() and TOKEN not in (tmp_path / "log").read_text()


# ---- a supervisor ----


class Supervisor:
    """As systemd does: sockets at 3 and up, and a socket to hear of it."""

    def __init__(self, tmp_path, abstract):
        name = f"@moat-{os.getpid()}-{os.urandom(4).hex()}" if abstract else str(tmp_path / "notify")
        self.heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.heard.bind("\0" + name[1:] if abstract else name)
        self.heard.settimeout(30)
        self.name = name

    def start(self, command, sockets):
        script = ('import os, sys\nos.environ["LISTEN_PID"] = str(os.getpid())\n'
                  'for i, fd in enumerate(sys.argv[1].split(",") if sys.argv[1] else []):\n    os.dup2(int(fd), 3 + i)\n'
                  'os.execv(sys.argv[2], sys.argv[2:])\n')
        # Beyond 3 and what follows, and never over one of this process's own.
        high = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, 100) for sock in sockets]
        env = dict(os.environ, NOTIFY_SOCKET=self.name, LISTEN_FDS=str(len(sockets)), LISTEN_FDNAMES="x")
        try:
            return subprocess.Popen(["/usr/bin/python3", "-c", script, ",".join(map(str, high)), *command], env=env,
                                    pass_fds=high, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        finally:
            for fd in high:
                os.close(fd)

    def hear(self):
        return self.heard.recv(1000).decode()


@pytest.mark.parametrize("abstract", [False, True])
def test_started_by_a_supervisor(build, tmp_path, abstract):
    home = tmp_path / "home"
    (home / "registry").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    tcp = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(home / "registry" / "moat.sock"))
    unix.listen()
    supervisor = Supervisor(tmp_path, abstract)
    server = supervisor.start([build / "moat", "serve", "--json", "--home", home], [tcp, unix])
    try:
        assert supervisor.hear() == "READY=1"
        said = json.loads(server.stdout.readline())
        assert said["url"] == f"http://127.0.0.1:{tcp.getsockname()[1]}"
        connection = http.client.HTTPConnection(*tcp.getsockname(), timeout=20)
        assert wire.request(connection, "GET", "/api/plugins/stats", None, said["admin_token"]).status == 200
        connection.close()
        assert wire.request(wire.UnixConnection(home / "registry" / "moat.sock"), "GET", "/api/plugins/stats").status == 200
        server.send_signal(signal.SIGHUP)
        assert supervisor.hear().startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert supervisor.hear() == "READY=1"
        server.send_signal(signal.SIGTERM)
        assert supervisor.hear() == "STOPPING=1"
        assert server.wait(30) == 0
        assert (home / "registry" / "moat.sock").exists()  # it is the supervisor's
    finally:
        server.kill()
        server.wait()
        tcp.close()
        unix.close()


def test_what_is_inherited_must_make_sense(build, tmp_path):
    for sockets, word in (([socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))], "one kind"),
                          ([socket.socket()], "no listening socket")):
        server = Supervisor(tmp_path, True).start([build / "moat", "serve", "--home", tmp_path / "home"], sockets)
        _, said = server.communicate(timeout=30)
        assert server.returncode == 2 and word in said
        for sock in sockets:
            sock.close()
