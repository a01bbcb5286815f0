"""The real server with real plugins: every route on its happy path, and the status of everything that can go wrong."""

import concurrent.futures
import http.client
import json
import pathlib
import socket
import sys
import time

import pytest

import wire

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from place import Place  # noqa: E402

OCTETS = {"Content-Type": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}


class Client:
    def __init__(self, place, unix):
        self.place, self.unix = place, unix
        self.ready = place.serve()
        self.token = self.ready["admin_token"]

    def connect(self):
        if self.unix:
            return wire.UnixConnection(self.ready["socket"], timeout=60)
        return http.client.HTTPConnection(*wire.address(self.ready["url"]), timeout=60)

    def ask(self, method, target, body=None, headers=None, token="admin"):
        token = self.token if token == "admin" and not self.unix else None if token == "admin" else token
        if isinstance(body, (dict, list)):
            body, headers = json.dumps(body), headers or JSON
        connection = self.connect()
        try:
            return wire.request(connection, method, target, body, token, headers or {})
        finally:
            connection.close()

    def good(self, *arguments, **more):
        reply = self.ask(*arguments, **more)
        assert reply.status == 200, (arguments, reply.status, reply.body)
        assert reply.json["success"] is True and set(reply.json) == {"success", "result"}
        return reply.json["result"]

    def bad(self, status, code, *arguments, **more):
        reply = self.ask(*arguments, **more)
        assert (reply.status, reply.code) == (status, code), (arguments, reply.status, reply.body)
        assert len(reply.json["error"]["id"]) == 32 and isinstance(reply.json["error"]["detail"], dict)
        return reply

    def call(self, action, parameters, **headers):
        return self.ask("POST", f"/api/plugins/execute/echo/{action}", json.dumps(parameters), {**JSON, **headers})

    def in_flight(self):
        return sum(p["in_flight"] + p["queued"] for p in self.good("GET", "/api/plugins/loaded")["plugins"])

    def until_in_flight(self, n):
        end = time.monotonic() + 30
        while self.in_flight() != n:
            assert time.monotonic() < end, self.in_flight()
            time.sleep(0.01)


@pytest.fixture(params=["tcp", "unix"], scope="module")
def served(request, build, tmp_path_factory):
    """echo on a server, for tests that leave it as it is."""
    place = Place(build, tmp_path_factory.mktemp(request.param))
    place.have("echo")
    yield Client(place, request.param == "unix")
    place.close()


@pytest.fixture
def fresh(build, tmp_path):
    place = Place(build, tmp_path)
    yield Client(place, False)
    place.close()


# ---- happy paths ----


def test_the_life_of_a_plugin(fresh):
    pem = (fresh.place.build / "packages" / "demo.pub").read_text()
    package = fresh.place.package("echo").read_bytes()
    key = fresh.good("POST", "/api/trust", {"publisher": "demo", "public_key": pem})["key_id"]
    assert fresh.good("GET", "/api/trust")["publishers"][0]["keys"][0]["id"] == key
    told = fresh.good("POST", "/api/plugins/validate", package, OCTETS)
    assert told["valid"] is True and told["findings"] == []
    assert fresh.good("POST", "/api/plugins/install?auto_load=true", package, OCTETS)["loaded"] is True
    assert [p["name"] for p in fresh.good("GET", "/api/plugins/available")["plugins"]] == ["echo"]
    assert [p["loading"] for p in fresh.good("GET", "/api/plugins/loaded")["plugins"]] == ["ready"]
    assert fresh.good("POST", "/api/plugins/execute/echo/echo", {"a": 1}) == {"a": 1}
    info = fresh.good("GET", "/api/plugins/info/echo@1.0.0")
    assert info["name"] == "echo" and info["execution_count"] == 1 and info["error_count"] == 0
    fresh.good("POST", "/api/plugins/reload/echo")
    fresh.good("POST", "/api/plugins/use/echo@1.0.0")
    fresh.good("POST", "/api/plugins/info/echo/grants", {"grant": "file_read=/etc"})
    assert fresh.good("GET", "/api/grants")["grants"][0]["scope"] == "/etc"
    assert fresh.good("GET", "/api/plugins/info/echo/grants")["grants"][0]["plugin"] == "echo"
    fresh.good("DELETE", "/api/plugins/info/echo/grants?grant=file_read%3D%2Fetc")
    fresh.good("POST", "/api/plugins/info/echo/refusals", {"permission": "execute_code"})
    fresh.good("GET", "/api/denials")
    fresh.good("GET", "/api/plugins/info/echo/denials")
    fresh.good("POST", "/api/plugins/unload/echo")
    fresh.bad(409, "wrong_state", "POST", "/api/plugins/execute/echo/echo", {})
    fresh.good("POST", "/api/plugins/load/echo", {})
    assert fresh.good("POST", "/api/stop-all")["stopped"] == ["echo"]
    assert fresh.good("DELETE", "/api/plugins/uninstall/echo?purge=true")["name"] == "echo"
    fresh.good("DELETE", f"/api/trust/demo/{key}")
    fresh.bad(403, "key_revoked", "POST", "/api/plugins/install", package, OCTETS)


