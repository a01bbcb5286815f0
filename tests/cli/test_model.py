"""Random verbs over HTTP against a small model: what the registry says is what a few lines of Python say it must."""

import json

import pytest

from place import ROOT

VERSIONS = ["1.0.0-rc.1", "1.0.0", "1.1.0", "2.0.0"]


class Model:
    """One plugin's life."""

    def __init__(self):
        self.versions, self.newest = {}, None
        self.forget()

    def forget(self):
        self.versions.clear()
        self.current = self.previous = None
        self.active, self.pinned = True, False

    def install(self, v, use):
        if v not in self.versions:
            if self.newest is not None and VERSIONS.index(v) < VERSIONS.index(self.newest):
                return "older_version"
            self.versions[v] = "available"
            self.newest = v
        if self.current is None:
            self.current = v
        elif use and not self.pinned and self.versions[v] == "archived":
            return "wrong_state"
        elif use and not self.pinned:
            self.switch(v)
        return None

    def switch(self, v):
        if v != self.current:
            self.previous, self.current = self.current, v

    def use(self, v):
        if not self.versions:
            return "no_such_plugin"
        if self.pinned and v != self.current:
            return "wrong_state"
        if v not in self.versions:
            return "no_such_version"
        if not self.active or self.versions[v] == "archived":
            return "wrong_state"
        self.switch(v)
        return None

    def rollback(self):
        if not self.versions:
            return "no_such_plugin"
        if self.previous is None or self.pinned or not self.active or self.versions[self.previous] == "archived":
            return "wrong_state"
        self.current, self.previous = self.previous, None
        return None

    def flag(self, name, value):
        if not self.versions:
            return "no_such_plugin"
        setattr(self, name, value)
        return None

    def mark(self, v, state, on):
        if not self.versions:
            return "no_such_plugin"
        if v not in self.versions:
            return "no_such_version"
        if on and state == "archived" and v == self.current:
            return "wrong_state"
        if on and not (self.versions[v] == "archived" and state == "deprecated"):
            self.versions[v] = state
        elif not on and self.versions[v] == state:
            self.versions[v] = "available"
        return None

    def uninstall(self, v):
        if not self.versions:
            return "no_such_plugin"
        if v not in self.versions:
            return "no_such_version"
        if v == self.current and len(self.versions) > 1:
            return "wrong_state"
        del self.versions[v]
        if v == self.previous:
            self.previous = None
        if not self.versions:
            self.forget()
        return None

    def call(self):
        return "no_such_plugin" if not self.versions else None if self.active else "wrong_state"

    def told(self):
        return {v: "current" if v == self.current else s for v, s in self.versions.items()}


def steps(rng, packages):
    """A verb: how the model does it, and how it is asked for."""
    v, on = rng.choice(VERSIONS), rng.random() < 0.5
    undo = "" if on else "?undo=true"
    use = rng.random() < 0.5
    return rng.choice([
        (lambda m: m.install(v, use), "POST", f"/api/plugins/install?use={str(use).lower()}", packages[v]),
        (lambda m: m.install(v, use), "POST", f"/api/plugins/install?use={str(use).lower()}", packages[v]),
        (lambda m: m.use(v), "POST", f"/api/plugins/use/alpha@{v}", None),
        (lambda m: m.use(v), "POST", f"/api/plugins/use/alpha@{v}", None),
        (lambda m: m.rollback(), "POST", "/api/plugins/rollback/alpha", None),
        (lambda m: m.flag("pinned", on), "POST", f"/api/plugins/{'pin' if on else 'unpin'}/alpha", None),
        (lambda m: m.flag("active", True), "POST", "/api/plugins/activate/alpha", None),
        (lambda m: m.flag("active", on), "POST", f"/api/plugins/{'activate' if on else 'deactivate'}/alpha", None),
        (lambda m: m.mark(v, "deprecated", on), "POST", f"/api/plugins/deprecate/alpha@{v}{undo}", None),
        (lambda m: m.mark(v, "archived", on), "POST", f"/api/plugins/archive/alpha@{v}{undo}", None),
        (lambda m: m.uninstall(v), "DELETE", f"/api/plugins/uninstall/alpha@{v}", None),
        (lambda m: m.call(), "POST", "/api/plugins/execute/alpha/echo", b"1"),
    ])


@pytest.mark.parametrize("turn", range(3))
def test_random_verbs(place, rng, turn):
    import sys
    sys.path.insert(0, str(ROOT / "tests" / "rest"))
    import wire
    packages = {v: place.pack(v, only=("echo",)).read_bytes() for v in VERSIONS}
    ready = place.serve()
    model, done = Model(), []
    connection = wire.UnixConnection(place.home / "registry" / "moat.sock")
    assert ready
    for _ in range(120):
        expect, method, target, body = steps(rng, packages)
        kind = "application/octet-stream" if "install?" in target else "application/json"
        headers = {"Content-Type": kind} if body else {}
        reply = wire.request(connection, method, target, body, headers=headers)
        code = None if reply.status == 200 else reply.code
        done.append((method, target, code))
        assert code == expect(model), done[-5:]
        told = wire.request(connection, "GET", "/api/plugins/info/alpha/versions")
        if not model.versions:
            assert told.status == 404, done[-5:]
            continue
        state = told.json["result"]
        assert {x["version"]: x["state"] for x in state["versions"]} == model.told(), done[-5:]
        assert [x["version"] for x in state["versions"]] == [x for x in reversed(VERSIONS) if x in model.versions]
        assert (state["current"], state["previous"], state["pinned"], state["newest"]) == (
            model.current, model.previous, model.pinned, model.newest), done[-5:]
    # What is on the disk is what was told: an export of another process says the same.
    assert place.end_server()[0] == 0
    plugins = json.loads(place.good("export").out)["plugins"]
    assert [(v["version"], v["state"]) for p in plugins for v in sorted(p["versions"], key=lambda v: v["version"])] == [
        (v, model.versions[v]) for v in sorted(model.versions)]
