"""A canary as an operator sees it: a new version beside the current one on a share of the calls, judged, and then
current or gone; and all that ends it before."""

import http.client
import json
import shutil
import signal
import urllib.parse

import pytest
from place import ROOT

CALLS_MAX = 4000  # every verdict falls long before


class Stage:
    """A server with alpha 1.0.0, which numbers are noted with, and whatever other versions a test wants."""

    def __init__(self, place):
        self.place = place
        self.ready = place.serve()
        self.number = 0
        self.versions = {}
        url = urllib.parse.urlsplit(self.ready["url"])
        self.connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
        self.token = self.ready["admin_token"]
        self.install("1.0.0")
        place.good("load", "alpha")

    def install(self, version, note="", percent=0, **changes):
        """A package of the ledger; its configuration's defaults say how many of its calls go wrong, and how."""
        manifest = json.loads((ROOT / "tests" / "plugins" / "ledger" / "plugin.json").read_text())
        manifest.update(name="alpha", version=version, **changes)
        manifest["config"]["properties"]["note"]["default"] = note
        manifest["config"]["properties"]["note_percent"]["default"] = percent
        source = self.place.root / "pack" / version
        source.mkdir(parents=True)
        shutil.copy(self.place.build / "tests" / "plugins" / "ledger.so", source / "ledger.so")
        (source / "plugin.json").write_text(json.dumps(manifest))
        made = self.place.root / f"alpha-{version}.moat"
        self.place.good("pack", source, "--key", self.place.key(), "-o", made)
        self.place.good("install", made)

    def ask(self, method, path, body=None, token=None):
        self.connection.request(method, path, body, {"Authorization": f"Bearer {token or self.token}",
                                                     "Content-Type": "application/json"})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers

    def call(self, token=None):
        """The version that answered, and the failure's code or None."""
        self.number += 1
        _, document, headers = self.ask("POST", "/api/plugins/execute/alpha/note", json.dumps({"n": self.number}), token)
        version = json.loads(headers["Moat-Receipt"])["version"]
        if document["success"]:
            assert document["result"] == self.number
            return version, None
        return version, document["error"]["code"]

    def canary(self):
        return self.place.result("info", "alpha")["canary"]

    def until_over(self):
        """Calls until the verdict is carried out; what each call met."""
        met = []
        while len(met) < CALLS_MAX:
            met += [self.call() for _ in range(40)]
            if self.canary()["state"] not in ("running", "passed"):
                return met
        pytest.fail(f"no verdict after {CALLS_MAX} calls: {self.canary()}")

    def audit(self, action):
        self.place.good("audit", "verify")
        return [r["detail"] for r in self.place.result("audit", "--action", action)["records"]]


@pytest.fixture
def stage(place):
    return Stage(place)


def test_a_good_one_becomes_current(stage):
    stage.install("2.0.0")
    begun = stage.place.result("use", "alpha@2.0.0", "--canary", "50")
    assert (begun["version"], begun["before"], begun["canary"]) == ("2.0.0", "1.0.0", 50)
    info = stage.place.result("info", "alpha")
    assert info["current"] == "1.0.0" and info["canary"]["state"] == "running"
    met = stage.until_over()
    assert {code for _, code in met} == {None}
    assert {version for version, _ in met} == {"1.0.0", "2.0.0"}
    info = stage.place.result("info", "alpha")
    assert (info["current"], info["previous"]) == ("2.0.0", "1.0.0")
    assert info["canary"]["state"] == "promoted" and info["canary"]["evidence_fine"] >= 100
    assert info["canary"]["after"]["failed"] == 0
    assert [g["version"] for g in info["generations"]] == ["2.0.0", "1.0.0"]
    assert info["generations"][1]["until"] is not None
    assert {stage.call()[0] for _ in range(20)} == {"2.0.0"}
    assert stage.audit("canary.start") == [{"version": "2.0.0", "percent": 50}]
    used = stage.audit("plugin.use")[0]
    assert used["version"] == "2.0.0"
    assert used["canary"]["evidence_fine"] >= 100 and used["canary"]["percent"] == 50
    assert stage.audit("canary.end") == []
    # And it stays: rollback goes back to what was before.
    assert stage.place.result("rollback", "alpha")["version"] == "1.0.0"


