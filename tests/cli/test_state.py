"""A plugin with "state": true keeps what it has in memory over reload, use and a change of its rights."""

import time

import pytest


@pytest.fixture
def counting(place):
    place.serve()
    place.install("1.0.0", plugin="ledger", state=True)
    place.good("load", "alpha")
    for n in (1, 2, 3):
        place.good("call", "alpha", "note", f'{{"n": {n}}}')
    return place


def pid(place):
    return place.result("list", "--loaded")["plugins"][0]["pid"]


def another_pid(place, before, seconds=10):
    """The old worker may still be leaving."""
    end = time.monotonic() + seconds
    while pid(place) == before and time.monotonic() < end:
        time.sleep(0.02)
    return pid(place) != before


def test_state_moves_on(counting, tmp_path):
    before = pid(counting)
    counting.good("reload", "alpha")
    assert another_pid(counting, before)
    assert counting.result("call", "alpha", "book") == {"count": 3, "sum": 6}
    # Another version, and other rights, are next generations as well.
    counting.install("1.1.0", plugin="ledger", state=True)
    counting.good("use", "alpha@1.1.0")
    counting.good("call", "alpha", "note", '{"n": 4}')
    counting.good("grant", "alpha", f"file_write={tmp_path}")
    assert counting.result("call", "alpha", "book") == {"count": 4, "sum": 10}
    # What is told to go takes it along.
    counting.good("unload", "alpha")
    counting.good("load", "alpha")
    assert counting.result("call", "alpha", "book") == {"count": 0, "sum": 0}


def test_what_cannot_hand_over_stays(counting):
    counting.good("config", "set", "alpha", "save", "fail")
    before = pid(counting)
    refused = counting.bad(5, "start_failed", "reload", "alpha")
    assert "asked not to save" in refused.err and "stays as it is" in refused.err
    counting.install("1.1.0", plugin="ledger", state=True)
    counting.bad(5, "start_failed", "use", "alpha@1.1.0")
    assert counting.result("info", "alpha")["version"] == "1.0.0"
    assert pid(counting) == before
    assert counting.result("call", "alpha", "book") == {"count": 3, "sum": 6}
