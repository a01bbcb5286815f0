"""This host's own key: PLUGIN_SECRET_KEY signs what the host makes for itself, and is seen nowhere."""

import base64
import os
import pathlib
import threading

import pytest

KEY = "Vq9-the-first-key-of-this-very-host-0001"
NEXT = "Zr7-the-key-that-takes-its-place-here-02"


@pytest.fixture
def signed(place):
    """echo, signed with KEY; the environment has no key."""
    place.env["PLUGIN_SECRET_KEY"] = KEY
    place.good("pack", place.build / "stage" / "echo", "--hmac", "-o", "echo.moat")
    del place.env["PLUGIN_SECRET_KEY"]
    return place


def serve_or_not(place, how):
    if how == "served":
        place.serve()


def keys(place):
    found = place.good("trust", "list", "--json").json["publishers"]
    return {k["status"]: k["id"] for p in found if p["name"] == "this-host" for k in p["keys"]}


@pytest.mark.parametrize("how", ["alone", "served"])
def test_a_package_of_this_host(signed, how):
    place = signed
    place.env["PLUGIN_SECRET_KEY"] = KEY
    serve_or_not(place, how)
    assert "of this-host" in place.good("install", "echo.moat").out
    assert place.good("call", "echo", "echo", "7").out == "7\n"
    assert place.good("info", "echo", "--json").json["publisher"] == "this-host"
    assert place.good("inspect", "echo.moat", "--json").json["head"]["algorithm"] == "hmac-sha256"
    listed = place.good("trust", "list").out
    assert "hmac-sha256" in listed and "signs" in listed
    place.good("trust", "revoke", "this-host")
    place.bad(3, "key_revoked", "call", "echo", "echo", "7")
    place.bad(3, "key_revoked", "install", "echo.moat")
    assert list(keys(place)) == ["revoked"]


@pytest.mark.parametrize("how", ["alone", "served"])
def test_without_the_key(signed, how):
    place = signed
    serve_or_not(place, how)
    done = place.bad(3, "unknown_key", "install", "echo.moat")
    assert "PLUGIN_SECRET_KEY" in done.err


@pytest.mark.parametrize("how", ["alone", "served"])
def test_another_key(signed, how):
    place = signed
    place.env["PLUGIN_SECRET_KEY"] = NEXT
    serve_or_not(place, how)
    place.bad(3, "unknown_key", "install", "echo.moat")


def test_a_changed_package(signed, rng):
    place = signed
    place.env["PLUGIN_SECRET_KEY"] = KEY
    whole = (place.root / "echo.moat").read_bytes()
    for at in [448, 479] + [rng.randrange(16, 448) for _ in range(4)]:
        (place.root / "changed.moat").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        assert place.moat("install", "changed.moat").status == 3, at
    (place.root / "changed.moat").write_bytes(whole[:448] + bytes([whole[448] ^ 1]) + whole[449:])
    place.bad(3, "bad_signature", "install", "changed.moat")
    (place.root / "changed.moat").write_bytes(whole[:511] + b"\1" + whole[512:])
    place.bad(3, "bad_signature", "install", "changed.moat")


@pytest.mark.parametrize("how", ["alone", "served"])
def test_replacing_the_key(signed, how):
    """Old and new are valid while one takes the other's place; the old one signs nothing."""
    place = signed
    place.env["PLUGIN_SECRET_KEY"] = KEY
    place.good("install", "echo.moat")
    place.env["PLUGIN_SECRET_KEY"] = NEXT
    place.bad(3, "unknown_key", "call", "echo", "echo", "1")
    assert set(keys(place)) == {"signs", "not_given"}
    place.env["PLUGIN_SECRET_KEY_OLD"] = KEY
    serve_or_not(place, how)
    assert place.good("call", "echo", "echo", "1").out == "1\n"
    assert set(keys(place)) == {"signs", "verifies"}
    place.good("pack", place.build / "stage" / "data_processor", "--hmac", "-o", "new.moat")
    place.good("install", "new.moat")
    by = {v["key_id"] for v in place.good("info", "data_processor", "--json").json["versions"]}
    assert by == {keys(place)["signs"]}
    del place.env["PLUGIN_SECRET_KEY"]
    assert "--hmac" in place.bad(2, "bad_usage", "pack", place.build / "stage" / "echo", "--hmac").err


BAD = [
    ({"PLUGIN_SECRET_KEY": "x" * 31}, 2, "bad_usage", "31 bytes; it needs at least 32"),
    ({"PLUGIN_SECRET_KEY": ""}, 2, "bad_usage", "0 bytes"),
    ({"PLUGIN_SECRET_KEY": "x" * 4097}, 2, "bad_usage", "4097 bytes; at most 4096"),
    ({"PLUGIN_SECRET_KEY": KEY, "PLUGIN_SECRET_KEY_FILE": "good"}, 2, "bad_usage", "both set"),
    ({"PLUGIN_SECRET_KEY_FILE": "missing"}, 4, "no_such_file", "missing"),
    ({"PLUGIN_SECRET_KEY_FILE": ""}, 4, "no_such_file", "PLUGIN_SECRET_KEY_FILE"),
    ({"PLUGIN_SECRET_KEY_FILE": "loose"}, 2, "bad_usage", "chmod 600"),
    ({"PLUGIN_SECRET_KEY_FILE": "written"}, 2, "bad_usage", "chmod 600"),
    ({"PLUGIN_SECRET_KEY_FILE": "short"}, 2, "bad_usage", "31 bytes"),
    ({"PLUGIN_SECRET_KEY_FILE": "large"}, 2, "bad_usage", "too large"),
    ({"PLUGIN_SECRET_KEY_FILE": "."}, 2, "bad_usage", "not a file"),
    ({"PLUGIN_SECRET_KEY_FILE": "fifo"}, 2, "bad_usage", "not a file"),
    ({"PLUGIN_SECRET_KEY_OLD": "x"}, 2, "bad_usage", "PLUGIN_SECRET_KEY_OLD"),
    ({"PLUGIN_SECRET_KEY_OLD_FILE": "loose"}, 2, "bad_usage", "PLUGIN_SECRET_KEY_OLD_FILE"),
    ({"PLUGIN_SECRET_KEY_OLD": KEY, "PLUGIN_SECRET_KEY_OLD_FILE": "good"}, 2, "bad_usage", "both set"),
]


