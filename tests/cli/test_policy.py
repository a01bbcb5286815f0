"""Ends of grants, ceilings, data sources and how scopes are compared, as an operator meets them."""

import contextlib
import json
import os
import pathlib
import signal
import sqlite3
import time

import pytest

ASKS = {"optional_permissions": ["file_read", "file_write", "network_access", "database_read", "agent_control"]}


@pytest.fixture
def data(tmp_path):
    """A directory with a file, and a link to it."""
    place = tmp_path / "data"
    place.mkdir()
    (place / "a").write_text("content")
    (tmp_path / "link").symlink_to(place)
    return place


@pytest.fixture
def alpha(either):
    either.install(only=("read", "write", "sleep", "echo"), **ASKS)
    return either


def grants(place):
    return {(g["permission"], g["scope"]): g for g in place.result("grants", "alpha")["grants"]}


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


# ---- ends ----

def test_a_grant_ends_by_itself(alpha, data):
    alpha.good("grant", "alpha", f"file_read={data}", "--for", "2s")
    assert alpha.result("call", "alpha", "read", json.dumps({"path": f"{data}/a"})) == "content"
    shown = grants(alpha)["file_read", str(data)]
    assert shown["in_force"] and shown["reason"] == "granted" and shown["until"].endswith("Z")
    until(lambda: not grants(alpha))
    assert alpha.result("call", "alpha", "read", json.dumps({"path": f"{data}/a"})) == "ENOENT"
    [ended] = alpha.result("audit", "--action", "grant.end")["records"]
    assert ended["subject"] == "alpha" and ended["actor"] == "host"


def test_an_end_holds_over_restarts(place, data):
    place.install(only=("read",), **ASKS)
    place.good("grant", "alpha", f"file_read={data}", "--for", "3s")
    place.serve()
    assert place.result("call", "alpha", "read", json.dumps({"path": f"{data}/a"})) == "content"
    place.end_server()
    until(lambda: not grants(place))
    place.serve()
    assert place.result("call", "alpha", "read", json.dumps({"path": f"{data}/a"})) == "ENOENT"


def test_an_end_that_a_document_brings_comes_too(place, data):
    place.install(only=("read",), **ASKS)
    place.good("grant", "alpha", f"file_read={data}")
    place.serve()
    document = json.loads(place.good("export").out)
    document["plugins"][0]["decisions"][0]["until"] = int(time.time()) + 3
    file = place.root / "document.json"
    file.write_text(json.dumps(document))
    place.good("import", file)
    assert place.result("call", "alpha", "read", json.dumps({"path": f"{data}/a"})) == "content"
    until(lambda: not grants(place))
    assert place.result("call", "alpha", "read", json.dumps({"path": f"{data}/a"})) == "ENOENT"


def test_install_with_grants_for_a_time(either, data):
    package = either.pack(only=("read",), required_permissions=["file_read"], optional_permissions=[])
    either.bad(2, "bad_usage", "install", package, "--for", "1h")
    either.bad(2, "bad_usage", "install", package, "--grant", f"file_read={data}", "--for", "soon")
    done = either.result("install", package, "--grant", f"file_read={data}", "--for", "1h")
    assert done["permissions"][0]["until"]
    assert either.result("call", "alpha", "read", json.dumps({"path": f"{data}/a"})) == "content"


def test_an_end_needs_a_time(alpha, data):
    for span in ("", "2", "0s", "10ms", "1y"):
        alpha.bad(2, "bad_usage", "grant", "alpha", f"file_read={data}", "--for", span)
    assert not grants(alpha)


# ---- many ----

def test_a_grant_puts_no_other_out(place):
    """As many as can hold at once are kept: one more is refused, and whoever has all of them keeps them."""
    hosts = [f"network_access=host{i:02}.example:1" for i in range(64)]
    package = place.pack(only=("read",), **ASKS)
    place.good("install", package, *(w for host in hosts for w in ("--grant", host)))
    error = json.loads(place.moat("grant", "alpha", "network_access=a.example:1", "--json").err)["error"]
    assert error["code"] == "limit" and "64" in error["message"]
    place.good("grant", "alpha", hosts[0])  # the same again is no more
    place.bad(5, "limit", "install", place.pack("1.1.0", only=("read",), **ASKS), "--grant", "network_access=b.example:1")
    document = json.loads(place.good("export").out)
    document["plugins"][0]["decisions"].append(document["plugins"][0]["decisions"][0] | {"scope": "c.example:1"})
    file = place.root / "document.json"
    file.write_text(json.dumps(document))
    place.bad(5, "limit", "import", file)
    assert [g["in_force"] for g in place.result("grants", "alpha")["grants"]] == [True] * 64
    assert sorted(s for _, s in grants(place)) == sorted(h.split("=")[1] for h in hosts)


