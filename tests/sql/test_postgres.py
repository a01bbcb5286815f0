"""Queries in a real PostgreSQL: what they give, and what neither a plugin nor its role may do."""

import json
import signal
import time

import pytest


@pytest.fixture
def shop(place, postgres):
    """A source with a role for each purpose."""
    add(place, "shop", f"# both\nread {postgres.string('reader')}\nwrite {postgres.string('writer')}\n")
    postgres.sql("DELETE FROM item WHERE id > 2")
    return place


def add(place, name, text):
    file = place.root / f"{name}.conf"
    file.write_text(text)
    file.chmod(0o600)
    place.good("source", "add", name, "postgres", file)


def run(place, *steps, source="shop"):
    steps = [s if isinstance(s, dict) else {"sql": s} for s in steps]
    return place.result("call", "querier", "run", json.dumps({"source": source, "steps": steps}))


def code(place, sql, source="shop"):
    [answer] = run(place, sql, source=source)
    return answer.get("code")


def test_rows(shop, postgres):
    shop.good("grant", "querier", "database_read=shop")
    [rows, first, none] = run(
        shop, "SELECT * FROM item ORDER BY id",
        {"sql": "SELECT name FROM item WHERE id = $1 AND sold = $2 AND cut = $3",
         "params": [1, True, {"base64": "AP8="}]},
        {"sql": "SELECT $1::text IS NULL, $2::float8", "params": [None, 1.5]})
    assert rows == {"columns": ["id", "name", "price", "cut", "sold", "weight"], "changes": 0, "more": False,
                    "rows": [[1, "ham", 12.50, {"base64": "AP8="}, True, 0.1], [2, 'öl "x"', None, None, False, "NaN"]]}
    assert first["rows"] == [["ham"]] and none["rows"] == [[True, 1.5]]


@pytest.mark.parametrize("mode", ["disable", "prefer", "require"])
def test_over_a_network(place, postgres, mode):
    add(place, "far", f"read {postgres.string('reader', host='localhost', hostaddr='127.0.0.1', sslmode=mode)}")
    place.good("grant", "querier", "database_read=far")
    sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    [answer] = run(place, sql, source="far")
    assert answer.get("rows") == [[mode != "disable"]], answer


def test_pages(shop):
    shop.good("grant", "querier", "database_read=shop")
    pages = run(shop, {"sql": "SELECT generate_series(1, 10)", "rows": 4}, {"rows": 4}, {"rows": 4}, {"rows": 4},
                "SELECT 1")
    assert [len(p["rows"]) for p in pages[:3]] == [4, 4, 2]
    assert [p["more"] for p in pages[:3]] == [True, True, False]
    assert pages[3]["code"] == "sql_error" and pages[4]["rows"] == [[1]]
    # What is left of one is given up by the next.
    assert run(shop, {"sql": "SELECT generate_series(1, 100000)", "rows": 1}, "SELECT 2")[1]["rows"] == [[2]]


def test_reading_stays_reading(shop, postgres):
    shop.good("grant", "querier", "database_read=shop")
    answers = run(shop, "INSERT INTO item (name) VALUES ('x')", "DELETE FROM item", "CREATE TABLE t (a int)",
                  "WITH x AS (DELETE FROM item RETURNING id) SELECT * FROM x", "SELECT nextval('item_id_seq')")
    assert [a["code"] for a in answers] == ["permission_denied"] * 4 + ["sql_error"], answers
    assert postgres.sql("SELECT count(*) FROM item") == "2"
    [denial] = [d for d in shop.result("denials", "querier")["denials"] if d["operation"] == "change"]
    assert denial["command"] == "moat grant querier database_write=shop"


