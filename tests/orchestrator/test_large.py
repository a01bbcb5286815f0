"""Results that are too large for memory: they are on disk, and nobody sees that but by the files."""

import contextlib
import os
import resource
import signal
import time

import pytest

from place import Place
from taskkit import Tasks, outcomes, step, steps_of, task
from test_resume import HOLD, database, kill, until_ended, until_noted

LARGE = 5000  # bytes; above the threshold that these hosts are given
SAID = "x" * (LARGE - 2)


@pytest.fixture
def host(build, tmp_path):
    place = Place(build, tmp_path)
    place.have("echo")
    place.good("settings", "set", "tasks_result_memory", "1KiB")
    yield Tasks(place)
    if place.server:
        place.close()


def files(host):
    """What is there, by the task: {id: {name: bytes}}."""
    found = {}
    for folder, _, names in os.walk(host.place.home / "registry" / "results"):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # its task has ended meanwhile
                found.setdefault(os.path.basename(folder), {})[name] = os.stat(os.path.join(folder, name)).st_size
    return found


def until_gone(host):
    end = time.monotonic() + 20
    while files(host):
        assert time.monotonic() < end, files(host)
        time.sleep(0.01)


def big(id="big", bytes=LARGE, **members):
    return step(id, "big", {"bytes": bytes}, **members)


def ref(pointer):
    return {"$from": pointer}


def rest(id, **members):
    """Waits a minute for its second attempt, and holds nobody up."""
    return step(id, "fail", retry={"attempts": 2, "delay": "60s", "on": ["action_failed"]}, **members)


def begun(host, *steps, **members):
    """Runs until its step `rest` rests: what was before is over."""
    id = host.good("POST", "/api/tasks?wait=false", task(*steps, **members))["id"]
    end = time.monotonic() + 30
    while steps_of(host.good("GET", f"/api/tasks/{id}"))["rest"].get("attempts") != 1:
        assert time.monotonic() < end
        time.sleep(0.01)
    return id


# ---- who refers to them ----


def test_whoever_refers_to_them_has_them(host):
    host.start()
    document = host.run(
        big(), big("other", 2000),
        step("parameters", parameters={"v": ref("/steps/big/result"), "w": ref("/steps/other/result")}),
        step("text", parameters={"t": {"$text": "<{/steps/other/result}>"}}),
        step("inside", parameters={"v": ref("/steps/parameters/result/w")}),
        step("when", when=[{"value": "/steps/big/result", "equals": SAID}]),
        step("not", when=[{"value": "/steps/big/result", "equals": "y"}]),
        step("each", parameters={"n": ref("/index")}, for_each={"items": [ref("/steps/big/result"), 1]}),
        step("of_each", parameters={"v": ref("/item/v")},
             for_each={"items": [ref("/steps/parameters/result"), {"v": 7}]}),
        step("back", "fail", on_error="fallback", depends_on=["big"],
             fallback={"plugin": "echo", "action": "echo", "parameters": ref("/steps/big/result")}),
        result={k: ref(f"/steps/{k}/result") for k in ("big", "parameters", "text", "inside", "each", "of_each", "back")})
    assert document["status"] == "succeeded", document
    assert document["result"] == {
        "big": SAID, "parameters": {"v": SAID, "w": SAID[:1998]}, "text": {"t": f"<{SAID[:1998]}>"},
        "inside": {"v": SAID[:1998]}, "each": [{"n": 0}, {"n": 1}], "of_each": [{"v": SAID}, {"v": 7}], "back": SAID}
    assert outcomes(document)["when"] == "succeeded" and outcomes(document)["not"] == "skipped"
    until_gone(host)


def test_without_a_result_template(host):
    host.start()
    assert host.run(big("a"), big("b", 10), big("c"))["result"] == {"a": SAID, "b": "x" * 8, "c": SAID}


def test_undoing_sees_what_is_undone(host):
    host.start()
    document = host.run(big(compensate={"plugin": "echo", "action": "echo", "parameters": ref("/steps/big/result")}),
                        step("end", "fail", depends_on=["big"], on_error="compensate"))
    assert steps_of(document)["big"]["compensation"] == "done"
    assert document["receipt"]["bytes_in"] > LARGE, "it was sent there"
    until_gone(host)


def test_they_are_files_while_it_runs(host):
    host.start()
    id = begun(host, big(), big("small", 100), big("also"),
               rest("rest", depends_on=["big", "small", "also"]))
    assert files(host) == {id: {"0": LARGE, "2": LARGE}}
    host.good("DELETE", f"/api/tasks/{id}")
    assert until_ended(host, id)["status"] == "cancelled"
    until_gone(host)


@pytest.mark.parametrize("bytes, n", [(900, 40), (3000, 7), (1, 0)], ids=["many", "large", "none"])
def test_items(host, bytes, n):
    """Small ones that are many are large together; each is where it belongs."""
    host.start()
    document = host.run(
        step("each", parameters={"i": ref("/item"), "t": "y" * bytes},
             for_each={"items": list(range(n)), "concurrency": 5}),
        step("same", parameters={"v": ref("/steps/each/result")}))
    assert document["status"] == "succeeded", document
    assert document["result"] == {"same": {"v": [{"i": i, "t": "y" * bytes} for i in range(n)]}}
    until_gone(host)


