"""What `info` and `stats` count outlives the process that counted."""

import signal
import sqlite3
import time


def info(place, what="echo"):
    return place.good("info", what, "--json").json


def call(place, n, *arguments):
    for _ in range(n):
        place.moat("call", "echo", *arguments)


def test_counters_outlive_the_server(place):
    place.have("echo")
    first = info(place)
    assert first["execution_count"] == 0 and first["error_count"] == 0 and first["last_executed"] is None
    assert first["counters"]["installs"] == 1 and first["counters"]["loads"] == 0
    place.serve()
    call(place, 3, "echo", '{"a":1}')
    seen = info(place)
    assert seen["execution_count"] >= 3, "what was counted just now is there at once"
    assert seen["counters"]["loads"] == 1 and seen["last_executed"]
    assert place.end_server()[0] == 0
    again = info(place)
    for key in ("execution_count", "error_count", "last_executed", "counters"):
        assert again[key] == seen[key], key
    place.serve()
    call(place, 2, "echo", '{"a":1}')
    assert info(place)["execution_count"] == seen["execution_count"] + 2
    assert info(place)["counters"]["loads"] == 2
    total = place.good("stats", "--json").json["counters"]
    assert total["calls"] == seen["execution_count"] + 2 and total["installs"] == 1


def test_a_killed_server_loses_a_second_of_them_at_most(place):
    place.have("echo")
    place.serve()
    call(place, 3, "echo", '{"a":1}')
    database = place.home / "registry" / "registry.db"

    def written():
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
            return db.execute("SELECT calls FROM counter_total").fetchone()[0]

    deadline = time.monotonic() + 30
    while written() < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert written() == 3
    place.end_server(signal.SIGKILL)
    assert info(place)["execution_count"] == 3


def test_uninstalled_and_installed_again_it_is_remembered(place):
    place.have("echo")
    call(place, 2, "echo", "[]")
    call(place, 1, "echo", '{"a":1}')
    before = info(place)["execution_count"]
    place.good("uninstall", "echo")
    place.good("install", place.package("echo"))
    after = info(place)
    assert after["execution_count"] == before and after["counters"]["installs"] == 2
    place.good("uninstall", "echo", "--purge")
    place.good("install", place.package("echo"))
    assert info(place)["execution_count"] == 0 and info(place)["counters"]["installs"] == 1
