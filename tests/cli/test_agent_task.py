"""Tasks that a running call asks for: what is granted runs, one call at a time, and nothing beside it; they end with it."""

import json
import signal
import time

import pytest

from place import Place
from test_agent import until

RELAY = {"plugin": "relay", "only": ("pass", "fact", "deaf", "task")}
ECHO = ("echo", "sleep", "fail", "count", "big")


def have(place):
    """agent and other ask; alpha and beta are what they have."""
    for name in ("agent", "other"):
        place.install(name=name, **RELAY)
    for name in ("alpha", "beta"):
        place.install(name=name, only=ECHO)
    return place


@pytest.fixture(scope="module")
def shared(build, tmp_path_factory):
    place = Place(build, tmp_path_factory.mktemp("agents"))
    place.serve()
    yield have(place)
    place.close()


@pytest.fixture
def place(shared):
    """Nobody is granted anything, and nothing runs."""
    yield shared
    for name in ("agent", "other"):
        if any(g["permission"] == "agent_control" for g in shared.result("grants", name)["grants"]):
            shared.good("revoke", name, "agent_control")
    until(lambda: not shared.result("task", "list", "--status", "running")["tasks"])


def denied(place, object):
    return {row["object"]: row for row in place.result("denials", "agent")["denials"]}.get(object, {"count": 0})


def step(id, plugin="alpha", action="echo", parameters=None, **members):
    made = {"id": id, "action": action, **({"parameters": parameters} if parameters is not None else {}), **members}
    return made if "capability" in members else {"plugin": plugin, **made}


def task(*steps, **members):
    return {"task": 1, "steps": list(steps), **members}


def asks(place, made, plugin="agent", *more):
    return place.result("call", plugin, "task", "-", *more, input=json.dumps({"task": made}))


def refused(place, made, code, plugin="agent"):
    answer = asks(place, made, plugin)
    assert answer.get("refused") == code, answer
    return answer["message"]


def outcomes(document):
    return {s["id"]: s["outcome"] for s in document["steps"]}


# ---- what is granted ----


def runs(place):
    place.good("grant", "agent", "agent_control=alpha.echo")
    place.good("grant", "agent", "agent_control=beta")
    document = asks(place, task(
        step("a", parameters={"v": [1, 2]}), step("b", "beta", parameters={"w": {"$from": "/steps/a/result/v/1"}}),
        step("each", parameters={"i": {"$from": "/item"}}, for_each={"items": [7, 8], "concurrency": 2}),
        result={"b": {"$from": "/steps/b/result"}, "each": {"$from": "/steps/each/result"}}, name="mine"))
    assert document["status"] == "succeeded" and document["name"] == "mine", document
    assert document["result"] == {"b": {"w": 2}, "each": [{"i": 7}, {"i": 8}]}
    assert document["receipt"]["calls"] == 4 and document["receipt"]["chain"] == ["agent"]
    assert document["receipt"]["plugins_used"] == ["alpha", "beta"]


def test_it_runs_and_its_document_is_the_answer(place):
    runs(place)


def test_without_a_server_as_well(build, tmp_path):
    runs(have(Place(build, tmp_path)))


def test_nothing_of_it_runs_when_one_step_is_not_granted(place):
    """The one that is refused comes last; the first would have been allowed."""
    place.good("grant", "agent", "agent_control=alpha.count")
    counted, before = place.result("call", "alpha", "count"), denied(place, "beta.echo")["count"]
    for kind in ("plugin", "fallback", "compensate"):
        other = {"plugin": "beta", "action": "echo"}
        last = (step("b", "beta", depends_on=["a"]) if kind == "plugin" else
                step("b", action="count", depends_on=["a"], **{kind: other},
                     **({"on_error": "fallback"} if kind == "fallback" else {})))
        message = refused(place, task(step("a", action="count"), last), "permission_denied")
        assert "`moat grant agent agent_control=beta.echo`" in message, message
    assert place.result("call", "alpha", "count") == counted + 1, "nothing of it ran"
    row = denied(place, "beta.echo")
    assert (row["operation"], row["permission"], row["count"]) == ("call", "agent_control", before + 3)
    assert row["command"] == "moat grant agent agent_control=beta.echo" and row["action"] == "task"


def test_of_a_capability_those_it_may_call_are_chosen_from(place):
    made = task(*[step(f"s{i}", capability="custom") for i in range(6)])
    message = refused(place, made, "permission_denied")
    assert "agent may not call other plugins" in message
    place.good("grant", "agent", "agent_control=agent.echo")
    message = refused(place, made, "permission_denied")
    assert "`moat grant agent agent_control=" in message and ".echo" in message
    place.good("grant", "agent", "agent_control=beta.echo")
    document = asks(place, made)
    assert document["status"] == "succeeded" and {s["plugin"] for s in document["steps"]} == {"beta"}