def test_a_place_more_than_a_worker_has_room_for_is_refused(place, tmp_path):
    places = [tmp_path / f"place{i}" for i in range(33)]
    for one in places:
        one.mkdir()
        (one / "a").write_text("content")
    package = place.pack(only=("read",), **ASKS)
    grant = [w for one in places for w in ("--grant", f"file_read={one}")]
    place.bad(5, "limit", "install", package, *grant)
    place.good("install", package, *grant[:-2])
    place.bad(5, "limit", "grant", "alpha", grant[-1])
    place.good("grant", "alpha", f"file_write={places[0]}")  # the same place
    assert place.result("call", "alpha", "read", json.dumps({"path": f"{places[31]}/a"})) == "content"


# ---- links ----

def test_a_link_is_followed_when_it_is_granted(alpha, data):
    """What is kept is where it led then, and it is taken back by either name."""
    link = data.parent / "link"
    for right in ("file_read", "file_write"):
        alpha.good("grant", "alpha", f"{right}={link}")
        assert list(grants(alpha)) == [(right, str(data))]
        assert alpha.result("call", "alpha", "read", json.dumps({"path": f"{data}/a"})) == "content"
        alpha.good("revoke", "alpha", f"{right}={link}")
        assert not grants(alpha)
    alpha.good("install", alpha.pack("1.1.0", only=("read",), **ASKS), "--use", "--grant", f"file_write={link},max=1MiB")
    assert list(grants(alpha)) == [("file_write", f"{data},max=1MiB")]
    (data.parent / "x,max=1MiB").mkdir()
    (data.parent / "odd").symlink_to(data.parent / "x,max=1MiB")
    alpha.bad(2, "bad_usage", "grant", "alpha", f"file_write={data.parent}/odd")


def test_a_link_that_comes_later_leads_nowhere(place, data):
    """Whoever owns a directory on the way to a granted place can put a link there: it is not followed at any start."""
    secret = data.parent / "secret"
    secret.mkdir()
    (secret / "a").write_text("secret")
    mine = data.parent / "mine"
    (mine / "in").mkdir(parents=True)
    (mine / "in" / "a").write_text("content")
    place.install(only=("read",), **ASKS)
    place.good("grant", "alpha", f"file_read={mine}/in")
    reads = [json.dumps({"path": f"{where}/a"}) for where in (f"{mine}/in", secret)]
    assert place.result("call", "alpha", "read", reads[0]) == "content"
    (mine / "in").rename(mine / "was")
    (mine / "in").symlink_to(secret)
    for _ in range(2):
        for read in reads:
            done = place.moat("call", "alpha", "read", read)
            assert done.status == 3 and str(secret) in done.err and "link" in done.err, done
        place.serve() if not place.server else None
    place.end_server()
    (mine / "in").unlink()
    (mine / "was").rename(mine / "in")
    assert place.result("call", "alpha", "read", reads[0]) == "content"


# ---- ceilings ----

def test_what_is_below_a_ceiling_cannot_be_granted(alpha, data):
    alpha.good("ceiling", "set", "publisher:acme", f"file_read={data}")
    link = data.parent / "link"
    for scope in (data, data / "a", data.parent, link):
        alpha.bad(3, "permission_denied", "grant", "alpha", f"file_read={scope}")
        alpha.bad(3, "permission_denied", "grant", "alpha", f"file_write={scope}")
    alpha.bad(3, "permission_denied", "install", alpha.pack("1.1.0", only=("read",), **ASKS), "--grant", f"file_read={data}")
    assert not grants(alpha)
    assert [v["version"] for v in alpha.result("info", "alpha")["versions"]] == ["1.0.0"]
    other = data.parent / "other"
    other.mkdir()
    alpha.good("grant", "alpha", f"file_read={other}")