@pytest.mark.parametrize("note, code", [("fail", "action_failed"), ("crash", "plugin_crashed"), ("slow", None)])
def test_a_bad_one_is_rolled_back_with_its_evidence(stage, note, code):
    stage.install("2.0.0", note, 60)
    stage.place.good("use", "alpha@2.0.0", "--canary", "30")
    met = stage.until_over()
    assert {code for version, code in met if version == "1.0.0"} == {None}
    assert {code for version, code in met if version == "2.0.0"} <= {None, code}
    info = stage.place.result("info", "alpha")
    assert info["current"] == "1.0.0" and info["canary"]["state"] == "rolled_back"
    assert info["health_status"] == "healthy"
    assert {stage.call() for _ in range(20)} == {("1.0.0", None)}
    record = stage.audit("canary.end")[0]
    assert (record["version"], record["outcome"]) == ("2.0.0", "rolled_back")
    assert record["why"] == info["canary"]["why"] != ""
    after = record["canary"]["after"]
    assert after["slow" if note == "slow" else "failed"] > 0
    assert record["canary"]["before"]["failed"] == 0
    assert stage.audit("plugin.use") == []
    text = stage.place.good("info", "alpha").out
    assert "rolled_back" in text and "2.0.0" in text


def test_the_caller_s_own_mistakes_do_not_count(stage):
    stage.install("2.0.0")
    stage.place.good("use", "alpha@2.0.0", "--canary", "50")
    for _ in range(100):
        assert stage.ask("POST", "/api/plugins/execute/alpha/note", '{"n": "one"}')[0] == 422
        assert stage.ask("POST", "/api/plugins/execute/alpha/note", '{"n": ')[0] == 400
    canary = stage.canary()
    assert canary["state"] == "running"
    assert canary["before"]["calls"] == canary["after"]["calls"] == 0


def test_a_token_stays_with_the_version_it_met(stage):
    stage.install("2.0.0")
    tokens = [stage.place.result("token", "create", "--scope", "execute:alpha")["token"] for _ in range(12)]
    stage.place.good("use", "alpha@2.0.0", "--canary", "50")
    met = [set() for _ in tokens]
    for _ in range(6):
        for seen, token in zip(met, tokens, strict=True):
            seen.add(stage.call(token)[0])
    assert stage.canary()["state"] == "running"
    assert all(len(seen) == 1 for seen in met)
    assert set().union(*met) == {"1.0.0", "2.0.0"}


# What stands against it


def test_it_is_refused_where_it_would_say_nothing(place):
    place.install("1.0.0")
    place.install("2.0.0")
    assert "does not run" in place.bad(8, "wrong_state", "use", "alpha@2.0.0", "--canary", "10").err
    place.serve()
    assert "moat load alpha" in place.bad(8, "wrong_state", "use", "alpha@2.0.0", "--canary", "10").err
    place.good("load", "alpha")
    for percent in ("0", "100", "-1", "ten", "1.5", ""):
        place.bad(2, "bad_request", "use", "alpha@2.0.0", "--canary", percent)
    place.bad(8, "wrong_state", "use", "alpha@1.0.0", "--canary", "10")
    place.bad(4, "no_such_version", "use", "alpha@3.0.0", "--canary", "10")
    place.bad(2, "bad_usage", "use", "alpha", "--canary", "10")
    place.good("pin", "alpha")
    assert "moat unpin alpha" in place.bad(8, "wrong_state", "use", "alpha@2.0.0", "--canary", "10").err
    place.good("unpin", "alpha")
    place.install("4.0.0", descriptions={"echo": "Says something else"})
    place.bad(3, "changes_not_accepted", "use", "alpha@4.0.0", "--canary", "10")
    assert place.result("info", "alpha")["canary"] is None
    place.good("use", "alpha@4.0.0", "--canary", "10", "--accept-changes")
    assert place.result("info", "alpha")["canary"]["version"] == "4.0.0"


