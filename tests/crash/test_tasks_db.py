"""The host dies by SIGKILL as it writes to the tasks' database, at one write after the other: the next one ends the task as
if nothing had been, or says of what must not be done twice that nobody knows.

A few writes of each run (MOAT_SEED repeats them); --long takes every one."""

import json
import os
import random
import signal
import subprocess
import time

from test_crash import KILLAT, SEED, fresh_home, outside, place, wait_for_socket  # noqa: F401 (a fixture)

POINTS = 1000 if os.environ.get("MOAT_LONG") else 15
N = 3


def the_task(files):
    """A chain of steps that may be run again, with one beside each that must not: it makes a file."""
    chain = [{"id": f"e{i}", "plugin": "echo", "action": "echo",
              "parameters": {"n": i, "before": {"$from": f"/steps/e{i - 1}/result/n"} if i else None}} for i in range(N)]
    once = [{"id": f"w{i}", "plugin": "echo", "action": "write", "depends_on": [f"e{i}"], "on_error": "continue",
             "parameters": {"path": f"{files}/w{i}", "text": f"{i}"}} for i in range(N)]
    return {"task": 1, "steps": chain + once, "result": {"$from": f"/steps/e{N - 1}/result"}}


def made(files):
    return {p.name: p.stat().st_mtime_ns for p in files.iterdir()}


def ended(place, home):  # noqa: F811
    """The task's document once the next host has ended it; None: the task was never begun."""
    server = subprocess.Popen(place.command(home, "serve", "--listen", "127.0.0.1:0"), env=place.env,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_for_socket(home / "registry" / "moat.sock")
        end = time.monotonic() + 60
        while True:
            tasks = json.loads(place.moat(home, "task", "list", "--json").stdout)["tasks"]
            if not tasks:
                return None
            if tasks[0]["ended"]:
                return json.loads(place.moat(home, "task", "show", tasks[0]["id"], "--json").stdout)
            assert time.monotonic() < end, tasks
            time.sleep(0.02)
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)


def check(document, before, after, where):
    steps = {s["id"]: s for s in document["steps"]}
    assert document["status"] == "succeeded" and document["result"] == {"n": N - 1, "before": N - 2}, where
    assert all(steps[f"e{i}"]["outcome"] == "succeeded" for i in range(N)), where
    for i in range(N):
        w, name = steps[f"w{i}"], f"w{i}"
        if name in before:
            assert after[name] == before[name], f"{where}: {name} was done twice"
        if w["outcome"] == "succeeded":
            assert name in after, f"{where}: {name} was never done"
        else:
            assert w["error"]["code"] == "outcome_unknown", (where, w)


def test_killed_as_it_writes(place, tmp_path):  # noqa: F811
    os.chmod(tmp_path, 0o755)
    home, files = fresh_home(place, "tasks", True), tmp_path / "files"
    files.mkdir()
    os.chmod(files, 0o777)
    place.moat(home, "grant", "echo", f"file_write={files}")
    (tmp_path / "task.json").write_text(json.dumps(the_task(files)))
    command = place.command(home, "task", "run", str(tmp_path / "task.json"))

    def killed_at(n):
        for old in (*files.iterdir(), *(home / "registry").glob("tasks.db*")):
            old.unlink()
        done = subprocess.run([str(KILLAT), "-f", "/tasks.db", str(n), *command], env=place.traced, capture_output=True,
                              text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return tuple(map(int, done.stdout.split("\n")[-2].split()))

    total, status = killed_at(0)
    assert status == 0 and total > 10 and sorted(made(files)) == [f"w{i}" for i in range(N)]
    nothing, draw = outside(), random.Random(f"{SEED} tasks")
    killed = unknown = 0
    for n in sorted(draw.sample(range(1, total + 1), min(POINTS, total))):
        where = f"killed at write {n} of {total}, seed {SEED}"
        _, status = killed_at(n)
        assert status in (0, 137), where
        killed += status == 137
        place.assert_nothing_is_left(nothing, where)
        before = made(files)
        document = ended(place, home)
        if document is None:
            assert not before and not made(files), f"{where}: something was done and nothing is known of it"
            continue
        check(document, before, made(files), where)
        unknown += any(s["outcome"] == "failed" for s in document["steps"])
    assert killed > min(POINTS, total) // 2, "what is counted moves a little with the threads, but not so much"
    print(f"killed at {killed} of {total} writes, {unknown} of them with an outcome that nobody knows")
