"""The host dies by SIGKILL at many points of install, call and serve: nothing of it stays, and the next start works.

The points are spread over the system calls that the command makes, counted in a first run."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("MOAT_BUILD", "build")).resolve()
POINTS = int(os.environ.get("MOAT_KILL_POINTS", "22"))
SEED = int(os.environ.get("MOAT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
KILLAT = BUILD / "tests" / "crash" / "killat"


def package(name):
    found = sorted((BUILD / "packages-test").glob(f"{name}-*.moat")) + sorted((BUILD / "packages").glob(f"{name}-*.moat"))
    return found[0]


class Place:
    """Binaries of this test's own, so that its processes can be told from all others."""

    def __init__(self, root):
        self.root = root
        self.bin = root / "bin"
        self.bin.mkdir()
        for name in ("moat", "moat-worker", "moat-helper"):
            shutil.copy2(BUILD / name, self.bin / name)
        self.env = {**os.environ, "MOAT_LIBEXEC": str(self.bin)}
        # Who looks for leaks cannot be traced.
        self.traced = {**self.env, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
        for name in ("MOAT_HOME", "PLUGIN_DIR", "REGISTRY_DIR"):
            self.env.pop(name, None)
            self.traced.pop(name, None)

    def command(self, home, *args):
        return [str(self.bin / "moat"), *args, "--home", str(home)]

    def moat(self, home, *args, check=True):
        done = subprocess.run(self.command(home, *args), env=self.env, capture_output=True, text=True, timeout=60)
        if check:
            assert done.returncode == 0, (args, done.returncode, done.stderr)
        return done

    def processes(self):
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                exe = os.readlink(f"/proc/{entry}/exe")
            except OSError:
                continue
            if exe.startswith(str(self.bin)):
                found.append((int(entry), exe))
        return found

    def assert_nothing_is_left(self, before, what):
        end = time.monotonic() + 20
        while self.processes() and time.monotonic() < end:
            time.sleep(0.02)
        assert self.processes() == [], what
        assert outside() == before, what


def outside():
    """What a dead host could leave on the machine."""
    mounts = Path("/proc/self/mountinfo").read_text()
    shm = sorted(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else []
    sysv = [Path(f"/proc/sysvipc/{kind}").read_text() for kind in ("shm", "sem", "msg")]
    return mounts, shm, sysv


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    print(f"seed {SEED}")
    root = tmp_path_factory.mktemp("crash")
    os.chmod(root, 0o755)
    return Place(root)


def count_calls(place, command):
    done = subprocess.run([str(KILLAT), "0", *command], env=place.traced, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    total = int(done.stdout.strip().splitlines()[-1].split()[0])
    assert total > POINTS
    return total


def points(total):
    """Spread over the whole run, each moved a little, by the seed."""
    draw = random.Random(SEED)
    step = total / POINTS
    return [max(1, int(i * step + draw.random() * step)) for i in range(POINTS)]


def kill_at(place, n, command):
    done = subprocess.run([str(KILLAT), str(n), *command], env=place.traced, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def fresh_home(place, name, installed):
    home = place.root / name
    if home.exists():
        shutil.rmtree(home)
    place.moat(home, "trust", "add", "demo", str(BUILD / "packages" / "demo.pub"))
    if installed:
        place.moat(home, "install", str(package("echo")))
    return home


def stray_files(home):
    names = [p.name for p in home.rglob("*") if p.is_file()]
    return [n for n in names if n.startswith("tmp") or ".tmp" in n or n.endswith(".part")]


def test_install_killed_anywhere_leaves_the_old_state_or_the_new(place):
    home = fresh_home(place, "home", False)
    total = count_calls(place, place.command(home, "install", str(package("echo"))))
    before = outside()
    for n in points(total):
        home = fresh_home(place, "home", False)
        kill_at(place, n, place.command(home, "install", str(package("echo"))))
        place.assert_nothing_is_left(before, f"install killed at system call {n} of {total}, seed {SEED}")
        listed = json.loads(place.moat(home, "list", "--json").stdout)
        assert len(json.dumps(listed)) > 0
        place.moat(home, "install", str(package("echo")))
        answer = place.moat(home, "call", "echo", "echo", '{"text":"alive"}').stdout
        assert json.loads(answer) == {"text": "alive"}, f"seed {SEED}, point {n}"
        assert stray_files(home) == [], f"seed {SEED}, point {n}"


def test_call_killed_anywhere_leaves_nothing(place):
    home = fresh_home(place, "home", True)
    command = place.command(home, "call", "echo", "echo", '{"text":"x"}')
    total = count_calls(place, command)
    before = outside()
    for n in points(total):
        kill_at(place, n, command)
        place.assert_nothing_is_left(before, f"call killed at system call {n} of {total}, seed {SEED}")
    answer = place.moat(home, "call", "echo", "echo", '{"text":"alive"}').stdout
    assert json.loads(answer) == {"text": "alive"}


def wait_for_socket(path):
    """Commands work without a server too, so that their success says nothing about it."""
    end = time.monotonic() + 60
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
                return
            except OSError:
                assert time.monotonic() < end, "the server does not come up"
        time.sleep(0.02)


def test_server_killed_while_it_works_leaves_nothing_and_starts_again(place):
    home = fresh_home(place, "home", True)
    before = outside()
    draw = random.Random(SEED)
    for attempt in range(5):
        server = subprocess.Popen(place.command(home, "serve", "--listen", "127.0.0.1:0"), env=place.env,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for_socket(home / "registry" / "moat.sock")
            caller = subprocess.Popen(place.command(home, "call", "echo", "sleep", '{"ms":5000}'), env=place.env,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            time.sleep(0.1 + draw.random() * 0.3)
        finally:
            server.send_signal(signal.SIGKILL)
            server.wait()
        _, complaint = caller.communicate(timeout=30)
        assert caller.returncode in (7, 8), complaint
        place.assert_nothing_is_left(before, f"server killed, attempt {attempt}, seed {SEED}")
    answer = place.moat(home, "call", "echo", "echo", '{"text":"alive"}').stdout
    assert json.loads(answer) == {"text": "alive"}
