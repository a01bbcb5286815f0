"""export and import: one document, all or nothing, and what must not be in it."""

import json

import jsonschema
import pytest

from place import Place, ROOT

SCHEMA = jsonschema.Draft202012Validator(json.loads((ROOT / "docs/schema/export.schema.json").read_text()))
SECRET = {"type": "object", "properties": {"ratio": {"type": "number"}, "api_key": {"type": "string", "secret": True}}}


@pytest.fixture
def stocked(either):
    place = either
    place.install("1.0.0", config=SECRET)
    place.install("2.0.0", "--use", config=SECRET)
    place.install("3.0.0-rc.1+b.1", config=SECRET)
    place.good("deprecate", "alpha@1.0.0", "--reason", "old „and“ slow")
    place.good("grant", "alpha", f"file_read={place.root}")
    place.good("refuse", "alpha", "execute_code")
    place.good("config", "set", "alpha", "ratio", "0.50")
    place.good("config", "set", "alpha", "api_key", "-", input="sesame-7h3-0nly-0ne")
    place.good("pin", "alpha")
    place.install("1.0.0", name="beta", publisher="other")
    place.good("archive", "alpha@3.0.0-rc.1+b.1")
    place.good("unload", "beta")
    place.install("1.0.0", name="gone")
    place.good("uninstall", "gone")
    place.good("keygen", place.root / "spare.key")
    place.good("trust", "add", "spare", place.root / "spare.key.pub", "--names", "spare_*")
    place.good("trust", "revoke", "spare")
    return place


@pytest.fixture
def fresh(build, tmp_path):
    place = Place(build, tmp_path / "fresh")
    place.root.mkdir()
    yield place
    place.close()


def export(place):
    return json.loads(place.good("export").out)


def put(place, document):
    path = place.root / "document.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_a_round_trip_is_the_identity(stocked, fresh):
    text = stocked.good("export").out
    document = json.loads(text)
    SCHEMA.validate(document)
    done = fresh.result("import", put(fresh, text))
    assert (done["plugins"], done["versions"], done["added"]) == (3, 4, 4)
    assert fresh.good("export").out == text
    again = fresh.result("import", put(fresh, text))
    assert again["added"] == 0 and fresh.good("export").out == text
    # Into its own home it changes nothing either.
    assert stocked.result("import", put(stocked, text))["added"] == 0
    assert stocked.good("export").out == text
    assert stocked.result("call", "alpha", "echo", "1") == 1
    assert stocked.result("config", "get", "alpha")["secrets"] == [{"name": "api_key", "set": True}]


def test_what_is_in_it_and_what_is_not(stocked):
    out = stocked.root / "export.json"
    stocked.good("export", "-o", out)
    text = out.read_text()
    assert "sesame" not in text
    document = json.loads(text)
    alpha, beta, gone = document["plugins"]
    assert [v["version"] for v in alpha["versions"]] == ["1.0.0", "2.0.0", "3.0.0-rc.1+b.1"]
    assert [v["state"] for v in alpha["versions"]] == ["deprecated", "available", "archived"]
    assert alpha["current"] == "2.0.0" and alpha["previous"] == "1.0.0" and alpha["pinned"]
    assert alpha["config"] == {"ratio": 0.5}
    assert [(d["permission"], d["refused"]) for d in alpha["decisions"]] == [("file_read", False), ("execute_code", True)]
    assert beta["owner"] == "other" and beta["wanted"] == "stopped"
    assert gone["versions"] == [] and gone["owner"] == "acme" and gone["newest"] == "1.0.0"
    spare = next(p for p in document["publishers"] if p["name"] == "spare")
    assert spare["names"] == "spare_*" and spare["keys"][0]["revoked_at"] > 0


def test_packages_come_after_the_document(stocked, fresh):
    fresh.good("import", put(fresh, stocked.good("export").out))
    fresh.bad(3, "package_damaged", "call", "alpha", "echo", "1")
    assert {v["state"] for v in fresh.result("info", "alpha")["versions"]} == {"damaged"}
    fresh.good("import", stocked.root)  # every package of the directory
    assert fresh.result("call", "alpha", "echo", "1") == 1
    assert [v["state"] for v in fresh.result("info", "alpha")["versions"]] == ["archived", "current", "deprecated"]
    fresh.good("uninstall", "gone")  # its package was in the directory as well
    assert fresh.good("export").out == stocked.good("export").out


