"""Programs under execute_code, as root, as an ordinary user and as the root of a namespace: what the package ships and
what the operator names runs, behind the plugin's own wall; nothing else does."""

import json
import os
import pathlib
import shutil
import subprocess
import threading
import time

import pytest

from scene import Inside
from test_containment import ACCEPTED, can_nest, lacking
from test_posture import NAMESPACES, STATUS, limits

PLUGIN = pathlib.Path(__file__).resolve().parents[1] / "plugins" / "starter"
TOOL = "/package/bin/tool"


class Starter(Inside):
    """A server with one plugin that starts programs, and the programs."""

    def settle(self, settings):
        super().settle(settings)
        source = self.path / "pack"
        (source / "bin").mkdir(parents=True)
        shutil.copy(self.build / "tests" / "plugins" / "starter.so", source / "starter.so")
        shutil.copy(self.build / "tests" / "sandbox" / "probe_program", source / "bin" / "tool")
        shutil.copy(PLUGIN / "plugin.json", source / "plugin.json")
        self.programs = self.path / "programs"
        self.programs.mkdir()
        for name, made in (("named", "probe_program"), ("unnamed", "probe_program"), ("dynamic", "probe_program_dynamic")):
            shutil.copy(self.build / "tests" / "sandbox" / made, self.programs / name)
        (self.programs / "script").write_text("#!/bin/sh\necho a script\n")
        (self.programs / "script").chmod(0o755)
        (self.programs / "odd").write_text("#!/bin/$(id);`id`\n")
        (self.programs / "odd").chmod(0o755)
        (self.programs / "text").write_text("This is no program.\n")
        lost = (self.programs / "dynamic").read_bytes()
        assert lost.count(b"libc.so.6\0") == 1
        (self.programs / "lost").write_bytes(lost.replace(b"libc.so.6\0", b"libx.so.7\0"))
        keys = self.path / "keys"
        keys.mkdir()
        if self.user:
            for path in (source, keys):
                os.chown(path, 65534, 65534)
        self.moat("keygen", keys / "key")
        self.moat("trust", "add", "starters", keys / "key.pub")
        self.pack(source, keys)
        self.again(source, keys, "hoarder", memory="24MiB", processes=6)
        if self.setting == "user":
            self.again(source, keys, "spinner", cpu="200ms")

    def again(self, source, keys, name, **limits):
        manifest = json.loads((PLUGIN / "plugin.json").read_text())
        manifest["limits"] |= limits
        (source / "plugin.json").write_text(json.dumps(manifest | {"name": name}))
        self.pack(source, keys, "--grant", "execute_code")

    def pack(self, source, keys, *options):
        made = subprocess.run([self.path / "moat", "pack", source, "--key", keys / "key", "-o", keys / "starter.moat"],
                              capture_output=True, text=True, timeout=60, **self.as_user())  # where helpers can be walled
        assert made.returncode == 0, made.stderr
        self.moat("install", keys / "starter.moat", *options)

    def __init__(self, build, setting, settings=()):
        self.build = build
        super().__init__(build, setting, settings)

    def grants(self, *wanted):
        """Exactly these are granted."""
        for permission in ("execute_code", "file_read", "file_write"):
            self.ask("DELETE", f"/api/plugins/info/starter/grants?grant={permission}")
        for grant in wanted:
            status, said = self.ask("POST", "/api/plugins/info/starter/grants", {"grant": grant})
            assert status == 200, said

    def run(self, command, how="spawn", times=1, deadline="20s"):
        status, said = self.call("starter", "run", {"command": command, "how": how, "times": times}, deadline)
        assert status == 200, said
        return said["error"] or said["status"]

    def refusals(self, operation="execute a program"):
        found = self.ask("GET", "/api/plugins/info/starter/denials")[1]["result"]["denials"]
        return {d["object"]: d["command"] for d in found if d["operation"] == operation}

    def refused(self, path):
        """An event follows the answer by a moment."""
        end = time.monotonic() + 20
        while path not in self.refusals() and time.monotonic() < end:
            time.sleep(0.02)
        return self.refusals().get(path)

    def left(self):
        status, said = self.call("starter", "children", {})
        assert status == 200, said
        return said


