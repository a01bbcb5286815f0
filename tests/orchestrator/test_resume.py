"""Hosts that are killed: what was begun goes on with the next one, nothing that must not be done twice is."""

import contextlib
import json
import signal
import sqlite3
import time

import pytest

from place import Place
from taskkit import Tasks, outcomes, step, steps_of, task


@pytest.fixture
def host(build, tmp_path):
    place = Place(build, tmp_path)
    place.have("echo")
    yield Tasks(place)
    if place.server:
        place.close()


def kill(host):
    host.place.end_server(signal.SIGKILL)


def database(host):
    return sqlite3.connect(host.place.home / "registry" / "tasks.db", timeout=30)


def until_ended(host, id, seconds=30):
    end = time.monotonic() + seconds
    while (document := host.good("GET", f"/api/tasks/{id}"))["status"] in ("running", "interrupted"):
        assert time.monotonic() < end, document
        time.sleep(0.02)
    return document


def until_noted(host, step, of_it="TRUE"):
    """It is on the disk that this step is about to run: it is not idempotent."""
    end = time.monotonic() + 30
    with contextlib.closing(database(host)) as db:
        while not db.execute(f"SELECT 1 FROM step WHERE step = ? AND {of_it}", [step]).fetchone():
            assert time.monotonic() < end
            time.sleep(0.01)


HOLD = 2


def slow(*more):
    """`hold` is a step that runs until somebody lets it; `sleep` is not idempotent."""
    return task(step("a", parameters={"v": "first"}), step("b", parameters={"v": {"$from": "/steps/a/result/v"}}),
                step("hold", "sleep", {"ms": 60_000}, depends_on=["b"], **dict(more)),
                step("c", depends_on=["hold"], when=[{"step": "hold", "outcome": "failed"}],
                     parameters={"b": {"$from": "/steps/b/result"}, "hold": {"$from": "/steps/hold/error/code"}}))


def test_what_must_not_be_done_twice_is_unknown(host):
    host.start()
    id = host.good("POST", "/api/tasks?wait=false", slow(("on_error", "continue")))["id"]
    until_noted(host, HOLD)
    kill(host)
    host.start()
    document = until_ended(host, id)
    done = steps_of(document)
    assert document["status"] == "succeeded"
    assert done["hold"]["error"]["code"] == "outcome_unknown"
    assert done["a"]["attempts"] == done["b"]["attempts"] == 1, "what was over is not run again"
    assert document["result"] == {"c": {"b": {"v": "first"}, "hold": "outcome_unknown"}}
    assert document["receipt"]["calls"] == 4, "a, b and hold with the first host, c with the second"


def test_it_fails_cleanly_where_nothing_else_was_said(host):
    host.start()
    id = host.good("POST", "/api/tasks?wait=false", slow())["id"]
    until_noted(host, HOLD)
    kill(host)
    host.start()
    document = until_ended(host, id)
    assert document["status"] == "failed" and document["error"]["code"] == "outcome_unknown"
    assert outcomes(document) == {"a": "succeeded", "b": "succeeded", "hold": "failed", "c": "not_run"}
    assert host.place.moat("task", "show", id).err.startswith(f"Task {id} failed")


def test_an_end_in_good_order_goes_on_as_well(host):
    host.start()
    id = host.good("POST", "/api/tasks?wait=false", slow(("on_error", "continue")))["id"]
    until_noted(host, HOLD)
    assert host.place.end_server()[0] == 0
    listed = host.place.good("task", "list", "--json").json["tasks"]
    assert [(t["id"], t["status"]) for t in listed] == [(id, "interrupted")]
    receipt = host.place.good("task", "show", id, "--json").json["receipt"]
    assert receipt["calls"] == 3 and receipt["wall_ns"] >= receipt["ran_ns"] > 0, "as it was when the host ended"
    host.start()
    assert until_ended(host, id)["status"] == "succeeded"


def test_what_can_be_run_again_is(host):
    """An idempotent step that ran when the host was killed is run again, with the same outcome."""
    host.start()
    items = list(range(3000))
    made = task(step("each", parameters={"v": {"$from": "/item"}}, for_each={"items": items, "concurrency": 2}),
                step("last", parameters={"n": {"$from": "/steps/each/result/2999/v"}}))
    id = host.good("POST", "/api/tasks?wait=false", made)["id"]
    kill(host)
    host.start()
    document = until_ended(host, id)
    assert document["status"] == "succeeded" and document["result"] == {"last": {"n": 2999}}


def test_a_plugin_that_is_gone_fails_the_task(host):
    host.start()
    id = host.good("POST", "/api/tasks?wait=false", slow())["id"]
    until_noted(host, HOLD)
    kill(host)
    host.place.good("uninstall", "echo")
    host.start()
    document = until_ended(host, id)
    assert document["status"] == "failed" and document["error"]["code"] == "bad_task"
    assert "no plugin" in document["error"]["message"]


