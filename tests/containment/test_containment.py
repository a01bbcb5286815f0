"""Every attack, as root, as an ordinary user, and as the root of a user namespace that was there before.

Outside it works (the control), inside it fails; what lies outside the grants is unchanged, the server and the neighbour
live, and where it was a matter of permission an event says which one was missing.

A control that cannot work on this machine is a skip; with MOAT_MUST_WORK set (as CI does) it is a failure, unless the
variable's value names it: MOAT_MUST_WORK=mount,remount"""

import os
import re
import socket
import subprocess
import threading
import time

import pytest

from attacks import ATTACKS, ELSEWHERE, LATER, NOT_IN_FALLBACK, WRITE, Attack
from scene import Inside, Outside, Swapper

IDS = [attack.id for attack in ATTACKS]


def lacking(what, why):
    listed = os.environ.get("MOAT_MUST_WORK")
    if listed is not None and what not in listed.split(","):
        pytest.fail(f"{what}: {why}; MOAT_MUST_WORK does not list it")
    pytest.skip(why)


def can_nest():
    as_nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(["unshare", "--user", "--map-root-user", "true"], capture_output=True, **as_nobody)
    return done.returncode == 0


ACCEPTED = [("accept_missing_layers", '["user_namespace"]')]


@pytest.fixture(scope="module", params=["root", "user", "container", "fallback", "fallback_root"])
def inside(build, request):
    if request.param in ("root", "fallback_root") and os.geteuid() != 0:
        lacking(request.param, "only root can be root")
    if request.param in ("container", "fallback", "fallback_root") and not can_nest():
        lacking(request.param, "user namespaces cannot be made by hand here")
    place = Inside(build, request.param, ACCEPTED if "fallback" in request.param else ())
    yield place
    place.end()


@pytest.fixture(scope="module", params=["root", "user"])
def outside(build, request):
    if request.param == "root" and os.geteuid() != 0:
        lacking("root", "only root can be root")
    place = Outside(build, request.param)
    yield place
    place.end()


@pytest.fixture(scope="module")
def services():
    """What listens on the host: a TCP port that answers, Unix sockets."""
    port = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0moat-containment-{os.getpid()}")
    abstract.listen()
    yield port.getsockname()[1], f"@moat-containment-{os.getpid()}"
    port.close()
    abstract.close()


def unix_path(place, services, attack):
    if attack.variant == "abstract":
        return services[1]
    path = place.path / "socket"
    if not path.exists():
        place.listener = socket.socket(socket.AF_UNIX)
        place.listener.bind(str(path))
        place.listener.listen()
        path.chmod(0o777)
    return str(path)


def arm(place, services, attack):
    if attack.name == "connect_unix":
        attack.more["path"] = unix_path(place, services, attack)
    if place.victim.poll() is not None:
        place.victim = place.start(["sleep", "600"])


@pytest.mark.parametrize("attack", ATTACKS, ids=IDS)
def test_works_outside(outside, services, attack):
    if attack.control not in ("same", "root"):
        pytest.skip(f"no control: {attack.control}")
    if attack.control == "root" and outside.setting != "root":
        pytest.skip("the control is root's")
    arm(outside, services, attack)
    if attack.swaps:
        with Swapper(outside.scene):
            report = outside.run(attack, services[0])
    else:
        report = outside.run(attack, services[0], as_root=attack.control == "root")
    if not report["succeeded"]:
        lacking(attack.id, f"this machine does not allow it outside either: {report}")


def wait_for_denials(inside, attack, before):
    """An event follows the answer by a moment."""
    end = time.monotonic() + 20
    while True:
        now = inside.denials()
        missing = [key for key in attack.denied if now.get(key, 0) <= before.get(key, 0)]
        if not missing or time.monotonic() > end:
            return missing, now
        time.sleep(0.02)


def run_inside(inside, services, attack):
    parameters = inside.parameters(attack, services[0], inside.server.pid, inside.workers()[-1])
    deadline = "500ms" if attack.name == "overrun_deadline" else "30s"
    return inside.call("attacker", "attack", parameters, deadline)


def check_end(attack, status, said):
    expected, code, how = attack.ends
    assert (status, said["code"]) == (expected, code), said
    if code == "limit":
        assert said["detail"]["limit"] == how and said["detail"]["seen"] >= said["detail"]["value"], said
    elif how:
        assert how in said["message"], said


