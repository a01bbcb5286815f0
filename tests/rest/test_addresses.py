"""How many connections whoever comes from other machines may have, of one address and in all, with a real server."""

import contextlib
import json
import select
import ssl
import subprocess

import pytest
import wire
from client import until
from elsewhere import Elsewhere
from test_transport import make_certificate, secure

from place import Place


@pytest.fixture
def elsewhere():
    with Elsewhere() as network:
        yield network


@pytest.fixture
def place(build, tmp_path):
    place = Place(build, tmp_path)
    yield place
    place.close()


class Clients:
    """Connections to one server, each from the address that it says; all closed in the end."""

    def __init__(self, elsewhere, url):
        self.elsewhere, self.url, self.stack = elsewhere, url, contextlib.ExitStack()
        self.port = wire.address(url)[1]

    def dial(self, source, host=None):
        address = (host, self.port) if host else wire.address(self.url)
        return self.stack.enter_context(self.elsewhere.dial(source, address))

    def asked(self, source, host=None):
        sock = self.dial(source, host)
        with contextlib.suppress(ConnectionError):  # it may be closed already
            sock.sendall(b"GET /api/plugins/health HTTP/1.1\r\nHost: any.example\r\n\r\n")
        return sock

    def enter(self, source, host=None):
        """A connection that was answered and stands; None: the server closed it without a word."""
        sock = self.asked(source, host)
        if answered(sock):
            return sock
        return sock.close()

    def enter_all(self, n, source, host=None):
        socks = [self.enter(source, host) for _ in range(n)]
        assert None not in socks, f"{socks.count(None)} of {n} from {source} were refused"
        return socks


def answered(sock):
    reply = wire.read_reply(sock, "GET")
    assert reply is None or reply.status == 200
    return reply is not None


@contextlib.contextmanager
def serving(place, elsewhere, listen, *options):
    place.server = subprocess.Popen(elsewhere.run([place.build / "moat", "serve", "--json", "--listen", listen, *options]),
                                    env=place.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL, text=True)
    clients = Clients(elsewhere, json.loads(place.server.stdout.readline())["url"])
    with clients.stack:
        yield clients


def test_others_are_served_with_tls_or_what_says_that_it_is_missed(place, elsewhere):
    refused = subprocess.run(elsewhere.run([place.build / "moat", "serve", "--listen", "192.0.2.1:0"]), env=place.env,
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2 and "--tls-cert" in refused.stderr and "--insecure-http" in refused.stderr


def test_an_address_has_so_many_connections_and_another_its_own(place, elsewhere):
    place.good("settings", "set", "http_connections_per_address", "3")
    with serving(place, elsewhere, "192.0.2.1:0", "--insecure-http") as clients:
        first = clients.enter_all(3, "192.0.2.2")
        assert not clients.enter("192.0.2.2") and not clients.enter("192.0.2.2")
        clients.enter_all(3, "192.0.2.3")
        assert not clients.enter("192.0.2.3")
        for sock in first:  # those that stand are not touched
            sock.sendall(b"GET /api/plugins/health HTTP/1.1\r\nHost: any.example\r\n\r\n")
            assert answered(sock)
        first[1].close()  # makes room for one, as soon as the server has seen it
        until(lambda: clients.enter("192.0.2.2"))
        assert not clients.enter("192.0.2.2")
        place.good("settings", "set", "http_connections_per_address", "4")  # holds at once
        clients.enter_all(1, "192.0.2.2")
        assert not clients.enter("192.0.2.2")


def test_over_tls_who_has_not_shaken_hands_counts_as_well(place, elsewhere, tmp_path):
    cert, key = make_certificate(tmp_path, "one")
    place.good("settings", "set", "http_connections_per_address", "3")

    def shakes_hands(source):
        with clients.dial(source) as sock:
            try:
                with secure(cert, check_hostname=False).wrap_socket(sock) as secured:
                    secured.sendall(b"GET /api/plugins/health HTTP/1.1\r\nHost: any.example\r\n\r\n")
                    return answered(secured)
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError):
                return False

    with serving(place, elsewhere, "192.0.2.1:0", "--tls-cert", cert, "--tls-key", key) as clients:
        silent = [clients.dial("192.0.2.2") for _ in range(3)]
        assert not shakes_hands("192.0.2.2")
        assert shakes_hands("192.0.2.3")
        for sock in silent:
            sock.close()
        until(lambda: shakes_hands("192.0.2.2"))


def test_what_one_address_is(place, elsewhere):
    """At a listener for both: IPv4 by address, IPv6 by network; none of loopback, of which one machine has many."""
    one, near, far = "2001:db8:0:1::2", "2001:db8:0:1:ffff::3", "2001:db8:0:2::2"
    elsewhere.with_ipv6(one, near, far)
    place.good("settings", "set", "http_connections_per_address", "3")
    with serving(place, elsewhere, "[::]:0", "--insecure-http") as clients:
        clients.enter_all(3, "192.0.2.2", "192.0.2.1")
        assert not clients.enter("192.0.2.2", "192.0.2.1")
        clients.enter_all(3, "192.0.2.3", "192.0.2.1")
        clients.enter_all(1, one, one)
        clients.enter_all(2, near, one)
        assert not clients.enter(one, one) and not clients.enter(near, one)
        clients.enter_all(3, far, one)
        assert not clients.enter(far, one)
        for loopback in ("127.0.0.1", "127.0.0.2", "::1"):
            clients.enter_all(10, loopback, loopback)


def test_connections_in_all(place, elsewhere):
    """Whoever comes when there is no room waits; the Unix socket has room of its own."""
    place.good("settings", "set", "http_connections", "4")
    with serving(place, elsewhere, "192.0.2.1:0", "--insecure-http") as clients:
        standing = [clients.enter_all(2, f"192.0.2.{n}") for n in (2, 3)]
        waiting = [clients.asked("192.0.2.4") for _ in range(2)]
        assert not select.select(waiting, [], [], 0.3)[0]
        assert place.result("stats")
        standing[0][0].close()
        readable, _, _ = select.select(waiting, [], [], 20)
        assert len(readable) == 1 and answered(readable[0])
        standing[1][0].close()
        assert all(answered(sock) for sock in waiting if sock not in readable)