def test_items_of_which_some_fail(host):
    host.start()
    document = host.run(
        step("each", "big", {"bytes": ref("/item")}, on_error="continue",
             for_each={"items": [2000, 1, 1500, 1, 3000], "concurrency": 2}),
        step("after", parameters={"v": ref("/steps/each/result")}, when=[{"step": "each", "outcome": "failed"}]))
    assert document["status"] == "succeeded", document
    assert document["result"] == {"after": {"v": ["x" * 1998, None, "x" * 1498, None, "x" * 2998]}}


# ---- hosts that end ----


def held(more=()):
    """Killed while `hold` runs; what comes then is read back by another host."""
    return [big(), step("each", "big", {"bytes": ref("/item")}, for_each={"items": [2000, 3, 2000]}),
            step("hold", "sleep", {"ms": 60_000}, depends_on=["big", "each"], on_error="continue"),
            step("after", parameters={"v": ref("/steps/big/result"), "w": ref("/steps/each/result/1")},
                 when=[{"step": "hold", "outcome": "failed"}, {"value": "/steps/big/result", "equals": SAID}]), *more]


def killed(host, *more):
    host.start()
    id = host.good("POST", "/api/tasks?wait=false", task(*held(more)))["id"]
    until_noted(host, HOLD)
    kill(host)
    return id


def test_the_next_host_reads_them_again(host):
    id = killed(host)
    assert files(host) == {id: {"0": LARGE, "1": 4007}}
    (host.place.home / "registry" / "results" / ("0" * 32)).mkdir()
    (host.place.home / "registry" / "results" / ("0" * 32) / "0").write_text("left by a host that was killed")
    with contextlib.closing(database(host)) as db:
        rows = db.execute("SELECT step, result, file_len FROM step WHERE outcome = 1 ORDER BY step").fetchall()
    assert rows == [(0, None, LARGE), (1, None, 4007)]
    host.start()
    document = until_ended(host, id)
    assert document["status"] == "succeeded", document
    assert document["result"] == {"after": {"v": SAID, "w": "x"}}
    assert document["receipt"]["calls"] == 6
    until_gone(host)


@pytest.mark.parametrize("spoil, says", [
    (lambda f: f.unlink(), "No such file"), (lambda f: f.write_bytes(f.read_bytes()[:-1]), "damaged"),
    (lambda f: f.write_bytes(b'"y' + f.read_bytes()[2:]), "damaged"), (lambda f: f.write_bytes(b""), "damaged")],
    ids=["gone", "cut", "changed", "empty"])
def test_what_is_not_what_was_written(host, spoil, says):
    """A condition, parameters, items or the result that refer to it fail, and say which it is and where."""
    uses = [step("items", for_each={"items": ref("/steps/each/result")}, on_error="continue"),
            step("parameters", parameters=ref("/steps/each/result/1"), on_error="continue")]
    id = killed(host, *[u | {"when": [{"step": "hold", "outcome": "failed"}]} for u in uses])
    for name in "01":
        spoil(host.place.home / "registry" / "results" / id / name)
    host.start()
    document = until_ended(host, id)
    done = steps_of(document)
    assert document["status"] == "failed" and document["error"]["step"] == "after"
    for name, of, number in (("after", "big", 0), ("items", "each", 1), ("parameters", "each", 1)):
        if name != "after" and done[name]["outcome"] == "not_run":
            continue  # the task had failed before
        error = done[name]["error"]
        assert error["code"] == "storage_failed" and says in error["message"], error
        assert f"the result of step {of}: " in error["message"] and f"/results/{id}/{number} " in error["message"] + " "
    until_gone(host)


def test_the_task_s_result_is_not_what_was_written(host):
    host.start()
    id = host.good("POST", "/api/tasks?wait=false", task(
        big(), step("hold", "sleep", {"ms": 60_000}, depends_on=["big"], on_error="continue"),
        result=ref("/steps/big/result")))["id"]
    until_noted(host, 1)
    (host.place.home / "registry" / "results" / id / "0").unlink()
    kill(host)
    host.start()
    document = until_ended(host, id)
    assert document["status"] == "failed" and document["error"]["code"] == "storage_failed"
    assert document["error"]["message"].startswith("the task's result: the result of step big: cannot read ")


def test_an_end_in_good_order_keeps_them_too(host):
    host.start()
    id = host.good("POST", "/api/tasks?wait=false", task(*held()))["id"]
    until_noted(host, HOLD)
    assert host.place.end_server()[0] == 0
    assert list(files(host)) == [id]
    host.start()
    assert until_ended(host, id)["result"] == {"after": {"v": SAID, "w": "x"}}


