"""apply: the wanted plugins in one file. What it says becomes so, all or nothing; what it does not grant is not granted."""

import contextlib
import hashlib
import json
import shutil
import threading
import urllib.error
import urllib.request

import jsonschema
import pytest

from place import ROOT

SCHEMA = jsonschema.Draft202012Validator(json.loads((ROOT / "docs/schema/apply.schema.json").read_text()))
CONFIG = {
    "type": "object",
    "properties": {
        "ratio": {"type": "number"},
        "refuse": {"type": "string"},
        "init_ms": {"type": "integer", "minimum": 0, "maximum": 60000},
        "a/b": {"type": "string", "secret": True},
        "api_key": {"type": "string", "secret": True},
    },
    "additionalProperties": False,
}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def entry(place, version="1.0.0", name="alpha", **more):
    return {"name": name, "version": version, "sha256": digest(place.root / f"{name}-{version}.moat"), **more}


def put(place, *plugins, valid=True):
    document = {"moat_apply": 1, "plugins": list(plugins)}
    assert SCHEMA.is_valid(document) == valid, list(SCHEMA.iter_errors(document))
    path = place.root / "wanted.json"
    path.write_text(json.dumps(document))
    return path


def changes(place, *arguments, status=0):
    """(plugin, what, from, to) of every difference; of a configuration with its key."""
    done = place.moat("apply", *arguments, "--json")
    assert done.status == status, done
    assert done.json["applied"] == ("--check" not in arguments)
    return [(c["plugin"], c["what"], *([c["key"]] if "key" in c else []), c["from"], c["to"])
            for c in done.json["changes"]]


def state(place):
    """All that apply could have touched."""
    return place.good("export").out


@pytest.fixture
def stocked(either):
    """alpha in two versions, with decisions, configuration and a pin; beta, which no file of these tests names."""
    place = either
    place.install("1.0.0", config=CONFIG)
    place.install("2.0.0", config=CONFIG)
    place.install("1.0.0", name="beta")
    for name in ("data", "more"):
        (place.root / name).mkdir()
    place.good("grant", "alpha", f"file_read={place.root}/data")
    place.good("refuse", "alpha", "execute_code")
    place.good("config", "set", "alpha", "ratio", "0.50")
    place.good("config", "set", "alpha", "api_key", "-", input="sesame-7h3-0nly-0ne")
    place.good("pin", "alpha")
    place.good("grant", "beta", f"file_read={place.root}/data")
    return place


def test_it_becomes_so_and_then_nothing_differs(stocked):
    place = stocked
    file = put(place, entry(place, "2.0.0", grants=[f"file_write={place.root}/more/", "execute_code"],
                            refuse=["File_Read"], config={"ratio": 0.5, "init_ms": 7}, wanted="stopped"))
    expected = [
        ("alpha", "version", "1.0.0", "2.0.0"),
        ("alpha", "grant", f"file_read={place.root}/data", None),
        ("alpha", "refusal", "execute_code", None),
        ("alpha", "grant", None, f"file_write={place.root}/more"),
        ("alpha", "grant", None, "execute_code"),
        ("alpha", "refusal", None, "file_read"),
        ("alpha", "config", "init_ms", None, 7),
        ("alpha", "wanted", "lazy", "stopped"),
        ("alpha", "pinned", True, False),
    ]
    before, beta = state(place), place.result("info", "beta")
    assert sorted(changes(place, file, "--check", status=1), key=str) == sorted(expected, key=str)
    assert state(place) == before, "a check changes nothing"
    assert sorted(changes(place, file), key=str) == sorted(expected, key=str)
    assert changes(place, file, "--check") == [] and changes(place, file) == []

    info = place.result("info", "alpha")
    assert info["version"] == "2.0.0"
    document = json.loads(state(place))
    alpha = document["plugins"][0]
    assert (alpha["current"], alpha["previous"], alpha["pinned"], alpha["wanted"]) == ("2.0.0", "1.0.0", False, "stopped")
    assert {(d["permission"], d["scope"], d["refused"]) for d in alpha["decisions"]} == {
        ("file_write", f"{place.root}/more", False), ("execute_code", "", False), ("file_read", "", True)}
    assert alpha["config"] == {"ratio": 0.5, "init_ms": 7}
    assert {"name": "api_key", "set": True} in place.result("config", "get", "alpha")["secrets"], "secrets stay"
    place.bad(8, "wrong_state", "call", "alpha", "echo", "1")
    assert place.result("info", "beta") == beta, "what the file does not name is not touched"