@pytest.mark.parametrize("variables, status, code, words", BAD)
def test_keys_that_are_none(place, variables, status, code, words):
    for name, text, mode in (("good", KEY, 0o600), ("loose", KEY, 0o640), ("written", KEY, 0o602),
                             ("short", "x" * 31 + "\n", 0o600), ("large", "x" * 20000, 0o600)):
        (place.root / name).write_text(text)
        (place.root / name).chmod(mode)
    os.mkfifo(place.root / "fifo", 0o600)
    place.env.update(variables)
    for command in (("list",), ("serve", "--listen", "127.0.0.1:0"), ("pack", place.build / "stage" / "echo", "--hmac")):
        done = place.bad(status, code, *command)
        assert words in done.err, done
        assert not any(len(v) > 20 and v in done.err for v in variables.values()), done
    assert place.moat("help").status == 0, "what needs no key goes on"


def test_the_newline_of_a_file_is_no_part_of_the_key(place):
    ids = set()
    for text in (KEY, KEY + "\n"):
        (place.root / "secret").write_text(text)
        (place.root / "secret").chmod(0o600)
        place.env["PLUGIN_SECRET_KEY_FILE"] = "secret"
        place.good("pack", place.build / "stage" / "echo", "--hmac", "-o", "a.moat")
        ids.add(place.moat("inspect", "a.moat", "--json").json["head"]["key_id"])
    place.env["PLUGIN_SECRET_KEY_FILE"] = "other"
    (place.root / "other").write_text(KEY + "\n\n")
    (place.root / "other").chmod(0o600)
    place.good("pack", place.build / "stage" / "echo", "--hmac", "-o", "a.moat")
    ids.add(place.moat("inspect", "a.moat", "--json").json["head"]["key_id"])
    assert len(ids) == 2


def test_the_name_is_taken(either):
    either.bad(2, "bad_usage", "trust", "add", "this-host", either.build / "packages" / "demo.pub")


# ---- where the key must not be seen ----


def family(pid):
    """The process and all that live below it."""
    found, look = [], [pid]
    while look:
        one = look.pop()
        found.append(one)
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                look += map(int, pathlib.Path(f"/proc/{one}/task/{task}/children").read_text().split())
        except OSError:
            pass  # it has ended
    return found


def show(pid):
    """The names, arguments and environment of a process, while it lives."""
    shown = {}
    for name in ("comm", "cmdline", "environ"):
        try:
            shown[name] = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
        except OSError:
            pass
    return shown


def in_any_form(secret):
    raw = secret.encode()
    return [raw, raw.hex().encode(), raw.hex().upper().encode(), base64.b64encode(raw).rstrip(b"=")]


def test_it_is_seen_nowhere(signed):
    """Arguments and environment of the host and of all that it starts, logs, answers, errors, files of the home."""
    place = signed
    place.env.update(PLUGIN_SECRET_KEY=KEY, PLUGIN_SECRET_KEY_OLD=NEXT)
    ready = place.serve()
    seen, stop = {}, threading.Event()

    def watch():
        while not stop.is_set():
            for pid in family(ready["pid"]):
                shown = show(pid)
                if len(shown) == 3:
                    seen[pid, shown["comm"]] = shown

    watcher = threading.Thread(target=watch)
    watcher.start()
    said = []
    for _ in range(10):
        said.append(place.good("install", "echo.moat"))
        said.append(place.good("reload", "echo"))
        said.append(place.good("call", "echo", "echo", "1"))
        said.append(place.good("validate", "echo.moat"))
    said += [place.moat(*words) for words in (("trust", "list", "--json"), ("info", "echo", "--json"), ("stats",), ("health",),
                                             ("call", "echo", "crash"), ("call", "echo", "nothing"),
                                             ("settings", "get", "--json"), ("list", "--json"), ("doctor", "--json"))]
    stop.set()
    watcher.join()
    status, out, err = place.end_server()
    assert status == 0
    kinds = {comm.strip() for _, comm in seen}
    assert {b"moat", b"moat-worker", b"moat-helper"} <= kinds, kinds
    texts = [text for shown in seen.values() for text in shown.values()]
    texts += [(d.out + d.err).encode() for d in said] + [out.encode(), err.encode()]
    texts += [path.read_bytes() for path in place.home.rglob("*") if path.is_file()]
    for secret in (KEY, NEXT):
        for form in in_any_form(secret):
            assert not any(form in text for text in texts), form
    for (_, comm), shown in seen.items():
        assert b"PLUGIN_SECRET" not in shown["environ"] or comm.strip() == b"moat"
