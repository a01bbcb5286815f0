"""The API as its description says it: tokens, scopes, idempotency, batches, events, why, figures; with real clients."""

import concurrent.futures
import http.client
import json
import socket
import sqlite3
import subprocess
import threading
import time

import httpx
import jsonschema
import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from client import Api, Held, until

from place import Place

ECHO = "/api/plugins/execute/echo/echo"


@pytest.fixture(scope="module")
def api(build, tmp_path_factory):
    place = Place(build, tmp_path_factory.mktemp("api"))
    place.have("echo")
    yield Api(place)
    place.close()


# ---- the description ----


def test_the_description_is_the_one_that_is_published(api):
    """tests/docs/test_openapi.py looks at it."""
    assert json.loads(api.place.good("help", "pages/openapi").out) == api.contract.document


# ---- who may ----

FILL = {"{name}": "nothing", "{action}": "none", "{publisher}": "nobody", "{key_id}": "0" * 64, "{key}": "nothing",
        "{id}": "0" * 32}
# What these do to a server on which nothing is named so is not undone by the others.
SPARED = {"/api/stop-all", "/api/audit/rotate"}


def fill(path):
    for name, value in FILL.items():
        path = path.replace(name, value)
    return path


def test_every_route_with_every_token(api):
    good = {scope: api.token("execute:*" if scope == "execute" else scope) for scope in ("execute", "read", "manage", "admin")}
    revoked, expired = api.token("admin"), api.token("admin", **{"for": "1s"})
    api.good("DELETE", f"/api/tokens/{revoked['id']}")
    end = time.monotonic() + 30
    while api.ask("GET", "/api/plugins/stats", token=expired["token"]).status_code != 401:
        assert time.monotonic() < end
        time.sleep(0.05)
    other = api.token("execute:other_plugin")
    tried = 0
    for method, pattern, operation in api.contract.operations:
        target, scope = fill(pattern), operation["x-moat-scope"]
        if not scope:
            assert api.ask(method, target, token=None).status_code == 200
            continue
        for token in (None, "x", "0" * 64, revoked["token"], expired["token"], good["read"]["token"][:-1]):
            api.bad(401, "unauthorized", method, target, token=token)
        for name, one in good.items():
            tried += 1
            if name not in {*scope.split(" or "), "admin"}:
                error = api.bad(403, "forbidden", method, target, token=one["token"])
                assert scope in error["message"]
            elif pattern not in SPARED:
                answer = api.ask(method, target, token=one["token"])
                assert answer.status_code not in (401, 403, 500), (method, target, name, answer.text)
        if scope == "execute" and "{name}" in pattern:
            assert "execute:nothing" in api.bad(403, "forbidden", method, target, token=other["token"])["message"]
    assert tried > 100


def test_a_token_of_one_plugin(api):
    mine = api.token("execute:echo", "execute:other")["token"]
    assert api.good("POST", ECHO, [1], token=mine) == [1]
    api.bad(403, "forbidden", "POST", "/api/plugins/execute/ech/echo", [1], token=mine)
    outcomes = api.good("POST", "/api/calls", [{"plugin": "echo", "action": "echo"}, {"plugin": "hostile", "action": "x"}],
                        token=mine)
    assert [o["success"] for o in outcomes] == [True, False] and outcomes[1]["error"]["code"] == "forbidden"


def test_tokens_are_shown_once_and_told_when_used(api):
    made = api.token("read", name="watcher")
    assert len(made["token"]) == 64 and made["expires"] is None
    row = next(t for t in api.good("GET", "/api/tokens")["tokens"] if t["id"] == made["id"])
    assert row["name"] == "watcher" and row["last_used"] is None and "token" not in row and row["state"] == "valid"
    api.good("GET", "/api/plugins/stats", token=made["token"])
    row = next(t for t in api.good("GET", "/api/tokens")["tokens"] if t["id"] == made["id"])
    assert row["last_used"] is not None
    for body in ({"scopes": []}, {"scopes": ["root"]}, {"scopes": ["execute:"]}, {"scopes": ["execute:A"]},
                 {"scopes": ["read manage"]}, {"scopes": ["read"], "for": "soon"}, {"scopes": ["read"], "for": "1ms"},
                 {"scopes": ["read"], "name": "x" * 65}):
        api.bad(400, "bad_usage", "POST", "/api/tokens", body)
    api.bad(404, "not_found", "DELETE", "/api/tokens/999999")
    api.bad(404, "not_found", "DELETE", "/api/tokens/first")


