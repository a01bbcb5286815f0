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
    place.good("ceiling", "set", "everybody", "file_read=/etc/shadow")
    place.good("ceiling", "set", "publisher:other", "execute_code")
    place.good("ceiling", "set", "capability:security", "network_access=10.0.0.0/8:*")
    string = place.root / "orders.conn"
    string.write_text("dbname=d user=u password=sesame-string")
    string.chmod(0o600)
    place.good("source", "add", "orders", "postgres", string)
    place.good("source", "add", "notes", "sqlite", place.root / "notes.db")
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
    assert (done["ceilings"], done["sources"]) == (3, 2)
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
    assert [(c["subject"], c["permission"], c["scope"]) for c in document["ceilings"]] == [
        ("capability:security", "network_access", "10.0.0.0/8:*"), ("everybody", "file_read", "/etc/shadow"),
        ("publisher:other", "execute_code", "")]
    assert [(s["name"], s["kind"], s["place"]) for s in document["sources"]] == [
        ("notes", "sqlite", str(stocked.root / "notes.db")), ("orders", "postgres", str(stocked.root / "orders.conn"))]
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
    ("/ceilings/0/subject", "somebody", "/ceilings/0"),
    ("/ceilings/0/scope", "10.0.0.0/8:0", "/ceilings/0"),
    ("/ceilings/1/scope", "/etc//shadow", "/ceilings/1"),
    ("/ceilings/1/permission", "fly", "/ceilings/1"),
    ("/ceilings/2", [], "/ceilings/2"),
    ("/sources/0/kind", "oracle", "/sources/0"),
    ("/sources/0/name", "Notes", "/sources/0"),
    ("/sources/0/place", "notes.db", "/sources/0"),
    ("/sources/1/secret", "x", "/sources/1"),
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
    assert export(fresh) == {"moat_export": 1, "ceilings": [], "sources": [], "publishers": [], "plugins": []}
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


def test_a_document_from_before_ceilings_is_taken(stocked, fresh):
    document = export(stocked)
    del document["ceilings"], document["sources"]
    assert fresh.result("import", put(fresh, document))["ceilings"] == 0
    assert fresh.result("ceiling", "list")["ceilings"] == [] and fresh.result("source", "list")["sources"] == []


def test_ceilings_only_come(place):
    """What is here stays, and so many a home has; one too many refuses all of it."""
    place.good("ceiling", "set", "everybody", "execute_code")
    ceilings = [{"subject": f"publisher:p{i}", "permission": "file_read", "scope": "", "set_at": 7} for i in range(64)]
    document = {"moat_export": 1, "ceilings": ceilings, "sources": [], "publishers": [], "plugins": []}
    done = place.moat("import", put(place, document), "--json")
    assert done.status == 5 and done.failure["code"] == "limit" and done.failure["detail"] == {"pointer": "/ceilings/63"}
    assert len(place.result("ceiling", "list")["ceilings"]) == 1
    ceilings[63] = {"subject": "everybody", "permission": "execute_code", "scope": "", "set_at": 7}
    place.good("import", put(place, document))
    assert len(export(place)["ceilings"]) == 64


def test_a_ceiling_that_comes_holds_for_what_runs(place):
    """Also for a plugin that the document does not name; one that it does not concern goes on."""
    place.serve()
    asks = {"only": ("read", "echo"), "optional_permissions": ["file_read"]}
    for name in ("alpha", "beta"):
        place.install(name=name, **asks)
    data = place.root / "data"
    data.mkdir()
    (data / "a").write_text("content")
    place.good("grant", "alpha", f"file_read={data}")
    read = json.dumps({"path": f"{data}/a"})
    assert place.result("call", "alpha", "read", read) == "content"
    place.good("call", "beta", "echo", "1")
    pid = {p["name"]: p["pid"] for p in place.result("list", "--loaded")["plugins"]}
    ceiling = {"subject": "everybody", "permission": "file_read", "scope": str(data), "set_at": 7}
    place.good("import", put(place, {"moat_export": 1, "ceilings": [ceiling], "publishers": [], "plugins": []}))
    assert place.result("call", "alpha", "read", read) == "ENOENT"
    assert place.result("call", "beta", "echo", "1") == 1
    after = {p["name"]: p["pid"] for p in place.result("list", "--loaded")["plugins"]}
    assert after["beta"] == pid["beta"] and after["alpha"] != pid["alpha"]


def test_a_source_that_is_another_one_here_is_refused(stocked, fresh):
    document = export(stocked)
    document["publishers"], document["plugins"], document["ceilings"] = [], [], []

    def refused(place, number, change, code):
        changed = json.loads(json.dumps(document))
        changed["sources"][number].update(change)
        done = place.moat("import", put(place, changed), "--json")
        assert done.failure["code"] == code, done
        assert done.failure["detail"] == {"pointer": f"/sources/{number}"}, done

    refused(stocked, 0, {"place": str(stocked.root / "other.db")}, "already_exists")
    open_string = stocked.root / "open.conn"
    open_string.write_text("host=db")
    open_string.chmod(0o644)
    refused(fresh, 1, {"place": str(open_string)}, "bad_usage")
    registry = next(fresh.home.rglob("registry.db"))
    refused(fresh, 0, {"place": str(registry)}, "permission_denied")
    (fresh.root / "link").symlink_to(registry)
    refused(fresh, 0, {"place": str(fresh.root / "link")}, "permission_denied")
    (fresh.root / "way").symlink_to(stocked.root)
    refused(fresh, 1, {"place": str(fresh.root / "way" / "orders.conn")}, "bad_usage")
    assert fresh.result("source", "list")["sources"] == []
    document["sources"][1]["place"] = "/nowhere/orders.conn"  # of another machine: it may come later
    assert fresh.result("import", put(fresh, document))["sources"] == 2
