"""Settings that take effect at once: what a running server does differently when one has changed."""

import json
import pathlib
import socket
import sys
import time

import pytest
import requests

from client import Api, Held, until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from place import Place  # noqa: E402

ECHO = "/api/plugins/execute/echo/"


@pytest.fixture(scope="module")
def server(build, tmp_path_factory):
    place = Place(build, tmp_path_factory.mktemp("settings"))
    place.have("echo")
    yield Api(place, stderr=open(place.root / "log", "w", encoding="utf-8"))
    place.close()


def set_back(server, before):
    for s in reversed(server.good("GET", "/api/settings")["settings"]):  # deadline_max before deadline_default
        if s["value"] != before[s["key"]]:
            server.good("PUT", f"/api/settings/{s['key']}", json.dumps(before[s["key"]]))


@pytest.fixture
def api(server):
    server.session.headers["Connection"] = "close"  # none is kept that a short time would end under a request
    before = {s["key"]: s["value"] for s in server.good("GET", "/api/settings")["settings"]}
    yield server
    for _ in range(10):
        try:
            return set_back(server, before)
        except requests.ConnectionError:
            pass  # a short time, and a machine that has no time for this client
    set_back(server, before)


def put(api, key, value):
    done = api.good("PUT", f"/api/settings/{key}", json.dumps(value))
    assert done["takes_effect"] == "at once" and done["value"] == value


def connect(api):
    host, port = api.url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)), timeout=30)
    return sock, f"Host: {host}:{port}\r\nAuthorization: Bearer {api.admin}\r\n"


def test_how_long_connections_and_bodies_have(api):
    put(api, "http_rate_min", 1 << 20)  # else a body has 6 s for its bytes
    for key in ("http_body_time", "http_head_time", "http_idle_time"):  # 30, 20 and 60 s before
        put(api, key, "300ms")
    new, _ = connect(api)
    new.sendall(b"GET /")
    idle, head = connect(api)
    idle.sendall(f"GET /api/plugins/health HTTP/1.1\r\n{head}\r\n".encode())
    assert idle.recv(65536).startswith(b"HTTP/1.1 200")
    body, head = connect(api)
    body.sendall(f"POST {ECHO}echo HTTP/1.1\r\n{head}Content-Length: 100000\r\n\r\n".encode())
    begun = time.monotonic()
    for sock in (new, idle, body):
        while sock.recv(65536):
            pass
        sock.close()
    assert 0.2 < time.monotonic() - begun < 15


def accesses(api, path):
    lines = (api.place.root / "log").read_text(encoding="utf-8").splitlines()
    return sum(e["event"] == "access" and e["path"] == path for e in map(json.loads, lines))


def test_how_many_requests_are_logged(api):
    put(api, "access_log_every", 1)
    for _ in range(5):
        api.good("GET", "/api/plugins/stats")
    until(lambda: accesses(api, "/api/plugins/stats") == 5)
    put(api, "access_log_every", 0)
    for _ in range(30):
        api.good("GET", "/api/plugins/stats")
    put(api, "access_log_every", 1)
    api.good("GET", "/api/plugins/capabilities")
    until(lambda: accesses(api, "/api/plugins/capabilities") == 1)
    assert accesses(api, "/api/plugins/stats") == 5


def test_the_longest_deadline(api):
    put(api, "deadline_default", "100ms")
    put(api, "deadline_max", "100ms")
    api.bad(504, "deadline", "POST", ECHO + "sleep", {"ms": 20000})
    api.bad(504, "deadline", "POST", ECHO + "sleep", {"ms": 20000}, Moat_Deadline="20s")
    api.bad(400, "bad_usage", "PUT", "/api/settings/deadline_default", '"200ms"')
    put(api, "deadline_max", "10m")
    api.good("POST", "/api/plugins/reload/echo")  # a worker that began under the lower one keeps it


@pytest.mark.parametrize("key", ["queue_per_plugin", "queue_total"])
def test_how_many_calls_wait(api, key):
    put(api, key, 1)
    held = [Held(api, ECHO + "sleep", {"ms": 30000}) for _ in range(5)]
    try:
        until(lambda: sum(h.answer is not None for h in held) >= 1)
        [first] = [h for h in held if h.answer is not None][:1]
        assert first.answer.status_code == 429 and "Retry-After" in first.answer.headers
        put(api, key, 100)
        later = []

        def one_waits():
            """While the first ones' plugin starts they take what waits behind it, and the worker has room for more."""
            held.append(Held(api, ECHO + "sleep", {"ms": 30000}))
            later.append(held[-1])
            return api.good("GET", "/api/plugins/info/echo")["queued"] >= 1

        until(one_waits)
        assert all(h.answer is None for h in later), [h.answer is not None and (h.answer.status_code, h.answer.text) for h in later]
    finally:
        for call in api.good("GET", "/api/calls")["running"]:
            api.ask("DELETE", f"/api/calls/{call['id']}")
        for h in held:
            h.join()


def test_lines_and_their_memory(api):
    def flood():
        newest = api.good("GET", "/api/log?limit=1")["next"]
        api.good("POST", "/api/calls", [{"plugin": "echo", "action": "log", "parameters": {"text": "x"}}] * 1000)
        until(lambda: api.good("GET", "/api/plugins/stats")["executions"]["in_flight"] == 0)
        return api.good("GET", "/api/log?limit=1")["next"] - newest
    put(api, "log_lines", 100000)
    until(lambda: flood() >= 1000)  # all that was printed
    kept = api.good("GET", "/api/log?after=0&limit=1000")["records"]
    put(api, "log_memory", 64 << 10)
    fewer = api.good("GET", "/api/log?after=0&limit=1000")
    assert 0 < len(fewer["records"]) <= 256 < len(kept) and fewer["lost"] > 0
    put(api, "log_lines", 1)
    assert flood() < 100
