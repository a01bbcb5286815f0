"""Eight command lines at once, beside a server and without one: nothing but documented answers, no update lost; and random
changes against a model of a few lines."""

import collections
import hashlib
import json
import random
import sqlite3
import threading
import time

import pytest

WORKERS = 8
# What may be answered under such a crowd, besides success: busy homes, queues, states, things that are not there (any more).
DOCUMENTED = {"home_busy", "wrong_state", "queue_full", "no_such_plugin", "permission_denied", "not_found", "draining"}


def wanted(place, path, grants):
    """A declarative file: these plugins of the build with these places to read, and nothing else granted."""
    plugins = []
    for name, scopes in grants.items():
        package = place.package(name)
        plugins.append({"name": name, "version": package.stem.rsplit("-", 1)[1],
                        "sha256": hashlib.sha256(package.read_bytes()).hexdigest(),
                        "grants": [f"file_read={scope}" for scope in scopes]})
    path.write_text(json.dumps({"moat_apply": 1, "plugins": plugins}))
    return path


class Worker(threading.Thread):
    def __init__(self, place, number, seed, until, keys):
        super().__init__()
        self.place, self.number, self.until, self.keys = place, number, until, keys
        self.rng = random.Random(f"{seed} {number}")
        self.folder = place.root / f"w{number}"
        self.folder.mkdir()
        self.done, self.trusted, self.faults = collections.Counter(), [], []
        self.wanted = wanted(place, self.folder / "wanted.json", {"echo": [self.folder]})

    def moat(self, *arguments):
        done = self.place.moat(*arguments, "--json")
        if done.status == 0:
            self.done[arguments[0]] += 1
            return True
        code = json.loads(done.err)["error"]["code"]
        if code not in DOCUMENTED:
            self.faults.append((arguments, done))
        return False

    def trust(self):
        if not self.keys:
            return
        name = f"publisher_{self.number}_{len(self.trusted)}"
        if self.moat("trust", "add", name, self.keys.pop()):
            self.trusted.append(name)

    def run(self):
        changes = [
            self.trust,
            lambda: self.moat("settings", "set", "log_level", self.rng.choice(["info", "warn", "error"])),
            lambda: self.moat("grant", "echo", f"file_read={self.folder}"),
            lambda: self.moat("revoke", "echo", f"file_read={self.folder}"),
            lambda: self.moat("apply", self.wanted),
            lambda: self.moat("unload", "echo"),
            lambda: self.moat("load", "echo"),
            lambda: self.moat("install", self.place.package("echo")),
            lambda: self.moat("call", "echo", "echo", "[1]"),
            lambda: self.moat("info", "echo"),
            lambda: self.moat("list"),
            lambda: self.moat("audit", "verify"),
        ]
        while time.monotonic() < self.until:
            self.rng.choice(changes)()


