"""Following a task: its events over HTTP, on a terminal, in a program; clients that come back, leave, or read too slowly."""

import contextlib
import http.client
import json
import os
import pty
import re
import signal
import socket
import subprocess
import time

import pytest

import wire
from taskkit import step, task

HOLD = step("hold", "sleep", {"ms": 60_000})


def token(tasks):
    """An admin's, one for each server: the Unix socket needs none, but is not what is told of here."""
    if not hasattr(tasks, "token"):
        tasks.token = tasks.place.good("token", "create", "--scope", "admin", "--json").json["token"]
    return tasks.token


class Events:
    """One follower: reads event by event, and sees that each has the form."""

    def __init__(self, tasks, target, method="GET", body=None, last=None, room=None):
        address = tasks.ready["url"]
        self.sock = socket.socket()
        if room:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.sock.settimeout(30)
        self.sock.connect(wire.address(address))
        host, port = wire.address(address)
        text = json.dumps(body).encode() if body is not None else b""
        more = f"Last-Event-ID: {last}\r\n" if last else ""
        self.sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: text/event-stream\r\n"
                          f"Authorization: Bearer {token(tasks)}\r\nContent-Type: application/json\r\n"
                          f"{more}Content-Length: {len(text)}\r\n\r\n".encode() + text)
        self.answer = http.client.HTTPResponse(self.sock, method=method)
        self.answer.begin()
        assert self.answer.status == 200, self.answer.read()
        assert self.answer.headers["Content-Type"] == "text/event-stream"
        self.last, self.beats = None, 0

    def line(self):
        """None at the end; a line that was cut off there is none."""
        line = self.answer.readline().decode()
        return line[:-1] if line.endswith("\n") else None

    def next(self):
        """(name, data), or None when there are no more: who is cut off may be so within an event, which counts as none."""
        lines = []
        while (line := self.line()) or (line is not None and not lines):
            if line.startswith(":"):
                self.beats += 1
                assert self.line() == ""
            else:
                lines.append(line)
        if line is None:
            return None
        *id, name, data = lines
        assert len(id) <= 1 and name.startswith("event: ") and data.startswith("data: "), lines
        self.last = id[0].removeprefix("id: ") if id else self.last
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    def until(self, name, **members):
        seen = []
        while event := self.next():
            seen.append(event)
            if event[0] == name and members.items() <= event[1].items():
                return seen
        raise AssertionError((name, seen))

    def all(self):
        return list(iter(self.next, None))

    def close(self):
        self.answer.close()
        self.sock.close()


def follow(tasks, id, query="", **more):
    return Events(tasks, f"/api/tasks/{id}/events{query}", **more)


def begin(tasks, *steps, **members):
    return tasks.good("POST", "/api/tasks?wait=false", task(*steps, **members))["id"]


def names(events):
    return [name for name, _ in events]


# ---- what is told ----


def test_a_task_from_its_beginning_to_its_end(tasks):
    """As it is begun, in one answer: the last event has what the answer would have been."""
    steps = [step("a", "progress"), step("b", "fail", {"message": "no"}, depends_on=["a"], on_error="continue",
                                         retry={"attempts": 2, "delay": "1ms", "on": ["action_failed"]}),
             step("c", depends_on=["a"], when=[{"step": "a", "outcome": "failed"}])]
    events = Events(tasks, "/api/tasks", "POST", task(*steps, name="told")).all()
    assert events[0] == ("task_begun", {"id": events[0][1]["id"], "name": "told", "steps": 3})
    of = {id: [(n, d) for n, d in events if d.get("step", d.get("id")) == id] for id in "abc"}
    assert names(of["a"]) == ["step_begun", "step_progress", "step_ended"]
    assert of["a"][1][1] == {"step": "a", "done": 0.25, "message": "a quarter"}
    assert names(of["b"]) == ["step_begun", "step_retry", "step_ended"]
    assert of["b"][1][1] == {"step": "b", "attempt": 1, "code": "action_failed", "delay_ns": 1_000_000,
                             "message": "echo.fail failed: asked_for: no"}
    assert of["b"][2][1]["error"]["code"] == "action_failed" and of["b"][2][1]["attempts"] == 2
    assert [(n, d["outcome"]) for n, d in of["c"]] == [("step_ended", "skipped")]
    (ended, end), (last, document) = events[-2:]
    assert (ended, last) == ("task_ended", "result") and document["success"] is True
    document = document["result"]
    assert document["status"] == end["status"] == "succeeded" and document["id"] == events[0][1]["id"]
    assert end["receipt"]["calls"] == document["receipt"]["calls"] == 3


