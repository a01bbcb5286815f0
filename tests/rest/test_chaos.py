"""A server with all of it on at once, under load and under an operator who changes everything: monitor, guards, parameters,
forecasts, a pool that follows them, canaries, and a collector that is well, not well, or deaf.  Every request has one answer of
the right kind; when it is over the server is as it was, and so is its home. MOAT_SEED replays the choices (not the timing);
MOAT_CHAOS_S makes it last so many seconds, --long a minute."""

import collections
import json
import os
import pathlib
import random
import sqlite3
import threading
import time

import pytest
from client import Api, until

from place import Place
from test_traces import Collector

ACTIONS = [("echo", '{"n": 1}', 60), ("fail", "{}", 6), ("crash", "{}", 1), ("bad_result", "{}", 2), ("count", "{}", 10)]
# What can become of a call here.
OUTCOMES = {"ok", "action_failed", "plugin_crashed", "bad_result", "start_failed", "wrong_state", "queue_full", "deadline", "limit",
            "permission_denied", "no_such_version"}
# What can become of an operator's request: done, or refused for a reason that another one gave.
ANSWERS = {200, 404, 409, 422, 429, 502, 503}
CONFIG = {"type": "object", "properties": {"word": {"type": "string"}}}


class Moody(Collector):
    """A collector of many moods."""

    def __init__(self, rng):
        super().__init__()
        self.rng = rng

    def upset(self):
        for answers in (self.answers, self.metric_answers):
            for _ in range(self.rng.randrange(4)):
                answers.put(self.rng.choice([(503, {"Retry-After": "0"}, b"later"), (400, {}, b"no"), (200, {}, b"{"), (429, {}, b"")]))


@pytest.fixture
def collector(rng):
    collector = Moody(rng)
    yield collector
    collector.close()


@pytest.fixture
def api(build, tmp_path, collector):
    place = Place(build, tmp_path)
    for version in ("1.0.0", "1.1.0", "2.0.0"):
        place.install(version, only=[a for a, _, _ in ACTIONS], config=CONFIG)
    place.have("echo")
    for key, value in (("monitor_every", "100ms"), ("otlp_endpoint", collector.url), ("otlp_metrics_every", "100ms"),
                       ("config_guard", "2s"), ("pool_forecast", "6")):
        place.good("settings", "set", key, value)
    [path] = place.home.rglob("registry.db")
    hour = int(time.time()) // 3600
    db = sqlite3.connect(path)
    db.executemany("INSERT INTO start VALUES (?, ?, ?)", [(hour - i, 4, 1 + i % 5) for i in range(1, 60)])
    db.commit()
    db.close()
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        api = Api(place, stderr=log)
    yield api
    place.close()


def operate(api, rng, seen):
    """One thing that an operator or a watcher does."""
    todo = [
        ("POST", f"/api/plugins/use/alpha@{rng.choice(['1.0.0', '1.1.0', '2.0.0'])}?canary={rng.choice([10, 50])}", None),
        ("POST", f"/api/plugins/use/alpha@{rng.choice(['1.0.0', '1.1.0', '2.0.0'])}", None),
        ("POST", "/api/plugins/rollback/alpha", None),
        ("POST", "/api/plugins/reload/alpha", None),
        ("POST", f"/api/plugins/{rng.choice(['unload', 'load', 'load', 'load'])}/echo", None),
        ("PUT", "/api/plugins/info/alpha/config/word", json.dumps(str(rng.random()))),
        ("PUT", "/api/parameters/settings.token_requests?why=chaos", rng.choice([0, 10**6, 10**7])),
        ("POST", "/api/monitor", {"plugin": "platform", "action": "turn", "success": rng.random() < 0.9, "duration": "2ms"}),
        ("GET", "/api/monitor", None), ("GET", "/api/forecast?pool", None), ("GET", "/api/forecast", None),
        ("GET", "/api/report", None), ("GET", "/api/parameters", None), ("GET", "/metrics", None),
        ("GET", "/api/plugins/health", None), ("GET", "/api/plugins/stats", None), ("GET", "/api/plugins/info/alpha", None),
    ]
    method, target, body = rng.choice(todo)
    answer = api.ask(method, target, body)  # held against the server's own description
    seen[method, target.split("?")[0].split("@")[0], answer.status_code] += 1
    assert answer.status_code in ANSWERS, (method, target, answer.status_code, answer.text)


def call(api, rng, seen):
    action, parameters, _ = rng.choices(ACTIONS, [w for _, _, w in ACTIONS])[0]
    answer = api.ask("POST", f"/api/plugins/execute/{rng.choice(['alpha', 'alpha', 'echo'])}/{action}", parameters)
    code = "ok" if answer.status_code == 200 else answer.json()["error"]["code"]
    seen["call", code] += 1
    assert code in OUTCOMES, answer.text
    if (action, code) == ("echo", "ok"):
        assert answer.json()["result"] == {"n": 1}


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def rest(api):
    """Nothing of the plugins runs, and the pool stands."""
    for name in ("alpha", "echo"):
        api.ask("POST", f"/api/plugins/unload/{name}")
    pid = api.ready["pid"]
    api.session.close()
    until(lambda: (s := api.good("GET", "/api/plugins/stats"))["workers"] == 0 and s["pool"]["ready"] == s["pool"]["size"], within=60)
    return descriptors(pid), threads(pid)


def storm(api, collector, rng, seconds):
    """Callers and operators at full speed for so long; how often what became of what."""
    seen, wrong, over = collections.Counter(), [], time.monotonic() + seconds
    for name in ("alpha", "echo"):
        api.good("POST", f"/api/plugins/load/{name}")

    def run(what, client, choices):
        counts = collections.Counter()
        try:
            while time.monotonic() < over and not wrong:
                what(client, choices, counts)
        except BaseException as error:  # noqa: BLE001 whatever it is, the test is to fail with it
            wrong.append(error)
        client.session.close()
        seen.update(counts)

    workers = [threading.Thread(target=run, args=(what, api.again(), random.Random(rng.random())))
               for what in (call, call, call, operate, operate)]
    for worker in workers:
        worker.start()
    while any(w.is_alive() for w in workers):
        collector.upset()
        workers[0].join(0.3)
    for worker in workers:
        worker.join()
    if wrong:
        raise wrong[0]
    return seen


def test_all_of_it_at_once(api, collector, rng, long):
    seconds = float(os.environ.get("MOAT_CHAOS_S") or (60 if long else 1.5))
    until(lambda: api.good("GET", "/api/plugins/stats")["pool"]["by"] == "forecast")
    storm(api, collector, rng, seconds / 3)
    before = rest(api)
    seen = storm(api, collector, rng, seconds)
    print(json.dumps({" ".join(map(str, k)): n for k, n in sorted(seen.items(), key=str)}, indent=0))
    calls = sum(n for k, n in seen.items() if k[0] == "call")
    assert seen["call", "ok"] > calls / 3 and calls > 20 * seconds
    rest(api)  # three times as much leaves no more behind; a connection or two may still be closing
    until(lambda: descriptors(api.ready["pid"]) <= before[0] + 4 and threads(api.ready["pid"]) <= before[1], within=60)
    assert api.good("GET", "/api/plugins/health")["explainer"]["state"] == "works"
    place = api.place
    pid = api.ready["pid"]
    assert place.end_server()[0] == 0 and not pathlib.Path(f"/proc/{pid}").exists()
    place.good("audit", "verify")
    assert place.moat("doctor", "--deep", "--json").json["home"]["good"]