@pytest.mark.parametrize("served", [True, False], ids=["served", "alone"])
def test_eight_command_lines_at_once(place, tmp_path, rng, long, served):
    place.have("echo")
    keys = []
    for n in range(200 if long else 24):
        place.good("keygen", f"key{n}")
        keys.append(tmp_path / f"key{n}.pub")
    if served:
        place.serve()
    until = time.monotonic() + (60 if long else 10)
    pools = [keys[i::WORKERS] for i in range(WORKERS)]
    workers = [Worker(place, i, rng.random(), until, pools[i]) for i in range(WORKERS)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    faults = [f for w in workers for f in w.faults]
    assert not faults, faults[:3]
    total = sum((w.done for w in workers), collections.Counter())
    assert sum(total.values()) >= WORKERS, total
    # What was answered is there, and nothing else.
    known = {p["name"] for p in place.good("trust", "list", "--json").json["publishers"]}
    assert known == {"demo"} | {name for w in workers for name in w.trusted}
    check = place.good("audit", "verify", "--json").json
    assert check["valid"] is True
    if served:
        assert place.end_server()[0] == 0
    db = sqlite3.connect(place.home / "registry" / "registry.db")
    told = dict(db.execute("SELECT action, count(*) FROM audit WHERE outcome = 'ok' GROUP BY action"))
    assert told["trust.add"] == 1 + total["trust"]
    assert told.get("setting.set", 0) == total["settings"]
    home = place.moat("doctor", "--deep", "--json").json["home"]
    assert home["good"], [f for f in home["findings"] if not f["good"]]


def test_random_changes_against_a_model(either, rng, long):
    """Trust, versions, settings, grants, exports, imports and declarative files as a few Python containers would keep
    them."""
    place = either
    place.trust()
    settings, grants, installed = {}, set(), set()
    without = set()  # installed by a document alone: their packages went when they were uninstalled
    kept = {}  # of the last export: name → was it installed, its places
    packages = {name: place.package(name) for name in ("echo", "data_processor")}

    known = set()  # names that are remembered
    document, file = place.root / "document.json", place.root / "wanted.json"

    def of(name):
        return {scope for n, scope in grants if n == name}

    def become(name, scopes):
        grants.difference_update({g for g in grants if g[0] == name})
        grants.update((name, scope) for scope in scopes)

    def export():
        place.good("export", "-o", document)
        kept.clear()
        kept.update({name: (name in installed, of(name)) for name in known})

    def bring_back():
        if document.exists():
            place.good("import", document)
        for name, (was, scopes) in kept.items():
            known.add(name)
            without.update({name} if was and name not in installed else ())
            if not was and name in installed:  # by the document nothing of it is current
                place.good("use", f"{name}@{packages[name].stem.rsplit('-', 1)[1]}")
            installed.update({name} if was else ())
            become(name, scopes)

    def apply():
        some = {name: {s for s in ("/usr", "/var") if rng.random() < 0.5} for name in packages if rng.random() < 0.7}
        done = place.moat("apply", wanted(place, file, some))
        if not set(some) <= installed:
            assert done.status == 4, done  # and nothing of it
            return
        assert done.status == 0, done
        for name, scopes in some.items():
            become(name, scopes)
        assert place.moat("apply", file, "--check").status == 0

    def install(name):
        place.good("install", packages[name])
        installed.add(name)
        known.add(name)
        without.discard(name)

    def uninstall(name, purge):
        done = place.moat("uninstall", name, *(["--purge"] if purge else []))
        if name in installed:
            assert done.status == 0, done
        installed.discard(name)
        without.discard(name)
        if purge and done.status == 0:
            known.discard(name)
            become(name, ())

    def decide(name, scope, give):
        done = place.moat("grant" if give else "revoke", name, f"file_read={scope}")
        if name not in installed:
            assert done.status == 4, done
        elif give:
            assert done.status == 0, done
            grants.add((name, scope))
        else:
            grants.discard((name, scope))

    def set_one(key, value):
        place.good("settings", "set", key, value)
        settings[key] = value

    for _ in range(300 if long else 40):
        name = rng.choice(list(packages))
        rng.choice([
            lambda: install(name), lambda: install(name), lambda: uninstall(name, rng.random() < 0.5),
            lambda: decide(name, rng.choice(["/usr", "/var"]), rng.random() < 0.7),
            export, bring_back, apply, apply,
            lambda: set_one("log_level", rng.choice(["info", "warn", "error"])),
        ])()
        listed = {p["name"] for p in place.good("list", "--json").json["plugins"]}
        assert listed == installed
    told = {(g["plugin"], g["scope"]) for g in place.good("grants", "--json").json["grants"]}
    assert {g for g in told if g[0] in installed} == {g for g in grants if g[0] in installed}
    for key, value in settings.items():
        assert place.good("settings", "get", key, "--json").json["value"] == value
    assert place.good("audit", "verify", "--json").json["valid"] is True
    home = place.moat("doctor", "--deep", "--json").json["home"]
    assert {(f["what"], f["plugin"]) for f in home["findings"] if not f["good"]} == {("packages", n) for n in without}
