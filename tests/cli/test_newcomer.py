"""The first hour: a key, a plugin, a package, a trusted publisher, a call."""

import json
import os
import stat
import subprocess


def make_plugin(place, name="word_count"):
    place.good("new", name)
    made = subprocess.run(["make", "-C", place.root / name], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    return place.root / name


def test_from_nothing_to_a_call(either):
    place = either
    place.good("keygen", "acme.key")
    assert stat.S_IMODE(os.stat(place.root / "acme.key").st_mode) == 0o600
    make_plugin(place)
    assert place.good("pack", "word_count", "--key", "acme.key").out == "word_count-0.1.0.moat\n"
    package = place.root / "word_count-0.1.0.moat"

    told = place.good("inspect", package, "--key", "acme.key.pub").out
    assert "The signature is good" in told and "word_count.so" in told and "It would be accepted." in told
    assert place.moat("validate", package).status == 3

    place.good("trust", "add", "acme", "acme.key.pub", "--names", "word_*")
    assert "would be accepted" in place.good("validate", package).out
    assert "Installed word_count 0.1.0 of acme, current" in place.good("install", package).out
    assert place.good("call", "word_count", "count", '{"text":"one two\\nthree"}').out == '{"words":3,"longest":5}\n'
    listed = place.good("list", "--json").json["plugins"]
    assert [(p["name"], p["version"], p["status"]) for p in listed] == [("word_count", "0.1.0", "active")]
    assert place.good("info", "word_count", "--json").json["actions"][0]["name"] == "count"


def test_the_new_plugins_own_check(place):
    plugin = make_plugin(place)
    env = {**place.env, "MOAT": str(place.build / "moat")}
    made = subprocess.run(["make", "-C", plugin, "check"], capture_output=True, text=True, env=env)
    assert made.returncode == 0 and "ok:" in made.stdout, made.stdout + made.stderr
    assert not place.home.exists()


def test_packing_again_gives_the_same_bytes(place):
    place.good("keygen", "k")
    make_plugin(place)
    place.env["SOURCE_DATE_EPOCH"] = "1700000000"
    place.good("pack", "word_count", "--key", "k", "-o", "one.moat")
    place.good("pack", "word_count", "--key", "k", "--output=two.moat")
    assert (place.root / "one.moat").read_bytes() == (place.root / "two.moat").read_bytes()


def test_expiry(place):
    place.good("keygen", "k")
    make_plugin(place)
    place.good("pack", "word_count", "--key", "k", "--expires", "1h", "-o", "good.moat")
    assert place.good("inspect", "good.moat", "--key", "k.pub", "--json").json["head"]["expires_at"] is not None
    place.env["SOURCE_DATE_EPOCH"] = "1700000000"
    place.good("pack", "word_count", "--key", "k", "--expires", "1h", "-o", "old.moat")
    done = place.moat("inspect", "old.moat", "--key", "k.pub", "--json")
    assert done.status == 3 and done.json["findings"][0]["code"] == "package_expired"


def test_inspect_asks_the_home_whom_it_trusts(either):
    """Without --key the home's own verdict counts; what is inside is shown with the key."""
    place = either
    package = place.package("data_processor")
    place.good("list")
    done = place.moat("inspect", package, "--json")
    assert done.status == 3 and done.json["verified"] is False and done.json["valid"] is False
    assert done.json["findings"][0]["code"] == "unknown_key"
    place.trust()
    done = place.good("inspect", package, "--json").json
    assert done["verified"] and done["valid"] and done["publisher"] == "demo" and done["findings"] == []
    done = place.good("inspect", package, "--key", place.build / "packages" / "demo.pub", "--json").json
    assert done["manifest"]["name"] == "data_processor" and done["files"][0]["path"] == "data_processor.so"


def test_inspect_makes_no_home(place):
    place.good("inspect", place.package("data_processor"), "--key", place.build / "packages" / "demo.pub")
    assert place.moat("inspect", place.package("data_processor")).status == 3
    assert not place.home.exists()


def test_json_of_the_local_commands(place):
    assert len(place.good("keygen", "k", "--json").json["key_id"]) == 64
    assert place.good("new", "p_one", "--json").json == {"directory": "p_one"}
    subprocess.run(["make", "-C", place.root / "p_one"], check=True, capture_output=True)
    assert place.good("pack", "p_one", "--key", "k", "--json").json == {"package": "p_one-0.1.0.moat"}
    assert place.good("version", "--json").json["version"]


def test_doctor(place):
    told = place.moat("doctor", "--json")
    layers = {line["layer"]: line for line in told.json["layers"]}
    assert told.status == (0 if told.json["complete"] else 6)
    assert {"user_namespace", "seccomp", "landlock", "rlimits"} <= set(layers)
    for line in layers.values():
        assert line["works"] or (line["cost"] and line["cure"])
    text = place.moat("doctor")
    assert text.status == told.status and all(name in text.out for name in layers)


def test_doctor_names_what_stops_the_chain(place):
    """Without user namespaces nothing can start, and it says so instead of starting less."""
    script = ("echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" doctor --json")
    unshare = ["unshare", "--user", "--map-root-user", "sh", "-c", script, str(place.build / "moat")]
    done = subprocess.run(unshare, capture_output=True, text=True, env=place.env)
    if "unshare" in done.stderr:
        import pytest

        pytest.skip("this machine lets nobody make a user namespace to limit")
    assert done.returncode == 6, done
    told = json.loads(done.stdout)
    assert told["complete"] is False and told["failed_step"]
