"""docs/package-format.md promises that anyone can check a package without Moat: this does exactly what it says."""
import os
import re
import shutil
import subprocess

import pytest

from packing import ROOT


def commands(title="By hand"):
    page = (ROOT / "docs/package-format.md").read_text()
    found = re.findall(rf"^## {title}$.*?^```sh\n(.*?)^```$", page, re.M | re.S)
    assert len(found) == 1
    return found[0]


def by_hand(place, package, public):
    place.mkdir()
    shutil.copy(package, place / "demo-1.0.0.moat")
    shutil.copy(public, place / "publisher.pub")
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", commands()], cwd=place, capture_output=True, text=True, timeout=60
    )


def test_the_page_is_right(packing, package, tmp_path):
    place = tmp_path / "hand"
    done = by_hand(place, package, packing.public)
    assert done.returncode == 0, done.stderr
    assert "Signature Verified Successfully" in done.stdout
    assert (place / "plugin.json").read_bytes() == (packing.plugin / "plugin.json").read_bytes()
    for path in ["demo.so", "data/words.txt", "data/more words.txt"]:
        assert (place / "files" / path).read_bytes() == (packing.plugin / path).read_bytes()
    assert not (place / "files/not_named.txt").exists()


@pytest.mark.parametrize("where", [0, 20, 30, 41, 70, 100, 130, 161, 300, 447, 448, 511, 512, -1])
def test_the_page_sees_a_changed_byte(packing, package, tmp_path, where):
    data = bytearray(package.read_bytes())
    data[where] ^= 1
    changed = tmp_path / "changed.moat"
    changed.write_bytes(data)
    assert by_hand(tmp_path / "hand", changed, packing.public).returncode != 0


def test_the_page_sees_another_key(package, tmp_path):
    subprocess.run("openssl genpkey -algorithm ed25519 -out other", shell=True, check=True, cwd=tmp_path)
    subprocess.run("openssl pkey -in other -pubout -out other.pub", shell=True, check=True, cwd=tmp_path)
    assert by_hand(tmp_path / "hand", package, tmp_path / "other.pub").returncode != 0


def test_the_pages_numbers(package):
    """The table of the head, read against a real package."""
    page = (ROOT / "docs/package-format.md").read_text()
    rows = [(int(o), int(n)) for o, n in re.findall(r"^\| (\d+) \| (\d+) \|", page, re.M)]
    assert rows[0][0] == 0 and sum(rows[-1]) == 512
    for (offset, size), (following, _) in zip(rows, rows[1:]):
        assert offset + size == following
    head = package.read_bytes()[:512]
    assert head[:16] == b"MOAT package v1\n"
    assert head[128:160] == b"demo".ljust(32, b"\0")
    assert head[160:232] == b"1.0.0".ljust(72, b"\0")
    assert head[232:448] == bytes(216)
    assert package.stat().st_size == 512 + sum(int.from_bytes(head[o : o + 8], "little") for o in (40, 48, 56))


# ---- signed by a host's own key ----

SECRET = b"a key of thirty-two bytes, or more"


@pytest.fixture
def hmac_package(packing, build, tmp_path):
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secret").chmod(0o600)
    out = tmp_path / "hmac.moat"
    done = subprocess.run([build / "moat", "pack", packing.plugin, "--hmac", "-o", out], capture_output=True, text=True,
                          env={**os.environ, "PLUGIN_SECRET_KEY_FILE": str(tmp_path / "secret")}, timeout=60)
    assert done.returncode == 0, done.stderr
    return out


def hmac_by_hand(place, package, secret):
    place.mkdir()
    (place / "demo-1.0.0.moat").write_bytes(package)
    (place / "secret").write_bytes(secret)
    return subprocess.run(["bash", "-e", "-o", "pipefail", "-c", commands("By hand, an HMAC signature")], cwd=place,
                          capture_output=True, text=True, timeout=60)


def test_the_page_is_right_for_hmac(hmac_package, tmp_path):
    done = hmac_by_hand(tmp_path / "hand", hmac_package.read_bytes(), SECRET)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("where", [0, 16, 20, 30, 64, 95, 96, 300, 447, 448, 479, 480, 511])
def test_the_page_sees_a_changed_byte_for_hmac(hmac_package, tmp_path, where):
    data = bytearray(hmac_package.read_bytes())
    data[where] ^= 1
    assert hmac_by_hand(tmp_path / "hand", data, SECRET).returncode != 0


def test_the_page_sees_another_hmac_key(hmac_package, tmp_path):
    assert hmac_by_hand(tmp_path / "hand", hmac_package.read_bytes(), SECRET + b".").returncode != 0
