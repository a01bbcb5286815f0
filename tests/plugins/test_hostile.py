"""The control for every test of the wall: outside it, hostile's attacks work.  A refusal inside then means something."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from runner import Plugin

# What an ordinary machine lets an ordinary process do.  The others need root, or a kernel built for them.
EVERYWHERE = ["read_environment", "list_host_processes", "exec_shell", "fork_bomb", "memory_bomb", "map_executable"]


@pytest.fixture
def plugin(build):
    plugin = Plugin(build, "hostile")
    yield plugin
    plugin.end()


@pytest.fixture
def victim():
    process = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"],
                               stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("action", EVERYWHERE)
def test_works_outside(plugin, action):
    report = plugin.call(action)
    assert report["succeeded"], report
    assert report["tried"] and report["detail"]


def test_reads_a_secret(plugin, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("the canary")
    report = plugin.call("read_secret", path=str(canary))
    assert report["succeeded"] and report["errno"] is None and "read 10 bytes" in report["detail"]


def test_a_refusal_is_told_by_name(plugin, tmp_path):
    report = plugin.call("read_secret", path=str(tmp_path / "absent"))
    assert not report["succeeded"] and report["errno"] == "ENOENT"


def test_writes_outside(plugin, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("unchanged\n")
    assert plugin.call("write_outside", path=str(canary))["succeeded"]
    assert canary.read_text() == "unchanged\nhostile was here\n"


def test_connects(plugin, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert plugin.call("connect_tcp", port=server.getsockname()[1])["succeeded"]
    for name, address in ((str(tmp_path / "s"), str(tmp_path / "s")), (f"@moat-{os.getpid()}", f"\0moat-{os.getpid()}")):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(address)
            server.listen()
            assert plugin.call("connect_unix", path=name)["succeeded"]


def test_ends_a_process(plugin, victim):
    assert plugin.call("signal_host", pid=victim.pid)["succeeded"]
    assert victim.wait(10) == -signal.SIGTERM


@pytest.mark.parametrize("action", ["signal_host", "ptrace_host"])
def test_never_turns_on_a_process_it_was_not_given(plugin, action):
    assert not plugin.call(action)["succeeded"]


def test_crashes(plugin):
    plugin.process.stdin.write("crash\t{}\n")
    plugin.process.stdin.flush()
    assert plugin.process.wait(10) == -signal.SIGSEGV


def test_every_action_of_the_manifest_is_there(build, root):
    manifest = json.loads((root / "plugins" / "hostile" / "plugin.json").read_text())
    names = {a["name"] for a in manifest["actions"]}
    assert len(names) == len(manifest["actions"]) >= 20
    for name in names - {"crash", "overrun_deadline", "scribble"}:
        plugin = Plugin(build, "hostile")
        assert "tried" in plugin.call(name, **({"port": 1} if name == "connect_tcp" else {}))
        plugin.end()


def test_no_import_gives_it_away(build):
    """Everything is done with its own system calls: an import check alone would see nothing."""
    names = subprocess.run(["nm", "-D", "--undefined-only", build / "plugins" / "hostile.so"], capture_output=True,
                           text=True, check=True).stdout
    for name in ("open", "socket", "connect", "execve", "fork", "ptrace", "mmap", "mprotect", "syscall", "dlopen"):
        assert f" {name}@" not in names
