"""Packing: reproducible, only what the manifest names, nothing that an install would refuse."""
import os
import subprocess
import time

import pytest



def refused(packing, out, name, text):
    done = packing.pack(out)
    assert done.returncode == 1
    assert done.stderr.startswith(name + ": "), done.stderr
    assert text in done.stderr
    assert not out.exists()
    assert list(out.parent.glob(out.name + "*")) == []


def test_twice_the_same_bytes(packing, tmp_path):
    env = {"SOURCE_DATE_EPOCH": "1700000000"}
    first, second = tmp_path / "a.moat", tmp_path / "b.moat"
    assert packing.pack(first, env=env).returncode == 0
    # Neither times, modes, owners nor the directory's order are part of it.
    for path in packing.plugin.rglob("*"):
        os.utime(path, (12345, 12345))
    os.chmod(packing.plugin / "demo.so", 0o700)
    (packing.plugin / "data/words.txt").rename(packing.plugin / "moved")
    (packing.plugin / "moved").rename(packing.plugin / "data/words.txt")
    time.sleep(1.1)
    assert packing.pack(second, env=env).returncode == 0
    assert first.read_bytes() == second.read_bytes()
    assert int.from_bytes(first.read_bytes()[24:32], "little") == 1700000000


def test_the_archive_is_plain(package):
    head = package.read_bytes()[:512]
    m, f, a = (int.from_bytes(head[o : o + 8], "little") for o in (40, 48, 56))
    archive = package.read_bytes()[512 + m + f :]
    listing = subprocess.run(
        ["tar", "--zstd", "-tv", "--numeric-owner", "--full-time", "-f", "-"],
        input=archive,
        capture_output=True,
        check=True,
        env={"TZ": "UTC", "PATH": os.environ["PATH"], "LC_ALL": "C"},
    ).stdout.decode()
    lines = [line.split(None, 5) for line in listing.splitlines()]
    assert [line[5] for line in lines] == ["data/more words.txt", "data/words.txt", "demo.so"]
    assert [line[0] for line in lines] == ["-rw-r--r--", "-rw-r--r--", "-rwxr-xr-x"]
    assert {(line[1], line[3]) for line in lines} == {("0/0", "1970-01-01")}


def test_a_package_passes(packing, package):
    assert packing.check(package).returncode == 0


def test_expiry(packing, tmp_path):
    out = tmp_path / "short.moat"
    assert packing.pack(out, str(int(time.time()) + 1000)).returncode == 0
    assert packing.check(out).returncode == 0
    done = packing.pack(tmp_path / "never.moat", "1000")
    assert done.returncode == 1 and "expire before" in done.stderr
    env = {"SOURCE_DATE_EPOCH": "1700000000"}
    assert packing.pack(out, "1700000001", env=env).returncode == 0
    done = packing.check(out)
    assert done.stderr.startswith("package_expired: ")


def test_bad_directories(packing, tmp_path):
    out = tmp_path / "out.moat"
    done = packing.tool("pack", tmp_path / "none", packing.key, out)
    assert done.returncode == 1 and done.stderr.startswith("no_such_file: ") and "none" in done.stderr
    (packing.plugin / "data/words.txt").unlink()
    refused(packing, out, "no_such_file", "data/words.txt")
    (packing.plugin / "data/words.txt").mkdir()
    refused(packing, out, "bad_usage", "not a regular file")
    (packing.plugin / "data/words.txt").rmdir()
    os.mkfifo(packing.plugin / "data/words.txt")
    refused(packing, out, "bad_usage", "not a regular file")
    (packing.plugin / "plugin.json").write_text("{}")
    refused(packing, out, "bad_manifest", "plugin.json: ")
    (packing.plugin / "plugin.json").write_text("{")
    refused(packing, out, "bad_json", "plugin.json: line 1")
    (packing.plugin / "plugin.json").unlink()
    refused(packing, out, "no_such_file", "plugin.json")


def test_links(packing, tmp_path):
    out = tmp_path / "out.moat"
    secret = tmp_path / "secret"
    secret.write_text("private\n")
    words = packing.plugin / "data/words.txt"
    words.unlink()
    words.symlink_to(secret)
    refused(packing, out, "bad_usage", "leads out of the directory")
    words.unlink()
    words.symlink_to("../../secret")
    refused(packing, out, "bad_usage", "leads out of the directory")
    words.unlink()
    words.symlink_to("../not_named.txt")
    assert packing.pack(out).returncode == 0


def test_code_is_judged_when_packing(packing, tmp_path):
    out = tmp_path / "out.moat"
    (packing.plugin / "demo.so").write_bytes((packing.built / "hidden.so").read_bytes())
    refused(packing, out, "import_refused", "moat_plugin")
    (packing.plugin / "demo.so").write_text("#!/bin/sh\n")
    refused(packing, out, "import_refused", "not an ELF")


def test_a_bomb_is_not_packed(packing, tmp_path):
    with open(packing.plugin / "data/words.txt", "wb") as words:
        words.truncate(64 << 20)
    refused(packing, tmp_path / "out.moat", "not_a_package", "unpacks to more than 100 times")


def test_a_large_package(packing, tmp_path):
    out = tmp_path / "out.moat"
    (packing.plugin / "data/words.txt").write_bytes(os.urandom(20 << 20))
    assert packing.pack(out).returncode == 0
    assert out.stat().st_size > 20 << 20
    assert packing.check(out).returncode == 0


def test_the_out_path(packing, tmp_path):
    done = packing.pack(tmp_path / "none/out.moat")
    assert done.returncode == 1 and done.stderr.startswith("storage_failed: ")


@pytest.mark.parametrize("epoch", ["", "x", "-1", "1 ", "99999999999999999999999", "0"])
def test_bad_epoch(packing, tmp_path, epoch):
    done = packing.pack(tmp_path / "out.moat", env={"SOURCE_DATE_EPOCH": epoch})
    assert done.returncode == 1 and not (tmp_path / "out.moat").exists()


def test_bundled_library(packing, tmp_path):
    out = tmp_path / "out.moat"
    (packing.plugin / "demo.so").write_bytes((packing.built / "needs.so").read_bytes())
    refused(packing, out, "import_refused", "needs libbundled.so.1")
    (packing.plugin / "lib").mkdir()
    (packing.plugin / "lib/libbundled.so").write_bytes((packing.built / "libbundled.so").read_bytes())
    packing.write_manifest(libraries=["lib/libbundled.so"])
    done = packing.pack(out)
    assert done.returncode == 0, done.stderr