def test_a_revoked_token_is_refused_on_a_connection_that_used_it(api):
    one, other = api.token("read"), api.token("read")
    host, port = api.url.rsplit("/", 1)[1].split(":")
    with socket.create_connection((host, int(port)), timeout=10) as link:
        def status(token):
            link.sendall(f"GET /api/plugins/stats HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            answer = http.client.HTTPResponse(link)
            answer.begin()
            answer.read()
            return answer.status
        for _ in range(20):  # fast behind each other: what is remembered of the connection counts
            fresh = api.token("read")
            assert [status(fresh["token"]) for _ in range(3)] == [200] * 3
            api.good("DELETE", f"/api/tokens/{fresh['id']}")
            assert status(fresh["token"]) == 401
            assert [status(one["token"]), status("0" * 64), status(other["token"])] == [200, 401, 200]


def test_tokens_outlive_the_server_and_revocation_too(build, tmp_path):
    place = Place(build, tmp_path)
    api = Api(place)
    kept, gone = api.token("read"), api.token("read")
    api.good("GET", "/api/plugins/stats", token=kept["token"])
    assert place.good("token", "revoke", gone["id"]).out
    assert place.end_server()[0] == 0
    rows = {t["id"]: t for t in place.good("token", "list", "--json").json["tokens"]}
    assert rows[kept["id"]]["last_used"] and rows[gone["id"]]["state"] == "revoked"
    ready = place.serve()
    assert "admin_token" not in ready  # there was one
    api.url = ready["url"]
    api.good("GET", "/api/plugins/stats", token=kept["token"])
    api.bad(401, "unauthorized", "GET", "/api/plugins/stats", token=gone["token"])
    place.close()
    database = b"".join(p.read_bytes() for p in (place.home / "registry").iterdir() if p.is_file())
    assert kept["token"].encode() not in database


def test_no_loop_waits_for_the_database(api):
    """While another process holds its lock changes wait, each five seconds at most; calls, refusals and reads do not."""
    caller = api.token("execute:*")["token"]
    assert api.good("POST", ECHO, 1, token=caller) == 1  # the first one reads what is installed
    database = sqlite3.connect(api.place.home / "registry" / "registry.db", isolation_level=None, timeout=30)
    database.execute("BEGIN IMMEDIATE")
    held = [Held(api, "/api/tokens", {"scopes": ["read"]}) for _ in range(8)]  # more than there are loops
    try:
        time.sleep(0.2)
        other = api.again()
        for i in range(20):  # on new connections, so on each of the loops
            assert other.good("POST", ECHO, i, token=caller) == i
            other.bad(401, "unauthorized", "POST", ECHO, i, token="0" * 64)
            other.good("GET", ["/api/plugins/health", "/api/plugins/available", "/api/tokens", "/api/plugins/loaded"][i % 4])
            other.session.close()
        waited = any(one.is_alive() for one in held)
    finally:
        database.execute("ROLLBACK")
        database.close()
        for one in held:
            one.join()
    assert waited
    assert {one.answer.status_code for one in held} <= {200, 503}


def test_token_commands(api):
    done = api.place.good("token", "create", "--scope", "read", "--scope", "execute:echo", "--for", "1h")
    assert len(done.out.strip()) == 64 and "read" in done.err
    assert api.good("GET", "/api/plugins/stats", token=done.out.strip())
    api.place.bad(2, "bad_usage", "token", "create")
    api.place.bad(2, "bad_usage", "token", "create", "--scope", "nonsense")
    api.place.bad(4, "not_found", "token", "revoke", "424242")


def test_a_token_has_so_many_requests(api):
    """Each token its own; what comes too early says when to come again, and the audit trail tells of it."""
    one, other = api.token("execute:*"), api.token("read")
    assert api.place.good("settings", "set", "token_requests", "120").out
    try:
        codes = [api.ask("POST", ECHO, n, token=one["token"]).status_code for n in range(140)]
        assert codes[:120] == [200] * 120 and codes[-1] == 429 and set(codes) == {200, 429}
        refused = api.ask("POST", ECHO, 1, token=one["token"])
        while refused.status_code != 429:
            refused = api.ask("POST", ECHO, 1, token=one["token"])
        assert refused.json()["error"]["code"] == "rate_limited" and refused.headers["Retry-After"] == "1"
        assert str(one["id"]) in refused.json()["error"]["message"]
        assert api.ask("GET", "/api/plugins/stats", token=other["token"]).status_code == 200
        assert api.ask("POST", ECHO, 1, token="0" * 64).status_code == 401
        assert api.ask("GET", "/api/plugins/health", token=one["token"]).status_code == 200
        assert api.place.good("call", "echo", "echo", "[1]").out
        until(lambda: api.ask("POST", ECHO, 1, token=one["token"]).status_code == 200)  # a share of half a second
        api.place.good("settings", "set", "token_requests", "1")
        until(lambda: api.ask("GET", "/api/plugins/stats", token=other["token"]).status_code == 200)
        refused = api.ask("GET", "/api/plugins/stats", token=other["token"])
        assert refused.status_code == 429 and 50 < int(refused.headers["Retry-After"]) <= 60
        why = api.place.good("why", refused.json()["error"]["id"], "--json").json
        assert why["decision"]["by"] == "token" and why["caller"]["token"] == other["id"]
    finally:
        api.place.good("settings", "set", "token_requests", "0")
    assert api.ask("POST", ECHO, 1, token=one["token"]).status_code == 200

    def told():
        records = api.good("GET", f"/api/audit?actor=token:{one['id']}&outcome=rate_limited")["records"]
        assert all(r["action"] == "request.refused" for r in records)
        return sum(r["count"] for r in records) >= 20 > len(records)
    until(told)


# ---- once ----


def idempotent(api, key, body, action="echo", **more):
    return api.ask("POST", f"/api/plugins/execute/echo/{action}", body, Idempotency_Key=key, **more)


def test_a_key_runs_once(api):
    first, again = idempotent(api, "once", {"n": 1}), idempotent(api, "once", {"n": 1})
    assert first.json() == again.json() and first.headers["Moat-Receipt"] == again.headers["Moat-Receipt"]
    assert first.headers["Moat-Idempotency"].startswith("first") and "server-life" in first.headers["Moat-Idempotency"]
    assert again.headers["Moat-Idempotency"].startswith("replayed")
    other = idempotent(api, "once", {"n": 2})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert idempotent(api, "once", {"n": 2}, token=api.token("execute:*")["token"]).status_code == 200
    for key in ("", "a b", "x" * 256, "ü"):
        assert idempotent(api, key.encode(), {}).status_code == 400
    assert "Moat-Idempotency" not in api.ask("POST", ECHO, {}).headers


def test_failures_are_kept_and_what_never_ran_is_not(api):
    first, again = idempotent(api, "fails", {}, "fail"), idempotent(api, "fails", {}, "fail")
    assert first.status_code == again.status_code == 422
    assert first.json() == again.json() and first.json()["error"]["code"] == "action_failed"
    api.good("POST", "/api/plugins/unload/echo")
    later = idempotent(api, "later", [1])
    assert later.json()["error"]["code"] == "wrong_state" and "Moat-Idempotency" not in later.headers
    api.good("POST", "/api/plugins/load/echo")
    assert idempotent(api, "later", [1]).json() == {"success": True, "result": [1]}


def test_a_second_request_waits_for_the_first(api):
    def run(_):
        return requests.post(f"{api.url}/api/plugins/execute/echo/sleep", b'{"ms":300}', timeout=60,
                             headers={"Authorization": f"Bearer {api.admin}", "Idempotency-Key": "slow",
                                      "Content-Type": "application/json"})
    before = len(api.good("GET", "/api/calls?limit=10000")["ended"])
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(run, range(4)))
    assert {a.status_code for a in answers} == {200}
    assert len({a.headers["Moat-Receipt"] for a in answers}) == 1
    assert sum(a.headers["Moat-Idempotency"].startswith("first") for a in answers) == 1
    assert len(api.good("GET", "/api/calls?limit=10000")["ended"]) == before + 1


