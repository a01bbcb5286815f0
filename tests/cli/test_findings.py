"""Every finding at once, with its cure: what an author learns from validate, and who looks from inspect."""

import json
import os
import time

import pytest


def stage(place, **changes):
    """echo with another manifest."""
    copy = place.root / "stage"
    copy.mkdir(exist_ok=True)
    source = place.build / "stage" / "echo"
    for path in source.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    manifest = {**json.loads((source / "plugin.json").read_text()), **changes}
    (copy / "plugin.json").write_text(json.dumps(manifest))
    return copy


def pack(place, key, out="p.moat", *more, at=None, **changes):
    if not (place.root / key).exists():
        place.good("keygen", key)
    if at:
        place.env["SOURCE_DATE_EPOCH"] = str(int(at))
    place.good("pack", stage(place, **changes), "--key", key, "-o", out, *more)
    place.env.pop("SOURCE_DATE_EPOCH", None)
    return out


def codes(place, package, *more):
    done = place.moat("validate", package, "--json", *more)
    found = [f["code"] for f in done.json["findings"]]
    assert done.json["valid"] is (not found) and (done.status == 0) is (not found)
    assert all(f["message"] and f["cure"] for f in done.json["findings"])
    return found


def test_all_of_them_at_once(either):
    """A good signature: whatever else is wrong, the rest is looked at."""
    place = either
    place.have("echo")
    pack(place, "key", at=time.time() - 7200, version="0.9.0", *["p.moat", "--expires", "1h"])
    place.good("trust", "add", "narrow", "key.pub", "--names", "other_*")
    found = codes(place, "p.moat", "--metadata", '{"name":"echo","version":"1","author":"x"}')
    assert found == ["name_not_allowed", "package_expired", "metadata_mismatch", "metadata_mismatch",
                     "name_not_allowed", "older_version"]
    told = place.moat("validate", "p.moat", "--json").json
    assert told["signature"] == "good" and told["publisher"] == "narrow"
    text = place.moat("validate", "p.moat")
    assert text.status == 3 and text.out.count("\n") == 5


def test_what_the_head_says_without_a_known_key(either):
    """Nothing behind the head of a package is parsed that nobody vouches for; the head is judged."""
    place = either
    place.have("echo")
    pack(place, "key", at=time.time() + 3600, version="0.9.0")
    assert codes(place, "p.moat") == ["unknown_key", "package_from_future", "name_not_allowed", "older_version"]
    told = place.moat("validate", "p.moat", "--json").json
    assert told["signature"] == "not_checked" and "name" not in told


def test_a_version_that_is_there_already(either):
    place = either
    place.have("echo")
    key = place.build / "packages" / "demo.key"
    place.good("pack", stage(place, description="another"), "--key", key, "-o", "p.moat")
    assert codes(place, "p.moat") == ["already_exists"]
    assert codes(place, place.package("echo")) == []


@pytest.mark.parametrize("metadata, status, expected", [
    ('{"name":"echo","capabilities":["custom"]}', 0, []),
    ("{}", 0, []),
    ('{"name":"other"}', 2, ["metadata_mismatch"]),
    ('{"name":"other","nothing":null,"version":1}', 2, ["metadata_mismatch"] * 3),
])
def test_metadata(either, metadata, status, expected):
    place = either
    place.trust()
    package = place.package("echo")
    done = place.moat("validate", package, "--metadata", metadata, "--json")
    assert (done.status, [f["code"] for f in done.json["findings"]]) == (status, expected)
    assert all(f["where"].startswith("/") for f in done.json["findings"])
    if expected:
        place.bad(2, "metadata_mismatch", "install", package, "--metadata", metadata)
        assert place.good("list", "--json").json["plugins"] == []
    else:
        place.good("install", package, "--metadata", metadata)


@pytest.mark.parametrize("metadata", ["x", "[]", '"name"', '{"name":1,"name":2}', ""])
def test_metadata_that_is_none(either, metadata):
    either.trust()
    either.bad(2, "bad_request", "validate", either.package("echo"), "--metadata", metadata)
    either.bad(2, "bad_request", "install", either.package("echo"), "--metadata", metadata)


# ---- inspect ----


def look(place, package, status, *more):
    done = place.moat("inspect", package, "--json", *more)
    assert done.status == status, done
    return done.json