def test_what_was_undone_is_not_undone_again(host):
    """Killed while the third of four is being undone."""
    undo = {"plugin": "echo", "action": "count"}
    made = task(*[step(f"s{i}", depends_on=[f"s{i - 1}"] if i else [],
                       compensate=undo if i != 1 else {"plugin": "echo", "action": "sleep", "parameters": {"ms": 60_000}})
                  for i in range(4)],
                step("end", "fail", depends_on=["s3"], on_error="compensate"))
    host.start()
    id = host.good("POST", "/api/tasks?wait=false", made)["id"]
    end = time.monotonic() + 30
    while steps_of(host.good("GET", f"/api/tasks/{id}"))["s2"].get("compensation") != "done":
        assert time.monotonic() < end
        time.sleep(0.01)
    until_noted(host, 1, "undoing")
    kill(host)
    host.start()
    document = until_ended(host, id)
    said = {i: s.get("compensation") for i, s in steps_of(document).items()}
    assert document["status"] == "failed" and document["error"]["step"] == "end"
    assert said == {"s3": "done", "s2": "done", "s1": "failed", "s0": "done", "end": None}
    assert document["receipt"]["calls"] == 9, "4 steps, end, and what undoes them: s1's was begun"


def test_killed_at_every_step(host, long, rng):
    """A chain that is killed again and again, wherever it is, ends as if nothing had been."""
    n, kills = (60, 25) if long else (30, 5)
    made = task(step("s0", parameters={"v": [0]}),
                *[step(f"s{i}", parameters={"v": [{"$from": f"/steps/s{i - 1}/result/v/0"}, i]}) for i in range(1, n)],
                *[step(f"w{i}", "sleep", {"ms": 5}, depends_on=[f"s{i}"], on_error="continue") for i in range(n)])
    host.start()
    id = host.good("POST", "/api/tasks?wait=false", made)["id"]
    for _ in range(kills):
        time.sleep(rng.random() * 0.05)
        kill(host)
        host.start()
    document = until_ended(host, id)
    done = steps_of(document)
    assert document["status"] == "succeeded"
    assert all(done[f"s{i}"]["outcome"] == "succeeded" for i in range(n))
    for i in range(n):
        w = done[f"w{i}"]
        assert w["outcome"] == "succeeded" or w["error"]["code"] == "outcome_unknown", w
        assert w["attempts" if "attempts" in w else "id"] in (1, f"w{i}"), "never twice"


def held(host, budget):
    """Killed while `hold` runs, behind a and b; three steps wait for it."""
    made = task(step("a"), step("b", depends_on=["a"]),
                step("hold", "sleep", {"ms": 60_000}, depends_on=["b"], on_error="continue"),
                *[step(f"c{i}", when=[{"step": "hold", "outcome": "failed"}]) for i in range(3)], budget=budget)
    host.start()
    id = host.good("POST", "/api/tasks?wait=false", made)["id"]
    until_noted(host, HOLD)
    kill(host)
    return id


@pytest.mark.parametrize("calls", [5, 6])
def test_a_budget_of_calls_holds_over_a_kill(host, calls):
    id = held(host, {"calls": calls})
    with contextlib.closing(database(host)) as db:
        used = db.execute("SELECT used_calls, used_ran > 0, used_time > 0 FROM step ORDER BY used_calls").fetchall()
    assert used[-2:] == [(2, 1, 1), (3, 1, 1)]
    host.start()
    document = until_ended(host, id)
    assert document["receipt"]["calls"] == calls, "a, b, hold, and the others as far as that goes"
    assert document["status"] == ("failed" if calls < 6 else "succeeded")
    assert calls == 6 or document["error"]["code"] == "limit"


@pytest.mark.parametrize("used, budget, what", [
    ("cpu", {"cpu": "1s"}, "CPU time"), ("out", {"bytes": 1_000_000}, "bytes"), ("time", {"time": "10m"}, "time, 10m")])
def test_what_was_used_is_used(host, used, budget, what):
    """A host did so much for it that nothing is left for the next one."""
    id = held(host, budget)
    with contextlib.closing(database(host)) as db, db:
        db.execute(f"UPDATE step SET used_{used} = 3600 * 1000000000 WHERE step = {HOLD}")
    host.start()
    document = until_ended(host, id)
    assert document["status"] == "failed" and document["error"]["code"] == "limit"
    assert f"budget of {what}" in document["error"]["message"].replace("1000000 ", "")
    assert document["receipt"]["calls"] == 3, "nothing more was begun"


@pytest.mark.parametrize("version", [1, 2])
def test_a_database_of_before_is_taken(host, version):
    """The steps of the first do not say what was used: nothing, then; those of both have every result in their row."""
    used = [f"used_{name}" for name in ("calls", "cpu", "ran", "in", "out", "time")]
    id = held(host, {"calls": 3 if version == 1 else 6})
    with contextlib.closing(database(host)) as db, db:
        for name in ["file_len", "file_sum"] + (used if version == 1 else []):
            db.execute(f"ALTER TABLE step DROP COLUMN {name}")
        db.execute(f"PRAGMA user_version = {version}")
    host.start()
    document = until_ended(host, id)
    assert document["status"] == "succeeded" and document["receipt"]["calls"] == (3 if version == 1 else 6)


