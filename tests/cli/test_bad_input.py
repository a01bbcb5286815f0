"""Everything that users get wrong: one line that says what, where and what to do, the right exit status, nothing half
done. Each with a server that holds the home and without one."""

import json
import os
import subprocess
import time

import pytest

import place as place_module

CALL = ("call", "echo")


@pytest.fixture(params=["alone", "served"], scope="module")
def home(request, build, tmp_path_factory):
    """One home with echo in it for every test that changes nothing."""
    place = place_module.Place(build, tmp_path_factory.mktemp(request.param))
    place.have("echo")
    if request.param == "served":
        place.serve()
    yield place
    place.close()


# ---- files ----


@pytest.mark.parametrize("command", [("install", "{}"), ("validate", "{}"), ("inspect", "{}"),
                                     ("trust", "add", "x", "{}"), ("pack", "{}", "--key", "{}")])
def test_missing_file(home, command):
    done = home.bad(4, "no_such_file", *[word.format("missing.moat") for word in command])
    assert "missing.moat" in done.err


@pytest.mark.parametrize("command", ["install", "validate", "inspect"])
def test_a_directory_is_no_file(home, command):
    assert "not a file" in home.bad(4, "no_such_file", command, home.root).err if command != "inspect" else True


def refused(home, status, code, path):
    """install, validate and inspect agree."""
    done = home.bad(status, code, "install", path)
    told = home.moat("validate", path, "--json")
    assert told.status == status and told.json["valid"] is False and told.json["findings"][0]["code"] == code, told
    text = home.moat("validate", path)
    assert text.status == status and code in text.out, text
    return done


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 511, b"\0" * 5000, b"PK\3\4" + b"z" * 2000])
def test_not_a_package(home, content):
    path = home.root / "not.moat"
    path.write_bytes(content)
    refused(home, 3, "not_a_package", path)
    assert home.moat("inspect", path).status == 3


def test_flipped_bytes(home, rng):
    whole = home.package("data_processor").read_bytes()
    path = home.root / "flipped.moat"
    for at in [8, 100, 440, 450, 511, 512, 700, len(whole) - 1] + [rng.randrange(512, len(whole)) for _ in range(4)]:
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        for command in ("install", "validate", "inspect"):
            done = home.moat(command, path)
            assert done.status == 3, (at, done)
    for cut in (whole[:-1], whole + b"x", whole[:600]):
        path.write_bytes(cut)
        assert home.moat("install", path).status == 3
    assert [p["name"] for p in home.good("list", "--json").json["plugins"]] == ["echo"]


