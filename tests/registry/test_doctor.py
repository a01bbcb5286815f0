"""`moat doctor --deep`, and what happens when a package is not what was installed."""

import sqlite3

import pytest


def deep(place):
    """0 or 1 for the home, whatever is thought of the machine (6)."""
    done = place.moat("doctor", "--deep", "--json")
    home = done.json["home"]
    assert (done.status == 1) == (not home["good"]) and done.status in (0, 1, 6), done
    return int(not home["good"]), home


def sha256_of(place, name):
    return place.good("info", name, "--json").json["versions"][0]["sha256"]


def stored(place, sha256):
    return place.home / "packages" / "sha256" / f"{sha256}.moat"


def wrong(home):
    return [(f["what"], f["plugin"], f["version"]) for f in home["findings"] if not f["good"]]


def test_nothing_is_wrong(either):
    either.have("echo")
    status, home = deep(either)
    assert status == 0 and home["good"] is True, home
    assert {f["what"] for f in home["findings"]} == {
        "database", "references", "audit trail", "search", "packages"}
    assert "1 packages, each as it was installed" in either.moat("doctor", "--deep").out


@pytest.mark.parametrize("how", ["changed", "missing", "cut"])
def test_a_damaged_package_is_named_and_set_aside(either, how):
    either.have("echo")
    sha256 = sha256_of(either, "echo")
    file = stored(either, sha256)
    if how == "missing":
        file.unlink()
    else:
        data = file.read_bytes()
        file.write_bytes(data[:-1] if how == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    status, home = deep(either)
    assert status == 1 and wrong(home) == [("packages", "echo", "1.0.0")], home
    assert not file.exists()
    assert (either.home / "packages" / "damaged" / file.name).exists() == (how != "missing")
    assert either.good("info", "echo", "--json").json["versions"][0]["state"] == "damaged"
    text = either.moat("doctor", "--deep").out
    assert "echo 1.0.0" in text and "install the same package again" in text
    either.good("install", either.package("echo"))
    assert deep(either)[0] == 0
    assert either.good("call", "echo", "echo", "[1]").out == "[1]\n"


def test_a_load_offers_the_last_good_version(place, root, build, tmp_path):
    place.have("echo")
    source = tmp_path / "newer"
    source.mkdir()
    manifest = (root / "tests" / "plugins" / "echo" / "plugin.json").read_text()
    manifest = manifest.replace('"version": "1.0.0"', '"version": "1.1.0"')
    (source / "plugin.json").write_text(manifest)
    (source / "echo.so").write_bytes((build / "tests" / "plugins" / "echo.so").read_bytes())
    place.good("pack", source, "--key", build / "packages" / "demo.key", "-o", tmp_path / "newer.moat")
    place.good("install", tmp_path / "newer.moat", "--use")
    sha256 = next(v["sha256"] for v in place.good("info", "echo", "--json").json["versions"] if v["version"] == "1.1.0")
    stored(place, sha256).write_bytes(b"other bytes")
    done = place.bad(3, "package_damaged", "call", "echo", "echo", "[1]")
    assert "echo 1.1.0 is damaged" in done.err and "`moat use echo@1.0.0`" in done.err, done
    place.good("use", "echo@1.0.0")
    assert place.good("call", "echo", "echo", "[1]").out == "[1]\n"


def test_strays_go_and_the_search_is_made_anew(place):
    place.have("echo")
    stray = place.home / "packages" / "sha256" / ("0" * 64 + ".moat")
    stray.write_bytes(b"x")
    db = sqlite3.connect(place.home / "registry" / "registry.db")
    db.execute("DELETE FROM search")
    db.commit()
    db.close()
    status, home = deep(place)
    assert status == 0 and home["collected"] == 1 and home["search_rebuilt"] is True
    assert not stray.exists() and stored(place, sha256_of(place, "echo")).exists()


def test_a_trail_that_was_changed_is_found(place):
    place.have("echo")
    db = sqlite3.connect(place.home / "registry" / "registry.db")
    db.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 1")
    db.commit()
    db.close()
    status, home = deep(place)
    assert status == 1 and wrong(home) == [("audit trail", None, None)]


def test_a_torn_database_says_what_helps(place):
    place.have("echo")
    file = place.home / "registry" / "registry.db"
    size = file.stat().st_size
    with open(file, "r+b") as f:
        f.seek(4096)
        f.write(b"\xff" * (size - 4096))
    done = place.moat("doctor", "--deep")
    assert done.status == 7 and "moat restore" in done.err, done
    assert "seccomp" in done.out, "the machine is told of all the same"
    with open(file, "r+b") as f:
        f.write(b"not a database at all" * 10)
    assert "moat restore" in place.bad(7, "storage_failed", "list").err


def test_a_newer_schema_is_refused_and_nothing_lost(place):
    place.have("echo")
    db = sqlite3.connect(place.home / "registry" / "registry.db")
    [version] = db.execute("PRAGMA user_version").fetchone()
    db.execute("PRAGMA user_version = 999")
    assert "newer Moat" in place.bad(7, "storage_failed", "list").err
    db.execute(f"PRAGMA user_version = {version}")
    db.close()
    assert place.good("list", "--json").json["plugins"][0]["name"] == "echo"