@pytest.mark.parametrize("attack", ATTACKS, ids=IDS)
def test_fails_inside(inside, services, attack):
    if "fallback" in inside.setting and attack.name in NOT_IN_FALLBACK:
        pytest.skip(NOT_IN_FALLBACK[attack.name])
    arm(inside, services, attack)
    inside.warm()  # a constructor has events of its own
    before = inside.denials()
    if attack.swaps:
        with Swapper(inside.scene):
            status, said = run_inside(inside, services, attack)
    else:
        status, said = run_inside(inside, services, attack)
    if attack.ends:
        check_end(attack, status, said)
    else:
        assert status == 200, said
        assert said["succeeded"] is False, said
        assert said["errno"] or attack.name == "scribble", said
    missing, now = wait_for_denials(inside, attack, before)
    assert not missing, f"refused, and nobody was told: {missing}; there are {now}"
    assert inside.scene.look() == inside.scene.before, "what lies outside the grants has changed"
    assert not inside.scene.set_id_files()
    assert inside.server.poll() is None, "the server is gone"
    assert inside.victim.poll() is None, "another process of the user is gone"
    inside.neighbour()


def test_the_list_is_whole(capsys):
    """Numbers to be read by people: how many attacks, which settings, what is left to later work."""
    assert len({a.id for a in ATTACKS}) == len(ATTACKS)
    assert len(ATTACKS) >= 60
    with_permission = sum(any(p for _, p in a.denied) for a in ATTACKS)
    controls = sum(a.control in ("same", "root") for a in ATTACKS)
    with capsys.disabled():
        print(f"\n{len(ATTACKS)} attacks, {controls} with a control run, {with_permission} that name a missing permission; "
              f"{sum(map(len, LATER.values()))} lines wait for {', '.join(LATER)}")


def test_no_attack_is_forgotten(root):
    """Each row of the attacker's table is asked for, and the list's other lines are where they are said to be."""
    source = (root / "tests/containment/attacker/main.c").read_text()
    table = source[source.index("attacks[] = {"):]
    there = {a or b for a, b in re.findall(r'ROW\((\w+)\)|\{"(\w+)",', table)}
    elsewhere = {"output_flood", "log_flood", "denial_flood", "use_grants"}
    assert there - elsewhere == {a.name for a in ATTACKS}
    for where in ELSEWHERE.values():
        assert (root / where).exists(), where


# ---- floods: bounded, counted, and the neighbour does not notice ----

class Beside:
    """The neighbour, called over and over on a connection of its own while an attack runs."""

    def __init__(self, inside):
        self.inside, self.stop, self.times = inside, threading.Event(), []
        self.connection = inside.another()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop.is_set():
            self.times.append(self.inside.neighbour(self.connection))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self.connection.close()

    def slow(self):
        """The slowest but one in twenty."""
        return sorted(self.times)[int(len(self.times) * 0.95)]


@pytest.mark.parametrize("flood", ["output_flood", "log_flood", "denial_flood"])
def test_floods_are_bounded_and_counted(inside, services, flood):
    attack = Attack(flood, "output, log and denial flood")
    inside.warm()
    log_before, dropped_before, denials_before = len(inside.said()), inside.info()["lines_dropped"], inside.denials()
    with Beside(inside) as beside:
        status, said = run_inside(inside, services, attack)
    assert status == 200 and not said["succeeded"], said
    assert len(beside.times) > 5 and beside.slow() < 1000, beside.times
    grown = len(inside.said()) - log_before
    assert grown < 200_000, f"the log grew by {grown} bytes"
    if flood == "denial_flood":
        missing, now = wait_for_denials(inside, Attack(flood, "", denied=(WRITE,)), denials_before)
        assert not missing
        # Nothing is lost from the count, and the one that matters is told by name or among the others of its kind.
        tries = int(said["detail"].split(" tries")[0])
        assert now[WRITE] - denials_before.get(WRITE, 0) == tries + 1
    else:
        end = time.monotonic() + 20
        while inside.info()["lines_dropped"] == dropped_before and time.monotonic() < end:
            time.sleep(0.05)
        assert inside.info()["lines_dropped"] > dropped_before
    inside.neighbour()
