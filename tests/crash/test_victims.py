"""SIGKILL of the host, the spawner, a worker, a helper, or a process that is not yet either, at system calls spread over
install, load, call and unload: the command ends with an answer, nothing stays, and what comes next works.

Every run draws other points (MOAT_SEED repeats them); --long takes many more, MOAT_KILL_POINTS as many as it says."""

import json
import os
import random
import subprocess

import pytest

from test_crash import KILLAT, SEED, fresh_home, outside, package, place, stray_files  # noqa: F401 (a fixture)

POINTS = int(os.environ.get("MOAT_KILL_POINTS") or (40 if os.environ.get("MOAT_LONG") else 2))

# A death may be repaired, or be told: the plugin died, its wall or start failed, ours, not now.
TOLD = (5, 6, 7, 8)

STEPS = {
    "install": ("spawner", "newborn", "worker", "helper"),  # the host: test_crash.py
    "call": ("spawner", "newborn", "worker", "helper"),
    "load": ("host", "spawner", "newborn", "worker", "helper"),
    "unload": ("host", "spawner", "newborn", "worker"),
}


def words(step):
    return {"install": ["install", str(package("echo"))], "call": ["call", "echo", "echo", '{"text":"x"}'],
            "load": ["load", "echo"], "unload": ["unload", "echo"]}[step]


def run_killed(place, victim, n, command):
    """How many system calls of the victim there were, the command's exit status, what it printed."""
    done = subprocess.run([str(KILLAT), "-v", victim, str(n), *command], env=place.traced, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    *said, counted = done.stdout.splitlines()
    count, status = map(int, counted.split())
    return count, status, "\n".join(said), done.stderr


def prepare(place, step, home):
    if step == "install":
        return fresh_home(place, "victims", False)
    place.moat(home, "load", "echo")
    return home


def next_start_is_clean(place, step, home):
    assert place.moat(home, "audit", "verify", check=False).returncode == 0
    json.loads(place.moat(home, "list", "--json").stdout)
    if step == "install":
        place.moat(home, *words("install"))
    place.moat(home, "load", "echo")
    assert json.loads(place.moat(home, "call", "echo", "echo", '{"text":"alive"}').stdout) == {"text": "alive"}
    assert stray_files(home) == []


def points(total, what):
    draw = random.Random(f"{SEED} {what}")
    width = total / POINTS
    return sorted({max(1, int(i * width + draw.random() * width)) for i in range(POINTS)})


@pytest.mark.parametrize("step, victim", [(step, victim) for step, victims in STEPS.items() for victim in victims])
def test_a_death_at_any_step(place, step, victim):  # noqa: F811
    home = fresh_home(place, "victims", step != "install")
    home = prepare(place, step, home)
    total, status, _, complaint = run_killed(place, victim, 0, place.command(home, *words(step)))
    assert status == 0, complaint
    if step == "unload" and victim in ("newborn", "worker") and total == 0:
        return  # it was over before a wall for the next one was begun
    assert total > 10, complaint
    before = outside()
    for n in points(total, f"{step} {victim}"):
        where = f"{step}, {victim} killed at system call {n} of {total}, seed {SEED}"
        home = prepare(place, step, home)
        _, status, said, complaint = run_killed(place, victim, n, place.command(home, *words(step)))
        assert status in ((0, 137) if victim == "host" else (0, *TOLD)), f"{where}: {status} {complaint}"
        if victim != "host" and status:
            assert complaint.startswith("moat: ") and len(complaint) > 20, f"{where}: {complaint!r}"
        if step == "call" and status == 0:
            assert json.loads(said) == {"text": "x"}, where
        place.assert_nothing_is_left(before, where)
        next_start_is_clean(place, step, home)