def test_an_answer_too_large_to_keep(build, tmp_path):
    place = Place(build, tmp_path)
    place.have("echo")
    api = Api(place)
    try:
        for n in range(12):
            assert idempotent(api, f"large{n}", {"bytes": 7 << 20}, "big").status_code == 200
        gone = idempotent(api, "large0", {"bytes": 7 << 20}, "big")
        assert (gone.status_code, gone.json()["error"]["code"]) == (409, "answer_not_kept")
        assert idempotent(api, "large11", {"bytes": 7 << 20}, "big").status_code == 200
    finally:
        place.close()


# ---- many, and what runs ----


def test_a_batch_answers_in_order(api):
    body = ('[{"plugin":"echo","action":"echo","parameters":{"n":1e400}},{"plugin":"echo","action":"fail"},'
            '{"plugin":"nothing","action":"x"},{"plugin":"echo"},{"plugin":"echo","action":"echo","parameters":[2],'
            '"idempotency_key":"in a"},7,{"plugin":"echo","action":"echo","parameters":1,"parameters":2},'
            '{"plugin":"echo","action":"sleep","parameters":{"ms":60000},"deadline":"50ms"}]')
    outcomes = api.good("POST", "/api/calls", body)
    codes = [o.get("error", {}).get("code", "ok") for o in outcomes]
    assert codes == ["ok", "action_failed", "no_such_plugin", "bad_request", "bad_request", "bad_request", "bad_request",
                     "deadline"]
    assert '"n":1e400' in api.ask("POST", "/api/calls", body[:body.index(",{")] + "]").text
    assert outcomes[0]["receipt"]["version"] == "1.0.0"
    many = api.good("POST", "/api/calls", [{"plugin": "echo", "action": "echo", "parameters": n} for n in range(1000)])
    assert [o["result"] for o in many] == list(range(1000))
    api.bad(413, "too_large", "POST", "/api/calls", [{"plugin": "echo", "action": "echo"}] * 1001)
    api.bad(400, "bad_json", "POST", "/api/calls", "[")
    api.bad(400, "bad_json", "POST", "/api/calls", "")
    api.bad(400, "bad_request", "POST", "/api/calls", {})
    assert api.good("POST", "/api/calls", []) == []


