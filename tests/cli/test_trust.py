"""Whom the operator trusts, at the command line: keys and their files, names, and what happens when trust ends."""

import json
import os
import stat
import subprocess
import time

import pytest

from test_findings import pack


def publisher(place, name, *more):
    if not (place.root / name).exists():
        place.good("keygen", name)
    place.good("trust", "add", name, f"{name}.pub", *more)


def test_names_and_transfer(either):
    place = either
    publisher(place, "acme", "--names", "echo,acme_*")
    publisher(place, "other", "--names", "o_*")
    place.good("install", pack(place, "acme"))
    assert place.good("call", "echo", "echo", "1").out == "1\n"
    place.bad(3, "name_not_allowed", "trust", "transfer", "echo", "other")
    assert "echo,o_*" in place.good("trust", "names", "other", "echo,o_*").out
    assert place.good("trust", "transfer", "echo", "other", "--json").json == {
        "name": "echo", "publisher": "other", "before": "acme"}
    place.bad(3, "name_not_allowed", "install", pack(place, "acme", version="1.1.0"))
    place.good("install", pack(place, "other", version="1.1.0"))
    assert place.good("call", "echo", "echo", "1").out == "1\n"
    place.good("trust", "names", "acme", "acme_*")
    place.bad(3, "name_not_allowed", "call", "echo", "echo", "1")
    place.good("use", "echo@1.1.0")
    assert place.good("call", "echo", "echo", "1").out == "1\n"
    place.bad(4, "not_found", "trust", "names", "nobody", "*")
    place.bad(4, "not_found", "trust", "transfer", "echo", "nobody")
    place.bad(4, "no_such_plugin", "trust", "transfer", "nothing", "acme")
    place.bad(2, "bad_usage", "trust", "names", "acme", "a,,b")
    listed = {p["name"]: p["names"] for p in place.good("trust", "list", "--json").json["publishers"]}
    assert listed == {"acme": "acme_*", "other": "echo,o_*"}


def test_one_of_several_keys(either):
    place = either
    publisher(place, "acme")
    place.good("keygen", "next")
    place.good("trust", "add", "acme", "next.pub")
    place.good("install", pack(place, "acme"))
    place.good("install", pack(place, "next", version="1.1.0"), "--use", "--load")
    keys = {k["id"] for p in place.good("trust", "list", "--json").json["publishers"] for k in p["keys"]}
    old = place.moat("inspect", pack(place, "acme"), "--json").json["head"]["key_id"]
    assert len(keys) == 2 and old in keys
    assert place.good("trust", "revoke", "acme", old, "--json").json == {
        "publisher": "acme", "key_id": old, "stopped": [], "versions": ["echo@1.0.0"]}
    assert place.good("call", "echo", "echo", "1").out == "1\n"
    place.bad(3, "key_revoked", "use", "echo@1.0.0")
    place.bad(3, "key_revoked", "trust", "add", "acme", "acme.pub")
    place.bad(8, "already_exists", "trust", "add", "another", "acme.pub")
    place.bad(2, "bad_usage", "trust", "revoke", "acme", old[:-1])
    place.bad(4, "not_found", "trust", "revoke", "acme", "0" * 64)


def test_its_workers_are_dead_when_revoke_returns(place):
    """Looked at from outside, by the process id of a worker in the middle of a call."""
    publisher(place, "acme")
    place.good("install", pack(place, "acme"))
    place.serve()
    call = place.start("call", "echo", "sleep", '{"ms":60000,"deaf":true}')
    end, running = time.monotonic() + 30, []
    while not running:
        assert time.monotonic() < end
        running = [p for p in place.good("list", "--loaded", "--json").json["plugins"] if p["in_flight"]]
    worker = f"/proc/{running[0]['pid']}"
    assert os.path.exists(worker)
    place.good("trust", "revoke", "acme")
    assert not os.path.exists(worker)
    assert place.good("list", "--loaded", "--json").json["plugins"] == []
    _, err = call.communicate(timeout=30)
    assert call.returncode == 3 and "revoked" in err


# ---- key files ----


def openssl(place, line):
    subprocess.run(f"openssl {line}", shell=True, check=True, cwd=place.root, capture_output=True)


