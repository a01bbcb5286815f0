"""Figures for a collector: what the monitor counts, as OTLP over HTTP, and what becomes of it when the collector is not well."""

import json
import re
import socket
import time

import pytest

from client import Api, until
from place import Place
from test_traces import Collector, attributes, until_told

ECHO = "/api/plugins/execute/echo/echo"


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def begin(build, tmp_path):
    """A server with echo that tells an endpoint of its figures ten times a second."""
    place = Place(build, tmp_path)
    place.have("echo")

    def with_endpoint(endpoint, **settings):
        for key, value in ({"otlp_endpoint": endpoint, "otlp_metrics_every": "100ms", "monitor_every": "100ms"} | settings).items():
            place.good("settings", "set", key, json.dumps(value))
        return Api(place)

    yield with_endpoint
    place.close()


def points(figures, name, **wanted):
    """Its points by their attributes, without `moat.`."""
    metric = figures[name]
    kind, = set(metric) & {"sum", "gauge", "histogram"}
    if kind != "gauge":
        assert metric[kind]["aggregationTemporality"] == 2
    assert metric[kind].get("isMonotonic", False) == (kind == "sum") and metric["description"] and metric["unit"]
    found = []
    for point in metric[kind]["dataPoints"]:
        words = {k.removeprefix("moat."): v for k, v in attributes(point).items()}
        if wanted.items() <= words.items():
            found.append(point)
    return found


def value(figures, name, **wanted):
    point, = points(figures, name, **wanted)
    return int(point["asInt"])


def until_figures(collector, true):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        figures, resource = collector.figures()
        if true(figures):
            return figures, resource
    raise AssertionError("never told")


def outcomes(api):
    text = api.ask("GET", "/metrics").text
    return {k: int(v) for k, v in re.findall(r'moat_metric_exports_total{outcome="(\w+)"} (\d+)', text)}


def record(api, duration, success=True):
    api.good("POST", "/api/monitor", {"plugin": "billing", "action": "charge", "success": success, "duration": duration})


def test_what_is_counted_is_told(begin, collector):
    before = time.time_ns()
    api = begin(collector.url + "/")
    for _ in range(3):
        api.ask("POST", ECHO, {"n": 1})
    api.bad(422, "action_failed", "POST", "/api/plugins/execute/echo/fail", {"code": "oops"})
    for duration in ("1ms", "1ms", "3s"):
        record(api, duration)
    record(api, "3s", success=False)
    billing = {"plugin": "billing", "action": "charge", "source": "platform"}
    figures, resource = until_figures(collector, lambda f: sum(int(p["asInt"]) for p in points(f, "moat.action.calls")) == 8)
    assert resource["service.name"] == "moat" and resource["process.pid"] == api.ready["pid"]
    assert value(figures, "moat.action.calls", plugin="echo", action="echo", source="calls") == 3
    assert value(figures, "moat.action.failed", plugin="echo", action="echo") == 0
    assert value(figures, "moat.action.failed", plugin="echo", action="fail") == 1
    assert (value(figures, "moat.action.calls", **billing), value(figures, "moat.action.failed", **billing)) == (4, 1)
    point, = points(figures, "moat.action.duration", **billing)
    assert before <= int(point["startTimeUnixNano"]) <= int(point["timeUnixNano"]) <= time.time_ns()
    bounds, counts = point["explicitBounds"], list(map(int, point["bucketCounts"]))
    assert bounds == sorted(bounds) and len(counts) == len(bounds) + 1
    assert sum(counts) == int(point["count"]) == 4 and point["sum"] == pytest.approx(6.002, rel=0.01)
    for n, seconds in ((2, 0.001), (2, 3)):
        i = next(i for i, b in enumerate(bounds) if b >= seconds)
        assert counts[i] == n, (bounds, counts)
    assert value(figures, "moat.pool.size") == 1
    assert figures["moat.action.duration"]["unit"] == "s"


def test_they_grow_and_rest_when_nothing_happens(begin, collector):
    api = begin(collector.url)
    record(api, "1ms")
    first, _ = until_figures(collector, lambda f: points(f, "moat.action.calls", plugin="billing"))
    record(api, "1ms")
    second, _ = until_figures(collector, lambda f: value(f, "moat.action.calls", plugin="billing") == 2)
    start = [points(f, "moat.action.calls", plugin="billing")[0]["startTimeUnixNano"] for f in (first, second)]
    assert abs(int(start[0]) - int(start[1])) < 1_000_000_000
    time.sleep(0.5)  # five times as long as it takes
    assert collector.metrics.empty()
    record(api, "1ms")
    until_figures(collector, lambda f: value(f, "moat.action.calls", plugin="billing") == 3)
    until(lambda: outcomes(api)["exported"] >= 3)  # it counts what was sent when it is answered
    assert (outcomes(api)["dropped"], outcomes(api)["refused"]) == (0, 0)


def test_an_anomaly_is_told(begin, collector):
    api = begin(collector.url)
    items = [{"plugin": "echo", "action": "echo", "parameters": i} for i in range(300)]
    api.good("POST", "/api/calls", items)
    until_figures(collector, lambda f: value(f, "moat.action.calls", action="echo") == 300)
    for _ in range(200):
        record(api, "1ms")
    until_figures(collector, lambda f: points(f, "moat.action.calls", plugin="billing") and
                  value(f, "moat.action.calls", plugin="billing") == 200)
    for _ in range(100):
        record(api, "1ms", success=False)
    wanted = {"plugin": "billing", "kind": "errors"}
    figures, _ = until_figures(collector, lambda f: points(f, "moat.anomaly", **wanted))
    assert value(figures, "moat.anomaly", **wanted) == 1 and not points(figures, "moat.anomaly", plugin="echo")


def test_not_now_is_tried_again_and_never_is_not(begin, collector):
    collector.metric_answers.put((503, {"Retry-After": "1"}, b"later"))
    api = begin(collector.url)
    record(api, "1ms")
    first, _ = collector.figures()
    again, _ = collector.figures()
    assert first == again and until_told(api, "metrics_not_exported")
    until(lambda: outcomes(api)["exported"] == 1)
    for answer in ((400, {}, b"what is that"), (200, {}, b'{"partialSuccess":{"rejectedDataPoints":"1"}}')):
        refused = outcomes(api)["refused"]
        collector.metric_answers.put(answer)
        record(api, "1ms")
        until(lambda: outcomes(api)["refused"] == refused + 1)


def test_a_collector_that_hangs_is_in_nobodys_way(begin):
    """Totals are kept, so what is dropped are only moments: one request waits, newer ones take its place."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        api = begin(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        for _ in range(4):
            record(api, "1ms")
            time.sleep(0.15)
        until(lambda: outcomes(api)["dropped"] >= 2)
        begun = time.monotonic()
        assert api.place.end_server()[0] == 0 and time.monotonic() - begun < 20


def test_what_is_not_told_yet_is_told_at_the_end(begin, collector):
    api = begin(collector.url)
    record(api, "1ms")
    until_figures(collector, lambda f: points(f, "moat.action.calls", plugin="billing"))
    for _ in range(7):
        record(api, "1ms")
    assert api.place.end_server()[0] == 0
    until_figures(collector, lambda f: value(f, "moat.action.calls", plugin="billing") == 8)


def test_it_can_be_switched_off_alone(begin, collector):
    api = begin(collector.url, otlp_metrics_every="0s")
    api.ask("POST", ECHO, {})
    assert len(collector.spans(1)) == 1
    assert api.place.end_server()[0] == 0 and collector.metrics.empty()