def test_telling(served):
    assert len(served.good("GET", "/api/plugins/capabilities")) == 8
    assert len(served.good("GET", "/api/plugins/permissions")) == 8
    stats = served.good("GET", "/api/plugins/stats")
    assert {"loaded_plugins", "registry", "security", "executions"} <= set(stats) and stats["security"]["enabled"]
    assert served.good("GET", "/api/plugins/health")["status"] in ("healthy", "degraded")
    for query, names in [("capability=custom", ["echo"]), ("capability=security", []), ("permission=file_read", ["echo"]),
                         ("status=active", ["echo"]), ("status=inactive", []), ("publisher=demo", ["echo"]),
                         ("q=ech", ["echo"]), ("q=nothing", []), ("after=echo", []), ("limit=1", ["echo"])]:
        told = served.good("GET", f"/api/plugins/available?{query}")["plugins"]
        assert [p["name"] for p in told] == names, query


def test_settings(fresh):
    assert {"payload_max", "accept_missing_layers"} <= {s["key"] for s in fresh.good("GET", "/api/settings")["settings"]}
    assert fresh.good("PUT", "/api/settings/package_max", "2097152", JSON)["value"] == 2097152
    assert fresh.good("GET", "/api/settings/package_max")["value"] == 2097152
    fresh.bad(413, "too_large", "POST", "/api/plugins/install", b"x" * 2097153, OCTETS)
    fresh.bad(404, "not_found", "GET", "/api/settings/nonsense")


def test_install_from_incoming(fresh):
    fresh.place.trust()
    incoming = fresh.place.home / "packages" / "incoming"
    (incoming / "echo.moat").write_bytes(fresh.place.package("echo").read_bytes())
    fresh.bad(422, "metadata_mismatch", "POST", "/api/plugins/install",
              {"plugin_path": "echo.moat", "metadata": {"version": "2.0.0"}})
    told = fresh.good("POST", "/api/plugins/install", {"plugin_path": "echo.moat", "metadata": {"name": "echo"},
                                                       "auto_load": True, "grants": ["file_read=/etc"]})
    assert told["loaded"] is True
    assert fresh.good("POST", "/api/plugins/execute/echo/read", {"path": "/etc/passwd"})
    fresh.bad(404, "no_such_file", "POST", "/api/plugins/install", {"plugin_path": "missing.moat"})
    fresh.bad(400, "bad_request", "POST", "/api/plugins/install", {"plugin_path": "../../registry/registry.db"})


def test_a_package_that_is_refused_is_called_as_its_sender_does(fresh):
    """Wherever it is told of: the answer, the findings, `why`, the trail, the log."""
    (fresh.place.home / "packages" / "incoming").mkdir(parents=True, exist_ok=True)
    (fresh.place.home / "packages" / "incoming" / "mine.moat").write_bytes(b"nonsense")
    said = []
    for name, body, headers in [("the upload", b"nonsense", OCTETS), ("mine.moat", {"plugin_path": "mine.moat"}, JSON)]:
        refused = fresh.bad(422, "not_a_package", "POST", "/api/plugins/install", body, headers)
        why = fresh.good("GET", f"/api/why/{refused.json['error']['id']}")
        validated = fresh.good("POST", "/api/plugins/validate", body, headers)
        assert validated["valid"] is False
        messages = [refused.json["error"]["message"], why["message"], validated["findings"][0]["message"]]
        assert all(m.startswith(f"{name}: this is not a package") for m in messages), messages
        said += [refused.json, why, validated]
    said += [fresh.good("GET", "/api/audit"), fresh.good("GET", "/api/log")]
    assert "/proc/self/fd" not in json.dumps(said)


# ---- refusals ----


