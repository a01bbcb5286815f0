"""What a plugin with a right over a data source may not get out of it, a row each: the statements of one call, and what
must come of the last of them. In PostgreSQL the same is tried by a superuser first where that shows that it works.

answers: the codes that are right, for who may read and for who may write; one text holds for both.
control: None where a superuser cannot do it either, or must not here."""

from dataclasses import dataclass

NEVER, WRONG, DENIED, DONE = "not_allowed", "sql_error", "permission_denied", "done"
EITHER = f"{NEVER} {WRONG} {DENIED}"


@dataclass
class SqlAttack:
    name: str
    steps: tuple
    read: str = NEVER
    write: str = ""
    control: bool = False
    deadline: str = "10s"

    @property
    def takes_time(self):
        return self.deadline != "10s"

    def expected(self, right):
        return ((self.write or self.read) if right == "database_write" else self.read).split()


def S(name, sql, *more, **options):
    return SqlAttack(name, (sql, *options.pop("then", ())), *more, **options)


# {secret}: a file that the server's user may read; {other}: one that is not there, and that nothing must make.
SQLITE = [
    S("attach a file", "ATTACH '{secret}' AS x", control=True),
    S("attach a new file", "ATTACH '{other}' AS x", control=True),
    S("attach memory", "ATTACH ':memory:' AS x", control=True),
    S("attach by a parameter", "ATTACH printf('%s', '{secret}') AS x", control=True),
    S("attach by a URI", "ATTACH 'file:{secret}?mode=rw' AS x", control=True),
    S("detach", "DETACH main"),
    S("copy to a file", "VACUUM INTO '{other}'", EITHER, control=True),
    S("rewrite", "VACUUM", EITHER),
    S("load code", "SELECT load_extension('{other}')", EITHER),
    S("load code with an entry", "SELECT load_extension('{other}', 'sqlite3_x_init')", EITHER),
    S("read a file", "SELECT readfile('{secret}')", EITHER),
    S("write a file", "SELECT writefile('{other}', 'x')", EITHER),
    S("list files", "SELECT * FROM fsdir('/')", EITHER),
    S("run an editor", "SELECT edit('x', 'sh')", EITHER),
    S("a function by address", "SELECT fts3_tokenizer('x', x'4141414141414141')", EITHER),
    S("a table over a file", "CREATE VIRTUAL TABLE x USING csv(filename='{secret}')", EITHER),
    S("a table over pages", "CREATE VIRTUAL TABLE x USING sqlite_dbpage", EITHER),
    S("pages themselves", "SELECT * FROM sqlite_dbpage", EITHER),
    S("statements of others", "SELECT count(*) FROM sqlite_stmt HAVING count(*) > 20", f"{EITHER} {DONE}"),
    S("an archive", "CREATE VIRTUAL TABLE x USING zipfile('{other}')", EITHER),
    S("a table in memory behind a file", "CREATE TEMP TABLE x (a)", control=True),
    S("a view that stays hidden", "CREATE TEMP VIEW x AS SELECT 1", control=True),
    S("a trigger that stays hidden", "CREATE TEMP TRIGGER x AFTER INSERT ON item BEGIN SELECT 1; END", control=True),
    S("the schema", "UPDATE sqlite_schema SET sql = 'x'", EITHER),
    S("the schema, unlocked", "PRAGMA writable_schema = 1", control=True),
    S("a journal that is none", "PRAGMA journal_mode = off", control=True),
    S("a journal beside the file", "PRAGMA journal_mode = wal", control=True),
    S("files elsewhere", "PRAGMA temp_store_directory = '/tmp'", control=True),
    S("data elsewhere", "PRAGMA data_store_directory = '/tmp'", control=True),
    S("the file in memory", "PRAGMA mmap_size = 1000000000", control=True),
    S("a larger database", "PRAGMA max_page_count = 1000000000", control=True),
    S("more memory", "PRAGMA hard_heap_limit = 0", control=True),
    S("a lock for good", "PRAGMA locking_mode = exclusive", control=True),
    S("where the file is", "PRAGMA database_list", control=True),
    S("where the file is, by a table", "SELECT * FROM pragma_database_list", EITHER, control=True),
    S("an untrusted schema", "PRAGMA trusted_schema = 1", control=True),
    S("two statements", "SELECT 1; ATTACH '{secret}' AS x", EITHER),
    S("a statement behind a comment", "SELECT 1; -- x\n DROP TABLE item", EITHER),
    S("code in a view", "CREATE VIEW bad AS SELECT load_extension('{other}')", EITHER,
      then=("SELECT * FROM bad", "DROP VIEW IF EXISTS bad")[:1]),
    S("a bomb of rows that is counted", "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c",
      "deadline", deadline="300ms"),
    S("a bomb of joins", "SELECT count(*) FROM item a, item b, item c, item d, item e, item f, item g, item h",
      "deadline", deadline="300ms"),
    S("a value of a gigabyte", "SELECT zeroblob(1000000000)", "too_large"),
    S("a text of a gigabyte", "SELECT printf('%.1000000000c', 'x')", f"too_large limit {DONE}"),  # NULL
    S("a row that fits nowhere", "SELECT zeroblob(900000), zeroblob(900000)", "too_large"),
    S("a sort in files", "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 2000) SELECT n FROM c ORDER BY "
      "randomblob(100000)", "limit deadline", deadline="300ms"),
    S("a pattern that takes for ever", "SELECT '" + "a" * 3000 + "' LIKE '" + "%a" * 200 + "b'", "deadline sql_error done",
      deadline="300ms"),
    S("an expression that is deep", "SELECT " + "(" * 5000 + "1" + ")" * 5000, WRONG),
    S("many columns", "SELECT " + ",".join(["1"] * 3000), "sql_error"),
    S("a change", "DELETE FROM item", DENIED, DONE),
]

