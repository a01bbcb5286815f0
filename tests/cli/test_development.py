"""Development mode: unsigned packages run, behind the same walls, in a home that was made for it and says so."""

import json
import signal
import urllib.request

import pytest


def pack(place, out="echo.moat", how=("--unsigned",), version=None, name="echo"):
    """One of the build's plugins, perhaps with another version."""
    stage = place.build / "stage" / name
    if version:
        copy = place.root / f"stage-{version}"
        copy.mkdir(exist_ok=True)
        for path in stage.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
        manifest = json.loads((stage / "plugin.json").read_text())
        manifest["version"] = version
        (copy / "plugin.json").write_text(json.dumps(manifest))
        stage = copy
    place.good("pack", stage, *how, "-o", out)
    return place.root / out


@pytest.fixture
def dev(place):
    """A home in development mode, served, with echo in it unsigned."""
    assert place.serve("--dev")["development"] == "on"
    place.good("install", pack(place))
    return place


def told(place):
    """What health, stats and doctor say of it, and whether they say it loudly."""
    health, stats, doctor = place.moat("health"), place.moat("stats"), place.moat("doctor")
    loud = ["DEVELOPMENT MODE" in health.err, "DEVELOPMENT MODE" in stats.err, "UNSAFE" in doctor.out]
    assert len(set(loud)) == 1, (health, stats, doctor)
    said = {place.moat("health", "--json").json["development"], place.moat("doctor", "--json").json["development"],
            place.moat("stats", "--json").json["security"]["development"]}
    assert len(said) == 1
    assert place.moat("stats", "--json").json["security"]["enabled"] is not loud[0]
    return said.pop(), loud[0]


def test_an_unsigned_package_runs(dev):
    place = dev
    assert place.good("call", "echo", "echo", "3").out == "3\n"
    info = place.good("info", "echo", "--json").json
    assert info["publisher"] == "unsigned"
    assert told(place) == ("on", True)
    document = json.load(urllib.request.urlopen(place.ready["url"] + "/api/plugins/health", timeout=30))
    assert document["result"]["development"] == "on"
    assert "unsigned" in place.good("trust", "list").out
    status, _, err = place.end_server()
    events = {line["event"]: line for line in map(json.loads, err.splitlines())}
    assert status == 0 and events["development_mode"]["level"] == "warn"
    # Without a server the home is what it is.
    assert place.good("call", "echo", "echo", "3").out == "3\n"
    assert told(place) == ("on", True)


def test_it_is_behind_every_wall(dev):
    place = dev
    (place.root / "secret.txt").write_text("secret")
    read = ("call", "echo", "read", json.dumps({"path": str(place.root / "secret.txt")}))
    assert place.good(*read).out == '"ENOENT"\n'
    place.good("grant", "echo", f"file_read={place.root}")
    assert place.good(*read).out == '"secret"\n'


def test_people_are_told_at_the_start(place):
    server = place.start("serve", "--dev", "--listen", "127.0.0.1:0")
    for line in server.stderr:
        if line.startswith("moat: DEVELOPMENT MODE"):
            break
    else:
        pytest.fail("serve --dev does not say it")
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=30)


@pytest.mark.parametrize("arguments", [("--listen", "0.0.0.0:0"), ("--listen", "0.0.0.0:0", "--insecure-http"),
                                       ("--listen", "[::]:0", "--insecure-http")])
def test_only_this_machine_reaches_it(place, arguments):
    done = place.moat("serve", "--dev", *arguments)
    assert done.status == 2 and "development mode is for this machine alone" in done.err.splitlines()[-1]


def test_a_secure_home_stays_secure(place):
    place.good("list")
    assert "secure home" in place.bad(8, "wrong_state", "serve", "--dev").err
    assert told(place) == ("never", False)
    assert "is secure" in place.good("secure").out
    assert told(place) == ("never", False)


def test_serve_must_say_which(dev):
    place = dev
    place.end_server()
    done = place.bad(8, "wrong_state", "serve", "--listen", "127.0.0.1:0")
    assert "moat serve --dev" in done.err and "moat secure" in done.err