def test_what_is_left_out_is_the_default(stocked):
    place = stocked
    place.good("unload", "alpha")
    place.good("deactivate", "alpha")
    changes(place, put(place, entry(place)))
    alpha = json.loads(state(place))["plugins"][0]
    assert alpha["decisions"] == [] and alpha["config"] == {} and not alpha["pinned"] and alpha["active"]
    assert alpha["wanted"] == "stopped", "left out, it stays as it is"
    changes(place, put(place, entry(place, wanted="lazy")))
    assert place.result("call", "alpha", "echo", "1") == 1
    assert changes(place, put(place)) == [], "no plugin, no difference"


def test_it_is_told_to_people(stocked):
    place = stocked
    file = put(place, entry(place, "2.0.0", config={"ratio": 0.75}, pinned=True))
    done = place.moat("apply", file, "--check")
    assert (done.status, done.err) == (1, "")
    for line in ("alpha", "  ~ version   1.0.0 -> 2.0.0", f"  - grant     file_read={place.root}/data",
                 "  - refusal   execute_code", "  ~ config    ratio: 0.50 -> 0.75", "1 of 1 plugins would change"):
        assert line.replace("0.50", "0.5") in done.out, done
    assert "1 of 1 plugins changed." in place.good("apply", file).out
    assert "All is as the file says (1 plugin)." in place.good("apply", file).out


def test_the_trail_tells_of_each_change_and_of_the_whole(stocked):
    place = stocked
    last = place.result("audit", "head")["count"]
    place.good("apply", put(place, entry(place, "2.0.0", grants=[f"file_read={place.root}/more"], pinned=True)))
    records = [r for r in place.result("audit")["records"] if r["seq"] > last]
    assert [r["action"] for r in reversed(records)] == [
        "plugin.pin", "plugin.use", "grant.withdraw", "grant.decide", "plugin.configure", "plugin.pin", "registry.apply"]
    assert records[0]["detail"] == {"plugins": 1, "changes": 5} and len({r["time"] for r in records}) == 1
    last = place.result("audit", "head")["count"]
    place.good("apply", place.root / "wanted.json")
    assert place.result("audit", "head")["count"] == last, "nothing changed, nothing is told"
    assert place.result("audit", "verify")["valid"] is True


# ---- what is refused ----

