"""Backups: of one moment, whole or not there; restored all or not at all, the old state kept."""

import hashlib
import io
import os
import sqlite3
import subprocess
import tarfile
import threading

import pytest


def state(place):
    """What a user would miss."""
    plugins = place.good("list", "--json").json["plugins"]
    return {
        "plugins": [(p["name"], p["version"], p["state"]) for p in plugins],
        "grants": place.good("grants", "--json").json["grants"],
        "trust": place.good("trust", "list", "--json").json,
        "settings": place.good("settings", "get", "log_level", "--json").json["value"],
    }


def fill(place):
    place.have("echo")
    place.good("install", place.package("data_processor"))
    place.good("settings", "set", "log_level", "warn")
    place.good("audit", "rotate")
    place.good("uninstall", "data_processor")
    place.good("install", place.package("data_processor"))


def test_a_round_trip_into_an_empty_home(either, tmp_path):
    fill(either)
    before, records = state(either), len(either.good("audit", "--json").json["records"])
    saved = either.good("backup", "saved.tar")
    assert "2 packages" in saved.out and oct(os.stat(tmp_path / "saved.tar").st_mode & 0o777) == "0o600"
    if either.server:
        assert "stop it first" in either.bad(8, "home_busy", "restore", "saved.tar").err
        assert either.end_server()[0] == 0
    other = tmp_path / "other"
    result = either.good("restore", "saved.tar", "--home", other, "--json").json
    assert result == {"packages": 2, "kept": None}
    either.env["MOAT_HOME"] = str(other)
    either.home = other
    assert state(either) == before
    assert either.good("call", "echo", "echo", "[1]").out == "[1]\n"
    actions = [r["action"] for r in either.good("audit", "--json").json["records"]]
    assert actions[0] == "registry.restore" and len(actions) == records + 1
    assert len(either.good("audit", "verify", "--json").json["segments"]) == 1
    assert either.moat("doctor", "--deep", "--json").json["home"]["good"] is True


def test_other_programs_can_look_into_it(place, tmp_path):
    fill(place)
    place.good("backup", tmp_path / "saved.tar")
    look = tmp_path / "look"
    look.mkdir()
    subprocess.run(["tar", "xf", tmp_path / "saved.tar", "-C", look], check=True)
    subprocess.run(["sha256sum", "-c", "--quiet", "MANIFEST"], cwd=look, check=True, stderr=subprocess.DEVNULL)
    assert sorted(p.name for p in look.iterdir()) == ["MANIFEST", "audit", "packages", "registry.db"]
    for package in (look / "packages").iterdir():
        assert package.name == hashlib.sha256(package.read_bytes()).hexdigest() + ".moat"
    db = sqlite3.connect(look / "registry.db")
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_what_was_there_is_kept(place, tmp_path):
    fill(place)
    before = state(place)
    place.good("backup", "saved.tar")
    place.good("uninstall", "echo", "--purge")
    place.good("settings", "set", "log_level", "error")
    kept = place.good("restore", "saved.tar", "--json").json["kept"]
    assert state(place) == before
    old = place.home / "registry" / kept / "registry.db"
    assert sqlite3.connect(old).execute("SELECT value FROM setting").fetchall() == [('"error"',)]
    assert len(list((place.home / "packages" / kept / "sha256").iterdir())) == 1
    assert sorted(p.name for p in (place.home / "registry").iterdir()) == [
        "audit", kept, "lock", "registry.db"]


def test_a_file_that_is_there_is_never_replaced(place, tmp_path):
    fill(place)
    (tmp_path / "saved.tar").write_text("precious")
    place.bad(8, "already_exists", "backup", "saved.tar")
    assert (tmp_path / "saved.tar").read_text() == "precious"
    place.bad(7, "storage_failed", "backup", tmp_path / "nowhere" / "saved.tar")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "saved.tar"]


def test_a_damaged_package_is_not_saved_as_if_it_were_whole(place, tmp_path):
    fill(place)
    sha256 = place.good("info", "echo", "--json").json["versions"][0]["sha256"]
    (place.home / "packages" / "sha256" / f"{sha256}.moat").write_bytes(b"other")
    assert "doctor --deep" in place.bad(3, "package_damaged", "backup", "saved.tar").err
    assert not (tmp_path / "saved.tar").exists()
    place.moat("doctor", "--deep")
    place.good("backup", "saved.tar")
    place.good("restore", "saved.tar")
    assert place.good("info", "echo", "--json").json["versions"][0]["state"] == "damaged"


