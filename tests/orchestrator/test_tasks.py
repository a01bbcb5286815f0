"""What tasks do, as their user sees it: retries, fallbacks, undoing, budgets, cancelling, rights, choices."""

import concurrent.futures
import json
import time

import pytest

from taskkit import STEPS, outcomes, step, steps_of, task


def data(values, operation="sum"):
    return {"data": values, "operation": operation}


def until(holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


# ---- templates and results ----


def test_the_page_s_example(tasks, root):
    page = (root / "docs/tasks.md").read_text()
    shown = json.loads(page.split("```json\n")[1].split("```")[0])
    document = tasks.good("POST", "/api/tasks", shown)
    assert document["status"] == "succeeded" and document["result"] == {"mean": 46.5}
    assert document["name"] == shown["name"] and document["receipt"]["plugins_used"] == ["data_processor"]


def test_texts_and_large_values(tasks):
    """A value that is too large to be filled in on the loop goes the other way, with the same outcome."""
    text = "é\"\\" * 200_000
    document = tasks.run(step("a", parameters={"v": text}), step("b", parameters={"v": {"$from": "/steps/a/result/v"}}),
                         result={"same": {"$from": "/steps/b/result/v"}, "said": {"$text": "<{/steps/b/result/v}>"}})
    assert document["status"] == "succeeded"
    assert document["result"] == {"same": text, "said": f"<{text}>"}


def test_without_a_result_template_the_leaves_are_told(tasks):
    document = tasks.run(step("a", parameters={"x": 1}), step("b", parameters={"y": {"$from": "/steps/a/result"}}),
                         step("c", parameters={}))
    assert document["result"] == {"b": {"y": {"x": 1}}, "c": {}}


def test_a_result_that_is_not_there_fails_the_task(tasks):
    document = tasks.run(step("a", "fail", on_error="continue"), result={"$from": "/steps/a/result"})
    assert document["status"] == "failed" and document["error"]["code"] == "bad_parameters"
    assert "result" not in document


# ---- when a step fails ----


def test_retries_with_longer_and_longer_pauses(tasks):
    began = time.monotonic()
    document = tasks.run(step("a", "fail", retry={"attempts": 4, "delay": "50ms", "factor": 2, "on": ["action_failed"]}))
    assert time.monotonic() - began >= 0.35
    assert document["status"] == "failed" and steps_of(document)["a"]["attempts"] == 4
    assert document["error"] == {"code": "action_failed", "step": "a", "message": document["error"]["message"]}


def test_what_may_have_been_done_is_not_tried_again_unasked(tasks):
    """`crash` is not idempotent: it may have done something before it died."""
    document = tasks.run(step("a", "crash", retry={"attempts": 3, "delay": "1ms"}))
    assert steps_of(document)["a"]["attempts"] == 1 and document["error"]["code"] == "plugin_crashed"
    document = tasks.run(step("a", "crash", retry={"attempts": 2, "delay": "1ms", "on": ["plugin_crashed"]}))
    assert steps_of(document)["a"]["attempts"] == 2


def test_a_timeout_is_of_each_attempt(tasks):
    document = tasks.run(step("a", "sleep", {"ms": 5000}, timeout="50ms",
                              retry={"attempts": 2, "delay": "1ms", "on": ["deadline"]}))
    assert steps_of(document)["a"]["attempts"] == 2 and document["error"]["code"] == "deadline"


def test_fallback(tasks):
    document = tasks.run(step("a", "fail", {"message": "no way"}, on_error="fallback",
                              fallback={"plugin": "echo", "action": "echo",
                                        "parameters": {"after": {"$from": "/steps/a/error/code"},
                                                       "said": {"$from": "/steps/a/error/message"}}}),
                         step("b", parameters={"v": {"$from": "/steps/a/result/after"}}))
    a = steps_of(document)["a"]
    assert document["status"] == "succeeded" and a["fell_back"] is True and "error" not in a
    assert document["result"] == {"b": {"v": "action_failed"}}


def test_what_was_done_is_undone_last_first(tasks):
    undo = {"plugin": "echo", "action": "count"}
    document = tasks.run(step("a", compensate={**undo}), step("b", depends_on=["a"], compensate=undo),
                         step("c", depends_on=["b"]),
                         step("d", "fail", depends_on=["c"], on_error="compensate", compensate=undo),
                         step("e", depends_on=["d"]))
    done = steps_of(document)
    assert document["status"] == "failed" and document["error"]["step"] == "d"
    assert {i for i, s in done.items() if s.get("compensation") == "done"} == {"a", "b"}
    assert done["e"]["outcome"] == "not_run" and document["receipt"]["calls"] == 6


def test_undoing_goes_on_when_a_part_of_it_fails(tasks):
    document = tasks.run(step("a", compensate={"plugin": "echo", "action": "echo",
                                               "parameters": {"was": {"$from": "/steps/a/result"}}}),
                         step("b", depends_on=["a"], compensate={"plugin": "echo", "action": "fail"}),
                         step("c", "fail", depends_on=["b"], on_error="compensate"))
    done = steps_of(document)
    assert done["a"]["compensation"] == "done" and done["b"]["compensation"] == "failed"


def test_a_failure_lets_others_end_and_begins_nothing(tasks):
    """The other one runs in another plugin, longer than the failure takes."""
    many = {"data": list(range(200_000)), "operation": "sum"}
    document = tasks.run(step("fails", "fail"), step("later", depends_on=["fails"]),
                         step("other", "aggregate", many, plugin="data_processor"))
    assert document["status"] == "failed" and document["error"]["step"] == "fails"
    assert outcomes(document) == {"fails": "failed", "later": "not_run", "other": "succeeded"}


# ---- for_each ----


def test_for_each_keeps_the_order_of_its_items(tasks, rng):
    items = [rng.randrange(1000) for _ in range(300)]
    document = tasks.run(step("a", parameters={"v": {"$from": "/item"}, "i": {"$from": "/index"}},
                              for_each={"items": items, "concurrency": 16}))
    assert document["result"]["a"] == [{"v": v, "i": i} for i, v in enumerate(items)]


def test_for_each_over_nothing_and_over_too_much(tasks):
    assert tasks.run(step("a", for_each={"items": []}))["result"] == {"a": []}
    document = tasks.run(step("a", for_each={"items": {"$from": "/input"}}), input=[0] * 10_001)
    assert document["error"]["code"] == "limit" and steps_of(document)["a"].get("attempts") is None


def test_items_that_fail_are_null_where_the_task_goes_on(tasks):
    document = tasks.run(step("a", "fail", {"message": {"$from": "/item"}}, for_each={"items": ["1", "2"]}, on_error="continue"),
                         step("b", when=[{"step": "a", "outcome": "failed"}],
                              parameters={"all": {"$from": "/steps/a/result"}}))
    assert document["status"] == "succeeded"
    assert document["result"]["b"] == {"all": [None, None]} and steps_of(document)["a"]["attempts"] == 2


# ---- budgets ----


@pytest.mark.parametrize("budget,says", [({"calls": 5}, "5 calls"), ({"bytes": 100}, "100 bytes"),
                                         ({"cpu": "1ms"}, "CPU"), ({"time": "300ms"}, "300ms")])
def test_budgets(tasks, budget, says):
    a = step("a", "sleep", {"ms": 20}, for_each={"items": [0] * 200, "concurrency": 1})
    if "cpu" in budget:
        a |= {"plugin": "data_processor", "action": "aggregate", "parameters": data(list(range(20_000)), "median")}
    document = tasks.run(a, budget=budget)
    assert document["status"] == "failed" and document["error"]["code"] == "limit" and "step" not in document["error"]
    assert says in document["error"]["message"]
    assert document["receipt"]["calls"] <= (5 if "calls" in budget else 199)


# ---- checks ----


@pytest.mark.parametrize("one,pointer,code", [
    (step("a", plugin="none"), "/steps/0/plugin", "no_candidate"),
    (step("a", "none"), "/steps/0/action", "no_candidate"),
    (step("a", capability="security"), "/steps/0/capability", "no_candidate"),
    (step("a", where={"version": ">1.0.0"}), "/steps/0/where", "no_candidate"),
    (step("a", where={"publisher": "somebody"}), "/steps/0/where", "no_candidate"),
    (step("a", "sleep", {}), "/steps/0/parameters", "bad_parameters"),
    (step("a", "sleep", {"ms": -1}), "/steps/0/parameters/ms", "bad_parameters"),
    (step("a", "sleep", {"ms": {"$from": "/input"}}), "/steps/0/parameters/ms", "bad_parameters"),
    (step("a", "sleep", {"ms": {"$text": "5"}}), "/steps/0/parameters/ms", "bad_parameters"),
    (step("a", "sleep", {"ms": {"$from": "/input/none", "default": 1}, "x": 1}), "/steps/0/parameters/x", "bad_parameters"),
    (step("a", "aggregate", {"data": [{"$from": "/steps/t/result"}], "operation": "sum"}, plugin="data_processor"),
     None, None),
    (step("a", "aggregate", {"data": {"$from": "/steps/t/result"}, "operation": "sum"}, plugin="data_processor"),
     "/steps/0/parameters/data", "bad_parameters"),
    (step("a", "aggregate", {"data": {"$from": "/steps/m/result"}, "operation": "mode"}, plugin="data_processor"),
     "/steps/0/parameters/operation", "bad_parameters"),
    (step("a", parameters={"v": {"$text": "{/steps/t/result/0}"}}), "/steps/0/parameters/v", "unknown_reference"),
    (step("a", for_each={"items": {"$from": "/steps/t/result"}}), "/steps/0/for_each/items", "bad_parameters"),
])
def test_what_a_check_finds(tasks, one, pointer, code):
    made = task(one, step("t", "typed"), step("m", "normalize", {"data": [1]}, plugin="data_processor"), input="text")
    found = tasks.good("POST", "/api/tasks/check", made)
    if pointer is None:
        assert found == {"valid": True, "findings": [], "steps": 3}
        return
    assert found["valid"] is False and [(f["pointer"], f["code"]) for f in found["findings"]] == [(pointer, code)], found
    error = tasks.bad(422, "bad_task", "POST", "/api/tasks", made)
    assert error["detail"]["findings"] == found["findings"]


def test_hostile_tasks_are_refused_within_bounds(tasks):
    deep = {"v": 1}
    for _ in range(300):
        deep = {"v": deep}
    doubling = [step("s0", parameters={"v": "x" * 1000})]
    for i in range(1, 40):
        doubling.append(step(f"s{i}", parameters={"v": [{"$from": f"/steps/s{i - 1}/result"}] * 2}))
    began = time.monotonic()
    assert tasks.ask("POST", "/api/tasks", task(step("a", parameters=deep))).code == "bad_json"
    wide = task(*[step(f"s{i}") for i in range(10_001)])
    assert tasks.ask("POST", "/api/tasks", wide).code == "bad_task"
    self_referring = task(step("a", parameters={"v": {"$from": "/steps/a/result"}}))
    assert tasks.ask("POST", "/api/tasks", self_referring).code == "bad_task"
    document = tasks.good("POST", "/api/tasks", task(*doubling))
    assert document["status"] == "failed" and document["error"]["code"] in ("too_large", "limit")
    assert time.monotonic() - began < 20


def test_filling_is_bounded_whatever_a_template_says(tasks):
    """Few bytes that lead into much, again and again: a loop would be busy for a minute."""
    many, last = list(range(100_000)), 99_999
    first = step("a", parameters={"v": many})
    document = tasks.run(first, result=[{"$from": f"/steps/a/result/v/{last}"}] * 50_000)
    assert document["status"] == "failed" and document["error"]["code"] == "limit"
    document = tasks.run(first, step("b", parameters={"v": [{"$from": f"/steps/a/result/v/{last}"}] * 50_000}))
    assert document["error"]["code"] == "limit" and document["error"]["step"] == "b"
    document = tasks.run(step("c", parameters={"v": [{"$from": f"/item/{last}"}] * 50_000}, for_each={"items": [many]}))
    assert document["error"]["code"] == "limit" and document["error"]["step"] == "c"
    document = tasks.run(first, result=[{"$from": f"/steps/a/result/v/{last}"}] * 50)
    assert document["result"] == [last] * 50


def test_conditions_over_much_leave_the_loop_to_others(tasks):
    """Ten thousand conditions that each lead through half a megabyte: it is cancelled between two of them."""
    made = [step(f"s{i}", when=[{"value": "/steps/a/result/v/99999", "equals": None}]) for i in range(9_999)]
    begun = tasks.good("POST", "/api/tasks?wait=false", task(step("a", parameters={"v": list(range(100_000))}), *made))
    shown = f"/api/tasks/{begun['id']}"
    until(lambda: "skipped" in outcomes(tasks.good("GET", shown)).values())
    assert tasks.good("DELETE", shown)["status"] == "cancelled"
    until(lambda: tasks.good("GET", shown)["status"] == "cancelled")


def test_many_steps(tasks):
    made = task(*[step(f"s{i}", depends_on=[f"s{i - 1}"] if i else []) for i in range(3000)])
    document = tasks.good("POST", "/api/tasks", made)
    assert document["status"] == "succeeded" and document["receipt"]["calls"] == 3000
    skipped = task(step("s0", "fail", on_error="continue"),
                   *[step(f"s{i}", depends_on=[f"s{i - 1}"]) for i in range(1, 10_000)])
    document = tasks.good("POST", "/api/tasks", skipped)
    assert document["status"] == "succeeded" and document["receipt"]["calls"] == 1
    assert sum(s["outcome"] == "skipped" for s in document["steps"]) == 9_999


# ---- cancelling, listing ----


def test_cancelling(tasks):
    begun = tasks.good("POST", "/api/tasks?wait=false", task(step("a", "sleep", {"ms": 60_000}),
                                                             step("b", depends_on=["a"]), name="long"))
    assert begun["status"] == "running"
    listed = tasks.good("GET", "/api/tasks?status=running")["tasks"]
    assert [t["name"] for t in listed if t["id"] == begun["id"]] == ["long"]
    until(lambda: steps_of(tasks.good("GET", f"/api/tasks/{begun['id']}"))["a"]["outcome"] == "running")
    assert tasks.good("DELETE", f"/api/tasks/{begun['id']}") == {"id": begun["id"], "status": "cancelled"}
    until(lambda: not [t for t in tasks.good("GET", "/api/tasks?status=running")["tasks"] if t["id"] == begun["id"]])
    tasks.bad(404, "not_found", "DELETE", f"/api/tasks/{'0' * 32}")
    tasks.bad(400, "bad_request", "GET", "/api/tasks?status=done")


# ---- rights ----


def test_each_step_needs_its_scope(tasks):
    token = tasks.good("POST", "/api/tokens", {"scopes": ["execute:echo"]})["token"]
    both = task(step("a"), step("b", "aggregate", data([1]), plugin="data_processor"))
    error = tasks.bad(403, "forbidden", "POST", "/api/tasks", both, token=token)
    assert "execute:data_processor" in error["message"]
    assert tasks.good("POST", "/api/tasks", task(step("a")), token=token)["status"] == "succeeded"
    tasks.bad(403, "forbidden", "GET", "/api/tasks", token=token)
    chosen = task(step("a", "aggregate", data([1]), capability="data_processing"))
    tasks.bad(403, "forbidden", "POST", "/api/tasks", chosen, token=token)
    reader = tasks.good("POST", "/api/tokens", {"scopes": ["read"]})["token"]
    tasks.bad(403, "forbidden", "POST", "/api/tasks", task(step("a")), token=reader)
    assert tasks.ask("GET", "/api/tasks", token=reader).status == 200
    begun = tasks.good("POST", "/api/tasks?wait=false", task(step("a", "sleep", {"ms": 60_000})))
    tasks.bad(403, "forbidden", "DELETE", f"/api/tasks/{begun['id']}", token=token)
    manager = tasks.good("POST", "/api/tokens", {"scopes": ["manage"]})["token"]
    assert tasks.ask("DELETE", f"/api/tasks/{begun['id']}", token=manager).status == 200


# ---- choosing ----


@pytest.fixture(scope="module")
def three(tasks):
    """Three plugins with a capability of their own: one that is well, one that always fails, one that asks for a right."""
    place = tasks.place
    place.install("1.0.0", name="good", capabilities=["monitoring"], only=STEPS, keywords=["fast", "green"],
                  optional_permissions=[])
    place.install("2.1.0", name="bad", capabilities=["monitoring"], only=STEPS, optional_permissions=[])
    place.install("1.5.0", name="asks", capabilities=["monitoring"], only=STEPS, optional_permissions=["file_read"])
    return tasks


def select(tasks, **members):
    return tasks.good("POST", "/api/tasks/select", {"capability": "monitoring", "action": "echo", "explain": True, **members})


def test_where(three):
    def candidates(**where):
        return sorted(c["plugin"] for c in select(three, where=where)["candidates"] if "score" in c)

    assert candidates() == ["asks", "bad", "good"]
    assert candidates(permissions=[]) == ["bad", "good"]
    assert candidates(permissions=["File_Read"]) == ["asks", "bad", "good"]
    assert candidates(version=">=1.5.0 <2.0.0") == ["asks"]
    assert candidates(keywords=["green"]) == ["good"]
    assert candidates(publisher="acme") == ["asks", "bad", "good"] and candidates(publisher="demo") == []
    rest = {c["plugin"]: c["why"] for c in select(three, where={"keywords": ["green"]})["candidates"] if not c["chosen"]}
    assert rest == {"bad": 'it has not the keyword "green"', "asks": 'it has not the keyword "green"'}
    assert select(three, action="nothing")["plugin"] is None
    three.bad(400, "bad_request", "POST", "/api/tasks/select", {"plugin": "echo", "action": "echo"})
    three.bad(422, "bad_task", "POST", "/api/tasks/select", {"capability": "monitoring"})


def test_the_one_that_fails_is_left_and_the_new_one_gets_its_chance(three):
    """Of 60 steps the plugin that fails gets few; each of the others some."""
    used = {"good": 0, "bad": 0, "asks": 0}
    for _ in range(3):
        for name, action in (("bad", "fail"), ("good", "echo")):
            three.run(step("a", action, plugin=name, for_each={"items": [0] * 10}, on_error="continue",
                           **({} if action == "fail" else {"parameters": {}})))
    until(lambda: next(c for c in select(three)["candidates"] if c["plugin"] == "bad")["terms"]["success"] < 0.2)
    for _ in range(60):
        document = three.run(step("a", capability="monitoring"))
        used[steps_of(document)["a"]["plugin"]] += 1
    assert used["bad"] < used["good"] and used["bad"] < used["asks"] and used["asks"] > 0, used


def test_the_choice_is_told(three):
    document = three.run(step("a", capability="monitoring"), query="?explain")
    choice = steps_of(document)["a"]["choice"]
    assert sorted(c["plugin"] for c in choice) == ["asks", "bad", "good"]
    chosen = [c for c in choice if c["chosen"]]
    assert len(chosen) == 1 and chosen[0]["plugin"] == steps_of(document)["a"]["plugin"]
    assert chosen[0]["score"] == max(c["score"] for c in choice) and chosen[0]["why"] == "the best score"
    terms = chosen[0]["terms"]
    stated = 0.4 * terms["health"] + 0.3 * terms["success"] + 0.2 * terms["speed"] + 0.1 * terms["thrift"]
    assert abs(stated + terms["exploration"] - chosen[0]["score"]) < 0.001


def test_sticky(three):
    first = steps_of(three.run(step("a", capability="monitoring", sticky="room 7")))["a"]["plugin"]
    for _ in range(10):
        assert steps_of(three.run(step("a", capability="monitoring", sticky="room 7")))["a"]["plugin"] == first
    told = select(three, sticky="room 7")
    assert told["plugin"] == first
    assert "sticky" in next(c["why"] for c in told["candidates"] if c["chosen"])


def test_a_plugin_that_comes_or_goes_is_seen_at_once(three):
    place = three.place
    place.install("1.0.0", name="guest", capabilities=["visualization"], only=STEPS)
    document = three.run(step("a", capability="visualization"))
    assert steps_of(document)["a"]["plugin"] == "guest"
    place.good("deactivate", "guest")
    three.bad(422, "bad_task", "POST", "/api/tasks", task(step("a", capability="visualization")))
    told = select(three, capability="visualization")
    assert told["plugin"] is None and "refused" in told["candidates"][0]["why"]


def test_another_candidate_is_tried(three):
    """A retry goes to another one where there is another one."""
    document = three.run(step("a", "fail", capability="monitoring", on_error="continue",
                              retry={"attempts": 2, "delay": "1ms", "on": ["action_failed"]}), query="?explain")
    a = steps_of(document)["a"]
    assert a["attempts"] == 2 and a["plugin"] != next(c["plugin"] for c in a["choice"] if c["chosen"])


# ---- many ----


def test_many_small_tasks_at_once(tasks, long):
    """Begun all at once, and all there at once, as each rests before its second step: none is lost, none fails."""
    n, each, rest = (40, 250, "60s") if long else (20, 100, "1ms")
    made = task(step("a", "fail", retry={"attempts": 2, "delay": rest, "on": ["action_failed"]}, on_error="continue"),
                step("b", parameters={"v": 1}, when=[{"step": "a", "outcome": "failed"}]))
    figures = lambda: tasks.good("GET", "/api/tasks/stats")["execution_stats"]  # noqa: E731
    before = figures()["succeeded"]

    def begin(_):
        for _ in range(each):
            tasks.good("POST", "/api/tasks?wait=false", made)

    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        list(pool.map(begin, range(n)))
    assert not long or figures()["running"] == n * each
    until(lambda: figures()["succeeded"] == before + n * each, 150)


def test_stats(tasks):
    before = tasks.good("GET", "/api/tasks/stats")
    tasks.run(step("a"))
    tasks.run(step("a", "fail"))
    after = tasks.good("GET", "/api/tasks/stats")
    assert after["execution_stats"]["succeeded"] == before["execution_stats"]["succeeded"] + 1
    assert after["execution_stats"]["failed"] == before["execution_stats"]["failed"] + 1
    used = {p["plugin"]: p for p in after["plugins_used"]}["echo"]
    was = {p["plugin"]: p for p in before["plugins_used"]}["echo"]
    assert used["calls"] == was["calls"] + 2 and used["errors"] == was["errors"] + 1
    good, bad = (after["execution_stats"][k] for k in ("succeeded", "failed"))
    assert abs(after["success_rate"] - good / (good + bad)) < 1e-5


# ---- the command line ----


def test_the_commands(tasks, tmp_path):
    place = tasks.place
    file = tmp_path / "task.json"
    file.write_text(json.dumps(task(step("a", parameters={"v": 1}), name="from a file")))
    done = place.good("task", "run", file)
    assert json.loads(done.out) == {"a": {"v": 1}} and "succeeded a echo" in done.err
    assert place.good("task", "run", "-", input=file.read_text()).json == {"a": {"v": 1}}
    assert place.good("task", "check", file).out == "The task can run.\n"
    document = place.good("task", "run", file, "--json").json
    assert document["status"] == "succeeded"
    file.write_text(json.dumps(task(step("a", "fail", {"message": "on purpose"}))))
    done = place.moat("task", "run", file)
    assert done.status == 1 and done.out == "" and "on purpose" in done.err
    file.write_text(json.dumps(task(step("a", "none"))))
    done = place.moat("task", "check", file)
    assert done.status == 2 and "/steps/0/action" in done.out
    place.bad(2, "bad_task", "task", "run", file)
    place.bad(4, "no_such_file", "task", "run", tmp_path / "none")
    place.bad(4, "not_found", "task", "show", "0" * 32)
    place.bad(4, "not_found", "task", "cancel", "0" * 32)
    place.good("task", "list")