def test_what_runs_is_told_and_cancelled(api):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(requests.post, f"{api.url}/api/plugins/execute/echo/sleep", b'{"ms":600000,"deaf":true}',
                           timeout=60,
                           headers={"Authorization": f"Bearer {api.admin}", "Content-Type": "application/json"})
        end = time.monotonic() + 30
        while not (running := api.good("GET", "/api/calls?plugin=echo")["running"]):
            assert time.monotonic() < end
            time.sleep(0.01)
        assert running[0]["action"] == "sleep" and running[0]["token"] == 1
        assert "cancelled" in api.place.good("cancel", running[0]["id"]).out
        answer = held.result(60)
    assert answer.json()["error"]["code"] == "cancelled" and answer.json()["error"]["id"] == running[0]["id"]
    ended = api.good("GET", "/api/calls?limit=1")["ended"]
    assert ended[0]["id"] == running[0]["id"] and ended[0]["code"] == "cancelled"
    api.bad(404, "not_found", "DELETE", f"/api/calls/{running[0]['id']}")
    assert "sleep" in api.place.good("calls", "echo").out


# ---- events ----


def events(answer):
    for block in answer.text.strip().split("\n\n"):
        name, data = block.split("\n")
        yield name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_events_come_before_the_result(api):
    answer = api.ask("POST", "/api/plugins/execute/echo/log", {"text": "hello"}, Accept="text/event-stream")
    assert answer.headers["Content-Type"] == "text/event-stream"
    told = list(events(answer))
    assert [n for n, _ in told if n == "log"], told
    assert [n for n, _ in told][-2:] == ["receipt", "result"] and told[-1][1]["success"] is True
    answer = api.ask("POST", ECHO, '{"a":\n1}', Accept="text/event-stream")
    assert [n for n, _ in events(answer)] == ["receipt", "result"] and list(events(answer))[-1][1]["result"] == {"a": 1}


def test_lines_that_are_not_told_are_counted(api):
    """The host tells 50 lines a second unless the setting log_lines says otherwise."""
    told = list(events(api.ask("POST", "/api/plugins/execute/echo/log", {"text": "x", "times": 90}, Accept="text/event-stream")))
    lines, dropped = sum(n == "log" for n, _ in told), sum(d["events"] for n, d in told if n == "dropped")
    assert lines + dropped == 90 and dropped > 0 and told[-1][0] == "result"


def test_what_fails_before_an_event_has_its_own_status(api):
    assert api.ask("POST", "/api/plugins/execute/echo/fail", {}, Accept="text/event-stream").status_code == 422
    assert api.ask("POST", ECHO, "{", Accept="text/event-stream").status_code == 400
    assert api.ask("POST", "/api/plugins/execute/none/x", {}, Accept="text/event-stream").status_code == 404


def test_progress_is_an_event(api):
    told = list(events(api.ask("POST", "/api/plugins/execute/echo/progress", {}, Accept="text/event-stream")))
    assert told[0] == ("progress", {"done": 0.25, "message": "a quarter"}) and told[-1][0] == "result"