@pytest.mark.parametrize("right", ["database_read", "database_write"])
def test_what_nobody_may(shop, postgres, right):
    shop.good("grant", "querier", f"{right}=shop")
    refused = ("SET ROLE boss", "RESET ALL", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "COPY item TO '/tmp/x'",
               "COPY item FROM PROGRAM 'id'", "DO 'BEGIN END'", "CALL x()", "LOAD 'x'", "LISTEN x", "PREPARE p AS SELECT 1",
               "BEGIN READ WRITE", "/* */ -- \n SET ROLE boss", "DISCARD ALL", "GRANT SELECT ON item TO writer",
               "COMMIT PREPARED 'x'", "VACUUM")
    wrong = ("SELECT 1; DROP TABLE item", "SELECT * FROM hidden.wages", "SELECT pg_read_file('/etc/passwd')",
             "SELECT lo_import('/etc/passwd')", "SELECT set_config('role', 'boss', false)", "")
    answers = run(shop, *refused, *wrong)
    assert [a["code"] for a in answers] == ["not_allowed"] * len(refused) + ["sql_error"] * len(wrong), answers
    # A setting that is changed by a function widens nothing: each statement has a transaction of its own kind.
    run(shop, "SELECT set_config('default_transaction_read_only', 'off', false)",
        "SELECT set_config('transaction_read_only', 'off', true)")
    if right == "database_read":
        assert code(shop, "DELETE FROM item") == "permission_denied"
    assert postgres.sql("SELECT count(*) FROM item") == "2"


def test_transactions(shop, postgres):
    shop.good("grant", "querier", "database_write=shop")
    insert = {"sql": "INSERT INTO item (name) VALUES ($1) RETURNING name", "params": ["new"]}
    answers = run(shop, "BEGIN", insert, "SELECT count(*) FROM item")
    assert answers[1] == {"columns": ["name"], "rows": [["new"]], "changes": 1, "more": False}
    assert answers[2]["rows"] == [[3]]
    assert postgres.sql("SELECT count(*) FROM item") == "2"  # not committed when the call ended
    run(shop, "BEGIN", insert, "COMMIT")
    assert postgres.sql("SELECT count(*) FROM item") == "3"
    answers = run(shop, "BEGIN", insert, "SELECT nothing", "SELECT 1", "COMMIT", "SELECT 2")
    assert [a.get("code") for a in answers] == [None, None, "sql_error", "transaction_ended", "transaction_ended", None]
    answers = run(shop, "BEGIN", "SAVEPOINT a", insert, "ROLLBACK TO a", "COMMIT", "ROLLBACK")
    assert [a.get("code") for a in answers] == [None] * 5 + ["sql_error"]
    # A change that gives more rows than were asked for is not half done.
    [answer] = run(shop, {"sql": "DELETE FROM item RETURNING id", "rows": 1})
    assert answer["code"] == "too_large"
    assert postgres.sql("SELECT count(*) FROM item") == "3"


@pytest.mark.parametrize("role", ["boss", "deputy", "filer"])
def test_mighty_roles_are_refused(place, postgres, role):
    add(place, "strong", f"read {postgres.string(role)}")
    place.good("grant", "querier", "database_read=strong")
    [answer] = run(place, "SELECT 1", source="strong")
    assert answer["code"] == "unavailable" and "superuser" in answer["message"]


def test_what_cannot_be_reached_says_so(place, postgres):
    cases = {"wrong_password": (postgres.string("reader", password="no"), "let"),
             "no_server": (postgres.string("reader", host="/nowhere"), "reached")}
    place.good("grant", "querier", "database_read")
    for name, (string, word) in cases.items():
        add(place, name, f"read {string}")
        [answer] = run(place, "SELECT 1", source=name)
        assert answer["code"] == "unavailable" and word in answer["message"], answer
        assert "secret" not in answer["message"]
    add(place, "only_writes", f"write {postgres.string('writer')}")
    [answer] = run(place, "SELECT 1", source="only_writes")
    assert answer["code"] == "permission_denied" and "no role for reading" in answer["message"]
    (place.root / "only_writes.conf").chmod(0o644)
    [answer] = run(place, "SELECT 1", source="only_writes")
    assert answer["code"] == "connect_failed" and "chmod 600" in answer["message"]