def test_undoing_and_falling_back_are_told(tasks):
    echo = {"plugin": "echo", "action": "echo"}
    events = Events(tasks, "/api/tasks", "POST", task(
        step("a", compensate=echo), step("b", "fail", depends_on=["a"], fallback=echo, on_error="fallback"),
        step("c", "fail", depends_on=["b"], on_error="compensate"))).all()
    assert ("step_compensated", {"step": "a", "compensation": "done"}) in events
    assert [d["code"] for n, d in events if n == "step_fallback"] == ["action_failed"]
    assert dict(events)["task_ended"]["error"]["step"] == "c"


def test_what_does_not_begin_is_an_ordinary_failure(tasks):
    with contextlib.closing(http.client.HTTPConnection(*wire.address(tasks.ready["url"]))) as c:
        reply = wire.request(c, "POST", "/api/tasks", json.dumps(task(step("a", plugin="nobody"))), token(tasks),
                             {"Accept": "text/event-stream"})
    assert (reply.status, reply.code) == (422, "bad_task")


def test_who_follows_sees_where_it_is_and_what_comes(tasks):
    id = begin(tasks, step("each", parameters={"v": {"$from": "/item"}}, for_each={"items": list(range(50))}),
               step("hold", "sleep", {"ms": 60_000}, depends_on=["each"]))
    follower = follow(tasks, id)
    name, state = follower.next()
    assert name == "state" and state["status"] == "running" and [s["id"] for s in state["steps"]] == ["each", "hold"]
    if {s["id"]: s["outcome"] for s in state["steps"]}["hold"] != "running":
        follower.until("step_begun", step="hold")
    tasks.good("DELETE", f"/api/tasks/{id}")
    events = follower.until("task_ended")
    assert events[-1][1]["status"] == "cancelled" and events[-1][1]["error"]["code"] == "cancelled"
    assert follower.next() is None, "nothing behind the end"
    late = follow(tasks, id).all()
    assert names(late) == ["task_ended"] and late[0][1]["status"] == "cancelled"
    # `hold` has begun; whether it was called yet depends on who was faster.
    assert late[0][1]["receipt"]["calls"] in (50, 51) and "steps" not in late[0][1]


def test_a_client_that_comes_back_goes_on_from_its_last_event(tasks):
    id = begin(tasks, HOLD, *[step(f"s{i}", "progress") for i in range(3)])
    first = follow(tasks, id)
    while first.next()[0] != "state":
        pass
    gone = first.last
    first.close()
    second = follow(tasks, id, last=gone)  # whatever came meanwhile, or comes now
    third = follow(tasks, id, f"?after={gone}")
    tasks.good("DELETE", f"/api/tasks/{id}")
    events = second.until("task_ended")
    assert "state" not in names(events) and events == third.until("task_ended")
    assert second.last == third.last != gone


@pytest.mark.parametrize("last", ["nothing", "0000000-1", "00000000-1", "00000000-99999999999999999999999999999999999"])
def test_an_id_that_is_not_known_any_more_begins_with_the_state(tasks, last):
    id = begin(tasks, HOLD)
    assert follow(tasks, id, last=last).next()[0] == "state"
    other = follow(tasks, id)
    other.next()
    mine = follow(tasks, id, last=other.last.split("-")[0] + "-4000000000")
    assert mine.next()[0] == "state", "one that has not come yet"
    tasks.good("DELETE", f"/api/tasks/{id}")