def test_without_history_they_end_with_their_host(host):
    host.place.good("settings", "set", "tasks_history", "0")
    host.start()
    assert host.run(big())["result"] == {"big": SAID}
    until_gone(host)
    begun(host, big(), rest("rest", depends_on=["big"]))
    kill(host)
    assert files(host)
    host.start()
    host.run(step("a"))
    assert not files(host)


# ---- the disk has no room ----


def test_the_bound_on_all_of_them(host):
    host.place.good("settings", "set", "tasks_results_max", "1MiB")
    host.start()
    id = begun(host, big(bytes=700_000), rest("rest", depends_on=["big"]))
    document = host.run(big(bytes=700_000))
    assert document["status"] == "failed" and document["error"]["code"] == "limit"
    assert "`tasks_results_max`" in document["error"]["message"] and document["receipt"]["calls"] == 1
    document = host.run(big(bytes=700_000, on_error="fallback", retry={"attempts": 3, "on": ["limit"]},
                            fallback={"plugin": "echo", "action": "echo",
                                      "parameters": {"why": ref("/steps/big/error/code")}}))
    assert document["status"] == "succeeded" and document["result"] == {"big": {"why": "limit"}}
    document = host.run(step("each", "big", {"bytes": ref("/item")}, for_each={"items": [100_000] * 9}))
    assert document["error"]["code"] == "limit" and "step each" in document["error"]["message"]
    host.good("DELETE", f"/api/tasks/{id}")
    until_gone(host)
    assert host.run(big(bytes=700_000))["status"] == "succeeded", "what has ended gave its room back"


def test_parameters_that_wait_are_bounded(host):
    """All of a task's steps are filled before the first answer is looked at."""
    host.place.good("settings", "set", "tasks_parameters_max", "96KiB")
    host.start()
    steps = [step(f"s{i}", parameters={"v": "x" * 30_000}, on_error="continue") for i in range(5)]
    document = host.run(*steps, result=ref("/steps/s0/result/v"))
    refused = [s["error"] for s in document["steps"] if s["outcome"] == "failed"]
    assert 1 <= len(refused) <= 4 and document["result"] == "x" * 30_000
    assert {e["code"] for e in refused} == {"limit"} and "`tasks_parameters_max`" in refused[0]["message"]
    document = host.run(step("s", parameters={"v": "x" * 200_000}))
    assert document["status"] == "failed" and document["error"]["code"] == "limit" and document["receipt"]["calls"] == 0
    # What is over gave its room back, and what undoes something is not refused.
    chain = [step(f"s{i}", parameters={"v": "x" * 30_000}, depends_on=[f"s{i - 1}"] * (i > 0)) for i in range(9)]
    assert host.run(*chain)["status"] == "succeeded"
    undo = {"plugin": "echo", "action": "echo", "parameters": {"v": "x" * 200_000}}
    document = host.run(step("done", compensate=undo), step("bad", "fail", depends_on=["done"], on_error="compensate"))
    assert steps_of(document)["done"]["compensation"] == "done"


def test_the_disk_is_full(host):
    """No file may be larger than 64 KiB, to the host's astonishment."""
    host.place.good("settings", "set", "tasks_history", "0")
    host.contract = None
    host.ready = host.place.serve(restore_signals=False)  # SIGXFSZ stays ignored
    host.run(step("a"))
    resource.prlimit(host.place.server.pid, resource.RLIMIT_FSIZE, (64 << 10, 64 << 10))
    document = host.run(big(bytes=200_000, on_error="continue"), big("fits"), result=ref("/steps/fits/result"))
    error = steps_of(document)["big"]["error"]
    assert error["code"] == "storage_failed" and "cannot write the result " in error["message"]
    assert "File too large" in error["message"] and document["result"] == SAID
    document = host.run(step("each", "big", {"bytes": 30_000}, for_each={"items": [1, 2, 3]}, on_error="continue"))
    assert steps_of(document)["each"]["error"]["code"] == "storage_failed"
    until_gone(host)


# ---- what it is for ----


def test_memory_of_a_hundred_tasks(build, tmp_path, sanitized):
    """Each has a result of 8 MiB: of these 800 MiB the host holds few at a time, also while they come and are looked at."""
    place = Place(build, tmp_path)
    place.have("echo")
    host = Tasks(place).start()
    try:
        made = task(big(bytes=8 << 20), rest("rest", depends_on=["big"]),
                    step("see", when=[{"value": "/steps/big/result", "equals": "x", "not": True}], depends_on=["big"]))
        ids = [host.good("POST", "/api/tasks?wait=false", made)["id"] for _ in range(100)]
        end = time.monotonic() + 60
        while (stats := host.good("GET", "/api/tasks/stats")["execution_stats"])["steps"]["succeeded"] < 200:
            assert time.monotonic() < end, stats
            time.sleep(0.02)
        assert sum(sum(f.values()) for f in files(host).values()) == 100 * (8 << 20)
        status = open(f"/proc/{place.server.pid}/status").read().splitlines()
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
        assert sanitized or peak < 200, f"{peak:.0f} MiB"
        for id in ids:
            host.good("DELETE", f"/api/tasks/{id}")
        until_gone(host)
    finally:
        place.close()