def broken(data, rng):
    """Backups that are none, each with its name."""
    yield "empty", b""
    for cut in sorted(rng.sample(range(1, len(data)), 12)) + [len(data) - 1]:
        yield f"cut at {cut}", data[:cut]
    yield "more", data + b"\0"
    for at in rng.sample(range(len(data)), 40):
        yield f"byte {at}", data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:]
    names = tarfile.open(fileobj=io.BytesIO(data)).getnames()
    for leave in names:
        yield f"without {leave}", rebuilt(data, lambda member: member.name != leave)
    yield "renamed", data.replace(b"packages/", b"../ckages/")


def rebuilt(data, keep):
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as source, tarfile.open(fileobj=out, mode="w",
                                                                         format=tarfile.USTAR_FORMAT) as target:
        for member in source:
            if keep(member):
                target.addfile(member, source.extractfile(member))
    return out.getvalue()


def test_whatever_is_not_a_whole_backup_changes_nothing(place, tmp_path, rng):
    fill(place)
    place.good("backup", "saved.tar")
    data = (tmp_path / "saved.tar").read_bytes()
    place.good("settings", "set", "log_level", "error")
    before = state(place)
    files = sorted(p.relative_to(place.home) for p in place.home.rglob("*"))
    for what, bytes_ in broken(data, rng):
        (tmp_path / "bad.tar").write_bytes(bytes_)
        done = place.moat("restore", "bad.tar")
        assert done.status in (3, 7), (what, done)
        assert "nothing was changed" in done.err or "restore" in done.err, (what, done)
    assert state(place) == before
    assert sorted(p.relative_to(place.home) for p in place.home.rglob("*")) == files
    place.bad(4, "no_such_file", "restore", "nowhere.tar")


def test_a_backup_under_load_is_of_one_moment(place, tmp_path):
    """Each change sets the same number in two places; no backup may have two different ones."""
    fill(place)
    place.serve()
    place.good("settings", "set", "log_level", "error")
    stop = threading.Event()

    def change():
        for n in range(10_000):
            if stop.is_set():
                return
            place.good("settings", "set", "deadline_max", f"{600 + n}s")
            place.good("settings", "set", "deadline_default", f"{n + 1}s")

    writer = threading.Thread(target=change)
    writer.start()
    try:
        for i in range(6):
            place.good("backup", f"saved{i}.tar")
    finally:
        stop.set()
        writer.join()
    assert place.end_server()[0] == 0
    for i in range(6):
        home = tmp_path / f"home{i}"
        place.good("restore", f"saved{i}.tar", "--home", home)
        assert place.good("audit", "verify", "--home", home, "--json").json["valid"] is True
        values = dict(sqlite3.connect(home / "registry" / "registry.db").execute("SELECT key, value FROM setting"))
        numbers = [int(values.get(k, '"0s"').strip('"s')) for k in ("deadline_max", "deadline_default")]
        trail = place.good("audit", "--action", "setting.set", "--home", home, "--json").json["records"]
        last = next(r["subject"] for r in trail)
        if numbers[0]:
            assert numbers[1] == numbers[0] - 600 + (last == "deadline_default"), (values, last)


@pytest.mark.parametrize("step", ["away", "in"])
def test_a_restoration_that_was_begun_is_brought_to_its_end(place, tmp_path, step):
    """As a process leaves it that died there: the next command goes on."""
    fill(place)
    before = state(place)
    place.good("backup", "saved.tar")
    registry, packages = place.home / "registry", place.home / "packages"
    new = tmp_path / "new"
    place.good("restore", "saved.tar", "--home", new)
    place.good("settings", "set", "log_level", "error")
    for here, there in ((registry, new / "registry"), (packages, new / "packages")):
        (here / "restore.new").mkdir()
        for part in ("registry.db", "audit", "sha256"):
            if (there / part).exists():
                os.rename(there / part, here / "restore.new" / part)
    if step == "in":
        (registry / "before-20260101T000000Z").mkdir()
        for part in ("registry.db", "audit"):
            os.rename(registry / part, registry / "before-20260101T000000Z" / part)
        (packages / "before-20260101T000000Z").mkdir()
        os.rename(packages / "sha256", packages / "before-20260101T000000Z" / "sha256")
    (registry / "restore.state").write_text(f"{step} 20260101T000000Z\n")
    assert state(place) == before
    assert not (registry / "restore.state").exists() and not (packages / "restore.new").exists()
    assert (registry / "before-20260101T000000Z" / "registry.db").exists()