@pytest.mark.parametrize("spoil, mend", [
    ("UPDATE step SET outcome = outcome + 7", "UPDATE step SET outcome = outcome - 7"),
    ("ALTER TABLE step RENAME COLUMN result TO gone", "ALTER TABLE step RENAME COLUMN gone TO result")])
def test_what_cannot_be_read_is_not_done_again(host, spoil, mend):
    """Nothing is known of its steps for sure: it stays interrupted, and goes on once it can be read."""
    host.start()
    id = host.good("POST", "/api/tasks?wait=false", slow(("on_error", "continue")))["id"]
    until_noted(host, HOLD)
    kill(host)
    with contextlib.closing(database(host)) as db, db:
        db.execute(spoil)
    host.start()
    host.good("GET", f"/api/tasks/{id}")  # comes after what is to go on was looked at
    document = host.good("GET", f"/api/tasks/{id}")
    assert document["status"] == "interrupted" and document["receipt"]["calls"] in (0, 3)
    kill(host)
    with contextlib.closing(database(host)) as db, db:
        db.execute(mend)
    host.start()
    assert until_ended(host, id)["status"] == "succeeded"


def test_a_task_that_cannot_be_remembered_does_not_run_unseen(host):
    """Who is told of an error has no id to cancel it with."""
    host.start()
    host.run(step("a"))
    with contextlib.closing(database(host)) as db, db:
        db.execute("ALTER TABLE task RENAME COLUMN text TO gone")
    host.bad(503, "storage_failed", "POST", "/api/tasks?wait=false", task(step("a", "sleep", {"ms": 60_000})))
    end = time.monotonic() + 30
    while (stats := host.good("GET", "/api/tasks/stats")["execution_stats"])["running"]:
        assert time.monotonic() < end, stats
        time.sleep(0.01)
    assert stats["cancelled"] == 1


def test_a_name_of_the_longest_characters(host):
    name = "\N{GRINNING FACE}" * 100
    host.start()
    id = host.run(step("a"), name=name)["id"]
    assert [t["name"] for t in host.good("GET", "/api/tasks")["tasks"]] == [name]
    assert until_ended(host, id)["name"] == name


def test_what_is_forgotten_keeps_pace_with_what_comes(host):
    """However many there are beyond those that are kept, and however fast they come."""
    host.place.good("settings", "set", "tasks_history", "5")
    host.start()
    host.run(step("a"))
    kill(host)
    with contextlib.closing(database(host)) as db, db:
        db.executemany("INSERT INTO task (id, name, status, began, ended, asker, document)"
                       " VALUES (?, '', 1, 1, ?, '{}', x'7b7d')",
                       [(f"{i:032x}", time.time_ns()) for i in range(1, 3501)])
    host.start()
    end = time.monotonic() + 30
    while len(host.good("GET", "/api/tasks?limit=10000")["tasks"]) > 6:
        assert time.monotonic() < end
        host.run(step("a"))


def test_history_has_so_many_bytes(host):
    host.place.good("settings", "set", "tasks_history_max", "1MiB")
    host.start()
    first = host.run(step("a"))["id"]
    ids = [host.run(step("a", "big", {"bytes": 300_000}))["id"] for _ in range(9)]
    listed = [t["id"] for t in host.good("GET", "/api/tasks")["tasks"]]
    assert 1 <= len(listed) <= 3 and listed == ids[:-len(listed) - 1:-1]
    assert len(host.good("GET", f"/api/tasks/{ids[-1]}")["result"]["a"]) == 300_000 - 2
    host.bad(404, "not_found", "GET", f"/api/tasks/{first}")
    assert (host.place.home / "registry" / "tasks.db").stat().st_size < 3 << 20


def test_history(host):
    host.place.good("settings", "set", "tasks_history", "5")
    host.start()
    ids = []
    for i in range(8):
        ids.append(host.run(step("a", **({"action": "fail"} if i % 2 else {})), name=f"task {i}")["id"])
    listed = host.good("GET", "/api/tasks")["tasks"]
    assert [t["id"] for t in listed][:5] == ids[:2:-1] and all(t["ended"] for t in listed)
    assert [t["name"] for t in host.good("GET", "/api/tasks?status=failed&limit=2")["tasks"]] == ["task 7", "task 5"]
    assert [t["id"] for t in host.good("GET", f"/api/tasks?after={ids[5]}&limit=1")["tasks"]] == [ids[4]]
    document = host.good("GET", f"/api/tasks/{ids[7]}")
    assert document["status"] == "failed" and document["steps"][0]["id"] == "a"
    kill(host)
    host.start()
    assert host.good("GET", f"/api/tasks/{ids[7]}") == document
    host.place.end_server()
    shown = host.place.good("task", "show", ids[7], "--json").json
    assert shown == document


def test_without_history(host):
    host.place.good("settings", "set", "tasks_history", "0")
    host.start()
    id = host.run(step("a"))["id"]
    host.bad(404, "not_found", "GET", f"/api/tasks/{id}")
    assert host.good("GET", "/api/tasks") == {"tasks": []}
    assert not (host.place.home / "registry" / "tasks.db").exists()
    assert json.loads(host.place.good("task", "list", "--json").out) == {"tasks": []}