def test_a_client_that_leaves_before_an_event_ends_the_call(api):
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{api.url}/api/plugins/execute/echo/sleep", json={"ms": 600000}, timeout=httpx.Timeout(20, read=0.3),
                   headers={"Authorization": f"Bearer {api.admin}", "Accept": "text/event-stream"})
    end = time.monotonic() + 30
    while api.good("GET", "/api/calls")["running"]:
        assert time.monotonic() < end
        time.sleep(0.02)


# ---- why ----


def test_why_explains_each_failure(api):
    failed = api.bad(422, "action_failed", "POST", "/api/plugins/execute/echo/fail", {})
    why = api.good("GET", f"/api/why/{failed['id']}")
    assert why["decision"]["by"] == "plugin" and why["chain"][-1] == "echo.fail" and why["caller"]["token"] == 1
    nobody = api.bad(401, "unauthorized", "GET", "/api/plugins/stats", token=None)
    assert api.good("GET", f"/api/why/{nobody['id']}")["decision"]["by"] == "token"
    reader = api.token("read")
    refused = api.bad(403, "forbidden", "POST", "/api/stop-all", token=reader["token"])
    why = api.good("GET", f"/api/why/{refused['id']}")
    assert why["decision"]["by"] == "scope" and why["decision"]["scope"] == "manage"
    assert why["caller"] == {"token": reader["id"], "name": "", "scopes": ["read"], "traceparent": None}
    shown = api.place.good("why", failed["id"]).out
    assert "action_failed" in shown and "echo.fail" in shown
    api.bad(404, "not_found", "GET", "/api/why/" + "f" * 32)
    bad = api.bad(422, "bad_parameters", "POST", "/api/plugins/execute/echo/sleep", {"ms": "x"})
    assert api.good("GET", f"/api/why/{bad['id']}")["decision"]["by"] == "schema"


def test_why_of_a_refusal_by_scope_tells_of_the_token(api):
    """Of what the plugin was denied in calls of others it says nothing: the request never came that far."""
    api.ask("POST", "/api/plugins/execute/echo/read", {"path": "/etc/passwd"})
    until(lambda: api.good("GET", "/api/plugins/info/echo/denials")["denials"])
    token = api.token("read", "execute:other", name="ci")
    refused = api.bad(403, "forbidden", "POST", ECHO, {}, token=token["token"])
    why = api.good("GET", f"/api/why/{refused['id']}")
    assert why["decision"]["by"] == "scope" and why["decision"]["needs_scope"] == "execute:echo"
    assert why["decision"]["needs_grant"] == why["denials"] == why["grants"] == why["log"] == []
    caller = why["caller"]
    assert (caller["token"], caller["name"], set(caller["scopes"])) == (token["id"], "ci", {"read", "execute:other"})
    shown = api.place.good("why", refused["id"]).out
    assert "Denials:" not in shown and token["token"] not in shown and "execute:echo" in shown
    mend = why["decision"]["mend"]
    assert mend in shown
    made = api.place.good(*mend.split()[1:], "--json").json
    api.good("POST", ECHO, {}, token=made["token"])
    assert {"read", "execute:other", "execute:echo"} == set(made["scopes"])


def test_why_of_a_page_of_elsewhere_names_no_scope(api):
    refused = api.bad(403, "forbidden", "GET", "/api/plugins/stats", Origin="https://elsewhere.example")
    why = api.good("GET", f"/api/why/{refused['id']}")
    assert "needs_scope" not in why["decision"] and "mend" not in why["decision"] and why["denials"] == []


def test_a_result_that_breaks_the_manifests_promise(api):
    broken = api.bad(502, "bad_result", "POST", "/api/plugins/execute/echo/typed", {})
    assert broken["detail"] == {"pointer": "", "reason": "expected number, found string"}
    assert api.good("GET", f"/api/why/{broken['id']}")["decision"]["by"] == "plugin"


# ---- lists, health, figures, pages ----


def test_lists_have_etags(api):
    for target in ("/api/plugins/available", "/api/tokens", "/api/trust", "/api/settings", "/api/grants"):
        answer = api.ask("GET", target)
        again = api.ask("GET", target, If_None_Match=answer.headers["ETag"])
        if target != "/api/tokens":  # whose last use has changed meanwhile
            assert (again.status_code, again.content) == (304, b""), target
        assert api.ask("GET", target, If_None_Match='W/"0"').status_code == 200
    head = api.session.head(api.url + "/api/trust", headers={"Authorization": f"Bearer {api.admin}"})
    assert head.status_code == 200 and head.content == b"" and int(head.headers["Content-Length"]) > 0


