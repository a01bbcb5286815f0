"""The flows of docs/flows.md: as they stand there, command by command, and guided by `update` and `retire`."""

import re
import shlex
import time

import pytest

from place import Place


@pytest.fixture
def place(build, tmp_path):
    place = Place(build, tmp_path)
    place.pack("1.0.0", optional_permissions=[])
    place.pack("2.0.0", optional_permissions=[])
    place.good("install", "alpha-1.0.0.moat")
    yield place
    place.close()


def commands(root, heading):
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", (root / "docs" / "flows.md").read_text(), re.M | re.S)[1]
    return [shlex.split(line) for block in re.findall(r"```console\n(.*?)```", section, re.S) for line in re.findall(r"^\$ moat (.*)$", block, re.M)]


def judge_canary(place, version="2.0.0", action="echo", within=60):
    """Calls until the canary is over; what it is."""
    end = time.monotonic() + within
    while True:
        for _ in range(40):
            place.moat("call", "alpha", action, "[1]")
        state = place.result("info", "alpha")["canary"]["state"]
        if state not in ("running", "passed"):
            return state
        assert time.monotonic() < end


def test_the_documented_update(place, root):
    place.serve()
    place.good("load", "alpha")
    steps = commands(root, "A new version")
    assert len(steps) == 8
    for step in steps:
        place.good(*step)
        if "--canary" in step:
            assert judge_canary(place) == "promoted"
    info = place.result("info", "alpha")
    assert info["current"] == "2.0.0" and {v["version"]: v["state"] for v in info["versions"]}["1.0.0"] == "archived"


def test_the_documented_way_out_and_back(place, root):
    place.good("install", "alpha-2.0.0.moat", "--use")
    place.serve()
    place.good("call", "alpha", "echo", "[1]")
    steps = commands(root, "Taking a plugin away")
    assert [s[0] for s in steps] == ["calls", "grants", "deactivate", "archive", "list", "archive", "activate", "call"]
    for step in steps[:5]:
        place.good(*step)
    place.bad(8, "wrong_state", "call", "alpha", "echo", "[1]")
    for step in steps[5:]:
        place.good(*step)


def update(place, *more, status=0):
    done = place.moat("update", "alpha", "alpha-2.0.0.moat", "--json", *more)
    assert done.status == status, done
    return done.json


def test_guided_from_a_file_to_the_end(place):
    place.serve()
    place.good("load", "alpha")
    told = update(place)
    assert told["stage"] == "review" and told["did"] == ["Installed alpha 2.0.0 beside 1.0.0."] and told["diff"]["same_face"]
    assert "moat update alpha alpha-2.0.0.moat --canary 10" in told["next"]
    assert place.result("info", "alpha")["current"] == "1.0.0", "nothing was decided yet"
    again = update(place)
    assert again["stage"] == "review" and again["did"] == [], "it looks again, and does nothing twice"
    assert update(place, "--canary", "30")["stage"] == "canary"
    told = update(place)
    assert told["stage"] == "canary" and told["canary"]["state"] == "running" and "moat rollback alpha" in told["next"]
    assert judge_canary(place) == "promoted"
    told = update(place)
    assert told["stage"] == "current" and told["next"] == ["moat deprecate alpha@1.0.0 --reason 'use 2.0.0'"]
    assert told["versions"][0]["version"] == "1.0.0" and told["versions"][0]["calls"] > 0
    place.good(*shlex.split(told["next"][0])[1:])
    end = time.monotonic() + 20
    while not (told := update(place))["next"]:  # its last workers
        assert time.monotonic() < end
    assert told["next"] == ["moat archive alpha@1.0.0"]
    place.good(*shlex.split(told["next"][0])[1:])
    assert update(place)["stage"] == "done"
    assert "Nothing is left to do." in place.good("update", "alpha", "alpha-2.0.0.moat").out


def test_guided_past_decisions(place):
    """Another face wants its digest, a new permission its decision; both are in the commands that it prints."""
    place.pack("2.0.0", optional_permissions=["file_read"], descriptions={"echo": "Says it again"})
    told = update(place)
    assert told["stage"] == "grants" and told["next"][0].startswith("moat grant alpha file_read")
    place.good("refuse", "alpha", "file_read")
    told = update(place)
    assert told["stage"] == "review"
    use = next(n for n in told["next"] if "--use" in n)
    assert "--accept" in use
    place.bad(3, "changes_not_accepted", "update", "alpha", "alpha-2.0.0.moat", "--use")
    done = place.good(*shlex.split(use)[1:])
    assert "alpha 2.0.0 is the current version" in done.out
    assert place.result("info", "alpha")["current"] == "2.0.0"


def test_a_canary_that_is_worse_ends_the_way(place):
    place.pack("2.0.0", optional_permissions=[], actions=[{"name": "echo", "description": "Answers its parameters", "idempotent": True, "result": {"type": "string"}},
                                 {"name": "count", "description": "The number of calls of this worker so far, this one included"},
                                 {"name": "sleep", "description": "Sleeps"}])
    place.serve()
    place.good("load", "alpha")
    update(place)
    update(place, "--canary", "50", "--accept-changes")
    assert judge_canary(place) == "rolled_back"
    told = update(place, status=1)
    assert told["stage"] == "rolled_back" and "because" in told["did"][0] and told["canary"]["state"] == "rolled_back"
    assert "moat uninstall alpha@2.0.0" in told["next"]


def test_what_cannot_be_updated(place):
    place.bad(4, "no_such_plugin", "update", "beta", "alpha-2.0.0.moat")
    place.bad(4, "no_such_file", "update", "alpha", "nothing.moat")
    place.pack("1.0.0", name="gamma")
    place.good("install", "gamma-1.0.0.moat")
    place.bad(2, "bad_usage", "update", "gamma", "alpha-2.0.0.moat")
    (place.root / "torn.moat").write_bytes((place.root / "alpha-2.0.0.moat").read_bytes()[:2000])
    assert place.moat("update", "alpha", "torn.moat").status == 3
    assert [v["version"] for v in place.result("info", "alpha")["versions"]] == ["1.0.0"]


def test_guided_out_and_back(place):
    place.good("install", "alpha-2.0.0.moat", "--use")
    place.pack("1.0.0", name="beta", optional_permissions=["agent_control"])
    place.good("install", "beta-1.0.0.moat", "--grant", "agent_control=alpha.echo")
    place.serve()
    place.good("call", "alpha", "echo", "[1]")
    told = place.result("retire", "alpha")
    assert told["stage"] == "callers" and told["callers"] == {"no token": 1} and told["plugins"] == ["beta"]
    assert told["next"] == ["moat retire alpha --go-on"]
    place.good("call", "alpha", "echo", "[1]")  # nothing was changed
    told = place.result("retire", "alpha", "--go-on")
    assert told["stage"] == "deactivated" and told["next"] == ["moat activate alpha", "moat retire alpha --go-on"]
    place.bad(8, "wrong_state", "call", "alpha", "echo", "[1]")
    told = place.result("retire", "alpha", "--go-on")
    assert told["stage"] == "retired" and told["did"] == ["Archived alpha 1.0.0."]
    assert place.result("retire", "alpha")["stage"] == "retired"
    shown = place.good("retire", "alpha").out
    assert "moat uninstall alpha --purge" in shown
    for back in told["next"][:2]:
        place.good(*shlex.split(back)[1:])
    assert place.result("info", "alpha@1.0.0")["state"] == "available"
    place.good("call", "alpha", "echo", "[1]")