def test_running_plugins_follow(place):
    place.serve()
    place.install("1.0.0")
    before = export(place)
    place.install("2.0.0", "--use", "--load")
    assert place.result("list", "--loaded")["plugins"][0]["version"] == "2.0.0"
    place.good("import", put(place, before))
    place.result("call", "alpha", "echo", "1")
    assert place.result("list", "--loaded")["plugins"][0]["version"] == "1.0.0"
    assert [v["version"] for v in place.result("info", "alpha")["versions"]] == ["2.0.0", "1.0.0"]


def set_at(document, pointer, value):
    *way, last = pointer.strip("/").split("/")
    for step in way:
        document = document[int(step) if isinstance(document, list) else step]
    if value is KeyError:
        del document[last]
    else:
        document[int(last) if isinstance(document, list) else last] = value


def many(document, n):
    """The document with its last plugin n times over, each with a capability that its number says."""
    words = ("custom", "integration", "security")
    *_, last = [p for p in document["plugins"] if p["versions"]]
    for i in range(n):
        one = json.loads(json.dumps(last))
        one["name"] = f"many_{i:04}"
        for version in one["versions"]:
            version["sha256"] = f"{i:064x}"
            version["manifest"].update(name=one["name"], capabilities=[words[i % 3]])
        document["plugins"].append(one)
    return {w: {f"many_{i:04}" for i in range(n) if words[i % 3] == w} for w in words}


def test_many_plugins(stocked, fresh, long):
    document = export(stocked)
    of = many(document, 2000 if long else 150)
    fresh.result("import", put(fresh, document))
    for word, names in of.items():
        listed = fresh.result("list", "--capability", word, "--limit", 1000)["plugins"]
        assert {p["name"] for p in listed if p["name"].startswith("many")} == names
    assert len(export(fresh)["plugins"]) == len(document["plugins"])
    # A bad one anywhere, in whichever share, refuses all; of several the first is named.
    for at in (1, 40, 77, 149):
        bad = json.loads(json.dumps(document))
        bad["plugins"][at + 3]["versions"][0]["manifest"]["actions"] = 1
        bad["plugins"][-1]["versions"][0]["manifest"]["name"] = "another"
        done = stocked.moat("import", put(stocked, bad), "--json")
        assert done.failure["detail"] == {"pointer": f"/plugins/{at + 3}/versions/0/manifest"}, done
    assert len(export(stocked)["plugins"]) == 3


BAD = [
    # what is changed, to what, where the refusal points
    ("/moat_export", 2, "/moat_export"),
    ("/plugins/1/versions/0/sha256", "00", "/plugins/1/versions/0/sha256"),
    ("/plugins/1/versions/0/size", -1, "/plugins/1/versions/0/size"),
    ("/plugins/1/versions/0/size", 1.5, "/plugins/1/versions/0/size"),
    ("/plugins/1/versions/0/state", "damaged", "/plugins/1/versions/0"),
    ("/plugins/0/versions/2/version", "1", "/plugins/0/versions/2"),
    ("/plugins/1/versions/0/key_id", "00" * 32, "/plugins/1/versions/0"),
    ("/plugins/1/versions/0/manifest/name", "other", "/plugins/1/versions/0/manifest"),
    ("/plugins/1/versions/0/manifest/actions", 1, "/plugins/1/versions/0/manifest"),
    ("/plugins/1/versions/0/more", 1, "/plugins/1/versions/0"),
    ("/plugins/1/versions/0/reason", "x" * 501, "/plugins/1/versions/0/reason"),
    ("/plugins/1/versions", {}, "/plugins/1/versions"),
    ("/plugins/1/owner", "nobody", "/plugins/1"),
    ("/plugins/1/owner", KeyError, "/plugins/1"),
    ("/plugins/1/name", "Not_A_Name", "/plugins/1"),
    ("/plugins/1/wanted", "often", "/plugins/1"),
    ("/plugins/1/current", "7.0.0", "/plugins/1"),
    ("/plugins/1/active", 1, "/plugins/1/active"),
    ("/plugins/0/decisions/0/permission", "fly", "/plugins/0/decisions/0"),
    ("/plugins/0/decisions/0/scope", "relative", "/plugins/0/decisions/0"),
    ("/plugins/0/decisions/0", 7, "/plugins/0/decisions/0"),
    ("/plugins/0/config", [], "/plugins/0/config"),
    ("/publishers/0/keys/0/id", "11" * 32, "/publishers/0/keys/0"),
    ("/publishers/0/keys/0/algorithm", 9, "/publishers/0/keys/0"),
    ("/publishers/0/name", "a b", "/publishers/0"),
]