REFUSED = [
    # what the entry says besides, exit status, code, where the refusal points, a valid form by the schema?
    ({"version": "3.0.0"}, 4, "no_such_version", "/plugins/0/version", True),
    ({"sha256": "00" * 32}, 8, "already_exists", "/plugins/0/sha256", True),
    ({"sha256": "00"}, 2, "bad_document", "/plugins/0/sha256", False),
    ({"name": "gamma"}, 4, "no_such_version", "/plugins/0/version", True),
    ({"name": "Gamma"}, 2, "bad_document", "/plugins/0", False),
    ({"version": "1"}, 2, "bad_document", "/plugins/0", False),
    ({"more": 1}, 2, "bad_document", "/plugins/0", False),
    ({"grants": "file_read=/tmp"}, 2, "bad_document", "/plugins/0/grants", False),
    ({"grants": ["file_read=/tmp", "fly"]}, 2, "bad_document", "/plugins/0/grants/1", True),
    ({"grants": ["file_read=relative"]}, 2, "bad_document", "/plugins/0/grants/0", True),
    ({"grants": ["file_read=/tmp", "file_read=/tmp/"]}, 2, "bad_document", "/plugins/0/grants/1", True),
    ({"grants": [7]}, 2, "bad_document", "/plugins/0/grants/0", False),
    ({"grants": ["file_read=/proc/1/root"]}, None, None, "/plugins/0/grants/0", True),
    ({"grants": ["file_read=/nowhere/at/all"]}, None, None, "/plugins/0/grants/0", True),
    ({"refuse": ["fly"]}, 2, "bad_document", "/plugins/0/refuse/0", True),
    ({"grants": ["execute_code"], "refuse": ["execute_code"]}, 2, "bad_document", "/plugins/0/refuse/0", True),
    ({"config": {"ratio": "half"}}, 2, "bad_parameters", "/plugins/0/config", True),
    ({"config": {"unheard_of": 1}}, 2, "bad_parameters", "/plugins/0/config", True),
    ({"config": {"api_key": "in the open"}}, 2, "bad_document", "/plugins/0/config/api_key", True),
    ({"config": {"a/b": "in the open"}}, 2, "bad_document", "/plugins/0/config/a~1b", True),
    ({"config": []}, 2, "bad_document", "/plugins/0/config", False),
    ({"pinned": 1}, 2, "bad_document", "/plugins/0/pinned", False),
    ({"wanted": "often"}, 2, "bad_document", "/plugins/0", False),
    ({"accept": "short"}, 2, "bad_document", "/plugins/0", False),
    ({"file": "../alpha-3.0.0.moat", "version": "3.0.0"}, 2, "bad_document", "/plugins/0", True),
    ({"file": "/etc/passwd", "version": "3.0.0"}, 2, "bad_document", "/plugins/0", True),
    ({"file": "nothing.moat", "version": "3.0.0"}, 4, "no_such_file", "/plugins/0/file", True),
]


def trail_of(place):
    """What the trail has but for refusals, which it tells of as well."""
    return [r for r in place.result("audit", "--limit", "1000")["records"] if r["action"] != "request.refused"]


def test_one_bad_entry_refuses_all_of_it(stocked):
    place = stocked
    before, trail = state(place), trail_of(place)
    good = entry(place, name="beta", grants=[])
    for more, status, code, where, valid in REFUSED:
        bad = entry(place, "2.0.0") | more
        for flags in ([], ["--check"]):
            done = place.moat("apply", put(place, bad, good, valid=valid), "--json", *flags)
            assert done.status == status if status else done.status not in (0, 1), (more, done)
            assert code is None or done.failure["code"] == code, (more, done)
            assert done.failure["detail"]["pointer"] == where and where in done.failure["message"], (more, done)
    # The last entry counts as the first does.
    done = place.moat("apply", put(place, good, entry(place) | {"version": "7.0.0"}), "--json")
    assert done.failure["detail"]["pointer"] == "/plugins/1/version"
    assert "moat install FILE" in done.failure["message"]
    done = place.moat("apply", put(place, good, good), "--json")
    assert (done.failure["code"], done.failure["detail"]["pointer"]) == ("bad_document", "/plugins/1")
    assert state(place) == before and trail_of(place) == trail


@pytest.mark.parametrize("text,code", [
    ("", "bad_json"), ("{", "bad_json"), ("[]", "bad_document"), ("{}", "bad_document"),
    ('{"moat_apply":2,"plugins":[]}', "bad_document"), ('{"moat_apply":1}', "bad_document"),
    ('{"moat_apply":1,"plugins":{}}', "bad_document"), ('{"moat_apply":1,"plugins":[1]}', "bad_document"),
    ('{"moat_export":1,"publishers":[],"plugins":[]}', "bad_document"),
    ('{"moat_apply":1,"plugins":[],"plugins":[]}', "bad_document"),
])
def test_what_is_no_such_file(place, text, code):
    path = place.root / "wanted.json"
    path.write_text(text)
    assert not text or code == "bad_json" or not SCHEMA.is_valid(json.loads(text)) or text.count("plugins") > 1
    place.bad(2, code, "apply", path)
    place.bad(4, "no_such_file", "apply", place.root / "nowhere.json")
    place.bad(2, "bad_usage", "apply")