def test_heartbeats(tasks):
    id = begin(tasks, HOLD)
    follower = follow(tasks, id, "?heartbeat=100ms")
    follower.next()
    while follower.line() != ":":
        pass
    assert follower.line() == "" and follower.line() == ":", "and again"
    tasks.bad(400, "bad_request", "GET", f"/api/tasks/{id}/events?heartbeat=1ms")
    tasks.bad(400, "bad_request", "GET", f"/api/tasks/{id}/events?heartbeat=soon")
    tasks.bad(400, "bad_request", "GET", f"/api/tasks/{id}/events?heartbeat=18446744073s")
    tasks.good("DELETE", f"/api/tasks/{id}")


# ---- who may ----


def test_rights(tasks):
    id = begin(tasks, HOLD)
    tokens = {scope: tasks.place.good("token", "create", "--scope", scope, "--json").json["token"]
              for scope in ("execute:*", "read")}
    target = f"/api/tasks/{id}/events"
    tasks.bad(401, "unauthorized", "GET", target, token="0" * 64)
    tasks.bad(403, "forbidden", "GET", target, token=tokens["execute:*"])
    tasks.bad(404, "not_found", "GET", f"/api/tasks/{'0' * 32}/events", token=tokens["read"])
    tasks.bad(404, "not_found", "GET", f"/api/tasks/{id}0/events", token=tokens["read"])
    tasks.bad(404, "not_found", "GET", f"/api/tasks/{id}0")
    tasks.good("DELETE", f"/api/tasks/{id}")
    reply = tasks.ask("GET", target, token=tokens["read"])
    assert reply.status == 200 and b"event: task_ended\ndata: {" in reply.body
    tasks.contract.check("GET", target, 200, reply.headers["Content-Type"], reply.body.decode())


# ---- many, and bad ones ----


def sockets(tasks):
    """Those to clients, and one for each process that the server has started: few."""
    place, links = f"/proc/{tasks.place.server.pid}/fd", []
    for name in os.listdir(place):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"{place}/{name}"))
    return sum(link.startswith("socket:") for link in links)