def test_a_server_that_goes_away(shop, postgres):
    """The query is an error, the next one has a new connection."""
    shop.good("grant", "querier", "database_read=shop")
    shop.serve()
    assert run(shop, "SELECT 1")[0]["rows"] == [[1]]
    postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'")
    assert run(shop, "SELECT 1")[0].get("code") == "unavailable"
    assert run(shop, "SELECT 1")[0]["rows"] == [[1]]


# ---- what no setting, and no handler, keeps alive ----

BUSY = "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('reader', 'writer') AND state = 'active' AND query LIKE '%{}%'"

EVASIONS = {
    "session": ["SELECT set_config('statement_timeout', '0', false)"],
    "transaction": ["BEGIN", "SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true)"],
    "view": ["UPDATE pg_settings SET setting = '0' WHERE name = 'statement_timeout'"],
}


def until(postgres, query, expected, seconds=20):
    end = time.monotonic() + seconds
    while postgres.sql(query) != expected:
        assert time.monotonic() < end, postgres.sql("SELECT usename, state, query FROM pg_stat_activity")
        time.sleep(0.02)


def late(place, *steps, source="shop", deadline="400ms"):
    steps = [{"sql": s} for s in steps]
    done = place.moat("call", "querier", "run", json.dumps({"source": source, "steps": steps}), "--deadline", deadline)
    assert done.status == 5 or "deadline" in done.out, done


@pytest.mark.parametrize("right, way", [("database_read", "session"), ("database_read", "transaction"),
                                        ("database_write", "view")])
def test_nothing_runs_on_in_the_server(shop, postgres, right, way):
    """When a call's time is over so is its statement, whatever the plugin has made of the session's settings."""
    shop.good("grant", "querier", f"{right}=shop")
    shop.serve()
    late(shop, *EVASIONS[way], f"SELECT pg_sleep(600), '{way}'")
    until(postgres, BUSY.format(f"pg_sleep(600), ''{way}''"), "0")
    assert run(shop, "SELECT current_setting('statement_timeout') <> '0'")[0]["rows"] == [[True]]


def test_what_catches_its_own_end_is_ended(shop, postgres):
    """A function that goes on when it is cancelled, or that removes the limit while the statement is planned."""
    postgres.sql("""
        CREATE SCHEMA IF NOT EXISTS work; GRANT ALL ON SCHEMA work TO writer;""")
    shop.good("grant", "querier", "database_write=shop")
    shop.serve()
    run(shop, """CREATE OR REPLACE FUNCTION work.stubborn() RETURNS int LANGUAGE plpgsql AS $$
        BEGIN LOOP BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$""",
        """CREATE OR REPLACE FUNCTION work.unlimited() RETURNS text LANGUAGE sql IMMUTABLE AS
        $$ SELECT set_config('statement_timeout', '0', false) $$""")
    late(shop, "SELECT work.stubborn()")
    until(postgres, BUSY.format("work.stubborn()"), "0")
    late(shop, "SELECT pg_sleep(600), work.unlimited()")
    until(postgres, BUSY.format("work.unlimited()"), "0")