def test_a_required_permission_is_never_granted_by_default(either):
    place = either
    place.install("1.0.0", required_permissions=["file_read"], optional_permissions=["file_write"])
    place.good("grant", "alpha", "file_read=/usr")
    before = state(place)
    for more in ({}, {"grants": ["file_write=/var"]}, {"refuse": ["file_read"]}):
        done = place.bad(3, "permission_denied", "apply", put(place, entry(place, **more)))
        assert "/plugins/0/grants" in done.err and "file_read" in done.err
    assert state(place) == before
    assert changes(place, put(place, entry(place, grants=["file_read=/usr"]))) == []


def test_secrets_are_refused_with_the_cure_and_stay(stocked):
    place = stocked
    done = place.moat("apply", put(place, entry(place, config={"api_key": "in-the-open"})))
    assert done.status == 2 and "moat config set alpha api_key -" in done.err and "in-the-open" not in done.err
    place.good("apply", put(place, entry(place, config={"ratio": 1})))
    assert {"name": "api_key", "set": True} in place.result("config", "get", "alpha")["secrets"]
    assert "sesame" not in place.good("audit", "--json").out + state(place)


def test_what_agents_are_told_waits_for_the_operator(either):
    place = either
    place.install("1.0.0")
    place.install("2.0.0", descriptions={"echo": "Answers, and tells the operator nothing"})
    done = place.moat("apply", put(place, entry(place, "2.0.0")), "--json", "--check")
    assert done.status == 3 and done.failure["code"] == "changes_not_accepted"
    seen = done.failure["detail"]["digest"]
    assert done.failure["detail"]["pointer"] == "/plugins/0/accept" and f'"accept": "{seen[:16]}"' in done.failure["message"]
    place.bad(3, "changes_not_accepted", "apply", put(place, entry(place, "2.0.0", accept="0" * 64)))
    file = put(place, entry(place, "2.0.0", accept=seen[:16]))
    assert changes(place, file) == [("alpha", "version", "1.0.0", "2.0.0")]
    assert changes(place, file, "--check") == []
    # Back again is another text too.
    place.bad(3, "changes_not_accepted", "apply", put(place, entry(place, "1.0.0")))


# ---- packages that are on their way ----

@pytest.fixture
def incoming(either):
    either.key()
    folder = either.home / "packages" / "incoming"
    folder.mkdir(exist_ok=True)
    return folder


def test_a_package_of_incoming_is_installed_with_the_rest(either, incoming):
    place = either
    shutil.move(place.pack("1.0.0", config=CONFIG), incoming / "a.moat")
    shutil.copy(incoming / "a.moat", place.root / "alpha-1.0.0.moat")
    first = entry(place, file="a.moat", config={"ratio": 2}, grants=["file_read=/usr"])
    assert ("alpha", "install", None, "1.0.0") in changes(place, put(place, first), "--check", status=1)
    assert place.result("list")["plugins"] == [] and not list((place.home / "packages/sha256").iterdir())
    changes(place, put(place, first))
    assert place.result("call", "alpha", "echo", "1") == 1
    assert place.result("config", "get", "alpha")["set"] == {"ratio": 2}
    assert changes(place, put(place, first)) == []
    (incoming / "a.moat").unlink()
    assert changes(place, put(place, first), "--check") == [], "what is installed needs its file no more"
    # The next version; then an older one, which the file names as plainly.
    for version in ("2.0.0", "0.5.0"):
        (incoming / "sub").mkdir(exist_ok=True)
        shutil.copy(place.pack(version, config=CONFIG), incoming / "sub" / "b.moat")
        changes(place, put(place, entry(place, version, file="sub/b.moat")))
        assert place.result("info", "alpha")["version"] == version
    assert json.loads(state(place))["plugins"][0]["newest"] == "2.0.0"
    assert place.moat("doctor", "--deep", "--json").json["home"]["good"] is True


