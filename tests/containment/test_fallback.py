"""The wall without user namespaces: only where the operator accepted it by name, and then said everywhere.  The attacks
of test_containment run behind it as well; here is what is particular to it."""

import http.client
import json
import os
import pathlib
import subprocess
import threading
import time

import pytest

from scene import Inside

SETTINGS = ["fallback", "fallback_root"]
ACCEPTED = [("accept_missing_layers", '["user_namespace"]')]


@pytest.fixture(scope="module", params=SETTINGS)
def inside(build, request):
    if request.param == "fallback_root" and os.geteuid() != 0:
        pytest.skip("only root can be root")
    place = Inside(build, request.param, ACCEPTED)
    yield place
    place.end()


def test_it_is_said_everywhere(inside):
    assert inside.ask("GET", "/api/plugins/stats")[1]["result"]["security"]["wall"] == "fallback"
    assert inside.ask("GET", "/api/plugins/health")[1]["result"]["wall"] == "fallback"
    inside.warm()
    assert inside.info()["wall"] == "fallback"
    before = inside.said().count('"wall_fallback","plugin":"attacker"')
    assert before >= 1
    status, said = inside.ask("POST", "/api/plugins/reload/attacker")
    assert status == 200, said
    assert inside.said().count('"wall_fallback","plugin":"attacker"') == before + 1, "each start says it"


def test_other_layers_must_hold(inside):
    """What was accepted is the fallback as it is: it is whole, or nothing runs."""
    inside.warm()
    walled = 0
    for pid in inside.workers():
        try:
            text = pathlib.Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue  # of the pool, and gone
        status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        if status["Name"] != "moat-worker" or status["Seccomp"] == "0":
            continue  # the spawner; one of the pool that waits
        walled += 1
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapInh"], 16) == 0
        uid = int(status["Uid"].split()[0])
        assert uid == 65534 if inside.setting == "fallback" else uid >= 0x70000000, "root's workers have a user each"
    assert walled


def test_reading_and_writing_what_was_granted(inside):
    """The C library's stdio asks for fstat, which the host answers; files are what they were."""
    status, said = inside.call("attacker", "attack", {"name": "use_grants", "read": str(inside.scene.read),
                                                      "write": str(inside.scene.write)})
    if inside.setting == "fallback_root":
        # Nothing maps the owner here: a worker has the rights of others in root's files.
        assert status == 200 and "read: went through" in said["detail"], said
    else:
        assert status == 200 and said["errno"] is None, said


def test_nothing_runs_unless_it_was_accepted(build):
    place = None
    try:
        with pytest.raises(AssertionError, match="clone3|wall"):
            place = Inside(build, "fallback")
    finally:
        if place:
            place.end()


def test_doctor_names_it(build, tmp_path):
    """Not accepted: doctor says that the whole wall cannot be, and that this one could."""
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--", "sh", "-c",
                           'echo 0 > /proc/sys/user/max_user_namespaces; exec "$0" doctor --json', build / "moat"],
                          capture_output=True, text=True, env=os.environ | {"MOAT_HOME": str(tmp_path / "none")})
    report = json.loads(done.stdout)
    assert done.returncode == 6 and not report["complete"]
    assert report["failed_step"] in ("clone3", "uid_pool")
    assert report["fallback"] is False, "root of a container without a pool of users has nobody to run a worker as"


@pytest.mark.parametrize("accepted", [True, False])
def test_where_namespaces_are_of_no_use(build, accepted):
    """They can be made, and then every mount is refused: found out by the first worker, which nobody waits longer for."""
    place = Inside(build, "mounts_refused", ACCEPTED if accepted else (), start=False)
    try:
        if accepted:
            place.serve()
            assert place.ask("GET", "/api/plugins/health")[1]["result"]["wall"] == "fallback"
            assert place.ask("GET", "/api/plugins/info/data_processor")[1]["result"]["wall"] == "fallback"
        else:
            with pytest.raises(AssertionError, match="wall_missing"):
                place.serve()
    finally:
        place.end()


@pytest.mark.parametrize("setting", [*SETTINGS, "user"])
def test_a_killed_host_leaves_nobody(build, setting):
    """Without a pid namespace too: a worker that is busy ends with its spawner, the spawner with the host."""
    if setting == "fallback_root" and os.geteuid() != 0:
        pytest.skip("only root can be root")
    place = Inside(build, setting, ACCEPTED if "fallback" in setting else ())
    try:
        place.warm()
        busy = threading.Thread(target=lambda: swallow(place))
        busy.start()
        living = place.workers()
        assert len(living) >= 2
        place.server.kill()
        place.server.wait()
        busy.join()
        end = time.monotonic() + 20
        while any(alive(pid) for pid in living) and time.monotonic() < end:
            time.sleep(0.02)
        assert not [pid for pid in living if alive(pid)]
    finally:
        place.server.kill()
        place.server.returncode = 0  # it was told to end this way
        place.end()


def swallow(place):
    try:
        place.call("attacker", "attack", {"name": "spin_threads"}, connection=place.another())
    except (OSError, http.client.HTTPException):
        pass


def alive(pid):
    try:
        return "moat" in pathlib.Path(f"/proc/{pid}/comm").read_text() and \
            pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