@pytest.mark.parametrize("subject", ["publisher:acme", "capability:custom", "everybody"])
def test_a_ceiling_holds_for_what_was_granted(alpha, data, subject):
    alpha.good("grant", "alpha", f"file_read={data}")
    read = json.dumps({"path": f"{data}/a"})
    assert alpha.result("call", "alpha", "read", read) == "content"
    assert alpha.result("ceiling", "set", subject, "file_read")["have_less"] == ["alpha"]
    assert alpha.result("call", "alpha", "read", read) == "ENOENT"
    shown = grants(alpha)["file_read", str(data)]
    assert not shown["in_force"] and shown["reason"] == "ceiling" and shown["decision"] == "granted"
    info = next(p for p in alpha.result("info", "alpha")["permissions"] if p["permission"] == "file_read")
    assert info["decision"] == "undecided" and info["reason"] == "ceiling" and info["commands"] == []
    assert alpha.result("ceiling", "set", subject, "FILE_READ")["have_less"] == []  # it is there already
    [listed] = alpha.result("ceiling", "list")["ceilings"]
    assert (listed["subject"], listed["permission"], listed["scope"]) == (subject, "file_read", "")
    assert alpha.result("ceiling", "remove", subject, "file_read")["have_more"] == ["alpha"]
    assert alpha.result("call", "alpha", "read", read) == "content"
    assert [r["action"] for r in alpha.result("audit", "--action", "ceiling.")["records"]] == [
        "ceiling.remove", "ceiling.set"]


def test_a_ceiling_binds_only_whom_it_names(alpha, data):
    alpha.good("ceiling", "set", "publisher:other", "file_read")
    alpha.good("ceiling", "set", "capability:security", "file_read")
    alpha.good("grant", "alpha", f"file_read={data}")
    assert grants(alpha)["file_read", str(data)]["in_force"]


def test_a_required_permission_below_a_ceiling_says_so(either, data):
    either.good("ceiling", "set", "everybody", "file_read")
    either.install(only=("read",), required_permissions=["file_read"], optional_permissions=[])
    done = either.bad(3, "permission_denied", "call", "alpha", "read", '{"path":"/x"}')
    assert "ceiling" in done.err and "moat grant" not in done.err
    assert either.result("info", "alpha")["needs_grant"] == []


def test_a_ceiling_ends_the_call_that_has_the_right(place, data):
    place.serve()
    place.install(only=("sleep", "read"), **ASKS)
    place.good("grant", "alpha", f"file_read={data}")
    call = place.start("call", "alpha", "sleep", '{"ms":60000,"deaf":true}', "--json")
    until(lambda: any(p["in_flight"] for p in place.result("list", "--loaded")["plugins"]))
    place.good("ceiling", "set", "everybody", f"file_read={data}")
    _, err = call.communicate(timeout=20)
    assert call.returncode == 3 and json.loads(err)["error"]["code"] == "permission_denied"


def test_nonsense_is_no_ceiling(alpha):
    for subject, never in (("acme", "file_read"), ("publisher:", "file_read"), ("capability:cooking", "file_read"),
                           ("everybody", "cooking"), ("everybody", "file_read=x"), ("everybody", "file_write=/x,max=1"),
                           ("publisher:" + "x" * 65, "file_read")):
        alpha.bad(2, "bad_usage", "ceiling", "set", subject, never)
        alpha.bad(2, "bad_usage", "ceiling", "remove", subject, never)
    alpha.bad(4, "not_found", "ceiling", "remove", "everybody", "file_read")


def test_a_home_has_so_many_ceilings(place):
    place.serve()
    for i in range(64):
        place.good("ceiling", "set", f"publisher:p{i}", "file_read")
    place.bad(5, "limit", "ceiling", "set", "everybody", "file_read")
    place.good("ceiling", "remove", "publisher:p3", "file_read")
    place.good("ceiling", "set", "everybody", "file_read")


# ---- scopes ----

def test_scopes_are_compared_after_normalisation(alpha, data):
    alpha.good("grant", "alpha", "network_access=API.Example.COM.:443")
    alpha.good("grant", "alpha", "network_access=[::ffff:10.0.0.1]:80")
    alpha.good("grant", "alpha", "network_access=*.Example.org:443")
    alpha.good("grant", "alpha", "network_access=192.168.0.0/16:5432")
    alpha.good("grant", "alpha", f"file_read={data}/./")
    assert {s for _, s in grants(alpha)} == {"api.example.com:443", "10.0.0.1:80", "*.example.org:443",
                                             "192.168.0.0/16:5432", str(data)}
    alpha.good("revoke", "alpha", "network_access=api.EXAMPLE.com:443")
    alpha.bad(8, "revoke_incomplete", "revoke", "alpha", "network_access=a.example.org:443")
    for strange in ("bücher.example:443", "0x7f.1:80", "2130706433:80", "0177.0.0.1:80", "10.0.0.1/8:80", "*:443",
                    "a.*.example:443", "[fe80::1%eth0]:80", "host:0", "host"):
        done = alpha.bad(2, "bad_usage", "grant", "alpha", f"network_access={strange}")
        assert strange in done.err
    assert "xn--" in alpha.bad(2, "bad_usage", "grant", "alpha", "network_access=bücher.example:443").err


# ---- data sources ----

