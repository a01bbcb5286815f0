"""Attacks through a right over a data source, as root, as nobody, and as the root of a user namespace that was there
before: each ends with the code that it should, and nothing beside the source has changed."""

import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "sql"))

import server as server_module  # noqa: E402
from scene import NOBODY, Inside  # noqa: E402
from sql_attacks import DENIED, NEVER, POSTGRES, SQLITE  # noqa: E402
from test_containment import can_nest, lacking  # noqa: E402

RIGHTS = ["database_read", "database_write"]
SETTINGS = ["root", "user", "container"]
ORDINARY = {"lite": [("root", "database_write"), ("user", "database_read")], "shop": [(s, r) for s in SETTINGS for r in RIGHTS]}


@pytest.fixture(scope="module")
def postgres():
    with server_module.running() as server:
        server.sql("CREATE EXTENSION dblink")
        (server.directory / "secret").write_text("1\tsecret\n")
        (server.directory / "secret").chmod(0o644)
        yield server


@pytest.fixture(scope="module", params=SETTINGS)
def inside(build, request, postgres):
    if request.param == "root" and os.geteuid() != 0:
        lacking("root", "only root can be root")
    if request.param == "container" and not can_nest():
        lacking("container", "user namespaces cannot be made by hand here")
    place = Inside(build, request.param)
    shutil.copy(build / "packages-test" / "querier-1.0.0.moat", place.path)
    try:
        set_up(place, postgres)
        yield place
    finally:
        place.end()


def set_up(place, postgres):
    place.data = place.path / "data"
    place.data.mkdir()
    with sqlite3.connect(place.data / "shop.db") as db:
        db.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)")
        db.executemany("INSERT INTO item (name) VALUES (?)", [("ham",)] * 60)
    db.close()
    (place.data / "shop").write_text(f"read {postgres.string('reader')}\nwrite {postgres.string('writer')}\n")
    (place.data / "shop").chmod(0o600)
    if place.user:
        for path in (place.data, *place.data.iterdir()):
            os.chown(path, NOBODY, NOBODY)
    place.moat("install", place.path / "querier-1.0.0.moat")
    place.moat("source", "add", "lite", "sqlite", place.data / "shop.db")
    place.moat("source", "add", "shop", "postgres", place.data / "shop")


def filled(attack, names):
    """By hand: a statement may have braces and percent signs of its own."""
    steps = list(attack.steps)
    for name, value in names.items():
        steps = [s.replace("{%s}" % name, str(value)) for s in steps]
    return steps


def names_of(place, postgres, source):
    secret = place.scene.secret if source == "lite" else postgres.directory / "secret"
    return {"secret": secret, "other": place.path / "scene" / "made", "socket": postgres.directory, "port": postgres.port}


def attempt(inside, source, attack, names):
    """The code that the last statement ended with, or the whole call."""
    steps = [{"sql": s} for s in filled(attack, names)]
    status, said = inside.call("querier", "run", {"source": source, "steps": steps}, attack.deadline)
    return said[-1].get("code", "done") if status == 200 else said["code"].replace("deadline_exceeded", "deadline"), said


def denials(inside):
    found = inside.ask("GET", "/api/plugins/info/querier/denials")[1]["result"]["denials"]
    return {(d["operation"], d["permission"]): d["count"] for d in found}


def check_denials(inside, came, right):
    """What nothing can allow, and what the other right would, are both told, with the command where there is one."""
    told = denials(inside)
    if NEVER in came:
        assert any(operation.startswith("sql ") and permission is None for operation, permission in told), told
    if DENIED in came and right == "database_read":
        assert told.get(("change", "database_write")), told


@pytest.mark.parametrize("right", RIGHTS)
@pytest.mark.parametrize("source, attacks", [("lite", SQLITE), ("shop", POSTGRES)], ids=["sqlite", "postgres"])
def test_sql_fails_inside(inside, postgres, source, attacks, right):
    if (inside.setting, right) not in ORDINARY[source] and "MOAT_LONG" not in os.environ:
        pytest.skip("in the long run")
    objects = postgres.sql("SELECT count(*) FROM pg_largeobject_metadata")
    inside.moat("grant", "querier", f"{right}={source}")
    names, wrong, came = names_of(inside, postgres, source), [], set()
    listening = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND usename <> 'admin'"
    try:
        for attack in attacks:
            if attack.takes_time and inside.setting != "user" and "MOAT_LONG" not in os.environ:
                continue  # once is enough: who started the server makes no difference to a clock
            code, said = attempt(inside, source, attack, names)
            came.add(code)
            if code not in attack.expected(right):
                wrong.append(f"{attack.name}: {code}, not {' or '.join(attack.expected(right))}: {str(said)[:300]}")
        assert not wrong, "\n".join(wrong)
        check_denials(inside, came, right)
    finally:
        inside.moat("revoke", "querier", f"{right}={source}")
    assert inside.scene.look() == inside.scene.before, "what lies outside the source has changed"
    if right == "database_read":
        assert postgres.sql("SELECT count(*) FROM pg_largeobject_metadata") == objects, "who may only read has left something"
    assert not names["other"].exists()
    assert postgres.sql("SELECT count(*) FROM item") == "2" and postgres.sql(listening) == "0"
    assert postgres.sql("SELECT count(*) FROM pg_roles WHERE rolsuper AND rolname NOT IN ('admin', 'boss')") == "0"
    assert inside.server.poll() is None
    inside.neighbour()


def test_sql_works_outside(postgres, tmp_path):
    """The controls: the same statements do what they say where nothing stands in their way."""
    names = {"secret": tmp_path / "secret", "other": tmp_path / "made"}
    for attack in (a for a in SQLITE if a.control):
        names["other"].unlink(missing_ok=True)
        sqlite3.connect(names["secret"]).close()
        db = sqlite3.connect(tmp_path / "control.db", isolation_level=None, uri=True)
        db.execute("CREATE TABLE IF NOT EXISTS item (id)")
        db.execute(filled(attack, names)[-1]).fetchall()
        db.close()
        (tmp_path / "control.db").unlink()
    names = {"secret": postgres.directory / "secret", "other": postgres.directory / "made", "socket": postgres.directory,
             "port": postgres.port}
    for attack in (a for a in POSTGRES if a.control):
        try:
            postgres.sql("BEGIN;\n" + ";\n".join(filled(attack, names)) + ";\nROLLBACK;")
        except subprocess.CalledProcessError as e:
            pytest.fail(f"{attack.name}: {e.stderr}")


def test_the_sql_list_is_whole(capsys):
    for attacks in (SQLITE, POSTGRES):
        assert len({a.name for a in attacks}) == len(attacks) >= 40
    with capsys.disabled():
        print(f"\n{len(SQLITE)} attacks through SQLite and {len(POSTGRES)} through PostgreSQL, each with the right to read and "
              f"with the right to write; {sum(a.control for a in SQLITE + POSTGRES)} with a control run")