@pytest.fixture(scope="module", params=["root", "user", "container"])
def inside(build, request):
    if request.param == "root" and os.geteuid() != 0:
        lacking(request.param, "only root can be root")
    if request.param == "container" and not can_nest():
        lacking(request.param, "user namespaces cannot be made by hand here")
    place = Starter(build, request.param)
    yield place
    place.end()


def test_what_is_shipped_runs_with_the_bare_grant_or_its_own(inside):
    for grant in ("execute_code", "execute_code=bin/tool"):
        inside.grants(grant)
        for how in ("spawn", "fork"):
            assert inside.run(f"{TOOL} say {how}", how) == 0
        assert inside.run(f"{inside.programs}/named") == "EACCES"
    # New code is the bare grant's alone.
    assert inside.run(f"{TOOL} rwx") == 1
    inside.grants("execute_code")
    assert inside.run(f"{TOOL} rwx") == 0


def test_what_a_program_says_is_the_plugins_log(inside):
    inside.grants("execute_code")
    assert inside.run(f"{TOOL} say a-word-of-the-child") == 0
    end = time.monotonic() + 20
    while "a-word-of-the-child" not in inside.said() and time.monotonic() < end:
        time.sleep(0.02)
    assert "a-word-of-the-child" in inside.said()


def test_what_is_named_runs_and_what_is_not_is_told(inside):
    named, unnamed = f"{inside.programs}/named", f"{inside.programs}/unnamed"
    inside.grants(f"execute_code={named}", f"file_read={inside.programs}")
    assert inside.run(f"{named} say something") == 0
    assert inside.run(f"{unnamed} say something") == "EACCES"
    assert inside.refused(unnamed) == f"moat grant starter execute_code={unnamed}"
    assert inside.run(TOOL) == "EACCES", "named was another one"
    assert inside.refused(TOOL) == "moat grant starter execute_code=bin/tool"
    assert inside.run("/bin/sh") == "EACCES"
    # The command that it told is what was missing.
    words = inside.refused(unnamed).split()
    status, said = inside.ask("POST", f"/api/plugins/info/{words[2]}/grants", {"grant": words[3]})
    assert status == 200, said
    assert inside.run(f"{unnamed} say something") == 0


def test_a_dynamic_program_brings_what_it_needs(inside):
    inside.grants(f"execute_code={inside.programs}/dynamic")
    assert inside.run(f"{inside.programs}/dynamic say something") == 0
    library = next(path for path in ("/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6") if os.path.exists(path))
    assert inside.run(f"{inside.programs}/dynamic open {library}") == 0
    assert inside.run(f"{inside.programs}/dynamic write {library}") in (13, 26)  # EACCES, or ETXTBSY
    assert inside.run(f"{inside.programs}/named") == "EACCES"
    assert not any("/ld.so." in path for path in inside.refusals("open for reading"))


def build(inside, name, *options):
    command = ["cc", "-x", "c", "-", "-x", "none", "-o", inside.programs / name, *options]
    made = subprocess.run(command, input="int main(void) { return 0; }", text=True, capture_output=True, timeout=60)
    assert made.returncode == 0, made.stderr


def test_a_program_brings_nothing_of_what_was_not_granted(inside):
    """Its loader and libraries are what its bytes say: no way to a file of the host's that nobody granted."""
    secret = inside.programs / "unnamed"
    build(inside, "by_loader", f"-Wl,--dynamic-linker={secret}")
    library = inside.programs / "libown.so"
    subprocess.run(["cc", "-shared", "-x", "c", "/dev/null", "-Wl,-soname,libown.so", "-o", library], check=True, timeout=60)
    build(inside, "by_path", "-Wl,--no-as-needed", library, f"-Wl,-rpath,{inside.programs}")
    for name, wanted in (("by_loader", secret), ("by_path", library.name)):
        inside.grants(f"execute_code={inside.programs}/{name}")
        status, said = inside.call("starter", "children", {})
        assert status != 200 and f"needs {wanted}, which" in str(said), said
    inside.grants(f"execute_code={inside.programs}/by_path", f"execute_code={library}")
    assert inside.run(f"{inside.programs}/by_path") == 0