def test_who_does_not_ask_for_agent_control_runs_none(place):
    place.install(name="humble", **RELAY, optional_permissions=[])
    place.good("grant", "humble", "agent_control")
    for made in (task(step("a")), 7):
        assert "does not ask" in refused(place, made, "permission_denied", "humble")


def test_a_ceiling_holds_for_it(place):
    place.good("grant", "agent", "agent_control")
    place.good("ceiling", "set", "everybody", "agent_control=beta")
    try:
        assert "ceiling" in refused(place, task(step("a"), step("b", "beta")), "permission_denied")
        assert asks(place, task(step("a")))["status"] == "succeeded"
    finally:
        place.good("ceiling", "remove", "everybody", "agent_control=beta")


# ---- what is no task, and too much of one ----


def test_what_is_no_task_is_not_run(place):
    place.good("grant", "agent", "agent_control")
    for made in (7, {}, {"task": 1}, task(), task(step("a"), step("a")), task(step("a", depends_on=["a"])),
                 task(step("a", parameters={"$from": "/steps/z/result"})), task(step("a", "nobody")),
                 task(step("a", action="nothing"))):
        assert refused(place, made, "bad_task")


def test_a_huge_one_is_refused_or_run(place):
    place.good("grant", "agent", "agent_control")
    assert refused(place, task(*[step(f"s{i}") for i in range(10_001)]), "bad_task")
    assert asks(place, task(step("a", parameters={"v": "x" * 4_000_000}), result=1))["status"] == "succeeded"
    message = refused(place, task(step("a", action="big", parameters={"bytes": 8_000_000}),
                                 step("b", action="big", parameters={"bytes": 8_000_000})), "too_large")
    assert "`result`" in message


def test_that_it_failed_is_an_answer(place):
    place.good("grant", "agent", "agent_control")
    document = asks(place, task(step("a", compensate={"plugin": "beta", "action": "count"}),
                               step("b", action="fail", depends_on=["a"], on_error="compensate")))
    assert document["status"] == "failed" and document["error"]["step"] == "b"
    assert document["steps"][0]["compensation"] == "done"


# ---- who waits for whom ----


def test_it_calls_nobody_who_waits_for_it(place):
    for name in ("agent", "other"):
        place.good("grant", name, "agent_control")
    document = asks(place, task(step("a", "agent", "pass", {"path": ""})))
    assert document["status"] == "failed" and document["error"]["code"] == "call_cycle", document
    inner = task(step("inner", "agent", "pass", {"path": ""}, on_error="continue"), step("fine"))
    document = asks(place, task(step("outer", "other", "task", {"task": {"$literal": inner}})))
    assert document["status"] == "succeeded", document
    [nested] = document["result"].values()
    assert nested["steps"][0]["error"]["code"] == "call_cycle" and nested["result"] == {"inner": None, "fine": {}} or \
        nested["result"] == {"fine": {}}
    assert nested["receipt"]["chain"] == ["agent", "other"]
    assert document["receipt"]["calls"] == 2, "other's, and the one that it made itself"


def test_a_chain_of_tasks_has_an_end(place):
    names = [f"link_{i}" for i in range(9)]
    for name in names:
        place.install(name=name, **RELAY)
        place.good("grant", name, "agent_control")
    made = task(step("end"))
    for name in reversed(names[1:]):
        made = task(step("next", name, "task", {"task": {"$literal": made}}))
    document, depth = asks(place, made, names[0]), 0
    while "error" not in document:
        document, depth = document["result"]["next"], depth + 1
    assert document["error"]["code"] == "call_depth" and depth == 7, (depth, document)


def test_plugins_that_would_wait_for_each_other_are_told_at_once(place):
    """Each has one worker, which waits for a moment before it asks for the other."""
    for name in ("agent", "other"):
        place.good("grant", name, "agent_control")
    began = time.monotonic()
    made = {"agent": task(step("a", "alpha", "sleep", {"ms": 300}), step("b", "other", "pass", {"path": ""}, depends_on=["a"])),
            "other": task(step("a", "beta", "sleep", {"ms": 300}), step("b", "agent", "pass", {"path": ""}, depends_on=["a"]))}
    both = [place.start("call", name, "task", json.dumps({"task": made[name]}), "--json") for name in made]
    said = [json.loads(p.communicate(timeout=30)[0]) for p in both]
    codes = sorted(d.get("error", {}).get("code", d["status"]) for d in said)
    assert "would_deadlock" in codes and codes[0] in ("succeeded", "would_deadlock"), said
    assert time.monotonic() - began < 10


# ---- it ends with its call ----


def waits(place, *more):
    """A call of agent's that waits for a task, whose second step runs in beta."""
    place.good("grant", "agent", "agent_control")
    made = task(step("a"), step("b", "beta", "sleep", {"ms": 60_000}, depends_on=["a"]), step("c", depends_on=["b"]))
    waiting = place.start("call", "agent", "task", json.dumps({"task": made}), "--json", *more)
    until(lambda: any(p["name"] == "beta" and p["in_flight"] for p in place.result("list", "--loaded")["plugins"]))
    return waiting


