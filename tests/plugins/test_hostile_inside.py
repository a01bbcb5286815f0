"""hostile where it belongs: inside a worker every one of its attacks fails, and the host does not notice.
test_hostile.py is the control: the same attacks work outside."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import pytest

# How each attack is asked for; the manifest names them, so that a new one cannot be forgotten here.
PARAMETERS = {
    "read_secret": lambda h: {"path": str(h.secret)}, "write_outside": lambda h: {"path": str(h.secret)},
    "connect_tcp": lambda h: {"port": h.port}, "connect_unix": lambda h: {"path": str(h.home / "registry" / "moat.sock")},
    "signal_host": lambda h: {"pid": h.server.pid}, "ptrace_host": lambda h: {"pid": h.server.pid},
}
ENDS_ITS_WORKER = {"crash", "overrun_deadline"}
# What no filter or mount refuses by name: a limit, an answer that says "not here", nothing to be found.
NO_DENIAL = {"memory_bomb", "io_uring", "scribble"} | ENDS_ITS_WORKER


NEEDED = ["moat", "moat-worker", "moat-helper", "packages/demo.pub", "packages/hostile-1.0.0.moat",
          "packages/data_processor-1.0.0.moat"]


class Host:
    """A server with a home and binaries of its own, where an ordinary user can reach them; not in /tmp, because a plugin
    has a /tmp of its own."""

    def __init__(self, build, user):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="moat-inside-", dir="/var/tmp"))
        self.place.chmod(0o755)
        for name in NEEDED:
            (self.place / name).parent.mkdir(exist_ok=True)
            shutil.copy(build / name, self.place / name)
        self.user, self.home, self.yours = user, self.place / "yours" / "home", self.place / "yours"
        self.secret = self.yours / "secret"
        self.yours.mkdir()
        self.home.mkdir()
        self.secret.write_text("the secret\n")
        if user:
            for path in (self.yours, self.home, self.secret):
                os.chown(path, 65534, 65534)
        self.env = {k: v for k, v in os.environ.items() if k not in ("PLUGIN_DIR", "REGISTRY_DIR")}
        self.env |= {"MOAT_HOME": str(self.home), "A_SECRET_OF_THE_HOST": "not for plugins"}
        for words in (["trust", "add", "demo", self.place / "packages" / "demo.pub"],
                      ["install", self.place / "packages" / "hostile-1.0.0.moat"],
                      ["install", self.place / "packages" / "data_processor-1.0.0.moat"]):
            done = self.moat(*words)
            assert done.returncode == 0, done.stderr
        self.log = (self.place / "log").open("w+")
        self.server = subprocess.Popen([self.place / "moat", "serve", "--listen", "127.0.0.1:0"], env=self.env,
                                       stderr=self.log, stdout=self.log, **self.as_user())
        self.port = self.wait_for_port()
        self.state = self.look()

    def as_user(self):
        return {"user": 65534, "group": 65534, "extra_groups": []} if self.user else {}

    def moat(self, *words):
        return subprocess.run([self.place / "moat", *map(str, words)], env=self.env, capture_output=True, text=True,
                              timeout=120, **self.as_user())

    def wait_for_port(self):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            self.log.seek(0)
            found = re.search(r'"url":"http://127.0.0.1:(\d+)"', self.log.read())
            if found:
                return int(found.group(1))
            assert self.server.poll() is None
            time.sleep(0.05)
        raise AssertionError("the server does not say where it listens")

    def look(self):
        kept = [p.stat() for p in (self.yours, self.secret)]
        return [(s.st_mode, s.st_size, s.st_mtime_ns, s.st_ino) for s in kept] + [self.secret.read_text()]

    def denied(self):
        """How many refusals are on record. It follows an answer by a moment."""
        found = json.loads(self.moat("denials", "hostile", "--json").stdout)["denials"]
        return sum(denial["count"] for denial in found)

    def end(self):
        self.server.terminate()
        status = self.server.wait(30)
        self.log.close()
        shutil.rmtree(self.place)
        assert status == 0


@pytest.fixture(scope="module", params=["root", "user"])
def host(build, request):
    root = os.geteuid() == 0
    if request.param == "root" and not root:
        pytest.skip("not root")
    host = Host(build, user=root and request.param == "user")
    yield host
    host.end()


def actions():
    plugin = pathlib.Path(__file__).resolve().parents[2] / "plugins" / "hostile" / "plugin.json"
    return [action["name"] for action in json.loads(plugin.read_text())["actions"]]


@pytest.mark.parametrize("action", actions())
def test_attack_fails(host, action):
    before = host.denied()
    options = ["--deadline", "500ms"] if action == "overrun_deadline" else []
    done = host.moat("call", "hostile", action, json.dumps(PARAMETERS.get(action, lambda h: {})(host)), *options)
    if action in ENDS_ITS_WORKER:
        assert done.returncode == 5, done.stderr
    else:
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["succeeded"] is False, report
        assert report["errno"] or action == "scribble", report
    if action not in NO_DENIAL:
        end = time.monotonic() + 30
        while host.denied() == before and time.monotonic() < end:
            time.sleep(0.05)
        assert host.denied() > before, "it was refused and nobody was told"
    assert host.look() == host.state, "the canary has changed"
    assert host.server.poll() is None, "the server is gone"
    said = host.moat("call", "data_processor", "transform", '{"data":[1,2,3],"operation":"multiply","factor":2}')
    assert said.stdout.strip() == "[2,4,6]", said.stderr


@pytest.mark.parametrize("seed", range(8))
def test_noise_in_the_channel(host, seed):
    """Any noise, at any place of the shared memory; the worker may end by it, the host and other plugins never."""
    for parameters in ({"seed": seed, "room": 20000, "pages": 5, "before": seed},
                       {"seed": seed, "room": 1000000, "pages": 300, "before": 40}):
        host.moat("call", "hostile", "scribble", json.dumps(parameters))
        host.moat("call", "hostile", "read_environment")
        assert host.server.poll() is None, "the server is gone"
        said = host.moat("call", "data_processor", "transform", '{"data":[1,2,3],"operation":"multiply","factor":2}')
        assert said.stdout.strip() == "[2,4,6]", said.stderr