def test_packages_of_incoming_that_are_not_what_was_said(either, incoming):
    place = either
    first = place.pack("1.0.0")
    shutil.copy(first, incoming / "a.moat")
    (incoming / "link.moat").symlink_to(first)
    (incoming / "folder").mkdir()
    torn = bytearray(first.read_bytes())
    torn[-9] ^= 1
    (incoming / "torn.moat").write_bytes(torn)
    place.pack("1.0.0", name="beta")
    stranger = type(place)(place.build, place.root / "stranger")
    stranger.root.mkdir()
    shutil.copy(stranger.pack("1.0.0", name="gamma", publisher="strange"), incoming / "gamma.moat")
    shutil.copy(incoming / "gamma.moat", place.root / "gamma-1.0.0.moat")
    cases = [
        (entry(place, file="a.moat") | {"sha256": "00" * 32}, "metadata_mismatch"),
        (entry(place, name="beta", file="a.moat"), "metadata_mismatch"),
        (entry(place, file="link.moat"), "bad_request"),
        (entry(place, file="folder"), "bad_request"),
        (entry(place, file="torn.moat"), None),
        (entry(place, name="gamma", file="gamma.moat"), "unknown_key"),
    ]
    for one, code in cases:
        done = place.moat("apply", put(place, one), "--json")
        assert done.status in (2, 3), done
        assert code is None or done.failure["code"] == code, (one, done)
        assert done.failure["detail"]["pointer"] == "/plugins/0/file", done
    # One good package among bad ones is not installed, and nothing of it is left over.
    done = place.moat("apply", put(place, entry(place, file="a.moat"), cases[-1][0]), "--json")
    assert done.failure["detail"]["pointer"] == "/plugins/1/file"
    assert place.result("list")["plugins"] == []
    assert not [p for p in (place.home / "packages/stage").iterdir() if p.name.startswith(".stage")]


def test_a_damaged_version_is_mended_by_its_package(either, incoming):
    place = either
    place.install("1.0.0")
    stored = next((place.home / "packages/sha256").iterdir())
    stored.chmod(0o600)
    stored.write_bytes(b"something else")
    place.bad(3, "package_damaged", "load", "alpha")
    shutil.copy(place.root / "alpha-1.0.0.moat", incoming / "a.moat")
    assert changes(place, put(place, entry(place, file="a.moat"))) == [("alpha", "package", None, "1.0.0")]
    assert place.result("call", "alpha", "echo", "1") == 1


def test_what_would_not_run_does_not_become_current(either):
    place = either
    place.install("1.0.0")
    place.install("2.0.0")
    place.install("3.0.0", publisher="acme")
    place.good("archive", "alpha@2.0.0")
    done = place.bad(8, "wrong_state", "apply", put(place, entry(place, "2.0.0")))
    assert "/plugins/0/version" in done.err and "moat archive alpha@2.0.0 --undo" in done.err
    stored = place.home / "packages/sha256" / f"{digest(place.root / 'alpha-3.0.0.moat')}.moat"
    stored.chmod(0o600)
    stored.write_bytes(b"something else")
    place.bad(3, "package_damaged", "apply", put(place, entry(place, "3.0.0")))
    place.good("trust", "revoke", "acme")
    place.good("archive", "alpha@2.0.0", "--undo")
    place.bad(3, "key_revoked", "apply", put(place, entry(place, "2.0.0")))
    assert json.loads(state(place))["plugins"][0]["current"] == "1.0.0"


# ---- what runs follows ----

@pytest.fixture
def served(place):
    place.serve()
    place.install("1.0.0", config=CONFIG)
    place.install("2.0.0", config=CONFIG)
    return place


def loaded(place):
    return {p["name"]: p["version"] for p in place.result("list", "--loaded")["plugins"] if p["workers"]}


def test_running_workers_follow(served):
    place = served
    place.good("load", "alpha")
    place.good("apply", put(place, entry(place, "2.0.0")))
    assert loaded(place) == {"alpha": "2.0.0"}, "it goes on running, in the other version"
    assert place.result("call", "alpha", "count") == 1
    place.good("apply", put(place, entry(place, "2.0.0", pinned=True)))
    assert place.result("call", "alpha", "count") == 2, "a pin is no reason for fresh workers"
    place.good("apply", put(place, entry(place, "2.0.0", config={"init_ms": 1})))
    assert place.result("call", "alpha", "count") == 1, "a configuration is"
    place.good("apply", put(place, entry(place, "2.0.0", config={"init_ms": 1}, active=False)))
    assert loaded(place) == {}
    place.bad(8, "wrong_state", "call", "alpha", "count")
    place.good("apply", put(place, entry(place, "2.0.0", wanted="loaded")))
    assert loaded(place) == {"alpha": "2.0.0"}
    place.good("apply", put(place, entry(place, "2.0.0", wanted="stopped")))
    assert loaded(place) == {}