def test_a_program_of_this_machine_runs(inside):
    tool = shutil.which("jq") or shutil.which("sed")
    inside.grants(f"execute_code={tool}")
    assert inside.run(f"{tool} --version") == 0


def test_what_cannot_be_run_is_said(inside):
    odd = "`moat grant starter 'execute_code=/bin/$(id);`id`'`"  # its own words are no words of a shell
    for name, why in (("script", "is a script of /bin/sh"), ("odd", odd), ("text", "neither a program"), ("lost", "needs libx.so.7")):
        status, said = inside.ask("POST", "/api/plugins/info/starter/grants", {"grant": f"execute_code={inside.programs}/{name}"})
        if status == 200:
            status, said = inside.call("starter", "children", {})
        assert status != 200 and why in json.dumps(said), said
        inside.grants()
    inside.grants(f"execute_code={inside.programs}/script", "execute_code=/bin/sh")
    assert inside.run(f"{inside.programs}/script") == 0


def test_without_the_grant_everything_is_as_before(inside):
    inside.grants(f"file_read={inside.programs}")
    for how in ("spawn", "fork", "replace"):
        assert inside.run(f"{inside.programs}/named", how) == "EPERM"
        assert inside.run(TOOL, how) == "EPERM"


def test_a_revocation_is_new_workers(inside):
    inside.grants("execute_code", f"execute_code={inside.programs}/named")
    assert inside.run(f"{inside.programs}/named") == 0
    status, said = inside.ask("DELETE", f"/api/plugins/info/starter/grants?grant=execute_code={inside.programs}/named")
    assert status == 200, said
    assert inside.run(f"{inside.programs}/named") == "EACCES"
    assert inside.run(TOOL) == 0, "what the bare grant gives is still there"
    inside.grants()
    assert inside.run(TOOL) == "EPERM"


def test_a_program_can_do_no_more_than_its_plugin(inside):
    inside.grants("execute_code=bin/tool")
    denied = {"descriptors": 0, "trace": 1, "peek 0x400000": 1, "connect": 1, "gain": 0, "rwx": 1, "eat 512": 12,
              f"open {inside.scene.secret}": 2, f"write {TOOL}": 13, f"signal {inside.server.pid + 100000}": 3,
              "kill": 0, "again /bin/true": 13}
    for what, answer in denied.items():
        assert inside.run(f"{TOOL} {what}", "fork") == answer, what
    inside.neighbour()
    assert inside.scene.look() == inside.scene.before


def test_what_a_call_started_ends_with_it(inside):
    inside.grants("execute_code")
    workers = inside.workers()
    assert inside.run(f"{TOOL} leave", "fork") == 0
    assert inside.left() is False
    assert inside.run(f"{TOOL} bomb", "fork") == 0
    assert inside.left() is False
    assert len(inside.workers()) <= len(workers) + 1
    inside.neighbour()


@pytest.mark.parametrize("how", ["spawn", "leave"])
def test_a_thousand_children_leave_nothing_behind(inside, how):
    inside.grants("execute_code")
    assert inside.run(TOOL, how, 1000 if inside.setting == "user" else 50, "60s") == 0
    assert inside.left() is False


def test_a_deadline_ends_them(inside):
    inside.grants("execute_code")
    status, said = inside.call("starter", "run", {"command": f"{TOOL} sleep"}, "300ms")
    assert status == 504, said
    until(lambda: not started(TOOL, "sleep"))
    assert inside.run(TOOL) == 0


def test_what_they_hold_without_a_name_is_weighed(inside):
    write = inside.scene.write
    inside.grants("execute_code", f"file_write={write},max=1MiB")
    for what in (f"{TOOL} hold {write}/held 8", f"{TOOL} again {TOOL} hold {write}/held 8"):
        status, said = inside.call("starter", "run", {"command": what}, "20s")
        assert (status, said["code"], said["detail"]["limit"]) == (507, "limit", "file_write"), said
    (write / "held").unlink(missing_ok=True)  # it may have been ended between two steps
    assert inside.run(TOOL) == 0, "nothing of it is left"


