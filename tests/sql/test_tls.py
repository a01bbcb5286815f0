"""A PostgreSQL server is who it says it is: its certificate, ours, and who stands between."""

import json
import pathlib
import shutil
import time

import pytest

from authority import Authority
from impostor import Impostor
from server import PASSWORD, SSL_REQUEST

SECURE = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """An authority that nobody was told to believe."""
    return Authority(tmp_path_factory.mktemp("stranger") / "authority")


@pytest.fixture
def tls(place, postgres):
    """The server's authority, in a file that only the test's user can change."""
    place.ca = own(place, postgres.authority.certificate, "ca.pem", 0o644)
    place.good("grant", "querier", "database_read")
    return place


def own(place, path, name, mode=0o600):
    there = place.root / name
    shutil.copyfile(path, there)
    there.chmod(mode)
    return there


def string(postgres, role="reader", **more):
    return postgres.string(role, **{"host": "db.test", "hostaddr": "127.0.0.1", **more})


def write(place, name, text):
    file = place.root / f"{name}.conf"
    file.write_text(f"read {text}\n")
    file.chmod(0o600)
    return file


def add(place, name, text):
    place.good("source", "add", name, "postgres", write(place, name, text))


def ask(place, source, sql=SECURE):
    [answer] = place.result("call", "querier", "run", json.dumps({"source": source, "steps": [{"sql": sql}]}))
    return answer


def refused(place, source, *words):
    answer = ask(place, source)
    assert answer.get("code") == "unavailable", answer
    assert all(w in answer["message"] for w in words), answer["message"]
    assert PASSWORD not in answer["message"]


@pytest.mark.parametrize("how", [{"sslmode": "verify-full"}, {"sslmode": "verify-full", "host": "127.0.0.1"},
                                 {"sslmode": "verify-ca", "host": "another.name"},
                                 {"sslmode": "require", "host": "another.name"}],
                         ids=lambda how: "-".join(how.values()))
def test_the_right_server(tls, postgres, how):
    add(tls, "books", string(postgres, sslrootcert=tls.ca, **how))
    assert ask(tls, "books").get("rows") == [[True]]


def test_as_an_address(tls, postgres):
    at = f"postgresql://reader:it%27s%20%22secret%22@db.test:{postgres.port}/shop"
    assert PASSWORD == "it's \"secret\""
    add(tls, "books", f"{at}?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={tls.ca}")
    assert ask(tls, "books").get("rows") == [[True]]


def test_another_server(tls, postgres, stranger):
    """Another name, another authority; `require` with an authority is as good as verify-ca."""
    other = own(tls, stranger.certificate, "stranger.pem")
    add(tls, "name", string(postgres, host="localhost", sslmode="verify-full", sslrootcert=tls.ca))
    refused(tls, "name", "does not match host name")
    for mode in ("verify-full", "verify-ca", "require"):
        source = mode.replace("-", "_")
        add(tls, source, string(postgres, sslmode=mode, sslrootcert=other))
        refused(tls, source, "certificate is not accepted", "self-signed")
    if pathlib.Path("/etc/ssl/certs/ca-certificates.crt").exists():
        add(tls, "public", string(postgres, sslrootcert="system"))
        refused(tls, "public", "certificate is not accepted", "self-signed")


def test_an_expired_certificate(tls, postgres):
    add(tls, "books", string(postgres, sslmode="verify-full", sslrootcert=tls.ca))
    with postgres.showing(*postgres.authority.issue("db.test", ["DNS:db.test"], days=0)):
        refused(tls, "books", "certificate is not accepted", "expired")
    assert ask(tls, "books").get("rows") == [[True]]


def test_a_server_without_tls(tls, postgres):
    add(tls, "books", string(postgres, sslmode="verify-full", sslrootcert=tls.ca))
    add(tls, "maybe", string(postgres))
    with postgres.showing(postgres.certificate, postgres.key, tls=False):
        refused(tls, "books", "does not support SSL")
        assert ask(tls, "maybe").get("rows") == [[False]]


# ---- who stands between ----

def met(place, postgres, impostor, **how):
    """What he is told by who was led to him."""
    text = string(postgres, port=impostor.port, **how)
    add(place, "books", text)
    with impostor:
        refused(place, "books")
        return impostor.all_told()


@pytest.mark.parametrize("way", ["tls", "none", "deaf"])
def test_who_stands_between_gets_nothing(tls, postgres, stranger, way):
    false = stranger.issue("db.test", ["DNS:db.test"]) if way == "tls" else ()
    told = met(tls, postgres, Impostor(way, *false), sslmode="verify-full", sslrootcert=tls.ca)
    assert told == SSL_REQUEST


@pytest.mark.parametrize("way, mode", [("tls", "require"), ("none", "prefer")])
def test_who_stands_between_would_get_it(tls, postgres, stranger, way, mode):
    """A control: he hears what is said to him."""
    false = stranger.issue("db.test", ["DNS:db.test"]) if way == "tls" else ()
    told = met(tls, postgres, Impostor(way, *false), sslmode=mode)
    assert told.startswith(SSL_REQUEST) and b"user\0reader\0" in told and PASSWORD.encode() in told


