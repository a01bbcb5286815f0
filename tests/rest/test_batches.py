"""POST /api/calls at its bounds: results of all together, one item's members, keys inside, a client that leaves."""

import json
import socket

import pytest
import wire
from client import Api, Held, until

from place import Place


@pytest.fixture(scope="module")
def api(build, tmp_path_factory):
    place = Place(build, tmp_path_factory.mktemp("batches"))
    place.have("echo")
    yield Api(place)
    place.close()


def call(action="echo", parameters=None, **more):
    return {"plugin": "echo", "action": action, "parameters": parameters, **more}


def codes(outcomes):
    return [o.get("error", {}).get("code", "ok") for o in outcomes]


def test_all_results_together_have_64_mib(api):
    """What goes beyond was run, and is told so in its place; the others stand."""
    each = 7 << 20
    outcomes = api.good("POST", "/api/calls", [call("big", {"bytes": each})] * 9 + [call(parameters=[1])] + [call("big", {"bytes": each})])
    assert codes(outcomes) == ["ok"] * 9 + ["ok", "limit"]
    assert [len(o["result"]) + 2 for o in outcomes[:9]] == [each] * 9 and outcomes[9]["result"] == [1]
    assert outcomes[10]["receipt"]["bytes_out"] == each and "was run" in outcomes[10]["error"]["message"]
    assert api.good("POST", "/api/calls", [call(parameters=[2])])[0]["result"] == [2]


def test_each_item_is_looked_at_alone(api):
    items = [call(parameters=1), {"plugin": "echo"}, {**call(), "more": 1}, "echo", None, [], call(deadline="soon"),
             call(deadline="0s"), call(idempotency_key="x" * 256), call(idempotency_key=""), call(idempotency_key="a b"),
             {"plugin": "p" * 5000, "action": "x"}, {"plugin": "echo", "action": "a" * 100}, {"plugin": 1, "action": "x"},
             {**call(), **{f"m{n}": "x" * 50 for n in range(100)}}, call(parameters="x" * 100_000), call("sleep", {"ms": "x"})]
    outcomes = api.good("POST", "/api/calls", items)
    assert codes(outcomes) == ["ok"] + ["bad_request"] * 14 + ["ok", "bad_parameters"]
    assert outcomes[16]["error"]["detail"]["pointer"] == "/ms"
    for outcome in outcomes[1:15]:
        assert "receipt" not in outcome and len(outcome["error"]["id"]) == 32


def test_the_body_has_the_bound_of_a_call(api):
    big = "x" * ((4 << 20) - 200)
    assert codes(api.good("POST", "/api/calls", [call(parameters=big), call(parameters=1)])) == ["ok", "ok"]
    api.bad(413, "too_large", "POST", "/api/calls", [call(parameters=big)] * 3)
    api.bad(413, "too_large", "POST", "/api/calls", "[" + "0," * 1000 + "0]")
    api.bad(400, "bad_json", "POST", "/api/calls", "[" * 300 + "]" * 300)


def test_a_key_twice_in_one_batch_runs_once(api):
    keyed = {"idempotency_key": "one-of-many"}
    outcomes = api.good("POST", "/api/calls", [call("sleep", {"ms": 100}, **keyed), call("sleep", {"ms": 100}, **keyed),
                                               call("sleep", {"ms": 101}, **keyed), call("count")])
    assert codes(outcomes) == ["ok", "ok", "idempotency_conflict", "ok"]
    assert outcomes[0]["receipt"] == outcomes[1]["receipt"]
    again = api.good("POST", "/api/calls", [call("sleep", {"ms": 100}, **keyed)])
    assert again[0]["receipt"] == outcomes[0]["receipt"]


@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_client_that_leaves_cancels_all_that_runs_and_waits(api, way):
    body = json.dumps([call("sleep", {"ms": 600000, "deaf": True})] * 50 + [call("sleep", {"ms": 600000, "deaf": True}, idempotency_key=way)] * 2)
    before = len(api.good("GET", "/api/calls?limit=10000")["ended"])
    with wire.dial(api.url) as sock:
        sock.sendall(f"POST /api/calls HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.admin}\r\n"
                     f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
        until(lambda: len(api.good("GET", "/api/calls")["running"]) == 51)  # the second with the key waits for the first
        if way == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    until(lambda: len(api.good("GET", "/api/calls")["running"]) == 1)
    kept = api.good("GET", "/api/calls")["running"][0]  # its client may come back
    api.good("DELETE", f"/api/calls/{kept['id']}")
    until(lambda: not api.good("GET", "/api/calls")["running"])
    ended = api.good("GET", "/api/calls?limit=10000")["ended"][:51]
    assert len(api.good("GET", "/api/calls?limit=10000")["ended"]) == before + 51
    assert {e["code"] for e in ended} == {"cancelled"}
    assert api.good("POST", "/api/plugins/execute/echo/echo", [1]) == [1]


def test_others_are_served_beside_a_batch(api):
    """A batch of another's takes turns with who comes alone: nobody waits for all of it."""
    token = api.token("execute:echo")["token"]
    body = [call("sleep", {"ms": 20})] * 200
    many = Held(api, "/api/calls", body)
    until(lambda: api.good("GET", "/api/calls")["running"])
    assert api.good("POST", "/api/plugins/execute/echo/echo", [1], token=token) == [1]
    assert many.is_alive()
    many.join()
    assert set(codes(many.answer.json()["result"])) == {"ok"}