def memory(tasks):
    with open(f"/proc/{tasks.place.server.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def test_a_hundred_follow_and_leave(tasks):
    """Each sees all of it, and who leaves takes everything along."""
    tasks.good("POST", "/api/tasks", task(step("first")))  # the plugin runs from here on
    before = sockets(tasks)
    id = begin(tasks, HOLD, step("next", depends_on=["hold"], when=[{"step": "hold", "outcome": "failed"}]))
    followers = [follow(tasks, id) for _ in range(100)]
    for follower in followers:
        assert follower.next()[0] == "state"
    for follower in followers[:50]:
        follower.close()
    tasks.good("DELETE", f"/api/tasks/{id}")
    ends = [follower.until("task_ended") for follower in followers[50:]]
    assert len({json.dumps(end) for end in ends}) == 1 and all(f.next() is None for f in followers[50:])
    for follower in followers[50:]:
        follower.close()
    end = time.monotonic() + 20
    while sockets(tasks) > before + 2:
        assert time.monotonic() < end, (before, sockets(tasks))
        time.sleep(0.01)


def kill_worker(tasks):
    """What it runs has failed then."""
    [worker] = [p["pid"] for p in tasks.good("GET", "/api/plugins/loaded")["plugins"] if p["name"] == "echo"]
    os.kill(worker, signal.SIGKILL)


def test_who_reads_too_slowly_is_cut_off_and_can_come_back(tasks, sanitized):
    """Ten thousand skipped steps in a moment: more than the history has, and than the kernel takes for a client."""
    n = 9990
    rest = [step(f"s{i}", depends_on=["hold"], when=[{"step": "hold", "outcome": "succeeded"}]) for i in range(n)]
    id = begin(tasks, step("hold", "sleep", {"ms": 60_000}, on_error="continue"), *rest)
    followers = [follow(tasks, id, room=4096) for _ in range(20)]
    before = memory(tasks)
    watcher = follow(tasks, id)
    assert all(follower.next()[0] == "state" for follower in [watcher, *followers])
    kill_worker(tasks)
    watched = watcher.all()
    grown = memory(tasks) - before
    assert sanitized or grown < 100_000, f"{grown} KiB for those who do not read"
    if names(watched)[-1:] != ["task_ended"]:  # even it was too slow
        watched = follow(tasks, id, last=watcher.last).all()
    assert names(watched)[-1] == "task_ended"
    for follower in followers:
        seen = []
        with contextlib.suppress(ConnectionError, http.client.IncompleteRead):
            while event := follower.next():
                seen.append(event)
        assert len(seen) <= n + 2
        if names(seen)[-1:] != ["task_ended"]:
            assert names(follow(tasks, id, last=follower.last).all())[-1] == "task_ended"
        follower.close()


def test_a_server_ends_while_somebody_follows(build, tmp_path):
    """A stream that only watches holds nobody up."""
    from place import Place
    from taskkit import Tasks

    place = Place(build, tmp_path)
    place.have("echo")
    tasks = Tasks(place).start()
    id = begin(tasks, HOLD)
    followers = [follow(tasks, id) for _ in range(3)]
    began = time.monotonic()
    assert place.end_server()[0] == 0
    assert time.monotonic() - began < 8, "not the whole time that requests are given"
    for follower in followers:
        assert "task_ended" not in names(follower.all()), "it goes on with the next one"


# ---- the commands ----


def test_the_command_follows(tasks):
    id = begin(tasks, step("a", "progress"), HOLD)
    following = tasks.place.start("task", "show", id, "--follow")
    first = following.stdout.readline()
    assert first == f"Task {id} running\n"
    tasks.good("DELETE", f"/api/tasks/{id}")
    out, err = following.communicate(timeout=30)
    assert following.returncode == 0 and err == ""
    assert out.endswith(f"Task {id} cancelled: the task was cancelled\n")
    lines = [json.loads(line) for line in tasks.place.good("task", "show", id, "--follow", "--json").out.splitlines()]
    assert [line["event"] for line in lines] == ["task_ended"] and lines[0]["data"]["id"] == id
    tasks.place.bad(4, "not_found", "task", "show", "0" * 32, "-f")


def on_terminal(place, *arguments):
    """What a terminal shows on standard error, and the exit status."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([place.build / "moat", *map(str, arguments)], env=place.env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=theirs) as p:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65536):
                shown += piece
        out = p.stdout.read().decode()
    os.close(ours)
    return shown.decode().replace("\r\n", "\n"), out, p.returncode


def check_terminal(place, path):
    shown, out, status = on_terminal(place, "task", "run", path)
    assert status == 0 and json.loads(out) == {"b": None}
    drawn = re.findall(r"\r\x1b\[K([^\r\n\x1b]*)", shown)
    assert "0 of 2 steps, a 25%: a quarter" in drawn and any(line.startswith("2 of 2 steps") for line in drawn)
    assert drawn[-1].startswith("Task "), "the line is gone in the end"
    assert "  succeeded a echo\n  succeeded b echo\n" in shown
    assert "steps" not in place.good("task", "run", path).err, "only on a terminal"


def test_progress_on_a_terminal(tasks, tmp_path):
    path = tmp_path / "task.json"
    path.write_text(json.dumps(task(step("a", "progress"), step("b", "progress", depends_on=["a"]))))
    check_terminal(tasks.place, path)
    path.write_text(json.dumps(task(step("a", plugin="nobody"))))
    shown, out, status = on_terminal(tasks.place, "task", "run", path)
    assert (out, status) == ("", 2) and shown.startswith("moat: ")


def test_without_a_server(build, tmp_path):
    from place import Place

    place = Place(build, tmp_path)
    place.have("echo")
    path = tmp_path / "task.json"
    path.write_text(json.dumps(task(step("a", "progress"), step("b", "progress", depends_on=["a"]))))
    check_terminal(place, path)
    id = place.good("task", "list", "--json").json["tasks"][0]["id"]
    assert place.good("task", "show", id, "--follow").out == f"Task {id} succeeded\n"
    place.bad(4, "not_found", "task", "show", "0" * 32, "--follow")