def test_what_they_write_when_nobody_calls_is_seen(inside):
    if inside.setting != "user":
        pytest.skip("it says the same in each setting")
    write = inside.scene.write
    inside.grants("execute_code", f"file_write={write},max=1MiB")
    assert inside.run(f"{TOOL} hold {write}/held 32", "later") == 0
    end = time.monotonic() + 60
    while (info := inside.ask("GET", "/api/plugins/info/starter")[1]["result"])["health_status"] != "failed":
        assert time.monotonic() < end, info["health_status"]
        time.sleep(0.1)
    (write / "held").unlink(missing_ok=True)


def test_their_cpu_time_counts(inside):
    if inside.setting != "user":
        pytest.skip("it says the same in each setting")
    for what in ("spin 60000", "spin 60000 nested"):
        status, said = inside.call("spinner", "run", {"command": f"{TOOL} {what}"}, "30s")
        assert (status, said["code"], said["detail"]["limit"]) == (507, "limit", "cpu"), said
        assert said["detail"]["seen"] >= 200e6, said
    status, said = inside.call("spinner", "run", {"command": f"{TOOL} spin 20"}, "30s")
    assert (status, said) == (200, {"status": 0, "error": ""})


def started(*words):
    """Processes of that program and first argument, and what the host sees of them."""
    wanted, found = [str(word).encode() for word in words], {}
    for entry in os.scandir("/proc"):
        try:
            if entry.name.isdigit() and pathlib.Path(entry.path, "cmdline").read_bytes().split(b"\0")[:2] == wanted:
                found[int(entry.name)] = status_of(int(entry.name))
        except OSError:
            continue
    return found


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def until(what):
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


class Running:
    """A call in a thread of its own, until its right is revoked."""

    def __init__(self, inside, command, how="spawn", plugin="starter", grant="execute_code"):
        self.inside, self.plugin, self.grant = inside, plugin, grant
        self.connection = inside.another()
        self.thread = threading.Thread(target=inside.call, args=(plugin, "run", {"command": command, "how": how}, "120s", self.connection))

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        status, said = self.inside.ask("DELETE", f"/api/plugins/info/{self.plugin}/grants?grant={self.grant}")
        self.thread.join()
        self.connection.close()
        assert status == 200, said


def worker_of(pid):
    """The first process of its namespace."""
    while status_of(pid)["NSpid"].split()[-1] != "1":
        pid = int(status_of(pid)["PPid"])
    return pid


INHERITED = [name for name in STATUS if name not in ("Name", "NStgid", "Threads", "SigBlk", "SigIgn")]


def wall_of(pid):
    """All of it that can be seen from outside."""
    status = status_of(pid)
    seen = {name: status[name] for name in INHERITED} | {"limits": list(limits(pid))}
    seen |= {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in NAMESPACES}
    for name in ("mountinfo", "cgroup", "oom_score_adj"):
        seen[name] = pathlib.Path(f"/proc/{pid}/{name}").read_text()
    return seen


def test_the_host_sees_the_wall_on_what_was_started(inside):
    """The host judges the worker alone: whatever it starts, in whatever way, has the same wall."""
    raised, dynamic = inside.programs / "raised", inside.programs / "dynamic"
    shutil.copy(inside.programs / "named", raised)
    raised.chmod(0o6755)
    ways = [(TOOL, "sleep", "spawn", 1), (TOOL, "sleep", "fork", 1), (TOOL, "family", "spawn", 2),
            (raised, "sleep", "spawn", 1), (dynamic, "sleep", "spawn", 1)]
    for program, mode, how, count in ways:
        inside.grants("execute_code", f"execute_code={raised}", f"execute_code={dynamic}")
        words = f"{TOOL} again {program}" if how == "fork" else program
        with Running(inside, f"{words} {mode}", how):
            until(lambda: len(started(program, mode)) == count)
            for pid, status in started(program, mode).items():
                worker = worker_of(pid)
                assert worker != pid and wall_of(pid) == wall_of(worker), (program, mode, how)
                assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1" and int(status["Seccomp_filters"]) >= 2
                assert all(int(status[name], 16) == 0 for name in status if name.startswith("Cap"))
        until(lambda: not started(program, mode))