def test_a_version_that_does_not_start_changes_nothing(stage):
    manifest = json.loads((ROOT / "tests" / "plugins" / "ledger" / "plugin.json").read_text())
    manifest["config"]["properties"]["start"]["default"] = "fail"
    stage.install("2.0.0", config=manifest["config"])
    stage.place.bad(5, "start_failed", "use", "alpha@2.0.0", "--canary", "10")
    assert stage.canary() is None
    assert stage.call() == ("1.0.0", None)
    assert stage.audit("canary.start") == []


# What ends it


ENDS = {
    "rollback": (["rollback", "alpha"], "1.0.0"),
    "use of the current one": (["use", "alpha@1.0.0"], "1.0.0"),
    "use of it": (["use", "alpha@2.0.0"], "2.0.0"),
    "use of another": (["use", "alpha@3.0.0"], "3.0.0"),
    "pin": (["pin", "alpha"], "1.0.0"),
    "archive": (["archive", "alpha@2.0.0"], "1.0.0"),
    "uninstall": (["uninstall", "alpha@2.0.0"], "1.0.0"),
    "reload": (["reload", "alpha"], "1.0.0"),
    "config": (["config", "set", "alpha", "word", '"x"'], "1.0.0"),
    "refuse": (["refuse", "alpha", "file_write"], "1.0.0"),
}


@pytest.mark.parametrize("how", ENDS)
def test_what_an_operator_does_ends_it(stage, how):
    command, current = ENDS[how]
    stage.install("2.0.0")
    stage.install("3.0.0")
    stage.place.good("use", "alpha@2.0.0", "--canary", "90")
    assert stage.call()[1] is None
    done = stage.place.result(*command)
    if how == "rollback":
        assert (done["version"], done["before"]) == ("1.0.0", "2.0.0")
    canary = stage.canary()
    assert canary["state"] == "ended" and canary["why"]
    assert stage.place.result("info", "alpha")["current"] == current
    assert {stage.call() for _ in range(20)} == {(current, None)}
    assert [r["outcome"] for r in stage.audit("canary.end")] == ["ended"]


def test_a_revoked_key_ends_it_at_once(stage):
    place = stage.place
    key = place.root / "other.key"
    place.good("keygen", key)
    place.good("trust", "add", "acme", f"{key}.pub")
    stage.install("2.0.0")  # by the first key
    made = place.root / "alpha-3.0.0.moat"
    manifest = place.root / "pack" / "2.0.0" / "plugin.json"
    manifest.write_text(manifest.read_text().replace('"2.0.0"', '"3.0.0"'))
    place.good("pack", manifest.parent, "--key", key, "-o", made)
    installed = place.result("install", made)
    assert installed["version"] == "3.0.0"
    key_id = next(v["key_id"] for v in place.result("info", "alpha")["versions"] if v["version"] == "3.0.0")
    place.good("use", "alpha@3.0.0", "--canary", "90")
    assert place.result("info", "alpha")["workers"] == 2
    place.good("trust", "revoke", "acme", key_id)
    info = place.result("info", "alpha")
    assert info["canary"]["state"] == "ended" and info["workers"] == 1
    assert {stage.call() for _ in range(20)} == {("1.0.0", None)}


def test_it_does_not_outlive_the_host(stage):
    stage.install("2.0.0")
    stage.place.good("use", "alpha@2.0.0", "--canary", "50")
    assert stage.canary()["state"] == "running"
    stage.place.end_server(signal.SIGKILL)
    stage.place.serve()
    info = stage.place.result("info", "alpha")
    assert info["current"] == "1.0.0" and info["canary"] is None
    assert stage.place.result("call", "alpha", "note", '{"n": 1}') == 1