def test_a_grant_that_is_not_in_the_file_is_over_when_it_returns(served):
    place = served
    secret = place.root / "secret"
    secret.mkdir()
    (secret / "text").write_text("seen")
    place.install("3.0.0", only=("echo", "read", "sleep"), descriptions={})
    place.good("use", "alpha@3.0.0", "--accept-changes")
    place.good("apply", put(place, entry(place, "3.0.0", grants=[f"file_read={secret}"])))
    read = json.dumps({"path": str(secret / "text")})
    assert place.result("call", "alpha", "read", read) == "seen"
    sleeper = place.start("call", "alpha", "sleep", '{"ms": 30000}', "--json")
    with contextlib.closing(sleeper.stdout), contextlib.closing(sleeper.stderr):
        assert any(c["action"] == "sleep" for _ in range(500) for c in place.result("calls")["running"])
        place.good("apply", put(place, entry(place, "3.0.0")))
        assert sleeper.wait(timeout=20) != 0, "its worker had the right, and is dead"
    assert place.result("call", "alpha", "read", read) == "ENOENT"


def test_no_call_is_lost_while_the_file_switches(served):
    place, lost, stop = served, [], threading.Event()

    def calling():
        while not stop.is_set():
            done = place.moat("call", "alpha", "echo", "[1]")
            if done.status != 0:
                lost.append(done)

    place.good("load", "alpha")
    threads = [threading.Thread(target=calling) for _ in range(2)]
    for t in threads:
        t.start()
    for version in ("2.0.0", "1.0.0", "2.0.0"):
        place.good("apply", put(place, entry(place, version)))
    stop.set()
    for t in threads:
        t.join()
    assert not lost, lost[:2]


def test_what_does_not_start_is_told_and_nothing_old_goes_on(served):
    place = served
    place.good("load", "alpha")
    file = put(place, entry(place, "2.0.0", config={"refuse": "not today"}))
    done = place.moat("apply", file, "--json")
    assert (done.status, done.failure["code"]) == (5, "start_failed")
    assert "the file is applied" in done.failure["message"] and "not today" in done.failure["message"]
    assert loaded(place) == {} and changes(place, file, "--check") == [], "the registry says what the file says"
    place.good("apply", put(place, entry(place, "2.0.0")))
    assert place.result("call", "alpha", "echo", "1") == 1


# ---- over HTTP ----

def post(place, path, body, token):
    request = urllib.request.Request(f"{place.ready['url']}{path}", data=body.encode(), method="POST",
                                     headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as e:
        with e:
            return e.code, json.load(e)


def test_over_http(served):
    place = served
    tokens = {s: place.result("token", "create", "--scope", s)["token"] for s in ("read", "manage", "admin")}
    body = put(place, entry(place, "2.0.0")).read_text()
    for scope in ("read", "manage"):
        assert post(place, "/api/apply", body, tokens[scope])[0] == 403
    status, answer = post(place, "/api/apply?check", body, tokens["admin"])
    assert (status, answer["result"]["applied"]) == (200, False)
    assert answer["result"]["changes"] == [{"plugin": "alpha", "what": "version", "from": "1.0.0", "to": "2.0.0"}]
    status, answer = post(place, "/api/apply", body, tokens["admin"])
    assert (status, answer["result"]["applied"], answer["result"]["plugins"]) == (200, True, 1)
    assert post(place, "/api/apply", body, tokens["admin"])[1]["result"]["changes"] == []
    status, answer = post(place, "/api/apply", body.replace("2.0.0", "9.0.0"), tokens["admin"])
    assert (status, answer["error"]["code"], answer["error"]["detail"]) == (
        404, "no_such_version", {"pointer": "/plugins/0/version"})