def test_flipped_signature_and_payload_have_their_names(home):
    whole = home.package("data_processor").read_bytes()
    path = home.root / "flipped.moat"
    path.write_bytes(whole[:460] + bytes([whole[460] ^ 1]) + whole[461:])
    refused(home, 3, "bad_signature", path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(home, 3, "package_damaged", path)


def sign_with(home, key, name="echo"):
    """echo, packed anew with another key."""
    if not (home.root / key).exists():
        home.good("keygen", key)
    stage = home.build / "stage" / name
    path = home.root / f"{key}.moat"
    home.good("pack", stage, "--key", key, "-o", path)
    return path


def test_unknown_key(home):
    done = refused(home, 3, "unknown_key", sign_with(home, "unknown"))
    assert "moat trust add" in done.err


def test_name_owners(either):
    place = either
    place.good("keygen", "one")
    place.good("trust", "add", "one", "one.pub", "--names", "other_*")
    refused(place, 3, "name_not_allowed", sign_with(place, "one"))
    place.have("echo")
    place.good("keygen", "two")
    place.good("trust", "add", "two", "two.pub")
    refused(place, 3, "name_not_allowed", sign_with(place, "two"))


def test_revoked_key(either):
    place = either
    place.have("echo")
    assert place.good("call", "echo", "echo", "1").out == "1\n"
    place.good("trust", "revoke", "demo")
    place.bad(3, "key_revoked", "call", "echo", "echo", "1")
    place.bad(3, "key_revoked", "install", place.package("data_processor"))
    place.bad(4, "not_found", "trust", "revoke", "nobody")


def test_the_same_version_never_changes(either):
    place = either
    place.have("echo")
    assert "Already installed" in place.good("install", place.package("echo")).out
    stage = place.root / "stage"
    subprocess.run(["cp", "-r", place.build / "stage" / "echo", stage], check=True)
    manifest = json.loads((stage / "plugin.json").read_text())
    manifest["description"] = "another"
    (stage / "plugin.json").write_text(json.dumps(manifest))
    place.good("pack", stage, "--key", place.build / "packages" / "demo.key", "-o", "again.moat")
    place.bad(8, "already_exists", "install", "again.moat")


# ---- names ----


@pytest.mark.parametrize("command", [("call", "nope", "x"), ("info", "nope"), ("load", "nope"), ("unload", "nope"),
                                     ("reload", "nope"), ("uninstall", "nope"), ("use", "nope@1.0.0"),
                                     ("grant", "nope", "execute_code"), ("refuse", "nope", "execute_code"),
                                     ("revoke", "nope", "execute_code"), ("grants", "nope"), ("denials", "nope"),
                                     ("call", "../../x", "x")])
def test_no_such_plugin(home, command):
    home.bad(4, "no_such_plugin", *command)


@pytest.mark.parametrize("command", [("info", "echo@9.9.9"), ("use", "echo@9.9.9"), ("uninstall", "echo@9.9.9")])
def test_no_such_version(home, command):
    home.bad(4, "no_such_version", *command)


def test_no_such_action(home):
    assert "nope" in home.bad(4, "no_such_action", *CALL, "nope").err


# ---- parameters ----


def test_parameters_that_do_not_fit(home):
    done = home.bad(2, "bad_parameters", *CALL, "sleep", '{"ms":"soon"}')
    assert "/ms" in done.err and "integer" in done.err
    detail = home.moat(*CALL, "sleep", '{"ms":"soon"}', "--json").failure["detail"]
    assert detail["pointer"] == "/ms" and detail["reason"]
    home.bad(2, "bad_parameters", *CALL, "sleep", "{}")
    home.bad(2, "bad_parameters", *CALL, "sleep")
    home.bad(2, "bad_parameters", *CALL, "sleep", '{"ms":1,"ms":2}')


@pytest.mark.parametrize("text", ["{", "", " ", "{'ms':1}", "[1,]", '{"ms":1}x', "nope", '"\\x"', "\x00", "01", "-",
                                  "[" * 300 + "]" * 300])
def test_parameters_that_are_not_json(home, text):
    if text != "-" and "\x00" not in text:
        home.bad(2, "bad_json", *CALL, "echo", text)
    home.bad(2, "bad_json", *CALL, "echo", "-", input=text)


def test_parameters_that_are_numbers_or_dashes(home):
    assert home.good(*CALL, "echo", "-5").out == "-5\n"
    assert home.good(*CALL, "echo", "-", input="[-5]").out == "[-5]\n"
    assert home.good(*CALL, "echo", "--", "-5").out == "-5\n"


def test_too_large(home):
    limit = home.good("settings", "get", "payload_max", "--json").json["value"]
    home.bad(2, "too_large", *CALL, "echo", "-", input='"' + "x" * limit + '"')
    fits = '"' + "x" * (limit - 2) + '"'
    assert home.good(*CALL, "echo", "-", input=fits).out == fits + "\n"


def test_package_too_large(place):
    place.good("settings", "set", "package_max", str(1 << 20))
    (place.root / "big.moat").write_bytes(place.package("echo").read_bytes() + b"\0" * (1 << 20))
    place.trust()
    place.bad(2, "too_large", "install", "big.moat")


# ---- what plugins do ----


def test_crash_tells_the_signal_and_the_last_words(home):
    done = home.bad(5, "plugin_crashed", *CALL, "crash")
    assert "SIGSEGV" in done.err and "last words" in done.err
    assert home.good(*CALL, "echo", "1").out == "1\n"


def test_deadline(home):
    for action in ("spin", "sleep"):
        parameters = '{"ms":60000,"deaf":true}' if action == "sleep" else "{}"
        start = time.monotonic()
        done = home.bad(5, "deadline", *CALL, action, parameters, "--deadline", "200ms")
        assert "200ms" in done.err and time.monotonic() - start < 30
    home.bad(2, "bad_request", *CALL, "echo", "1", "--deadline", "soon")


def test_action_failed(home):
    done = home.bad(1, "action_failed", *CALL, "fail", '{"code":"overflow","message":"too big\\u001b[2J"}')
    assert "overflow" in done.err and "too big" in done.err and "\x1b" not in done.err


def test_bad_results(home):
    home.bad(5, "bad_result", *CALL, "bad_result")
    done = home.bad(5, "bad_result", *CALL, "typed", "{}")
    assert "expected number, found string" in done.err


# ---- the machine and the home ----


def test_no_user_namespaces(place):
    place.have("echo")
    script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\""
    unshare = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]
    done = subprocess.run([*unshare, place.build / "moat", "call", "echo", "echo", "1", "--json"], env=place.env,
                          capture_output=True, text=True)
    if "unshare" in done.stderr:
        pytest.skip("this machine lets nobody make a user namespace to limit")
    assert done.returncode == 6, done
    assert json.loads(done.stderr)["error"]["code"] == "wall_missing"


