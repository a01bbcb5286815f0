"""The posture of a worker that runs plugin code, read from outside and compared with what is written down, line by line.
Any difference fails: less is a hole, more is a change that somebody must have meant."""

import os
import pathlib
import re

import pytest

from scene import Inside

EXPECTED = pathlib.Path(__file__).with_name("posture.expected")

# Of /proc/PID/status: who it is and what it may. The rest are counters.
STATUS = ["Name", "Umask", "Uid", "Gid", "Groups", "NStgid", "Threads", "SigQ", "SigBlk", "SigIgn", "CapInh", "CapPrm",
          "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters"]
NAMESPACES = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"]


@pytest.fixture(scope="module", params=["root", "user", "container"])
def inside(build, request):
    if os.geteuid() != 0:
        pytest.skip("only root can look at all of it")
    place = Inside(build, request.param)
    yield place
    place.end()


def status_lines(pid, names):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    value = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    for key in STATUS:
        v = " ".join(value[key].split())
        v = v.replace(str(pid), "PID")
        v = re.sub(rf"\b{names['uid']}\b", "WORKER", v)
        if key == "SigIgn":  # the C library's own two signals are ignored in what it spawns
            v = f"{int(v, 16) & ~(3 << 31):016x}"
        if key == "SigQ":
            v = v.partition("/")[2]
        if key == "Seccomp_filters":
            v = str(int(v) - names["filters"])
        yield f"status {key}: {v}".rstrip()


def mounts(pid, scene):
    for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        options = ",".join(o for o in fields[5].split(",") if o not in ("relatime", "idmapped"))
        kind, super_options = right.split()[0], right.split()[2]
        limits = ",".join(o for o in super_options.split(",") if o.startswith(("size", "nr_inodes", "mode")))
        place = fields[4].replace(str(scene), "GRANTS")
        shared = ",".join(f.partition(":")[0] for f in fields[6:])
        yield f"mount {place}: {options} {kind if kind == 'tmpfs' else 'a file system'} {limits} {shared}".rstrip()


def limits(pid):
    for line in pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]:
        found = re.match(r"Max (.*?) {2,}(\S+) +(\S+)", line)
        yield f"limit {found.group(1)}: {found.group(2)} {found.group(3)}"


def descriptors(pid):
    for fd in sorted(os.listdir(f"/proc/{pid}/fd"), key=int):
        target = re.sub(r"\d+", "N", os.readlink(f"/proc/{pid}/fd/{fd}"))
        yield f"descriptor {target}"


def namespaces(pid):
    for name in NAMESPACES:
        own = os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}")
        yield f"namespace {name}: {'its own' if own else 'SHARED WITH THE HOST'}"


def others(pid):
    proc = pathlib.Path(f"/proc/{pid}")
    yield f"cwd: {os.readlink(proc / 'cwd')}"
    yield f"environment: {len((proc / 'environ').read_bytes())} bytes"
    yield f"arguments: {(proc / 'cmdline').read_bytes().replace(b'%c' % 0, b' ').decode().strip()}"
    yield f"belongs to: {'root' if (proc / 'status').stat().st_uid == 0 else 'the worker'}"
    yield f"oom_score_adj: {(proc / 'oom_score_adj').read_text().strip()}"
    maps = (proc / "maps").read_text().splitlines()
    yield f"writable and executable: {sum(line.split()[1][1:3] == 'wx' for line in maps)}"
    yield f"terminal: {(proc / 'stat').read_text().rpartition(')')[2].split()[4]}"


def attacker_worker(inside):
    """The process that answers the attacker's calls: the youngest worker whose grants show in its mounts."""
    status, said = inside.call("attacker", "attack", {"name": "reported_values"})
    assert status == 200, said
    for pid in reversed(inside.workers()):
        if str(inside.scene.read) in pathlib.Path(f"/proc/{pid}/mountinfo").read_text():
            return pid
    raise AssertionError("no worker has the grants")


def test_posture_is_as_written(inside):
    pid = attacker_worker(inside)
    uid = pathlib.Path(f"/proc/{pid}/status").read_text().split("Uid:\t")[1].split()[0]
    own = re.search(r"Seccomp_filters:\t(\d+)", pathlib.Path(f"/proc/{inside.server.pid}/status").read_text()).group(1)
    seen = [*status_lines(pid, {"uid": uid, "filters": int(own)}), *namespaces(pid), *mounts(pid, inside.scene.place),
            *limits(pid), *descriptors(pid), *others(pid)]
    if inside.setting == "root":
        assert int(uid) >= 0x70000000, "root's workers have users of their own"
    else:
        assert int(uid) == 65534
    expected = [line for line in EXPECTED.read_text().splitlines() if line and not line.startswith("#")]
    missing = [line for line in expected if line not in seen]
    new = [line for line in seen if line not in expected]
    assert seen == expected, f"not there any more: {missing}\nnot written down: {new}"