def test_sources(alpha, data, tmp_path):
    assert alpha.result("source", "list") == {"sources": []}
    string = tmp_path / "orders.conn"
    string.write_text("dbname=d user=moat password=very_secret")
    string.chmod(0o600)
    alpha.good("source", "add", "main", "sqlite", "data/main.db")
    alpha.good("source", "add", "orders", "postgres", string)
    alpha.good("grant", "alpha", "database_read=orders")
    listed = alpha.result("source", "list")["sources"]
    assert [(s["name"], s["kind"], s["place"], s["granted_to"]) for s in listed] == [
        ("main", "sqlite", str(data / "main.db"), []), ("orders", "postgres", str(string), ["alpha"])]
    alpha.bad(8, "already_exists", "source", "add", "main", "sqlite", data / "other.db")
    assert alpha.result("source", "remove", "orders")["granted_to"] == ["alpha"]
    alpha.bad(4, "not_found", "source", "remove", "orders")
    assert "very_secret" not in alpha.good("audit").out + alpha.good("export").out
    assert [r["action"] for r in alpha.result("audit", "--action", "source.")["records"]] == [
        "source.remove", "source.add", "source.add"]


def test_what_is_no_source(alpha, data, tmp_path):
    string = tmp_path / "open.conn"
    string.write_text("host=db")
    string.chmod(0o644)
    done = alpha.bad(2, "bad_usage", "source", "add", "orders", "postgres", string)
    assert "chmod 600" in done.err
    string.chmod(0o600)
    string.write_text("")
    alpha.bad(2, "bad_usage", "source", "add", "orders", "postgres", string)
    os.mkfifo(tmp_path / "pipe", 0o600)
    alpha.bad(2, "bad_usage", "source", "add", "orders", "postgres", tmp_path / "pipe")
    alpha.bad(4, "no_such_file", "source", "add", "orders", "postgres", tmp_path / "none")
    alpha.bad(4, "no_such_file", "source", "add", "main", "sqlite", tmp_path / "none" / "x.db")
    alpha.bad(2, "bad_usage", "source", "add", "main", "sqlite", data)
    alpha.bad(2, "bad_usage", "source", "add", "main", "oracle", data / "a")
    alpha.bad(2, "bad_usage", "source", "add", "Main", "sqlite", data / "a")
    alpha.bad(2, "bad_usage", "source", "add", "x" * 65, "sqlite", data / "a")
    registry = next(pathlib.Path(alpha.home).rglob("registry.db"))
    alpha.bad(3, "permission_denied", "source", "add", "main", "sqlite", registry)
    assert alpha.result("source", "list") == {"sources": []}


# ---- denials ----

def denials(place, **wanted):
    rows = place.result("denials", "alpha")["denials"]
    return [r for r in rows if all(r[k] == v for k, v in wanted.items())]


def read(place, path):
    return place.moat("call", "alpha", "read", json.dumps({"path": path}), "--receipt")


def test_a_denial_names_the_call_and_the_command(place):
    place.serve()
    place.install(only=("read", "write"), **ASKS)
    read(place, "/etc/shadow")
    until(lambda: denials(place, object="/etc/shadow"))
    [row] = denials(place, object="/etc/shadow")
    assert (row["action"], row["version"], row["permission"], row["count"]) == ("read", "1.0.0", "file_read", 1)
    assert row["command"] == "moat grant alpha file_read=/etc/shadow" and row["first"] <= row["last"]
    [ran] = place.result("calls", "alpha")["ended"]
    assert row["call"] == ran["id"]
    until(lambda: place.result("audit", "--actor", "plugin:alpha")["records"])
    [record] = place.result("audit", "--actor", "plugin:alpha")["records"]
    assert (record["action"], record["subject"], record["outcome"]) == ("plugin.denied", "file_read", "permission_denied")


def test_a_flood_loses_no_number_and_hides_no_other(place):
    """One row an object up to a bound, then one for the rest; another action's and another version's stand beside."""
    place.serve()
    place.install(only=("read", "write"), **ASKS)
    for i in range(80):
        read(place, f"/none/{i}")
    place.moat("call", "alpha", "write", '{"path":"/none/of/yours","text":"x"}')
    until(lambda: sum(r["count"] for r in denials(place, action="read")) == 80)
    until(lambda: denials(place, action="write", object="/none/of/yours"))
    rows = denials(place, action="read")
    assert len(rows) == 65 and [r["count"] for r in rows if r["object"] == "(other)"] == [16]
    place.install("1.1.0", "--use", "--accept-changes", only=("read", "write"), **ASKS)
    read(place, "/none/1")
    until(lambda: denials(place, version="1.1.0", object="/none/1"))
    assert len(denials(place, version="1.0.0", object="/none/1")) == 1
    total = sum(r["count"] for r in denials(place))
    assert total == place.result("info", "alpha")["denials"]
    until(lambda: sum(r["count"] for r in place.result("audit", "--actor", "plugin:alpha", "--limit", "1000")["records"])
          == total)