# ---- our own certificate ----

def test_a_certificate_instead_of_a_password(tls, postgres, stranger):
    ours, strange = postgres.authority.issue("carrier"), stranger.issue("carrier")
    for name, pair in (("ours", ours), ("strange", strange)):
        own(tls, pair[0], f"{name}.pem")
        own(tls, pair[1], f"{name}.key")
    how = {"password": "''", "sslmode": "verify-full", "sslrootcert": tls.ca}
    add(tls, "ours", string(postgres, "carrier", **how, sslcert=tls.root / "ours.pem", sslkey=tls.root / "ours.key"))
    assert ask(tls, "ours").get("rows") == [[True]]
    assert ask(tls, "ours", "SELECT session_user").get("rows") == [["carrier"]]
    add(tls, "none", string(postgres, "carrier", **how))
    refused(tls, "none", "requires a valid client certificate")
    add(tls, "mixed", string(postgres, "carrier", **how, sslcert=tls.root / "ours.pem", sslkey=tls.root / "strange.key"))
    refused(tls, "mixed", "key values mismatch")
    add(tls, "strange", string(postgres, "carrier", **how, sslcert=tls.root / "strange.pem", sslkey=tls.root / "strange.key"))
    refused(tls, "strange")
    # Later than it was added, too.
    (tls.root / "ours.key").chmod(0o640)
    answer = ask(tls, "ours")
    assert answer["code"] == "connect_failed" and "chmod 600" in answer["message"]


# ---- what is told when it is added ----

def test_what_is_not_done_is_refused(tls, postgres):
    key = own(tls, postgres.key, "open.key", 0o644)
    far = {"hostaddr": "192.0.2.1"}
    for more, code, words in (
            (far, "bad_usage", "say sslmode=verify-full"),
            ({**far, "sslmode": "verify-full"}, "bad_usage", "sslrootcert"),
            ({"sslmode": "verify-full", "sslrootcert": tls.root / "none.pem"}, "no_such_file", "none.pem"),
            ({"sslmode": "verify-full", "sslrootcert": tls.ca, "sslcrl": tls.ca}, "bad_usage", "`sslcrl`"),
            ({"sslmode": "require", "sslcert": tls.ca, "sslkey": key}, "bad_usage", "chmod 600"),
            ({"sslmode": "prefer", "sslrootcert": tls.ca}, "bad_usage", "does not heed"),
            ({"hostaddr": "db.test", "sslmode": "require"}, "bad_usage", "an address in figures")):
        status = {"bad_usage": 2, "no_such_file": 4}[code]
        done = tls.bad(status, code, "source", "add", "books", "postgres", write(tls, "books", string(postgres, **more)))
        assert words in done.err and PASSWORD[5:] not in done.err, done
    # The string for writing is looked at as well, and one of two is not chosen.
    file = tls.root / "books.conf"
    for second in (f"write {string(postgres, sslmode='verify-full')}", f"read {string(postgres, sslmode='disable')}"):
        file.write_text(f"read {string(postgres)}\n{second}\n")
        tls.bad(2, "bad_usage", "source", "add", "books", "postgres", file)


# ---- how long a file holds ----

def test_a_changed_authority_holds_from_the_next_helper_on(tls, postgres, stranger):
    add(tls, "books", string(postgres, sslmode="verify-full", sslrootcert=tls.ca))
    tls.serve()
    assert ask(tls, "books").get("rows") == [[True]]
    shutil.copyfile(stranger.certificate, tls.ca)
    assert ask(tls, "books").get("rows") == [[True]]  # the session that is there
    tls.good("reload", "querier")
    refused(tls, "books", "certificate is not accepted", "self-signed")
    shutil.copyfile(postgres.authority.certificate, tls.ca)
    assert ask(tls, "books").get("rows") == [[True]]


def test_a_statement_is_ended_in_the_server_with_the_same_files(tls, postgres):
    """Whoever is sent after a dead helper proves himself as it did, though the files are gone."""
    ours = postgres.authority.issue("carrier")
    cert, key = own(tls, ours[0], "ours.pem"), own(tls, ours[1], "ours.key")
    add(tls, "books", string(postgres, "carrier", password="''", sslmode="verify-full", sslrootcert=tls.ca, sslcert=cert,
                             sslkey=key))
    tls.serve()
    steps = [{"sql": "SELECT set_config('statement_timeout', '0', false)"}, {"sql": "SELECT pg_sleep(600)"}]
    running = tls.start("call", "querier", "run", json.dumps({"source": "books", "steps": steps}))
    busy = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'carrier' AND query = 'SELECT pg_sleep(600)'"
    until(postgres, busy, "1")
    for file in (tls.ca, cert, key):
        file.unlink()
    tls.good("revoke", "querier", "database_read")
    running.communicate(timeout=20)
    until(postgres, busy, "0")


def until(postgres, query, expected, seconds=20):
    end = time.monotonic() + seconds
    while postgres.sql(query) != expected:
        assert time.monotonic() < end, postgres.sql("SELECT usename, state, query FROM pg_stat_activity")
        time.sleep(0.02)