def test_what_was_started_is_bounded_all_together(inside):
    """Without a control group: so many processes, each with so much memory."""
    processes, memory = 6, 24 << 20
    mine = lambda: {**started(TOOL, "hoard")}  # noqa: E731
    kib = lambda status, name: int(status[name].split()[0])  # noqa: E731
    status, said = inside.ask("POST", "/api/plugins/info/hoarder/grants", {"grant": "execute_code"})
    assert status == 200, said
    with Running(inside, f"{TOOL} hoard", plugin="hoarder"):
        # All that there can be, and none gets another MiB.
        until(lambda: len(mine()) == processes - 1 and all(kib(s, "VmData") + 1024 > memory >> 10 for s in mine().values()))
        seen = mine()
        assert len(seen) == processes - 1, "the worker is one"
        assert all(kib(s, "VmData") <= memory >> 10 for s in seen.values())
        assert sum(kib(s, "RssAnon") for s in seen.values()) <= len(seen) * ((memory >> 10) + 8192), "8 MiB of stack"
        inside.neighbour()
    until(lambda: not mine())
    inside.neighbour()


def test_a_worker_that_becomes_a_program_is_ended(inside):
    inside.grants("execute_code")
    status, said = inside.call("starter", "run", {"command": f"{TOOL} sleep", "how": "replace"}, "20s")
    assert (status, said["code"]) == (502, "plugin_crashed"), said
    until(lambda: not started(TOOL, "sleep"))
    assert inside.run(TOOL) == 0


def test_what_may_be_written_is_not_run(inside):
    inside.grants(f"file_write={inside.programs}")
    status, said = inside.ask("POST", "/api/plugins/info/starter/grants",
                              {"grant": f"execute_code={inside.programs}/named"})
    if status == 200:
        status, said = inside.call("starter", "children", {})
    assert status != 200 and "may write" in said.get("error", said)["message"], said
    inside.grants()
    for grant, why in ((f"execute_code={inside.programs}", "directory"), ("execute_code=bin/none", "ships no program"),
                       ("execute_code=/dev/null", "never granted"), ("execute_code=../x", "..")):
        status, said = inside.ask("POST", "/api/plugins/info/starter/grants", {"grant": grant})
        assert status != 200 and why in said["error"]["message"], said


def test_what_may_be_written_under_another_name_is_not_run(inside):
    named, out = inside.programs / "named", inside.programs / "out"
    (out / "deep").mkdir(parents=True)
    if inside.user:
        os.chown(out, 65534, 65534)
    inside.grants(f"execute_code={named}", f"file_write={out}")
    assert inside.run(f"{named} say something") == 0
    for alias in (out / "deep" / "alias", inside.programs / "alias"):  # in a place, and a place itself
        os.link(named, alias)
        inside.grants(f"file_write={out if alias.is_relative_to(out) else alias}")
        status, said = inside.ask("POST", "/api/plugins/info/starter/grants", {"grant": f"execute_code={named}"})
        if status == 200:
            status, said = inside.call("starter", "children", {})
        assert status != 200 and f"where {named} has another name" in str(said), said
        inside.grants()
        alias.unlink()
    # One that lies where nothing may be written takes nothing away.
    os.link(named, inside.programs / "alias")
    inside.grants(f"execute_code={named}", f"file_write={out}", f"file_read={inside.programs}")
    assert inside.run(f"{named} say something") == 0
    (inside.programs / "alias").unlink()


def test_the_fallback_wall_starts_none(build):
    if not can_nest():
        lacking("fallback", "user namespaces cannot be made by hand here")
    place = Starter(build, "fallback", ACCEPTED)
    try:
        place.grants("execute_code", f"execute_code={place.programs}/named")
        assert place.run(f"{place.programs}/named") in ("EPERM", "EACCES")
        assert place.run(TOOL) in ("EPERM", "EACCES")
    finally:
        place.end()
