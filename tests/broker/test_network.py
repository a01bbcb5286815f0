"""network_access as an operator and a plugin meet it: through commands, routes, a name server and a server on loopback."""

import contextlib
import json
import os
import signal
import threading
import time

import pytest

from names import echo, serving

ENDS = ("EPIPE", "EOF", "ECONNRESET")  # what a plugin is told of a connection that was ended
ALL = ("talk", "keep", "use", "stream", "misuse")


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


@pytest.fixture
def port():
    with serving(echo) as number:
        yield number


def dialer(place, names=None, **changes):
    place.install("1.0.0", name="dialer", plugin="dialer", only=ALL, **changes)
    if names:
        place.good("settings", "set", "network_servers", json.dumps(names.address))
    return place


def call(place, action, **parameters):
    return place.moat("call", "dialer", action, json.dumps(parameters), "--json")


def refusal(done):
    """The words of the plugin's failure: what the host told it."""
    assert done.status == 1, done
    detail = done.failure["detail"]
    return detail["code"], detail["message"]


def denials(place):
    return {(d["operation"], d["object"]): d for d in place.result("denials", "dialer")["denials"]}


def helpers(place):
    """Processes of this home's hosts that make connections: children of its spawners."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                if file.read() != b"moat-helper\0net\0":
                    continue
            spawner = int(open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()[1])
            if int(open(f"/proc/{spawner}/stat").read().rsplit(")", 1)[1].split()[1]) == place.server.pid:
                found.append(int(entry))
    return found


# ---- what may be ----

def test_a_plugin_talks_to_what_was_granted_and_to_nothing_else(either, port):
    dialer(either)
    code, message = refusal(call(either, "talk", host="127.0.0.1", port=port, say="x\n"))
    command = f"moat grant dialer network_access=127.0.0.1:{port}"
    assert code == "permission_denied" and f"`{command}`" in message
    either.good(*command.split()[1:])
    done = call(either, "talk", host="127.0.0.1", port=port, say="hello\n")
    assert done.json == "hello\n", done
    for other in ({"host": "127.0.0.1", "port": port + 1}, {"host": "127.0.0.2", "port": port}, {"host": "localhost", "port": port}):
        assert refusal(call(either, "talk", **other))[0] == "permission_denied"
    denied = denials(either)["connect", f"127.0.0.1:{port}"]
    assert denied["permission"] == "network_access" and denied["command"] == command and denied["wall"] == "broker"
    assert denied["action"] == "talk" and denied["count"] >= 1


def test_names_are_asked_of_the_name_server_that_is_set(place, names, port):
    names.table = {"echo.test": ["127.0.0.1"], "six.test": ["::1"]}
    dialer(place, names).serve()
    place.good("grant", "dialer", f"network_access=*.test:{port}")
    code, message = refusal(call(place, "talk", host="echo.test", port=port, say="x\n"))
    assert code == "permission_denied" and "127.0.0.1" in message and "loopback" in message
    assert denials(place)["connect", f"127.0.0.1:{port}"]["command"] == f"moat grant dialer network_access=127.0.0.1:{port}"
    place.good("grant", "dialer", f"network_access=127.0.0.1:{port}")
    for spelling in ("echo.test", "ECHO.test", "echo.test."):
        assert call(place, "talk", host=spelling, port=port, say="hello\n").json == "hello\n"
    assert {n for n, _ in names.asked} == {"echo.test"}
    code, message = refusal(call(place, "talk", host="nowhere.test", port=port))
    assert code == "connect_failed" and "no_such_host" in message
    assert refusal(call(place, "talk", host="six.test", port=port))[0] == "permission_denied"
    until(lambda: place.result("stats")["network"]["open"] == 0)
    network = place.result("stats")["network"]
    assert network["connections"] == 3 and network["bytes_in"] == network["bytes_out"] == 18
    assert network["refused"] == 3 and network["helpers"] == 1


def test_a_name_that_means_something_else_the_next_time_reaches_nothing(place, names, port):
    """Rebinding: what is connected to is the address that was judged."""
    names.table = {"flip.test": [["192.0.2.1"], ["127.0.0.1"], ["169.254.169.254"]]}
    dialer(place, names).serve()
    place.good("grant", "dialer", "network_access")
    for _ in range(4):
        assert refusal(call(place, "talk", host="flip.test", port=port, say="x\n"))[0] == "permission_denied"
    assert [n for n, kind in names.asked if kind == 1] == ["flip.test"] * 4  # once each


def test_a_connection_can_be_kept_over_calls(place, port):
    dialer(place).serve()
    place.good("grant", "dialer", f"network_access=127.0.0.1:{port}")
    for number in (0, 1):
        assert call(place, "keep", host="127.0.0.1", port=port, **{"as": number}).status == 0
    for text in ("one\n", "two\n"):
        assert call(place, "use", say=text).json == text
        assert call(place, "use", say=text, **{"as": 1}).json == text
    assert call(place, "keep", host="127.0.0.1", port=port, nonblock=True, **{"as": 2}).status == 0
    assert call(place, "use", **{"as": 2}).json == "EAGAIN"


def test_nothing_can_be_done_with_a_connection_but_reading_and_writing(place, port):
    dialer(place).serve()
    place.good("grant", "dialer", f"network_access=127.0.0.1:{port}")
    assert call(place, "misuse", host="127.0.0.1", port=port).json == []
    assert ("setsockopt", "-") in denials(place) or any(o == "setsockopt" for o, _ in denials(place))


# ---- taking it back ----

def test_a_revocation_ends_what_runs(place, port):
    got, gone = [], threading.Event()

    def take(connection):
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(65536):
                got.append((time.monotonic(), len(data)))
        gone.set()

    with serving(take) as sink:
        dialer(place).serve()
        place.good("grant", "dialer", f"network_access=127.0.0.1:{sink}")
        place.good("grant", "dialer", f"network_access=127.0.0.1:{port}")
        assert call(place, "keep", host="127.0.0.1", port=port).status == 0
        running = place.start("call", "dialer", "stream", json.dumps({"host": "127.0.0.1", "port": sink}), "--json")
        until(lambda: len(got) > 10)
        place.good("revoke", "dialer", f"network_access=127.0.0.1:{sink}")
        returned = time.monotonic()
        out, _ = running.communicate(timeout=60)
        assert running.returncode == 0 and int(out) > 0  # write said EPIPE, and it ended by itself
        assert gone.wait(30)
        assert got[-1][0] <= returned + 0.5  # what the kernel here had received before
        assert helpers(place) == []
        assert call(place, "use", say="x\n").json in ENDS  # closed with it, although it is still granted
        assert refusal(call(place, "talk", host="127.0.0.1", port=sink))[0] == "permission_denied"
        assert call(place, "talk", host="127.0.0.1", port=port, say="again\n").json == "again\n"


@pytest.mark.parametrize("how", ["refuse", "ceiling", "end"])
def test_every_way_to_lose_the_right_closes_its_connections(place, port, how):
    dialer(place).serve()
    place.good("grant", "dialer", f"network_access=127.0.0.1:{port}", *(["--for", "2s"] if how == "end" else []))
    assert call(place, "keep", host="127.0.0.1", port=port).status == 0
    assert len(helpers(place)) == 1
    if how == "refuse":
        place.good("refuse", "dialer", "network_access")
    elif how == "ceiling":
        place.good("ceiling", "set", "everybody", "network_access=127.0.0.0/8:*")
    until(lambda: not helpers(place))
    assert call(place, "use", say="x\n").json in ENDS
    assert refusal(call(place, "talk", host="127.0.0.1", port=port))[0] == "permission_denied"


# ---- what goes wrong ----

def test_a_helper_that_is_killed_is_an_error_and_the_next_one_works(place, port):
    dialer(place).serve()
    place.good("grant", "dialer", f"network_access=127.0.0.1:{port}")
    assert call(place, "keep", host="127.0.0.1", port=port).status == 0
    [pid] = helpers(place)
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid not in helpers(place))
    assert call(place, "use", say="x\n").json in ENDS
    assert call(place, "talk", host="127.0.0.1", port=port, say="again\n").json == "again\n"
    assert place.moat("stats").status == 0


def test_a_worker_that_dies_takes_its_connections_along(place):
    ended = threading.Event()

    def wait(connection):
        while connection.recv(100):
            pass
        ended.set()

    with serving(wait) as port:
        dialer(place).serve()
        place.good("grant", "dialer", f"network_access=127.0.0.1:{port}")
        assert call(place, "keep", host="127.0.0.1", port=port).status == 0
        assert not ended.is_set()
        place.good("reload", "dialer")
        assert ended.wait(30)


def test_a_call_ends_while_it_waits_for_a_connection(place, names):
    """A name server that says nothing: the deadline and the cancellation come through."""
    names.silent.add("slow.test")
    dialer(place, names).serve()
    place.good("grant", "dialer", "network_access=slow.test:80")
    done = place.moat("call", "dialer", "talk", json.dumps({"host": "slow.test", "port": 80}), "--deadline", "300ms", "--json")
    assert done.status == 5 and done.failure["code"] == "deadline", done
    running = place.start("call", "dialer", "talk", json.dumps({"host": "slow.test", "port": 80}), "--json")
    [one] = until(lambda: place.result("calls")["running"])
    place.good("cancel", one["id"])
    _, err = running.communicate(timeout=30)
    assert json.loads(err)["error"]["code"] == "cancelled"


def test_counts_are_capped(place, port):
    dialer(place)
    place.good("settings", "set", "network_connections", "3")
    place.serve()
    place.good("grant", "dialer", f"network_access=127.0.0.1:{port}")
    for number in range(3):
        assert call(place, "keep", host="127.0.0.1", port=port, **{"as": number}).status == 0
    code, message = refusal(call(place, "keep", host="127.0.0.1", port=port, **{"as": 3}))
    assert code == "limit" and "network_connections" in message
    assert call(place, "use", say="still\n").json == "still\n"


@pytest.mark.parametrize("value", ['"9.9.9.9"', '"9.9.9.9,[2620:fe::fe]:53,2620:fe::9"', '""'])
def test_name_servers_that_can_be(place, value):
    place.good("settings", "set", "network_servers", value)


@pytest.mark.parametrize("value", ['"dns.example"', '"9.9.9.9,"', '"9.9.9"', '"[::1"', '"1.1.1.1:99999"', '7', '"' + "1.1.1.1," * 60 + '1.1.1.1"'])
def test_name_servers_that_cannot_be(place, value):
    place.bad(2, "bad_usage", "settings", "set", "network_servers", value)
