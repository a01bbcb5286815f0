"""Random graphs, run and compared with a reference executor: the same outcomes, the order kept, nothing twice."""

import concurrent.futures

from taskkit import outcomes, step, steps_of, task
from reference import Run


def random_value(rng, depth=0):
    kind = rng.randrange(7 if depth < 2 else 5)
    if kind == 5:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        return {rng.choice("abc~/"): random_value(rng, depth + 1) for _ in range(rng.randrange(3))}
    return [None, True, rng.randrange(-5, 5), "é\"x", rng.choice(["", "a", "$from"])][kind]


def random_reference(rng, earlier, arrays, inside):
    pool = ["/input/n", "/input/list/1", "/input/none"]
    if earlier:
        one = rng.choice(earlier)
        parts = ["result", "outcome", "error/code", "result/0"]
        pool += [f"/steps/{one}/{part}" for part in parts + ([] if one in arrays else ["result/a"])]
    pool += ["/item", "/index"] if inside else []
    pointer = rng.choice(pool)
    sure = pointer.endswith("outcome") or pointer in ("/index", "/item", "/input/n", "/input/list/1")
    reference = {"$from": pointer}
    if pointer == "/input/none" or not sure and rng.random() < 0.7:
        reference["default"] = random_value(rng)
    return reference


def random_template(rng, earlier, arrays, inside=False, depth=0):
    """arrays: those of the earlier steps whose result is one for sure; a member of it is refused before anything runs."""
    kind = rng.randrange(5)
    if kind < 2:
        return random_reference(rng, earlier, arrays, inside)
    if kind == 2 and depth < 2:
        return {k: random_template(rng, earlier, arrays, inside, depth + 1) for k in rng.sample("abcd", rng.randrange(3))}
    if kind == 3 and depth < 2:
        return [random_template(rng, earlier, arrays, inside, depth + 1) for _ in range(rng.randrange(3))]
    return {"$literal": random_value(rng)}


def random_condition(rng, earlier):
    if rng.random() < 0.6:
        return {"step": rng.choice(earlier), "outcome": rng.choice(["succeeded", "failed", "skipped"])}
    return {"value": rng.choice([f"/steps/{rng.choice(earlier)}/result", "/input/n"]), "equals": rng.choice([7, None, "x"]),
            "not": rng.random() < 0.5}


def random_step(rng, i, earlier, arrays, stops):
    made = step(f"s{i}", "echo" if rng.random() < 0.75 else "fail")
    inside = rng.random() < 0.2
    if inside:
        items = rng.choice([[1, "b", {}], [], {"$from": "/input/list"}])
        if earlier and rng.random() < 0.3:
            items = {"$from": f"/steps/{rng.choice(earlier)}/result", "default": [0]}
        made["for_each"] = {"items": items, "concurrency": rng.randrange(1, 5)}
    # `fail` takes an object with texts only: none of these is a code or a message
    parameters = {} if made["action"] == "fail" else {"v": random_template(rng, earlier, arrays, inside)}
    made["parameters"] = parameters
    if earlier and rng.random() < 0.4:
        made["depends_on"] = rng.sample(earlier, rng.randrange(1, min(3, len(earlier)) + 1))
    if earlier and rng.random() < 0.3:
        made["when"] = [random_condition(rng, earlier) for _ in range(rng.randrange(1, 3))]
    if rng.random() < 0.3:
        made["on_error"] = "fallback"
        made["fallback"] = {"plugin": "echo", "action": rng.choice(["echo", "echo", "fail"]), "parameters": {}}
    elif not stops or rng.random() < 0.7:
        made["on_error"] = "continue"
    return made


def random_task(rng, stops):
    n = rng.randrange(1, 25)
    ids, steps = [], []
    for i in range(n):
        steps.append(random_step(rng, i, ids, {s["id"] for s in steps if "for_each" in s}, stops))
        ids.append(f"s{i}")
    if not stops:  # a fallback that fails fails the task
        for s in steps:
            if s.get("fallback", {}).get("action") == "fail":
                s["fallback"]["action"] = "echo"
    rng.shuffle(steps)
    return task(*steps, input={"n": 7, "list": [[1], "two"]}, concurrency=rng.choice([1, 3, 16]))


def check_order(reference, document):
    """Nobody begins before what it needs has ended: by the clock, to the millisecond."""
    done = steps_of(document)
    for s in reference.task["steps"]:
        if "began" in done[s["id"]]:
            for n in reference.needs(s):
                assert done[n]["ended"] <= done[s["id"]]["began"], (s["id"], n)


def compare(tasks, made):
    reference = Run(made).run()
    document = tasks.good("POST", "/api/tasks", made)
    check_order(reference, document)
    ran = outcomes(document)
    if not reference.fatal():
        assert ran == reference.outcome, made
        assert document["status"] == "succeeded" or document["error"]["code"] == "bad_parameters", (made, document)
        assert document["receipt"]["calls"] == reference.calls, made
        leaves = {s["id"] for s in made["steps"]} - {n for s in made["steps"] for n in reference.needs(s)}
        assert document["result"] == {i: reference.result[i] for i in leaves if i in reference.result}, made
    else:
        assert document["status"] == "failed" and document["error"]["step"] in reference.fatal()
        over = {i: o for i, o in ran.items() if o != "not_run"}
        # The end came before its next item, or before its fallback.
        cut = {i for i, s in steps_of(document).items() if s["outcome"] == "failed" and (
            s["error"]["code"] == "cancelled" or "fallback" in reference.steps[i])}
        wrong = {i: (o, reference.outcome[i]) for i, o in over.items() if reference.outcome[i] != o and i not in cut}
        assert not wrong, (made, document)
        assert document["receipt"]["calls"] <= reference.calls


def many(tasks, rng, n, stops):
    made = [random_task(rng, stops) for _ in range(n)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(compare, tasks, one) for one in made]:
            done.result()


def test_graphs_that_go_on(tasks, rng, long):
    many(tasks, rng, 3000 if long else 120, False)


def test_graphs_that_fail(tasks, rng, long):
    many(tasks, rng, 3000 if long else 120, True)


def test_nothing_runs_twice_and_all_in_order(tasks, rng):
    """The plugin counts its calls on its one worker: each number comes once, a later step has a higher one."""
    first = tasks.run(step("a", "count"))["result"]["a"]
    ids = [f"s{i}" for i in range(150)]
    needs = {id: rng.sample(ids[:i], min(i, rng.randrange(4))) for i, id in enumerate(ids)}
    made = [step(id, "count", depends_on=needs[id]) for id in ids]
    rng.shuffle(made)
    document = tasks.run(*made, result={id: {"$from": f"/steps/{id}/result"} for id in ids})
    assert document["status"] == "succeeded"
    numbers = document["result"]
    assert sorted(numbers.values()) == list(range(first + 1, first + 151))
    assert all(numbers[n] < numbers[id] for id in ids for n in needs[id])
