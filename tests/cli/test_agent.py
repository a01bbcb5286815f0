"""Calls of other plugins and facts of the machine, asked by a running call: granted, refused, explained, revoked."""

import json
import os
import time

import pytest

RELAY = {"plugin": "relay", "only": ("pass", "fact", "deaf")}


def three(place):
    place.install(name="agent", **RELAY)
    place.install(name="worker_a", **RELAY)
    place.install(name="worker_b", only=("echo", "sleep"))
    return place


@pytest.fixture
def trio(place):
    """agent may ask; worker_a and worker_b are what it calls."""
    place.serve()
    return three(place)


def passes(place, path, **parameters):
    return place.result("call", "agent", "pass", json.dumps({"path": path, **parameters}))


def denials(place, name="agent"):
    return place.result("denials", name)["denials"]


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_nothing_is_called_without_a_grant(trio):
    refused = passes(trio, "worker_b.echo")
    assert refused["refused"] == "permission_denied" and refused["by"] == "agent"
    assert "`moat grant agent agent_control=worker_b.echo`" in refused["message"]
    [row] = denials(trio)
    assert (row["operation"], row["object"], row["permission"], row["count"]) == ("call", "worker_b.echo", "agent_control", 1)
    assert row["command"] == "moat grant agent agent_control=worker_b.echo" and row["action"] == "pass"


def test_what_is_granted_is_called_and_nothing_beside(either):
    trio = three(either)
    trio.good("grant", "agent", "agent_control=worker_b.echo")
    assert passes(trio, "worker_b.echo", **{"with": {"n": 1}}) == {"n": 1}
    assert passes(trio, "worker_b.sleep")["refused"] == "permission_denied"
    assert passes(trio, "worker_a")["refused"] == "permission_denied"
    trio.good("grant", "agent", "agent_control=worker_a")
    assert passes(trio, "worker_a") == {"end": "worker_a"}


def test_the_one_called_acts_with_its_own_grants(trio):
    """What agent may, worker_a may not for that; what it reaches through it is shown."""
    trio.good("grant", "agent", "agent_control")
    refused = passes(trio, "worker_a,worker_b.echo")
    assert refused["refused"] == "permission_denied" and refused["by"] == "worker_a"
    assert "moat grant worker_a agent_control=worker_b.echo" in refused["message"]
    trio.good("grant", "worker_a", "agent_control=worker_b")
    assert passes(trio, "worker_a,worker_b.echo") == {}
    trio.good("revoke", "agent", "agent_control")
    trio.good("grant", "agent", "agent_control=worker_a.pass")
    assert trio.result("grants", "agent")["reaches"] == ["worker_a", "worker_b"]


def test_a_plugin_that_does_not_ask_for_it_calls_nobody(place):
    place.serve()
    place.install(name="agent", **RELAY, optional_permissions=[])
    place.install(name="worker_b", only=("echo",))
    place.good("grant", "agent", "agent_control")
    refused = passes(place, "worker_b.echo")
    assert refused["refused"] == "permission_denied" and "does not ask" in refused["message"]


def test_a_refused_or_forbidden_one_is_told_so(trio):
    trio.good("refuse", "agent", "agent_control")
    assert "refused the permission" in passes(trio, "worker_b.echo")["message"]
    trio.good("grant", "agent", "agent_control")
    trio.good("ceiling", "set", "everybody", "agent_control=worker_b")
    assert "ceiling" in passes(trio, "worker_b.echo")["message"]
    assert passes(trio, "worker_a") == {"end": "worker_a"}


def test_what_the_others_answer_is_told(trio):
    trio.good("grant", "agent", "agent_control")
    trio.good("grant", "worker_a", "agent_control")
    codes = {path: passes(trio, path)["refused"]
             for path in ("nobody", "worker_b.nothing", "worker_b.sleep", "agent", "worker_a,agent")}
    assert codes == {"nobody": "no_such_plugin", "worker_b.nothing": "no_such_action", "worker_b.sleep": "bad_parameters",
                     "agent": "call_cycle", "worker_a,agent": "call_cycle"}
    trio.good("unload", "worker_b")
    assert passes(trio, "worker_b.echo")["refused"] == "wrong_state"