def test_keygen_never_writes_over(place):
    place.good("keygen", "key")
    assert stat.S_IMODE((place.root / "key").stat().st_mode) == 0o600
    before = (place.root / "key").read_bytes(), (place.root / "key.pub").read_bytes()
    assert "exists" in place.bad(8, "already_exists", "keygen", "key").err
    (place.root / "key").unlink()
    place.bad(8, "already_exists", "keygen", "key")  # the public half is there
    assert not (place.root / "key").exists()
    assert (place.root / "key.pub").read_bytes() == before[1]
    (place.root / "link").symlink_to("key.pub")
    place.bad(8, "already_exists", "keygen", "link")
    (place.root / "nowhere").symlink_to("missing")
    place.bad(8, "already_exists", "keygen", "nowhere")
    assert not (place.root / "missing").exists() and not (place.root / "nowhere.pub").exists()
    place.bad(4, "no_such_file", "keygen", "no/such/directory")
    os.umask(0o777)
    try:
        place.good("keygen", "masked")
    finally:
        os.umask(0o022)
    assert stat.S_IMODE((place.root / "masked").stat().st_mode) == 0o600


def test_openssls_keys_are_keys(place):
    openssl(place, "genpkey -algorithm ed25519 -out their.key")
    openssl(place, "pkey -in their.key -pubout -out their.pub")
    text = (place.root / "their.pub").read_text()
    (place.root / "noisy.pub").write_text("a word before\r\n" + text.replace("\n", "\r\n") + "and one behind\n")
    place.good("trust", "add", "them", "noisy.pub")
    place.good("install", pack(place, "their.key"))
    openssl(place, "genpkey -algorithm ed25519 -out text.key -text")
    place.good("pack", place.build / "stage" / "echo", "--key", "text.key", "-o", "t.moat")


WRONG = [
    ("genpkey -algorithm ed25519 -out k", "k", "a private key"),
    ("genrsa -traditional -out k 2048", "k", "an RSA private key"),
    ("ecparam -name prime256v1 -genkey -noout -out k", "k", "an elliptic curve's private key"),
    ("genpkey -algorithm ed25519 -out k && openssl pkey -in k -aes128 -passout pass:x -out e", "e",
     "an encrypted private key"),
    ("req -x509 -newkey ed25519 -nodes -keyout k -out c -subj /CN=x", "c", "a certificate"),
    ("req -newkey ed25519 -nodes -keyout k -out c -subj /CN=x", "c", "a certificate request"),
    ("genpkey -algorithm x25519 -out k && openssl pkey -in k -pubout -out p", "p", "not an Ed25519 key"),
    ("genpkey -algorithm ed448 -out k && openssl pkey -in k -pubout -out p", "p", "not an Ed25519 key"),
    ("genpkey -algorithm rsa -out k && openssl pkey -in k -pubout -out p", "p", "not an Ed25519 key"),
    ("genpkey -algorithm ed25519 -outform DER -out k", "k", "no PEM key"),
]


@pytest.mark.parametrize("line, file, words", WRONG)
def test_files_that_are_no_public_key(place, line, file, words):
    openssl(place, line)
    done = place.bad(2, "bad_usage", "trust", "add", "x", file)
    assert words in done.err and file in done.err, done
    assert place.good("trust", "list", "--json").json["publishers"] == []


@pytest.mark.parametrize("content, words", [
    (b"", "no PEM key"), (b"\0\xff\xfe", "no PEM key"), (b"ssh-ed25519 AAAAC3Nza x@y", "an OpenSSH public key"),
    (b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", "not an Ed25519 key"),
    (b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n", "not an Ed25519 key"),
    (b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----\n",
     "not a valid Ed25519 public key"),
    (b"x" * 20000, "too large for a key")])
def test_content_that_is_no_public_key(place, content, words):
    (place.root / "file").write_bytes(content)
    assert words in place.bad(2, "bad_usage", "trust", "add", "x", "file").err


def test_a_private_key_is_not_sent(place):
    """trust add with the wrong half: refused here, whoever holds the home."""
    place.good("keygen", "key")
    place.serve()
    done = place.bad(2, "bad_usage", "trust", "add", "x", "key")
    assert "a private key" in done.err
    _, out, err = place.end_server()
    assert "POST" not in out + err and "refused" not in err


@pytest.mark.parametrize("name", ["", "a b", "-a", ".a", "a/b", "ü", "a" * 65])
def test_names_that_no_publisher_has(place, name):
    assert place.moat("trust", "add", "--", name, place.build / "packages" / "demo.pub").status == 2


def test_pack_with_the_public_half(place):
    place.good("keygen", "key")
    done = place.bad(2, "bad_usage", "pack", place.build / "stage" / "echo", "--key", "key.pub")
    assert "a public key" in done.err
    json.loads(place.good("keygen", "other", "--json").out)