POSTGRES = [
    S("a program", "COPY item FROM PROGRAM 'id'"),
    S("a program that is given rows", "COPY item TO PROGRAM 'cat > /dev/null'", control=True),
    S("rows from a file", "COPY item FROM '{secret}'"),
    S("rows to a file", "COPY item TO '{other}'"),
    S("a file", "SELECT pg_read_file('{secret}')", WRONG, control=True),
    S("a file's bytes", "SELECT pg_read_binary_file('{secret}')", WRONG, control=True),
    S("the directory", "SELECT pg_ls_dir('.')", WRONG, control=True),
    S("a file's times", "SELECT pg_stat_file('{secret}')", WRONG, control=True),
    S("the server's log", "SELECT pg_ls_logdir()", WRONG),
    S("a file as a large object", "SELECT lo_import('{secret}')", WRONG, control=True),
    S("a large object as a file", "SELECT lo_export(1, '{other}')", WRONG),
    S("a large object", "SELECT lo_create(0)", f"{WRONG} {DENIED} {DONE}", DONE),
    S("code", "LOAD '{other}'"),
    S("a function in C", "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '{other}', 'f'", DENIED, WRONG),
    S("an extension", "CREATE EXTENSION file_fdw", DENIED, WRONG),
    S("another server", "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw", DENIED, WRONG),
    S("another server, by a link", "SELECT dblink_connect('host={socket} port={port} dbname=shop user=admin')", WRONG, control=True),
    S("another server, as oneself", "SELECT dblink_connect_u('host={socket} port={port} dbname=shop user=admin')", WRONG,
      control=True),
    S("a block of code", "DO 'BEGIN PERFORM 1; END'", control=True),
    S("a procedure", "CALL x()"),
    S("another role", "SET ROLE boss", control=True),
    S("another role, by a function", "SELECT set_config('role', 'boss', false)", WRONG, control=True),
    S("another session", "SET SESSION AUTHORIZATION boss", control=True),
    S("another session, by a function", "SELECT set_config('session_authorization', 'boss', false)", WRONG, control=True),
    S("a mightier self", "ALTER ROLE CURRENT_USER SUPERUSER", DENIED, WRONG),
    S("a new role", "CREATE ROLE evil SUPERUSER", DENIED, WRONG),
    S("another's password", "ALTER ROLE boss PASSWORD 'x'", DENIED, WRONG),
    S("a right", "GRANT SELECT ON hidden.wages TO reader"),
    S("passwords", "SELECT rolpassword FROM pg_authid", WRONG, control=True),
    S("what nobody granted", "SELECT * FROM hidden.wages", WRONG),
    S("the server's settings", "ALTER SYSTEM SET log_statement = 'all'", DENIED, WRONG),
    S("the database's settings", "ALTER DATABASE shop SET statement_timeout = 0", DENIED, WRONG),
    S("a setting", "SET statement_timeout = 0", control=True),
    S("all settings", "RESET ALL", control=True),
    S("another's end", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'admin'", f"{WRONG} {DONE}"),
    S("the server's end", "SELECT pg_reload_conf()", WRONG, control=True),
    S("a replica", "SELECT pg_create_physical_replication_slot('x')", WRONG),
    S("the journal", "SELECT pg_switch_wal()", WRONG, control=True),
    S("a channel that listens", "LISTEN chat", control=True),
    S("a channel that speaks", "NOTIFY chat, 'x'", control=True),
    S("a channel to nobody", "SELECT pg_notify('chat', 'x')", f"{DONE} {WRONG} {DENIED}"),
    S("listening by a function", "SELECT count(*) FROM pg_listening_channels() HAVING count(*) > 0", DONE),
    S("a statement for later", "PREPARE p AS SELECT 1", control=True),
    S("a cursor for later", "DECLARE c CURSOR WITH HOLD FOR SELECT 1", control=True),
    S("a transaction for later", "PREPARE TRANSACTION 'x'"),
    S("a transaction that writes", "BEGIN READ WRITE", control=True),
    S("writing after all", "SELECT set_config('transaction_read_only', 'off', true)", then=("DELETE FROM item WHERE id > 100",),
      read=DENIED, write=DONE),
    S("writing by default", "SELECT set_config('default_transaction_read_only', 'off', false)",
      then=("DELETE FROM item WHERE id > 100",), read=DENIED, write=DONE),
    S("a temporary table", "CREATE TEMP TABLE x (a int)", DENIED, f"{DONE} {WRONG}", control=True),
    S("a change", "DELETE FROM item WHERE id > 100", DENIED, DONE),
    S("a change in a WITH", "WITH x AS (DELETE FROM item WHERE id > 100 RETURNING id) SELECT * FROM x", DENIED, DONE),
    S("a change that is explained", "EXPLAIN ANALYZE DELETE FROM item WHERE id > 100", DENIED, DONE),
    S("a change in a query's text", "SELECT query_to_xml('DELETE FROM item WHERE id > 100', true, true, '')",
      f"{DENIED} {WRONG}", f"{DONE} {WRONG}"),
    S("a table by SELECT", "SELECT 1 AS a INTO made", DENIED, f"{WRONG}", control=False),
    S("two statements", "SELECT 1; DROP TABLE item", WRONG),
    S("two statements behind a comment", "/* /* */ */ SELECT 1; -- x\n DROP TABLE item", WRONG),
    S("sleep", "SELECT pg_sleep(600)", "deadline", deadline="300ms"),
    S("sleep without a limit", "SELECT set_config('statement_timeout', '0', false)", then=("SELECT pg_sleep(600)",),
      read="deadline", deadline="300ms"),
    S("a bomb of rows that is counted", "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c",
      "deadline", deadline="300ms"),
    S("a row that fits nowhere", "SELECT repeat('x', 2000000)", "too_large"),
    S("a lock for good", "SELECT pg_advisory_lock(1), pg_sleep(600)", "deadline", deadline="300ms"),
]