@pytest.mark.parametrize("how", ["alone", "served"])
def test_back_to_a_secure_home(dev, how):
    place = dev
    place.bad(8, "home_busy", "secure")
    place.good("load", "echo")
    place.end_server()
    assert "secure from now on" in place.good("secure").out
    assert place.good("secure", "--json").json == {"development": "past"}
    if how == "served":
        place.serve()
    for command in (("call", "echo", "echo", "3"), ("load", "echo"), ("use", "echo@1.0.0")):
        place.bad(3, "unsigned", *command)
    place.bad(3, "unsigned", "install", pack(place, version="1.1.0"))
    assert told(place) == ("past", False)
    assert "before" in place.good("doctor").out
    if how == "alone":
        place.bad(8, "wrong_state", "serve", "--dev")
    # Who signs takes the name.
    place.trust()
    place.good("install", pack(place, "signed.moat", ("--key", place.build / "packages" / "demo.key"), "0.5.0"), "--use")
    assert place.good("call", "echo", "echo", "3").out == "3\n"
    assert place.good("info", "echo", "--json").json["publisher"] == "demo"


@pytest.mark.parametrize("running", [False, True])
def test_it_owns_no_name(dev, running):
    """A signed version takes the name, and neither the grants nor the height of the version."""
    place = dev
    place.good("install", pack(place, version="9.0.0"), "--use")
    (place.root / "secret.txt").write_text("secret")
    read = ("call", "echo", "read", json.dumps({"path": str(place.root / "secret.txt")}))
    place.good("grant", "echo", f"file_read={place.root}")
    if running:
        assert place.good(*read).out == '"secret"\n'
    place.trust()
    signed = pack(place, "signed.moat", ("--key", place.build / "packages" / "demo.key"), "1.2.0")
    assert place.good("validate", signed).status == 0
    place.good("install", signed)
    assert place.good("grants", "echo", "--json").json["grants"] == []
    assert place.good(*read).out == '"ENOENT"\n', "the unsigned version is the current one and has lost its grants"
    place.good("use", "echo@1.2.0")
    assert place.good(*read).out == '"ENOENT"\n'
    # From here on the name is demo's.
    place.bad(3, "name_not_allowed", "install", pack(place, "again.moat", version="9.1.0"))
    assert place.moat("validate", "again.moat", "--json").json["findings"][0]["code"] == "name_not_allowed"


def test_a_name_that_is_owned_is_not_for_unsigned_packages(place):
    place.serve("--dev")
    place.have("echo")
    place.bad(3, "name_not_allowed", "install", pack(place, version="2.0.0"))


def test_stripping_a_signature(place):
    """A signed package made an unsigned one: refused where it is secure, and its name where it is not."""
    signed = bytearray(place.package("echo").read_bytes())
    signed[16:24] = bytes(8)
    (place.root / "half.moat").write_bytes(signed)
    place.bad(3, "package_damaged", "install", "half.moat")
    signed[64:96] = bytes(32)
    (place.root / "half.moat").write_bytes(signed)
    place.bad(3, "package_damaged", "install", "half.moat")
    signed[448:512] = bytes(64)
    (place.root / "stripped.moat").write_bytes(signed)
    place.have("echo")
    done = place.bad(3, "unsigned", "install", "stripped.moat")
    assert "moat pack --key" in done.err
    found = place.moat("validate", "stripped.moat", "--json")
    assert found.status == 3 and found.json["signature"] == "none"


def test_the_reserved_name(either):
    either.bad(2, "bad_usage", "trust", "add", "unsigned", either.build / "packages" / "demo.pub")


@pytest.mark.parametrize("how", [(), ("--unsigned", "--hmac"), ("--unsigned", "--key", "k")])
def test_pack_takes_one_way_to_sign(place, how):
    assert "--unsigned" in place.bad(2, "bad_usage", "pack", place.build / "stage" / "echo", *how).err


def test_a_record_that_says_nonsense(place):
    place.good("list")
    record = place.home / "home.txt"
    assert "development=never\n" in record.read_text()
    record.write_text(record.read_text().replace("never", "sometimes"))
    assert "sometimes" in place.bad(7, "storage_failed", "list").err
    record.write_text(record.read_text().replace("development=sometimes\n", ""))
    place.good("list")  # of a home that was made before