def nothing_runs(place):
    until(lambda: not place.result("task", "list")["tasks"] and
          not any(p["in_flight"] for p in place.result("list", "--loaded")["plugins"]))


def test_a_revocation_ends_it(place):
    place.good("grant", "agent", "agent_control=alpha")
    waiting = waits(place)
    place.good("revoke", "agent", "agent_control")
    out, err = waiting.communicate(timeout=20)
    answer = json.loads(out)
    assert answer["refused"] == "permission_denied" and "beta.sleep" in answer["message"], (out, err)
    nothing_runs(place)
    assert place.result("info", "agent")["restarts"] == place.result("info", "beta")["restarts"] == 0


def test_what_it_does_not_need_now_can_be_taken_back(place):
    """Of a step that is to come: that one fails, and the task with it."""
    for grant in ("alpha", "beta"):
        place.good("grant", "agent", f"agent_control={grant}")
    made = task(step("b", "beta", "sleep", {"ms": 700}), step("c", depends_on=["b"]))
    waiting = place.start("call", "agent", "task", json.dumps({"task": made}), "--json")
    until(lambda: any(p["name"] == "beta" and p["in_flight"] for p in place.result("list", "--loaded")["plugins"]))
    place.good("revoke", "agent", "agent_control=alpha")
    document = json.loads(waiting.communicate(timeout=20)[0])
    assert document["error"]["code"] == "permission_denied" and document["error"]["step"] == "c", document
    assert outcomes(document) == {"b": "succeeded", "c": "failed"}


def test_it_is_cancelled_with_its_call(place):
    waiting = waits(place)
    [call] = [c for c in place.result("calls")["running"] if c["plugin"] == "agent"]
    place.good("cancel", call["id"])
    assert json.loads(waiting.communicate(timeout=20)[0])["refused"] == "cancelled"
    nothing_runs(place)


def test_it_has_the_time_of_its_call(place):
    began = time.monotonic()
    waiting = waits(place, "--deadline", "400ms")
    assert waiting.wait(timeout=20) == 5 and time.monotonic() - began < 10
    nothing_runs(place)


def test_it_can_be_seen_and_ended_by_who_may_manage(place):
    waiting = waits(place)
    [row] = place.result("task", "list")["tasks"]
    shown = place.result("task", "show", row["id"])
    assert shown["status"] == "running" and shown["receipt"]["chain"] == ["agent"]
    place.good("task", "cancel", row["id"])
    document = json.loads(waiting.communicate(timeout=20)[0])
    assert document["status"] == "cancelled" and document["id"] == row["id"]
    nothing_runs(place)


def test_no_host_goes_on_with_it(place):
    waiting = waits(place)
    place.end_server(signal.SIGKILL)
    waiting.communicate(timeout=20)
    place.serve()
    assert place.result("task", "list")["tasks"] == []


def test_a_host_that_ends_ends_it(place):
    """While some ask for tasks as fast as they can: in good order, and nobody waits."""
    place.good("grant", "agent", "agent_control")
    waiting = waits(place)
    made = json.dumps({"task": task(step("a"))})
    others = [place.start("call", "other", "pass", '{"path":""}', "--json") for _ in range(3)]
    others.append(place.start("call", "agent", "task", made, "--json"))
    assert place.end_server()[0] == 0
    for caller in [waiting, *others]:
        caller.communicate(timeout=20)
    place.serve()
    assert place.result("task", "list")["tasks"] == []


def test_a_flood_of_them(place):
    """Each worker asks for one at a time, and each of those calls one at a time: the rest waits its turn."""
    place.good("grant", "agent", "agent_control")
    made = task(step("each", "alpha", parameters={"i": {"$from": "/item"}},
                     for_each={"items": list(range(200)), "concurrency": 64}), result=1)
    callers = [place.start("call", "agent", "task", json.dumps({"task": made}), "--json") for _ in range(8)]
    for caller in callers:
        document = json.loads(caller.communicate(timeout=60)[0])
        assert document["status"] == "succeeded" and document["receipt"]["calls"] == 200
    nothing_runs(place)


def test_what_a_step_calls_counts_for_the_budget(place):
    """Of a task of somebody else's, in which a plugin that calls others is a step."""
    place.good("grant", "agent", "agent_control")
    inner = task(*[step(f"s{i}") for i in range(5)])
    made = task(step("a", "agent", "task", {"task": {"$literal": inner}}), step("b", depends_on=["a"]), budget={"calls": 4})
    path = place.root / "task.json"
    path.write_text(json.dumps(made))
    done = place.moat("task", "run", path, "--json")
    document = json.loads(done.out)
    assert document["status"] == "failed" and document["error"]["code"] == "limit", document
    assert document["receipt"]["calls"] == 6 and outcomes(document)["b"] == "not_run"
