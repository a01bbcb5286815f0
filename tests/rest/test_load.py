"""wrk against a real server while its plugins crash and are reloaded: every request has one answer, and it is one of
the right ones; afterwards everything is as it was.  Against a sanitized build (scripts/test runs it so as well) a report
of the sanitizer fails the server's end."""

import collections
import json
import os
import pathlib
import subprocess
import threading

import pytest
import requests
from client import Api, until
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from place import Place

HERE = pathlib.Path(__file__).parent
# What a call can rightly meet while its plugin dies and is started anew.
RIGHT = {"200", "502 plugin_crashed", "502 start_failed", "409 wrong_state", "429 queue_full"}
CONNECTIONS = 64
# A receipt is kept of each of 10,000 calls and a line of each of 1,000 failures: that memory is not given back.
KEPT_KIB = 24 * 1024


@pytest.fixture
def api(build, tmp_path, long):
    place = Place(build, tmp_path)
    place.have("echo")
    with open(tmp_path / "log", "w", encoding="utf-8") as log:  # a pipe that nobody reads would hold the server up
        api = Api(place, stderr=log)
    yield api
    place.close()


def wrk(api, seconds, connections=CONNECTIONS, target="/api/plugins/execute/echo/echo", body='{"a":[1,2,3]}'):
    done = subprocess.run(["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", HERE / "load.lua",
                           api.url, "--", api.admin, target, body], capture_output=True, text=True, timeout=seconds + 60)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.split("\n@")[1])
    assert not told["wrong"] and told["socket_errors"] == 0, told
    assert sum(told["answers"].values()) == told["requests"], told
    return told["answers"]


class Trouble(threading.Thread):
    """Crashes and reloads the plugin, and loads it again when it was unloaded, until told to stop."""

    def __init__(self, api):
        super().__init__()
        self.api, self.over = api.again(), threading.Event()
        self.seen = collections.Counter()
        self.failure = None

    def run(self):
        always = ["/api/plugins/execute/echo/crash", "/api/plugins/reload/echo", "/api/plugins/execute/echo/fail"]
        seldom = ["/api/plugins/unload/echo", "/api/plugins/load/echo"]
        rounds = 0
        try:
            while not self.over.wait(0.05):
                rounds += 1
                for step in always + (seldom if rounds % 4 == 0 else []):
                    answer = self.api.ask("POST", step, {})
                    self.seen[step.split("/")[-1 if "execute" in step else -2], answer.status_code] += 1
        except (AssertionError, OSError) as failure:
            self.failure = failure
        self.api.session.close()

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def __enter__(self):
        self.start()
        return self


def calls_counted(api):
    """By code, as /metrics has it."""
    families = {f.name: f for f in text_string_to_metric_families(api.ask("GET", "/metrics").text)}
    return {s.labels["code"]: int(s.value) for s in families["moat_http_requests"].samples
            if s.labels["route"] == "/api/plugins/execute/{name}/{action}"}


def memory_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def sockets(pid):
    return sum(os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:") for fd in os.listdir(f"/proc/{pid}/fd"))


def settle(api):
    until(lambda: api.ask("POST", "/api/plugins/load/echo").status_code == 200)
    until(lambda: api.ask("POST", "/api/plugins/execute/echo/echo", [1]).status_code == 200)
    until(lambda: not api.good("GET", "/api/calls")["running"])


def test_every_request_has_one_right_answer(api, sanitized, long):
    pid, seconds = api.place.server.pid, 20 if long else 3
    settle(api)
    assert set(wrk(api, 1)) == {"200"}  # and what is kept of calls is taken now
    settle(api)
    until(lambda: sockets(pid) <= 40)
    memory, connections, before = memory_kib(pid), sockets(pid), calls_counted(api)
    with Trouble(api) as trouble:
        answers = wrk(api, seconds)
    assert trouble.failure is None, trouble.failure
    assert set(answers) <= RIGHT, answers
    assert answers["200"] > 100 and trouble.seen["crash", 502] > 3 and trouble.seen["reload", 200] > 3, trouble.seen
    settle(api)
    until(lambda: sockets(pid) <= connections)
    counted = calls_counted(api)
    assert len(api.good("GET", "/api/calls?limit=10000")["ended"]) == min(10_000, sum(counted.values()))
    for kind, n in answers.items():
        code = kind.split()[-1].replace("200", "ok")
        # The server counts what wrk no longer waited for, and the troublemaker's own.
        assert n <= counted[code] - before.get(code, 0) <= n + CONNECTIONS + trouble.seen.total() + 1000, (kind, counted)
    grown = memory_kib(pid) - memory
    assert sanitized or grown < KEPT_KIB, f"{grown} KiB more than before"
    assert api.good("GET", "/api/plugins/health")["status"] in ("healthy", "degraded")


def test_clients_that_leave_under_load(api):
    """Connections that break in the middle of their requests, among many that do not."""
    stop = threading.Event()

    def leave():
        while not stop.is_set():
            try:
                requests.post(api.url + "/api/plugins/execute/echo/sleep", json={"ms": 60000}, timeout=0.02,
                              headers={"Authorization": f"Bearer {api.admin}"})
            except requests.exceptions.RequestException:
                pass

    place = api.place
    assert place.good("install", place.pack("1.0.0")).out
    threads = [threading.Thread(target=leave) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        answers = wrk(api, 2, 16, "/api/plugins/execute/alpha/echo")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(answers) == {"200"}
    until(lambda: not api.good("GET", "/api/calls")["running"])
