"""A real PostgreSQL on a Unix socket in a directory of its own, run by an ordinary user."""

import contextlib
import os
import pathlib
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import time

from authority import Authority

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
PASSWORD = "it's \"secret\""

SCHEMA = """
CREATE ROLE reader LOGIN PASSWORD $$it's "secret"$$;
CREATE ROLE writer LOGIN PASSWORD $$it's "secret"$$;
CREATE ROLE boss LOGIN SUPERUSER PASSWORD $$it's "secret"$$;
CREATE ROLE deputy LOGIN PASSWORD $$it's "secret"$$ IN ROLE boss;
CREATE ROLE filer LOGIN PASSWORD $$it's "secret"$$ IN ROLE pg_read_server_files;
CREATE ROLE carrier LOGIN;
CREATE DATABASE shop;
\\c shop
CREATE TABLE item (id serial PRIMARY KEY, name text, price numeric(10,2), cut bytea, sold boolean, weight float8);
INSERT INTO item (name, price, cut, sold, weight)
    VALUES ('ham', 12.50, '\\x00ff', true, 0.1), ('öl "x"', NULL, NULL, false, 'NaN');
CREATE SCHEMA hidden;
CREATE TABLE hidden.wages (who text);
GRANT SELECT ON item TO reader, carrier;
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
        self.authority = Authority(directory / "authority", as_user)
        self.certificate, self.key = self.authority.issue("localhost", ["DNS:db.test", "IP:127.0.0.1"])
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

    # ---- its certificate ----

    def put(self, path, name, mode=0o644):
        """As its own, among its data."""
        there = self.directory / "data" / name
        shutil.copyfile(path, there)
        there.chmod(mode)
        if self.as_user is not None:
            os.chown(there, self.as_user, -1)

    def have(self, certificate, key, tls=True):
        self.put(certificate, "server.crt")
        self.put(key, "server.key", 0o600)
        (self.directory / "data" / "tls.conf").write_text(f"ssl = {'on' if tls else 'off'}\n")

    def shown(self):
        """The certificate that it shows to who connects now; None: it has no TLS."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as s:
            s.sendall(SSL_REQUEST)
            if s.recv(1) == b"N":
                return None
            blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
            with blind.wrap_socket(s) as secure:
                return secure.getpeercert(binary_form=True)

    @contextlib.contextmanager
    def showing(self, certificate, key, tls=True):
        """Another certificate, or none, for a while."""
        self.reload(certificate, key, tls)
        try:
            yield
        finally:
            self.reload(self.certificate, self.key)

    def reload(self, certificate, key, tls=True):
        self.have(certificate, key, tls)
        self.run("pg_ctl", "-D", self.directory / "data", "reload")
        wanted, end = ssl.PEM_cert_to_DER_cert(certificate.read_text()) if tls else None, time.monotonic() + 20
        while self.shown() != wanted:
            assert time.monotonic() < end, "the server does not take its new certificate"
            time.sleep(0.02)


@contextlib.contextmanager
def running():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="moat-pg-", dir="/tmp"))
    as_user = None
    if os.geteuid() == 0:
        user = next(u for u in (by_name("postgres"), by_name("nobody")) if u)
        as_user = user.pw_uid
        os.chown(directory, user.pw_uid, user.pw_gid)
    directory.chmod(0o755)
    try:
        server = Server(programs(), directory, as_user)
        server.run("initdb", "-D", directory / "data", "-U", "admin", "-A", "trust", "-N", "-E", "UTF8")
        (directory / "data" / "pg_hba.conf").write_text("local all admin trust\nlocal all all scram-sha-256\n"
                                                        "hostssl all carrier 127.0.0.1/32 cert\n"
                                                        "host all all 127.0.0.1/32 scram-sha-256\n")
        with (directory / "data" / "postgresql.conf").open("a") as conf:
            conf.write("ssl_ca_file = 'ca.pem'\ninclude 'tls.conf'\n")
        server.put(server.authority.certificate, "ca.pem")
        server.have(server.certificate, server.key)
        server.run("pg_ctl", "-D", directory / "data", "-w", "-t", "60", "-l", directory / "log", "-o",
                   f"-k {directory} -p {server.port} -c listen_addresses=127.0.0.1 -c fsync=off "
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
