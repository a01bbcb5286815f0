"""A real PostgreSQL on a Unix socket in a directory of its own, run by an ordinary user."""

import contextlib
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile

PASSWORD = "it's \"secret\""

SCHEMA = """
CREATE ROLE reader LOGIN PASSWORD $$it's "secret"$$;
CREATE ROLE writer LOGIN PASSWORD $$it's "secret"$$;
CREATE ROLE boss LOGIN SUPERUSER PASSWORD $$it's "secret"$$;
CREATE ROLE deputy LOGIN PASSWORD $$it's "secret"$$ IN ROLE boss;
CREATE ROLE filer LOGIN PASSWORD $$it's "secret"$$ IN ROLE pg_read_server_files;
CREATE DATABASE shop;
\\c shop
CREATE TABLE item (id serial PRIMARY KEY, name text, price numeric(10,2), cut bytea, sold boolean, weight float8);
INSERT INTO item (name, price, cut, sold, weight)
    VALUES ('ham', 12.50, '\\x00ff', true, 0.1), ('öl "x"', NULL, NULL, false, 'NaN');
CREATE SCHEMA hidden;
CREATE TABLE hidden.wages (who text);
GRANT SELECT ON item TO reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON item TO writer;
GRANT USAGE ON SEQUENCE item_id_seq TO writer;
"""


def programs():
    for found in sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (found / "initdb").exists():
            return found
    raise FileNotFoundError("PostgreSQL is not installed: scripts/setup")


class Server:
    def __init__(self, bin, directory, as_user):
        self.bin, self.directory, self.as_user = bin, directory, as_user
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def run(self, program, *arguments, **options):
        return subprocess.run([self.bin / program, *map(str, arguments)], check=True, text=True, capture_output=True,
                              user=self.as_user, cwd=self.directory, env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                              **options).stdout

    def sql(self, text, database="shop"):
        return self.run("psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h", self.directory, "-p", self.port, "-U", "admin",
                        "-d", database, input=text).strip()

    def string(self, role, **more):
        quoted = PASSWORD.replace("'", "\\'")
        options = {"host": self.directory, "port": self.port, "dbname": "shop", "user": role, "password": f"'{quoted}'", **more}
        return " ".join(f"{k}={v}" for k, v in options.items())


@contextlib.contextmanager
def running():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="moat-pg-", dir="/tmp"))
    as_user = None
    if os.geteuid() == 0:
        user = next(u for u in (by_name("postgres"), by_name("nobody")) if u)
        as_user = user.pw_uid
        os.chown(directory, user.pw_uid, user.pw_gid)
    directory.chmod(0o755)
    server = Server(programs(), directory, as_user)
    try:
        server.run("initdb", "-D", directory / "data", "-U", "admin", "-A", "trust", "-N", "-E", "UTF8")
        (directory / "data" / "pg_hba.conf").write_text("local all admin trust\nlocal all all scram-sha-256\n"
                                                        "host all all 127.0.0.1/32 scram-sha-256\n")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2",
                        "-keyout", directory / "data" / "server.key", "-out", directory / "data" / "server.crt"],
                       check=True, capture_output=True, user=as_user, cwd=directory)
        (directory / "data" / "server.key").chmod(0o600)
        server.run("pg_ctl", "-D", directory / "data", "-w", "-t", "60", "-l", directory / "log", "-o",
                   f"-k {directory} -p {server.port} -c listen_addresses=127.0.0.1 -c ssl=on -c fsync=off "
                   "-c max_connections=50", "start")
        try:
            server.sql(SCHEMA, "postgres")
            yield server
        finally:
            server.run("pg_ctl", "-D", directory / "data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def by_name(name):
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None