def test_a_revocation_ends_it_in_the_server_too(shop, postgres):
    shop.good("grant", "querier", "database_read=shop")
    shop.serve()
    steps = [{"sql": "SELECT set_config('statement_timeout', '0', false)"}, {"sql": "SELECT pg_sleep(600), 'revoked'"}]
    running = shop.start("call", "querier", "run", json.dumps({"source": "shop", "steps": steps}))
    until(postgres, BUSY.format("''revoked''"), "1")
    shop.good("revoke", "querier", "database_read=shop")
    running.communicate(timeout=20)
    until(postgres, BUSY.format("''revoked''"), "0")


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_nothing_runs_on_when_the_host_ends(shop, postgres, how):
    """In order it sees to that itself; killed, the server notices that nobody is there."""
    shop.good("grant", "querier", "database_read=shop")
    shop.serve()
    marked = f"ended by {how}"
    steps = [{"sql": "SELECT set_config('statement_timeout', '0', false)"}, {"sql": f"SELECT pg_sleep(600), '{marked}'"}]
    running = shop.start("call", "querier", "run", json.dumps({"source": "shop", "steps": steps}))
    until(postgres, BUSY.format(f"''{marked}''"), "1")
    while shop.server.poll() is None:  # a second one cancels what runs
        shop.server.send_signal(signal.Signals[how])
        time.sleep(0.02)
    shop.end_server()
    running.communicate(timeout=20)
    if how == "SIGTERM":
        assert postgres.sql(BUSY.format(f"''{marked}''")) == "0", "before the host was gone"
    until(postgres, BUSY.format(f"''{marked}''"), "0")


def test_a_short_limit_does_not_hurt_the_next(shop, postgres):
    shop.good("grant", "querier", "database_read=shop")
    answers = run(shop, "SELECT set_config('statement_timeout', '300', false)", "SELECT pg_sleep(0.4)", "BEGIN",
                  "SELECT set_config('statement_timeout', '300', true)", "SELECT pg_sleep(0.4)", "COMMIT")
    assert [a.get("code") for a in answers] == [None] * 6, answers


def test_revocation_ends_the_connection(shop, postgres):
    shop.good("grant", "querier", "database_read=shop")
    shop.serve()
    running = shop.start("call", "querier", "run", json.dumps({"source": "shop", "steps": [{"sql": "SELECT pg_sleep(20)"}]}))
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader' AND query LIKE '%pg_sleep%'"
    until(postgres, asleep, "1")
    shop.good("revoke", "querier", "database_read=shop")
    out, _ = running.communicate(timeout=20)
    assert json.loads(out)[0]["code"] == "unavailable"
    assert code(shop, "SELECT 1") == "permission_denied"


# ---- what the role has set for its next session is not the host's business ----

@pytest.mark.parametrize("setting, value", [("statement_timeout", "1"), ("search_path", "work, pg_catalog"),
                                            ("role", "crew")])
def test_what_a_role_set_for_its_next_session_keeps_nothing_alive(shop, postgres, setting, value):
    """Who may write may also set what every session of the role begins with, the one that ends what is left included."""
    postgres.sql("""
        CREATE SCHEMA IF NOT EXISTS work; GRANT ALL ON SCHEMA work TO writer;
        DO $$ BEGIN CREATE ROLE crew; EXCEPTION WHEN duplicate_object THEN NULL; END $$; GRANT crew TO writer;""")
    shop.good("grant", "querier", "database_write=shop")
    shop.serve()
    never = [f"""CREATE OR REPLACE FUNCTION work.never({a}, {b}) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false'"""
             for a, b in (("int4", "int8"), ("int8", "int8"))]
    operators = [f"CREATE OPERATOR work.= (FUNCTION = work.never, LEFTARG = {a}, RIGHTARG = {b})"
                 for a, b in (("int4", "int8"), ("int8", "int8"))]
    try:
        run(shop, *never, *operators, f"ALTER ROLE CURRENT_USER SET {setting} = {value}")
        marked = f"revoked with {setting}"
        steps = [{"sql": "SELECT set_config('statement_timeout', '0', false)"},
                 {"sql": f"SELECT pg_sleep(600), '{marked}'"}]
        running = shop.start("call", "querier", "run", json.dumps({"source": "shop", "steps": steps}))
        until(postgres, BUSY.format(f"''{marked}''"), "1")
        shop.good("revoke", "querier", "database_write=shop")
        running.communicate(timeout=20)
        until(postgres, BUSY.format(f"''{marked}''"), "0")
    finally:
        postgres.sql("ALTER ROLE writer RESET ALL; DROP SCHEMA work CASCADE; "
                     "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'writer'")
