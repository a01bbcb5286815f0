"""`moat doctor --production`: each line of the checklist, good and wrong."""

import re
import shlex
import sqlite3
import time

import pytest

DAY = 86400


def look(place):
    """The lines by their check: good, and what they say."""
    done = place.moat("doctor", "--production", "--json")
    told = done.json["production"]
    assert (done.status == 1) == (not told["good"]) and done.status in (0, 1, 6), done
    assert told["good"] == all(line["good"] for line in told["lines"])
    for line in told["lines"]:
        assert bool(line["cure"]) == (not line["good"]) and line["detail"]
    return {line["check"]: line for line in told["lines"]}


def change(place, sql, *values):
    db = sqlite3.connect(place.home / "registry" / "registry.db")
    db.execute(sql, values)
    db.commit()
    db.close()


@pytest.fixture
def ready(place):
    place.have("echo")
    place.good("backup", place.root / "b.tar")
    return place


def wrong(place):
    return [check for check, line in look(place).items() if not line["good"]]


def test_all_is_well(either):
    either.have("echo")
    served = ["tokens"] if either.server else []  # the admin token of the first start
    assert wrong(either) == [*served, "backup"]
    if served:
        either.good("token", "create", "--scope", "admin", "--for", "90d")
        either.good("token", "revoke", "1")
    either.good("backup", either.root / "b.tar")
    lines = look(either)
    assert all(line["good"] for line in lines.values()) and len(lines) == 9, lines
    assert "cannot be told" in lines["grants"]["detail"]


def test_people_are_told_the_cure(place):
    done = place.moat("doctor", "--production")
    assert done.status == 1 and "the audit trail has no backup" in done.out and "`moat backup FILE`" in done.out


def test_development_mode(place):
    place.serve("--dev")
    assert "security" in wrong(place)


def test_a_layer_that_may_be_missing(ready):
    ready.good("settings", "set", "accept_missing_layers", '["landlock"]')
    assert wrong(ready) == ["walls"]


@pytest.mark.parametrize("part", ["", "registry", "packages"])
def test_a_directory_that_others_may_read(ready, part):
    (ready.home / part).chmod(0o755)
    assert wrong(ready) == ["file modes"]


def test_an_old_key(ready):
    change(ready, "UPDATE key SET added_at = ? WHERE algorithm = 1", int(time.time()) - 367 * DAY)
    assert wrong(ready) == ["keys"]


def test_a_token_without_an_end(ready):
    ready.good("token", "create", "--scope", "read", "--for", "1h")
    assert wrong(ready) == []
    ready.good("token", "create", "--scope", "read")
    assert wrong(ready) == ["tokens"]
    ready.good("token", "revoke", "2")
    assert wrong(ready) == []


def test_the_cure_of_a_token_is_one(ready):
    """That of the first start as well: each command in it, as it stands."""
    ready.serve()
    ready.good("token", "create", "--scope", "read", "--scope", "execute:echo")
    cures = [line["cure"] for line in ready.moat("doctor", "--production", "--json").json["production"]["lines"] if line["check"] == "tokens"]
    assert len(cures) == 2
    for command in re.findall("`moat ([^`]+)`", " ".join(cures)):
        ready.good(*shlex.split(command))
    assert wrong(ready) == []
    left = [t for t in ready.result("token", "list")["tokens"] if t["state"] == "valid"]
    assert sorted(sorted(t["scopes"]) for t in left) == [["admin"], ["execute:echo", "read"]] and all(t["expires"] for t in left)


def test_grants_of_a_plugin_that_nobody_calls(ready):
    change(ready, "INSERT INTO decision (plugin, permission, scope, refused, until, decided_at)"
                  " SELECT id, 0, '', 0, 0, ? FROM plugin", int(time.time()) - 31 * DAY)
    assert wrong(ready) == ["grants"]
    ready.good("call", "echo", "echo", "[1]")
    assert wrong(ready) == []


@pytest.mark.parametrize("failed, rising", [(10, False), (14, False), (40, True)])
def test_errors_that_rise(ready, failed, rising):
    today = int(time.time()) // DAY
    for day, errors in ((today - 1, failed), (today - 8, 10)):
        change(ready, "INSERT INTO counter (plugin, version, day, calls, errors)"
               " SELECT id, '1.0.0', ?, 100, ? FROM plugin", day, errors)
    assert wrong(ready) == (["errors"] if rising else [])


def test_a_damaged_package(ready):
    change(ready, "UPDATE version SET damaged_at = 1")
    assert wrong(ready) == ["packages"]