def test_home_that_cannot_be_written(place):
    blocked = place.root / "file"
    blocked.write_text("")
    place.bad(7, "storage_failed", "list", "--home", blocked)
    place.bad(7, "storage_failed", "list", "--home", blocked / "below")


def test_home_for_all_to_write_is_refused(place):
    place.home.mkdir()
    os.chmod(place.home, 0o777)
    assert "chmod" in place.bad(7, "storage_failed", "list").err


# ---- usage ----


@pytest.mark.parametrize("arguments", [("nonsense",), ("trust",), ("trust", "nonsense"), ("list", "extra"), ("call",),
                                       ("call", "a"), ("call", "a", "b", "c", "d"), ("list", "--nonsense"),
                                       ("list", "-x"), ("list", "--loaded=yes"), ("install",), ("install", "x", "--key", "k"),
                                       ("pack", "x"), ("pack", "x", "--key"), ("completion", "fish"), ("help", "nonsense"),
                                       ("serve", "--listen", "0.0.0.0:80"), ("serve", "--listen", "nonsense"),
                                       ("settings", "set", "x"), ("install", "--home"),
                                       ("list", "--home", "a", "--home", "b")])
def test_wrong_usage(place, arguments):
    done = place.bad(2, "bad_usage", *arguments) if arguments[-1] not in ("--home", "--key", "b") else place.moat(*arguments)
    assert done.status == 2 and done.err.count("\n") == 1


@pytest.mark.parametrize("command, rest", [("list", ["--nonsense"]), ("token create", []), ("trust add", ["--nonsense"]),
                                           ("call", ["a", "b", "--key", "k"])])
def test_wrong_usage_points_to_the_help_of_the_command(place, command, rest):
    done = place.bad(2, "bad_usage", *command.split(), *rest)
    assert f"see `moat help {command}`" in done.err, done
    assert place.good("help", *command.split()).out.startswith(f"moat {command}:")


def test_wrong_usage_of_no_command_points_to_the_help_of_all(place):
    assert place.bad(2, "bad_usage", "--nonsense").err.endswith("; see `moat help`\n")


def test_nothing_at_all(place):
    done = place.moat()
    assert done.status == 2 and done.out == "" and "Usage: moat COMMAND" in done.err


@pytest.mark.parametrize("grant", ["nonsense", "file_read", "file_read=relative", "file_read=", "=x", "execute_code=../x"])
def test_bad_grants(home, grant):
    assert home.moat("grant", "echo", grant).status == 2
    assert home.good("grants", "echo", "--json").json["grants"] == []


def test_bad_settings(home):
    home.bad(4, "not_found", "settings", "get", "nonsense")
    home.bad(4, "not_found", "settings", "set", "nonsense", "1")
    for value in ("-1", "nonsense", "[]", "1e99", "null", "99999999999999999999"):
        assert home.moat("settings", "set", "payload_max", "--", value).status == 2, value
    assert home.moat("settings", "set", "accept_missing_layers", '["nonsense"]').status == 2