def has_inside(told):
    assert [f["path"] for f in told["files"]] == ["echo.so"]
    assert "echo" in [a["name"] for a in told["manifest"]["actions"]]
    return True


def test_inspect_without_a_home_and_a_key(place):
    told = look(place, place.package("echo"), 3)
    assert (told["signature"], told["verified"], told["valid"]) == ("not_checked", False, False)
    assert has_inside(told) and "publisher" not in told
    assert not place.home.exists()
    text = place.moat("inspect", place.package("echo"))
    assert "SIGNATURE NOT CHECKED" in text.out and "echo.so" in text.out


def test_inspect_with_the_homes_trust(either):
    place = either
    place.trust()
    told = look(place, place.package("echo"), 0)
    assert (told["signature"], told["verified"], told["valid"]) == ("good", True, True)
    assert has_inside(told) and told["publisher"] == "demo"
    pack(place, "other")
    told = look(place, "p.moat", 3)
    assert (told["signature"], told["valid"]) == ("not_checked", False) and has_inside(told)
    assert [f["code"] for f in told["findings"]] == ["unknown_key"]


def test_inspect_with_a_key(place):
    told = look(place, place.package("echo"), 0, "--key", place.build / "packages" / "demo.pub")
    assert told["signature"] == "good" and has_inside(told) and told["publisher"] == "the given key"
    place.good("keygen", "other")
    told = look(place, place.package("echo"), 3, "--key", "other.pub")
    assert told["signature"] == "not_checked" and has_inside(told)
    pack(place, "other", "p.moat", "--expires", "1h", at=time.time() - 7200)
    told = look(place, "p.moat", 3, "--key", "other.pub")
    assert told["signature"] == "good" and has_inside(told)
    assert [f["code"] for f in told["findings"]] == ["package_expired"]


@pytest.mark.parametrize("at, signature", [(450, "bad"), (600, "bad"), (-1, "bad")])
def test_inspect_does_not_open_what_is_forged(either, at, signature):
    place = either
    place.trust()
    whole = bytearray(place.package("echo").read_bytes())
    whole[at] ^= 1
    (place.root / "forged.moat").write_bytes(whole)
    told = look(place, "forged.moat", 3)
    assert told["signature"] == signature and told["files"] == [] and "manifest" not in told
    assert "FORGED" in place.moat("inspect", "forged.moat").out


def test_inspect_checks_hashes_whoever_signed(place):
    """The payload of a package with an unknown key is held against the hash in its head."""
    whole = bytearray(place.package("echo").read_bytes())
    whole[-1] ^= 1
    (place.root / "damaged.moat").write_bytes(whole)
    told = look(place, "damaged.moat", 3)
    assert [f["code"] for f in told["findings"]] == ["unknown_key", "package_damaged"]
    assert told["files"] == [] and "manifest" not in told


def test_inspect_is_no_way_to_be_surprised(place):
    """A home that cannot be used is an error, not a package that looks fine."""
    place.good("list")
    os.chmod(place.home, 0o777)
    place.bad(7, "storage_failed", "inspect", place.package("echo"))


# ---- what is wrong with a manifest ----


def broken(place, **changes):
    """A stage whose manifest has faults; the package cannot be packed."""
    return place.moat("pack", stage(place, **changes), "--key", "key", "-o", "p.moat", "--json")


def test_pack_tells_every_fault_in_one_line(place):
    place.good("keygen", "key")
    done = broken(place, name="Bad", version="1.0.0.0", capabilities=["custom", "nonsense", "more_nonsense"],
                  assets=["/abs", "../up"], required_permissions=["nothing"])
    assert done.status == 3 and done.failure["code"] == "bad_manifest"
    words = ["/name", "/version", "/capabilities/1", "/capabilities/2", "/assets/0", "/assets/1",
             "/required_permissions/0"]
    assert all(word + ": " in done.failure["message"] for word in words), done
    assert place.moat("pack", "stage", "--key", "key").err.count("\n") == 1
    done = broken(place, version="1.0.0.0")
    assert done.failure["detail"]["pointer"] == "/version" and ";" not in done.failure["message"].split(", such")[0]


def test_pack_tells_every_fault_of_the_shape(place):
    place.good("keygen", "key")
    done = broken(place, moat=7, author=3, state="yes", actions=[], unheard=1)
    assert done.status == 3
    assert all(word in done.failure["message"] for word in ("/moat", "/author", "/state", "/actions", "unheard")), done