def test_one_bad_record_refuses_all_of_it(stocked, fresh):
    text = stocked.good("export").out
    for pointer, value, where in BAD:
        document = json.loads(text)
        set_at(document, pointer, value)
        done = fresh.moat("import", put(fresh, document), "--json")
        assert done.status in (2, 3, 8), (pointer, done)
        assert done.failure["detail"] == {"pointer": where}, (pointer, done)
        assert where in done.failure["message"]
    assert export(fresh) == {"moat_export": 1, "publishers": [], "plugins": []}
    # The last record of a large document is as bad as the first.
    document = json.loads(text)
    set_at(document, "/plugins/2/versions", [{}])
    assert fresh.moat("import", put(fresh, document), "--json").failure["detail"] == {"pointer": "/plugins/2/versions/0"}
    assert fresh.result("list")["plugins"] == []


@pytest.mark.parametrize("text,code", [
    ("", "bad_json"), ("{", "bad_json"), ("[]", "bad_document"), ("{}", "bad_document"), ("null", "bad_document"),
    ('{"moat_export":1,"publishers":[],"plugins":[],"plugins":[]}', "bad_document"),
    ('{"moat_export":1,"publishers":[1],"plugins":[]}', "bad_document"),
])
def test_what_is_no_document(fresh, text, code):
    fresh.bad(2, code, "import", put(fresh, text))


def test_what_is_here_is_not_overwritten(stocked, fresh):
    document = export(stocked)
    # Another owner, other bytes of a version, another publisher's key: each is refused, and nothing has changed.
    before = stocked.good("export").out
    for pointer, value in (("/plugins/0/owner", "other"), ("/plugins/0/versions/0/sha256", "ab" * 32)):
        changed = json.loads(before)
        set_at(changed, pointer, value)
        done = stocked.moat("import", put(stocked, changed), "--json")
        assert done.failure["detail"]["pointer"].startswith("/plugins/0"), done
    assert stocked.good("export").out == before
    # A revoked key stays revoked, whatever a document says.
    at = next(i for i, p in enumerate(document["publishers"]) if p["name"] == "spare")
    document["publishers"][at]["keys"][0]["revoked_at"] = 0
    stocked.good("import", put(stocked, document))
    assert export(stocked) == json.loads(before)


def test_a_forged_manifest_does_not_run(stocked, fresh):
    """The document's word about a version is believed no further than the signed package says it."""
    document = export(stocked)
    document["plugins"][1]["versions"][0]["manifest"]["limits"]["memory"] = "512MiB"
    fresh.good("import", put(fresh, document))
    fresh.good("import", stocked.root)
    fresh.good("load", "alpha")
    fresh.bad(3, "package_damaged", "load", "beta")


def test_a_directory_with_one_bad_package(stocked, fresh):
    fresh.trust("acme", stocked.root / "acme.key.pub")
    done = fresh.bad(3, "unknown_key", "import", stocked.root)
    assert "beta-1.0.0.moat" in done.err
    assert fresh.result("list")["plugins"] == []
    fresh.trust("other", stocked.root / "other.key.pub")
    names = {(p["name"], p["version"]) for p in fresh.result("import", stocked.root)}
    assert ("beta", "1.0.0") in names and len(names) == 5
    assert all(p["already"] for p in fresh.result("import", stocked.root))
    fresh.bad(4, "no_such_file", "import", fresh.root / "nowhere")