def test_alive_and_ready(api):
    assert api.ask("GET", "/api/plugins/health", token=None).status_code == 200
    end = time.monotonic() + 30
    while api.ask("GET", "/api/plugins/health?ready", token=None).status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_figures_are_openmetrics(api):
    api.good("POST", ECHO, {})
    api.bad(422, "action_failed", "POST", "/api/plugins/execute/echo/fail", {})
    answer = api.ask("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {f.name: f for f in text_string_to_metric_families(answer.text)}
    calls = {s.labels["code"]: s.value for s in families["moat_http_requests"].samples
             if s.labels["route"] == "/api/plugins/execute/{name}/{action}"}
    assert calls["ok"] >= 1 and calls["action_failed"] >= 1
    assert families["moat_plugin_executions"].samples[0].labels == {"plugin": "echo"}
    assert families["moat_plugin_errors"].samples and families["moat_uptime_seconds"].samples[0].value > 0
    assert sum(len(f.samples) for f in families.values()) < 2000


def test_pages_of_elsewhere(api):
    origin = {"Origin": "https://console.example.org"}
    api.bad(403, "forbidden", "GET", "/api/trust", **origin)
    assert api.ask("OPTIONS", "/api/trust", token=None, Access_Control_Request_Method="GET", **origin).status_code == 403
    api.good("PUT", "/api/settings/cors_origins", ["https://console.example.org"])
    preflight = api.ask("OPTIONS", "/api/no/such/path", token=None, Access_Control_Request_Method="POST", **origin)
    assert preflight.status_code == 204 and preflight.headers["Access-Control-Allow-Origin"] == origin["Origin"]
    assert "Idempotency-Key" in preflight.headers["Access-Control-Allow-Headers"]
    answer = api.ask("GET", "/api/trust", **origin)
    assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"] and answer.headers["Vary"] == "Origin"
    api.bad(401, "unauthorized", "GET", "/api/trust", token=None, **origin)
    api.bad(403, "forbidden", "GET", "/api/trust", Origin="https://console.example.org.evil.example")
    for value in (["*"], ["null"], '"https://a"', ["https://a/path"], [1], ["https://"], ["x" * 300]):
        api.bad(400, "bad_usage", "PUT", "/api/settings/cors_origins", value)
    api.good("PUT", "/api/settings/cors_origins", [])
    api.bad(403, "forbidden", "GET", "/api/trust", **origin)
    plain = api.ask("OPTIONS", "/api/trust")
    assert plain.status_code == 204 and plain.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    assert api.ask("OPTIONS", "/api/nothing").status_code == 404
    assert api.ask("OPTIONS", "/api/trust", token=None).status_code == 401


def test_settings_have_a_published_schema(api, root):
    schema = json.loads((root / "docs" / "schema" / "settings.schema.json").read_text())
    made = json.loads(api.place.good("help", "pages/settings").out)
    assert schema == made, "docs/schema/settings.schema.json: run `moat help pages/settings`"
    jsonschema.Draft202012Validator.check_schema(schema)
    told = {s["key"]: s for s in api.good("GET", "/api/settings")["settings"]}
    assert set(told) == set(schema["properties"])
    jsonschema.Draft202012Validator(schema).validate({k: s["value"] for k, s in told.items()})
    for key, s in told.items():
        assert s["default"] == schema["properties"][key]["default"]
        assert s["takes_effect"] == schema["properties"][key]["x-moat-takes-effect"]


# ---- clients as people use them ----


def test_curl(api):
    done = subprocess.run(["curl", "-sS", "--fail-with-body", "-H", f"Authorization: Bearer {api.admin}", "--json", '{"a":1}',
                           api.url + ECHO], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and json.loads(done.stdout) == {"success": True, "result": {"a": 1}}


def test_httpx(api):
    with httpx.Client(base_url=api.url, headers={"Authorization": f"Bearer {api.admin}"}, timeout=60) as client:
        for n in range(50):
            assert client.post(ECHO, json=n).json()["result"] == n
        assert client.get("/api/plugins/info/echo", headers={"Accept-Encoding": "gzip"}).json()["success"]


def test_clients_at_once(api):
    answers = []

    def run(base):
        session = requests.Session()
        for n in range(50):
            answer = session.post(api.url + ECHO, json=base + n, headers={"Authorization": f"Bearer {api.admin}"}, timeout=60)
            answers.append(answer.json()["result"] == base + n)
    threads = [threading.Thread(target=run, args=(1000 * t,)) for t in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(answers) == 200 and all(answers)