def test_the_receipt_has_what_was_spent_elsewhere(trio):
    trio.good("grant", "agent", "agent_control=worker_b.sleep")
    done = trio.good("call", "agent", "pass", '{"path":"worker_b.sleep","with":{"ms":30},"times":2}', "--receipt", "--json")
    receipt = json.loads(done.err)
    assert receipt["calls"] == 2 and receipt["ran_ns"] >= receipt["calls_ns"] >= 60_000_000
    assert "calls" not in json.loads(trio.good("call", "agent", "pass", '{"path":""}', "--receipt", "--json").err)


def call_that_waits(place):
    """A call of agent's that waits for one of worker_b's."""
    place.good("grant", "agent", "agent_control=worker_b.sleep")
    waiting = place.start("call", "agent", "pass", '{"path":"worker_b.sleep","with":{"ms":60000}}', "--json")
    until(lambda: any(p["name"] == "worker_b" and p["in_flight"] for p in place.result("list", "--loaded")["plugins"]))
    return waiting


def test_a_revocation_ends_what_was_called(place):
    place.serve()
    three(place)
    waiting = call_that_waits(place)
    place.good("revoke", "agent", "agent_control=worker_b.sleep")
    out, err = waiting.communicate(timeout=20)
    assert json.loads(out)["refused"] == "permission_denied", err
    assert passes(place, "worker_b.sleep")["refused"] == "permission_denied"
    assert place.result("info", "agent")["restarts"] == 0


def test_an_end_of_the_grant_ends_it_too(place):
    place.serve()
    place.install(name="agent", **RELAY)
    place.install(name="worker_b", only=("echo", "sleep"))
    place.good("grant", "agent", "agent_control=worker_b", "--for", "2s")
    began = time.monotonic()
    answer = passes(place, "worker_b.sleep", **{"with": {"ms": 60000}})
    assert answer["refused"] == "permission_denied" and time.monotonic() - began < 20
    assert passes(place, "worker_b.echo")["refused"] == "permission_denied"


def test_another_version_asks_by_its_own_manifest(trio):
    trio.good("grant", "agent", "agent_control=worker_b.echo")
    assert passes(trio, "worker_b.echo") == {}
    trio.install("2.0.0", "--use", "--accept", "all", name="agent", **RELAY, optional_permissions=["system_access"])
    assert passes(trio, "worker_b.echo")["refused"] == "permission_denied"
    trio.good("rollback", "agent")
    assert passes(trio, "worker_b.echo") == {}


# ---- facts ----

FACTS = {"cpu_count", "cpu_model", "host_name", "kernel", "machine", "memory_total", "operating_system", "time_zone", "uptime"}


def test_facts_are_asked_for(place):
    place.serve()
    place.install(name="agent", **RELAY)
    ask = lambda **name: place.result("call", "agent", "fact", json.dumps(name))  # noqa: E731
    refused = ask(name="kernel")
    assert refused["refused"] == "permission_denied" and "`moat grant agent system_access`" in refused["message"]
    [row] = denials(place)
    assert (row["operation"], row["object"], row["command"]) == ("ask for a fact", "kernel", "moat grant agent system_access")
    place.good("grant", "agent", "system_access")
    everything = ask()
    assert set(everything) == FACTS
    name = os.uname()
    assert (everything["kernel"], everything["host_name"], everything["machine"]) == (name.release, name.nodename, name.machine)
    assert everything["cpu_count"] == os.sysconf("SC_NPROCESSORS_ONLN")
    assert everything["memory_total"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert everything["uptime"] % 60 == 0
    for fact in FACTS - {"uptime"}:
        assert ask(name=fact) == everything[fact]
    assert ask(name="password")["refused"] == "not_found"
    assert ask(name="../etc")["refused"] == "bad_usage"