def on_disk(place):
    """How many denials the registry's file holds, whoever holds the registry."""
    path = next(pathlib.Path(place.home).rglob("registry.db"))
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute("SELECT ifnull(sum(count), 0) FROM denial").fetchone()[0]


def test_denials_outlive_a_restart_and_reach_other_processes(place):
    place.install(only=("read",), **ASKS)
    read(place, "/none/alone")  # a command of its own: the next one is another process
    [row] = denials(place, object="/none/alone")
    assert row["count"] == 1 and row["call"]
    read(place, "/none/alone")
    place.serve()
    read(place, "/none/alone")
    until(lambda: denials(place, object="/none/alone")[0]["count"] == 3)
    place.end_server()
    [row] = denials(place, object="/none/alone")
    assert row["count"] == 3 and row["first"] < row["last"]
    assert row["command"] == "moat grant alpha file_read=/none/alone"
    assert place.result("denials")["dropped"] == 0


def test_denials_are_filtered_by_time_and_number(either):
    either.install(only=("read",), **ASKS)
    read(either, "/none/old")
    until(lambda: denials(either, object="/none/old"))

    def lately():
        read(either, "/none/new")
        return [r["object"] for r in either.result("denials", "alpha", "--since", "1s")["denials"]]

    until(lambda: lately() == ["/none/new"])  # the other one is older than a second by then
    assert [r["object"] for r in either.result("denials", "--limit", "1")["denials"]] == ["/none/new"]
    assert len(either.result("denials", "--since", "7d")["denials"]) >= 2
    either.bad(2, "bad_request", "denials", "--since", "soon")


def test_a_killed_host_loses_two_seconds_of_denials(place):
    """What was written is there; nobody asks, so that only time writes it."""
    place.serve()
    place.install(only=("read",), **ASKS)
    began = time.monotonic()
    read(place, "/none/early")
    until(lambda: on_disk(place) >= 1)
    took = time.monotonic() - began
    kept = on_disk(place)
    read(place, "/none/late")
    place.end_server(signal.SIGKILL)
    assert took < 2 + 8, "two seconds, and what a slow machine adds"
    left = denials(place)
    assert kept <= sum(r["count"] for r in left) <= kept + 1
    assert [r["count"] for r in left if r["object"] == "/none/early"] == [1]


# ---- what a plugin reaches through others ----

def test_grants_name_what_is_reached_through_others(place):
    place.serve()
    for name in ("alpha", "beta", "gamma"):
        place.install(name=name, only=("echo",), optional_permissions=["agent_control"])
    assert place.result("grants", "alpha")["reaches"] == []
    place.good("grant", "alpha", "agent_control=beta.echo")
    place.good("grant", "beta", "agent_control=gamma")
    place.good("grant", "gamma", "agent_control=alpha.echo")  # a circle ends
    place.good("grant", "gamma", "agent_control=nobody.echo")  # not installed: a name all the same
    assert place.result("grants", "alpha")["reaches"] == ["beta", "gamma", "nobody"]
    place.good("ceiling", "set", "everybody", "agent_control=gamma")
    assert place.result("grants", "alpha")["reaches"] == ["beta"]
    place.good("grant", "beta", "agent_control")
    assert place.result("grants", "alpha")["reaches"] == ["beta", "*"]
    assert "Reaches through others: beta" in place.good("grants", "alpha").out


# ---- revocation ----

def test_a_revocation_holds_at_every_moment_of_a_call(place, data):
    """Before its worker is there, while it starts, runs, answers: when `revoke` has returned no worker has the right, and
    a call that had it has answered, or answers permission_denied."""
    place.serve()
    place.install(only=("sleep", "read"), **ASKS)
    ends = set()
    for i in range(14):
        place.good("grant", "alpha", f"file_read={data}")
        if i % 2:
            place.good("reload", "alpha")
        call = place.start("call", "alpha", "sleep", '{"ms":80,"deaf":true}', "--json")
        time.sleep(0.02 * i)
        place.good("revoke", "alpha", f"file_read={data}")
        assert place.result("call", "alpha", "read", json.dumps({"path": f"{data}/a"})) == "ENOENT"
        _, err = call.communicate(timeout=20)
        ends.add(call.returncode)
        assert call.returncode == 0 or json.loads(err)["error"]["code"] == "permission_denied", err
    assert 0 in ends