def test_statuses(served):
    for status, code, *request in [
            (404, "not_found", "GET", "/api/nothing"), (404, "no_such_plugin", "GET", "/api/plugins/info/nope"),
            (404, "no_such_version", "GET", "/api/plugins/info/echo@9.9.9"),
            (404, "no_such_plugin", "POST", "/api/plugins/execute/nope/x", {}),
            (404, "no_such_action", "POST", "/api/plugins/execute/echo/nope", {}),
            (405, "method_not_allowed", "GET", "/api/plugins/execute/echo/echo"),
            (400, "bad_json", "POST", "/api/plugins/execute/echo/echo", "{", JSON),
            (400, "bad_json", "POST", "/api/plugins/execute/echo/echo", "", JSON),
            (400, "bad_json", "POST", "/api/plugins/execute/echo/echo", b'"\xff"', JSON),
            (400, "bad_json", "POST", "/api/plugins/execute/echo/echo", "[" * 257 + "]" * 257, JSON),
            (422, "bad_parameters", "POST", "/api/plugins/execute/echo/sleep", {"ms": "x"}),
            (422, "bad_parameters", "POST", "/api/plugins/execute/echo/sleep", '{"ms":1,"ms":1}', JSON),
            (415, "unsupported_media_type", "POST", "/api/plugins/execute/echo/echo", "{}", {"Content-Type": "text/x"}),
            (422, "not_a_package", "POST", "/api/plugins/install", b"nonsense", OCTETS),
            (422, "action_failed", "POST", "/api/plugins/execute/echo/fail", {"code": "a", "message": "b"}),
            (502, "plugin_crashed", "POST", "/api/plugins/execute/echo/crash", {})]:
        served.bad(status, code, *request)
    assert served.good("POST", "/api/plugins/execute/echo/echo", [1]) == [1]


def test_where_parameters_do_not_fit(served):
    detail = served.call("sleep", {"ms": [1]}).json["error"]["detail"]
    assert detail["pointer"] == "/ms" and detail["reason"]


def test_every_route_needs_a_token(served):
    if served.unix:
        pytest.skip("the owner of the socket needs none")
    page = served.place.good("help", "pages/api").out
    routes = [line.split("|")[1:4] for line in page.splitlines() if line.startswith(("| GET", "| POST", "| DELETE", "| PUT"))]
    assert len(routes) >= 30
    for method, path, scope in routes:
        target = path.strip(" `").replace("{", "").replace("}", "")
        wanted = 200 if "open" in scope else 401
        for token in (None, "0" * 64, served.token[:-1]):
            reply = served.ask(method.strip(), target, None, token=token)
            assert reply.status == wanted, (method, target, reply.body)


# ---- calls ----


def test_receipt_deadline_and_id(served):
    reply = served.call("echo", "x" * 100)
    receipt = json.loads(reply.headers["Moat-Receipt"])
    assert receipt["version"] == "1.0.0" and receipt["bytes_in"] == receipt["bytes_out"] == 102
    assert receipt["ran_ns"] > 0 and len(receipt["id"]) == 32
    reply = served.call("spin", {}, **{"Moat-Deadline": "100ms"})
    assert reply.status == 504 and reply.code == "deadline"
    assert json.loads(reply.headers["Moat-Receipt"])["id"] == reply.json["error"]["id"]
    assert served.call("echo", 1, **{"Moat-Deadline": "never"}).status == 400


@pytest.mark.parametrize("size", [2, 100, 20_000, 1 << 20, (8 << 20) - 2, 8 << 20])
def test_results_of_every_size(served, size):
    reply = served.call("echo", "x" * (size - 2))
    assert reply.status == 200 and len(reply.body) == size + 26
    assert json.loads(reply.body)["result"] == "x" * (size - 2)


def test_parameters_beyond_the_limit(served):
    assert served.call("echo", "x" * (8 << 20)).status == 413
    assert served.call("big", {"bytes": 9 << 20}).status >= 400
    assert served.call("echo", 1).status == 200


def test_a_client_that_leaves_ends_its_call(served):
    if served.unix:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(served.ready["socket"])
        auth = ""
    else:
        sock = wire.dial(served.ready["url"])
        auth = f"Authorization: Bearer {served.token}\r\n"
    body = b'{"ms":600000,"deaf":true}'
    sock.sendall(f"POST /api/plugins/execute/echo/sleep HTTP/1.1\r\nHost: localhost\r\n{auth}"
                 f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    served.until_in_flight(1)
    sock.close()
    served.until_in_flight(0)
    assert served.call("echo", 1).status == 200


def test_many_at_once_each_gets_its_own(served, rng):
    texts = ["".join(rng.choices("abcdefgh", k=rng.randrange(1, 30_000))) for _ in range(300)]

    def one(text):
        return served.call("echo", text).json["result"] == text

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, texts))


def test_many_at_once_while_it_crashes_and_reloads(served, rng):
    """Whatever happens to the worker, every request has one answer, and it is its own."""

    def one(i):
        kind = rng_kinds[i]
        if kind == "crash":
            return served.call("crash", {}).code == "plugin_crashed"
        if kind == "reload":
            return served.ask("POST", "/api/plugins/reload/echo").status in (200, 409, 502, 503)
        reply = served.call("echo", i)
        if reply.status == 200:
            return reply.json["result"] == i
        return reply.code in ("plugin_crashed", "wrong_state", "queue_full", "start_failed")

    rng_kinds = rng.choices(["echo", "crash", "reload"], [40, 1, 1], k=400)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(len(rng_kinds))))
    end = time.monotonic() + 60
    while served.call("echo", 1).status != 200:
        assert time.monotonic() < end
        time.sleep(0.1)
