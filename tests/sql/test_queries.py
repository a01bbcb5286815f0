"""Queries as a plugin and its operator meet them: grants, a database of its own, sources, denials, ends."""

import json
import os
import pathlib
import signal
import sqlite3
import time

import pytest

import place as place_module


def run(place, *steps, source="private"):
    steps = [s if isinstance(s, dict) else {"sql": s} for s in steps]
    return place.result("call", "querier", "run", json.dumps({"source": source, "steps": steps}))


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def helpers(place):
    """Sql helpers of this server, by pid."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            children[int(entry.name)] = (int(stat[1]), line)
    spawners = {pid for pid, (parent, _) in children.items() if parent == place.server.pid}
    return [pid for pid, (parent, line) in children.items() if parent in spawners and line.endswith(b"\0sql\0")]


def test_nothing_is_granted_by_default(place):
    [answer] = run(place, "SELECT 1")
    assert answer["code"] == "permission_denied"
    assert "moat grant querier database_read=private" in answer["message"]
    [denial] = place.result("denials", "querier")["denials"]
    assert (denial["operation"], denial["object"], denial["permission"], denial["action"]) == \
        ("query", "private", "database_read", "run")
    assert denial["command"] == "moat grant querier database_read=private"
    assert not (place.home / "data").exists()


def test_a_database_of_its_own(place):
    place.good("grant", "querier", "database_write=private")
    run(place, "CREATE TABLE t (a)", {"sql": "INSERT INTO t VALUES (?), (?)", "params": [1, "zwei"]})
    assert run(place, "SELECT a FROM t")[0]["rows"] == [[1], ["zwei"]]
    mode = (place.home / "data" / "querier").stat().st_mode & 0o777
    assert mode == 0o700
    # Another plugin's is another one.
    place.good("install", place.pack(name="second", publisher="other", only=("run",), plugin="querier",
                                     entry="querier.so"))
    place.good("grant", "second", "database_write=private")
    other = place.result("call", "second", "run", json.dumps({"source": "private", "steps": [
        {"sql": "SELECT count(*) FROM sqlite_schema"}]}))
    assert other[0]["rows"] == [[0]]
    place.good("uninstall", "querier")
    assert (place.home / "data" / "querier" / "private.db").exists()
    place.good("install", place.package("querier"))
    place.good("uninstall", "querier", "--purge")
    assert not (place.home / "data" / "querier").exists()


def test_a_database_does_not_pass_to_a_name_s_next_owner(build, tmp_path):
    """What unsigned code has written is gone when a publisher takes its name."""
    place = place_module.Place(build, tmp_path)
    place.serve("--dev")
    try:
        place.good("pack", build / "stage" / "querier", "--unsigned", "-o", "querier.moat")
        place.good("install", "querier.moat", "--grant", "database_write=private")
        run(place, "CREATE TABLE t (a)")
        place.trust()
        place.good("install", place.pack(version="2.0.0", name="querier", publisher="other", only=("run",),
                                         plugin="querier", entry="querier.so"), "--use", "--grant", "database_write=private")
        assert run(place, "SELECT count(*) FROM sqlite_schema")[0]["rows"] == [[0]]
    finally:
        place.close()


def test_reading_and_then_writing(place):
    """A grant that comes later holds for the next statement, without a new worker."""
    place.serve()
    place.good("grant", "querier", "database_read=private")
    [read, write] = run(place, "SELECT 1", "CREATE TABLE t (a)")
    assert read["rows"] == [[1]]
    assert write["code"] == "permission_denied" and "moat grant querier database_write=private" in write["message"]
    place.good("grant", "querier", "database_write=private")
    assert "code" not in run(place, "CREATE TABLE t (a)")[0]
    place.good("revoke", "querier", "database_write=private")
    [count, insert] = run(place, "SELECT count(*) FROM t", "INSERT INTO t VALUES (1)")
    assert count["rows"] == [[0]] and insert["code"] == "permission_denied"
    # Not in the middle of what was begun to read.
    [begin, _] = run(place, "BEGIN", "SELECT * FROM t")
    assert "code" not in begin


def test_sources(place, tmp_path):
    file = tmp_path / "there" / "shop.db"
    file.parent.mkdir()
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE item (name)")
        db.execute("INSERT INTO item VALUES ('ham')")
    db.close()
    place.bad(2, "bad_usage", "source", "add", "private", "sqlite", file)
    place.good("source", "add", "shop", "sqlite", file)
    place.good("grant", "querier", "database_read=shop")
    assert run(place, "SELECT * FROM item", source="shop")[0]["rows"] == [["ham"]]
    assert run(place, "SELECT 1", source="other")[0]["code"] == "permission_denied"
    assert run(place, "SELECT 1")[0]["code"] == "permission_denied"
    place.good("grant", "querier", "database_write")
    assert run(place, "INSERT INTO item VALUES ('oil')", source="shop")[0]["changes"] == 1
    assert run(place, "SELECT 1", source="other")[0]["code"] == "not_found"
    for bad in ("", "no name", "x" * 65, "../x"):
        assert run(place, "SELECT 1", source=bad)[0]["code"] in ("bad_usage", "bad_parameters")
    with sqlite3.connect(file) as db:
        assert db.execute("SELECT count(*) FROM item").fetchone() == (2,)
    db.close()
    place.good("source", "remove", "shop")
    assert run(place, "SELECT * FROM item", source="shop")[0]["code"] == "not_found"


def test_what_is_a_link_by_now_is_not_opened(place, tmp_path):
    file = tmp_path / "there" / "shop.db"
    file.parent.mkdir()
    file.write_bytes(b"")
    place.good("source", "add", "shop", "sqlite", file)
    place.good("grant", "querier", "database_write=shop")
    file.unlink()
    file.symlink_to(place.home / "registry" / "registry.db")
    [answer] = run(place, "SELECT * FROM sqlite_schema", source="shop")
    assert answer["code"] == "storage_failed"


def test_wal_is_told(place, tmp_path):
    file = tmp_path / "wal.db"
    db = sqlite3.connect(file)
    db.execute("PRAGMA journal_mode = wal")
    db.execute("CREATE TABLE t (a)")
    db.close()
    place.good("source", "add", "wal", "sqlite", file)
    place.good("grant", "querier", "database_read=wal")
    [answer] = run(place, "SELECT * FROM t", source="wal")
    assert answer["code"] == "unavailable" and "journal_mode=delete" in answer["message"]


def test_refusals_are_denials(place):
    place.good("grant", "querier", "database_write=private")
    [answer] = run(place, "ATTACH '/etc/passwd' AS x")
    assert answer["code"] == "not_allowed"
    [denial] = place.result("denials", "querier")["denials"]
    assert (denial["operation"], denial["object"], denial["permission"]) == ("sql ATTACH", "private", None)


def test_several_sources_in_one_call(place, tmp_path):
    """More than a worker has seats for: the one that was opened first gives its up."""
    for i in range(6):
        place.good("source", "add", f"s{i}", "sqlite", tmp_path / f"s{i}.db")
    place.good("grant", "querier", "database_write")
    steps = [{"source": f"s{i}", "sql": "CREATE TABLE t AS SELECT %d AS n" % i} for i in range(6)]
    steps += [{"source": f"s{i}", "sql": "SELECT n FROM t"} for i in range(6)]
    answers = run(place, *steps)
    assert [a["rows"] for a in answers[6:]] == [[[i]] for i in range(6)]


def test_a_helper_that_dies(place):
    place.good("grant", "querier", "database_write=private")
    place.serve()
    run(place, "CREATE TABLE t (a)")
    [helper] = helpers(place)
    slow = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) INSERT INTO t SELECT n FROM c"
    call = place.start("call", "querier", "run", json.dumps({"source": "private", "steps": [
        {"sql": slow}, {"sql": "SELECT count(*) FROM t"}]}))
    busy = lambda: int(pathlib.Path(f"/proc/{helper}/stat").read_text().rsplit(")", 1)[1].split()[11]) > 3  # noqa: E731
    until(busy)
    os.kill(helper, signal.SIGKILL)
    out, err = call.communicate(timeout=30)
    first, second = json.loads(out)
    assert first["code"] == "unavailable" and "may or may not" in first["message"]
    assert second["rows"] == [[0]]  # the next one starts another, which puts back what was begun


def test_a_helper_stands_behind_its_wall(place):
    """Seen from outside: its filter, its namespaces, and what it has open."""
    place.good("grant", "querier", "database_write=private")
    place.serve()
    run(place, "CREATE TABLE t (a)")
    [helper] = helpers(place)
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{helper}/status").read_text().splitlines()
                  if ":\t" in line)
    assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1" and int(status["CapEff"], 16) == 0
    assert int(status["Threads"]) == 1
    if os.geteuid() == 0:
        assert status["Uid"].split()[0] != "0"
        for name in ("user", "mnt", "pid", "ipc", "uts"):
            assert os.readlink(f"/proc/{helper}/ns/{name}") != os.readlink(f"/proc/{place.server.pid}/ns/{name}")
        own = str(place.home / "data" / "querier" / "private.db")
        opened = {os.readlink(f"/proc/{helper}/fd/{n}").split(":")[0] for n in os.listdir(f"/proc/{helper}/fd")}
        assert opened == {"socket", own, f"{own}-journal"}


def test_a_worker_takes_its_helper_along(place):
    place.good("grant", "querier", "database_write=private")
    place.serve()
    run(place, "CREATE TABLE t (a)")
    assert len(helpers(place)) == 1
    place.good("unload", "querier")
    until(lambda: helpers(place) == [])
    place.good("load", "querier")
    run(place, "SELECT 1")
    assert len(helpers(place)) == 1


def test_revocation_in_the_middle_of_a_query(place):
    place.good("grant", "querier", "database_write=private")
    place.serve()
    run(place, "CREATE TABLE t (a)")
    slow = "INSERT INTO t WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"
    call = place.start("call", "querier", "run", json.dumps({"source": "private", "steps": [{"sql": slow}, {"sql": "SELECT 1"}]}))
    [helper] = helpers(place)
    until(lambda: int(pathlib.Path(f"/proc/{helper}/stat").read_text().rsplit(")", 1)[1].split()[11]) > 3)
    place.good("revoke", "querier", "database_write=private")
    assert helpers(place) == []  # when it returns
    out, _ = call.communicate(timeout=30)
    assert [a["code"] for a in json.loads(out)] == ["unavailable", "permission_denied"]
    place.good("grant", "querier", "database_read=private")
    assert run(place, "SELECT count(*) FROM t")[0]["rows"] == [[0]]


def test_a_call_that_is_late_or_cancelled(place):
    place.good("grant", "querier", "database_write=private")
    place.serve()
    run(place, "CREATE TABLE t (a)")
    slow = "SELECT count(*) FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c)"
    begin = time.monotonic()
    done = place.moat("call", "querier", "run", json.dumps({"source": "private", "steps": [{"sql": slow}]}),
                      "--deadline", "300ms")
    assert done.status in (0, 5) and time.monotonic() - begin < 10
    assert run(place, "SELECT count(*) FROM t")[0]["rows"] == [[0]]


def test_a_secret_stays_with_its_helper(place, tmp_path):
    """What a plugin can see of its source's connection string: nothing."""
    file = tmp_path / "string"
    file.write_text("read host=/nowhere dbname=x user=y password=verysecret")
    file.chmod(0o600)
    place.good("source", "add", "far", "postgres", file)
    place.good("grant", "querier", "database_read=far")
    [answer] = run(place, "SELECT 1", source="far")
    assert answer["code"] == "unavailable" and "verysecret" not in json.dumps(answer)
    assert "verysecret" not in place.good("source", "list", "--json").out


@pytest.mark.parametrize("sql, code", [("SELEC", "sql_error"), ("SELECT 1; SELECT 2", "not_allowed"),
                                       ("SELECT load_extension('x')", "sql_error"), ("", "sql_error")])
def test_what_is_wrong_says_so(place, sql, code):
    place.good("grant", "querier", "database_read=private")
    [answer] = run(place, sql)
    assert answer["code"] == code and answer["message"]
