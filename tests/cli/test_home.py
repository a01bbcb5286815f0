"""One home, one owner: commands beside each other, commands beside servers, owners that died or are silent."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import time

import pytest


def test_many_commands_at_once(either):
    place = either
    place.have("echo")
    started = [place.start("call", "echo", "echo", str(i)) for i in range(12)]
    started += [place.start("settings", "set", "queue_total", str(2000 + i)) for i in range(4)]
    for i, p in enumerate(started):
        out, err = p.communicate(timeout=60)
        assert p.returncode == 0, (i, err)
        if i < 12:
            assert out == f"{i}\n"


def test_many_installs_of_one_package(either):
    place = either
    place.trust()
    started = [place.start("install", place.package("echo"), "--json") for _ in range(6)]
    told = [json.loads(p.communicate(timeout=60)[0]) for p in started]
    assert sorted(t["already"] for t in told) == [False] + [True] * 5
    assert place.good("call", "echo", "echo", "7").out == "7\n"


def test_a_server_sees_what_commands_did_and_they_what_it_did(place):
    place.have("echo")
    place.good("grant", "echo", "file_read=/etc")
    place.serve()
    assert "/etc" in place.good("grants").out
    place.good("settings", "set", "queue_total", "4321")
    assert place.end_server()[0] == 0
    assert place.good("settings", "get", "queue_total", "--json").json["value"] == 4321


def test_load_without_a_server_is_remembered(place):
    place.have("echo")
    assert "ready" in place.good("load", "echo").out
    place.serve()
    end = time.monotonic() + 30
    while True:
        states = {p["name"]: p["loading"] for p in place.good("list", "--loaded", "--json").json["plugins"]}
        if states.get("echo") == "ready":
            break
        assert time.monotonic() < end, states
        time.sleep(0.05)


def test_unload_is_remembered(either):
    place = either
    place.have("echo")
    place.good("unload", "echo")
    assert "moat load echo" in place.bad(8, "wrong_state", "call", "echo", "echo", "1").err
    place.good("load", "echo")
    assert place.good("call", "echo", "echo", "1").out == "1\n"


def test_second_server(place):
    place.serve()
    start = time.monotonic()
    place.bad(8, "home_busy", "serve", "--listen", "127.0.0.1:0")
    assert time.monotonic() - start < 8


def test_killed_server_leaves_the_home_free(place):
    place.have("echo")
    ready = place.serve()
    assert place.good("call", "echo", "echo", "1").out == "1\n"
    place.end_server(signal.SIGKILL)
    assert os.path.exists(ready["socket"])  # a stale one
    assert place.good("call", "echo", "echo", "2").out == "2\n"
    place.serve()
    assert place.good("call", "echo", "echo", "3").out == "3\n"


def test_silent_server(place):
    """Stopped, it accepts connections by its backlog and never answers: never a second writer."""
    place.have("echo")
    place.serve()
    place.server.send_signal(signal.SIGSTOP)
    done = place.moat("call", "echo", "echo", "1", "--json")
    assert done.status == 7 and done.failure["code"] == "no_answer", done
    place.server.send_signal(signal.SIGCONT)
    assert place.good("call", "echo", "echo", "1").out == "1\n"


def hold(place, role):
    """The home's lock, held by this process as if it were a command or a server."""
    place.good("list")
    lock = open(place.home / "registry" / "lock", "r+")
    fcntl.flock(lock, fcntl.LOCK_EX)
    lock.truncate(0)
    lock.write(f"{os.getpid()} {role}\n")
    lock.flush()
    return lock


@pytest.mark.parametrize("role,status,code", [("command", 8, "home_busy"), ("server", 7, "no_answer")])
def test_a_holder_that_stays(place, long, role, status, code):
    if role == "server" and not long:
        pytest.skip("ten seconds more; test_silent_server is such a one: with --long")
    lock = hold(place, role)
    start = time.monotonic()
    done = place.moat("list", "--json")
    waited = time.monotonic() - start
    assert done.status == status and done.failure["code"] == code, done
    assert 9 < waited
    lock.close()
    place.good("list")


def test_a_command_is_waited_for(place):
    lock = hold(place, "command")
    waiting = place.start("list")
    time.sleep(0.5)
    assert waiting.poll() is None
    lock.close()
    out, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, err


def test_a_server_that_dies_under_a_command(place):
    place.have("echo")
    place.serve()
    waiting = place.start("call", "echo", "sleep", '{"ms":30000,"deaf":true}', "--json")
    end = time.monotonic() + 30
    while not any(p["in_flight"] for p in place.good("list", "--loaded", "--json").json["plugins"]):
        assert time.monotonic() < end
        time.sleep(0.02)
    place.end_server(signal.SIGKILL)
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 7 and json.loads(err)["error"]["code"] == "no_answer"


def test_a_socket_that_speaks_something_else(place):
    """Whatever sits there: an error, and the home is not opened beside it."""
    place.good("list")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(place.home / "registry")
        listener.bind("moat.sock")
        os.chdir(here)
        listener.listen(5)
        waiting = place.start("list", "--json")
        peer, _ = listener.accept()
        peer.recv(65536)
        peer.sendall(b"220 mail.example ESMTP\r\n\r\n")
        peer.close()
        out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 7 and json.loads(err)["error"]["code"] == "no_answer"


def test_interrupting_a_command(place):
    place.have("echo")
    place.serve()
    waiting = place.start("call", "echo", "sleep", '{"ms":60000}', "--deadline", "10m")
    end = time.monotonic() + 30
    while not any(p["in_flight"] for p in place.good("list", "--loaded", "--json").json["plugins"]):
        assert time.monotonic() < end
        time.sleep(0.02)
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=30)
    while any(p["in_flight"] for p in place.good("list", "--loaded", "--json").json["plugins"]):
        assert time.monotonic() < end, "the call of a command that was interrupted goes on"
        time.sleep(0.02)


# ---- serve ----


def test_token_is_shown_once_and_kept(place):
    first = place.serve()
    assert len(first["admin_token"]) == 64
    place.end_server()
    assert "admin_token" not in place.serve()
    status, out, err = place.end_server()
    assert status == 0 and first["admin_token"] not in out + err
    for folder, _, files in os.walk(place.home):
        for name in files:
            assert first["admin_token"].encode() not in open(os.path.join(folder, name), "rb").read()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_well(place, how):
    place.have("echo")
    place.serve()
    calls = [place.start("call", "echo", "sleep", '{"ms":700}') for _ in range(3)]
    end = time.monotonic() + 30
    while sum(p["in_flight"] + p["queued"] for p in place.good("list", "--loaded", "--json").json["plugins"]) < 3:
        assert time.monotonic() < end
        time.sleep(0.02)
    status, _, err = place.end_server(how)
    assert status == 0
    for p in calls:
        out, err = p.communicate(timeout=30)
        assert p.returncode == 0 and out == "true\n", err
    assert not (place.home / "registry" / "moat.sock").exists()


def test_the_log_is_json_lines_without_a_terminal(place):
    place.serve()
    _, _, err = place.end_server()
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert "listening" in events and "ending" in events


def test_the_socket_opens_before_the_port(place):
    """A port that is taken ends serve, and leaves no socket behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = place.moat("serve", "--listen", f"127.0.0.1:{port}")
    assert done.status == 2 and "cannot listen" in done.err.splitlines()[-1]
    assert not (place.home / "registry" / "moat.sock").exists()
    place.good("list")
