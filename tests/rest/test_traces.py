"""Calls as spans at a collector on loopback: what they say, and that nothing of it is in a call's way."""

import http.server
import json
import pathlib
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from client import Api

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from place import Place  # noqa: E402

ECHO = "/api/plugins/execute/echo/echo"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Takes OTLP over HTTP; `answers` holds (status, headers, body) for the next requests with spans, `metric_answers`
    for those with figures, else all is well."""

    def __init__(self, port=0, context=None):
        self.requests, self.answers, self.metrics, self.metric_answers = (queue.Queue() for _ in range(4))
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                figures = self.path.endswith("/v1/metrics")
                requests = collector.metrics if figures else collector.requests
                requests.put((self.path, self.headers["Content-Type"], json.loads(body)))
                try:
                    status, headers, answer = (collector.metric_answers if figures else collector.answers).get_nowait()
                except queue.Empty:
                    status, headers, answer = 200, {}, b"{}"
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def request(self, timeout=20):
        path, media, document = self.requests.get(timeout=timeout)
        assert (path, media) == ("/v1/traces", "application/json")
        assert set(document) == {"resourceSpans"} and len(document["resourceSpans"]) == 1
        return document["resourceSpans"][0]

    def spans(self, count, timeout=20):
        found, end = [], time.monotonic() + timeout
        while len(found) < count:
            found += self.request(max(0.1, end - time.monotonic()))["scopeSpans"][0]["spans"]
        assert len(found) == count, found
        return found

    def figures(self, timeout=20):
        """The next request with figures: {name: metric}, and whose they are."""
        path, media, document = self.metrics.get(timeout=timeout)
        assert (path, media) == ("/v1/metrics", "application/json")
        assert set(document) == {"resourceMetrics"} and len(document["resourceMetrics"]) == 1
        resource = document["resourceMetrics"][0]
        metrics, = resource["scopeMetrics"]
        assert metrics["scope"] == {"name": "moat"}
        return {m["name"]: m for m in metrics["metrics"]}, attributes(resource["resource"])

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def begin(build, tmp_path):
    """A server with echo that tells an endpoint of its calls."""
    place = Place(build, tmp_path)
    place.have("echo")

    def with_endpoint(endpoint):
        place.good("settings", "set", "otlp_endpoint", json.dumps(endpoint))
        return Api(place)

    yield with_endpoint
    place.close()


def attributes(holder):
    value = {"stringValue": str, "intValue": int}
    out = {}
    for one in holder["attributes"]:
        (kind, text), = one["value"].items()
        assert isinstance(text, str)  # 64-bit numbers are text in this mapping
        out[one["key"]] = value[kind](text)
    return out


def outcomes(api):
    families = {f.name: f for f in text_string_to_metric_families(api.ask("GET", "/metrics").text)}
    return {s.labels["outcome"]: s.value for s in families["moat_spans"].samples}


def until_told(api, event):
    """The server's own word for it, in its log."""
    for line in api.place.server.stderr:
        if (told := json.loads(line))["event"] == event:
            return told
    raise AssertionError(f"the server has ended without {event}")


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_a_call_is_a_span(begin, collector):
    api = begin(collector.url + "/")  # a slash at the end makes no difference
    before = time.time_ns()
    answer = api.ask("POST", ECHO, {"n": 1}, traceparent=f"00-{TRACE}-{PARENT}-01")
    receipt = json.loads(answer.headers["Moat-Receipt"])
    resource = collector.request()
    after = time.time_ns()
    about = attributes(resource["resource"])
    assert about["service.name"] == "moat" and about["process.pid"] == api.ready["pid"]
    assert about["service.version"] and about["host.name"] == socket.gethostname()
    span, = resource["scopeSpans"][0]["spans"]
    assert (span["traceId"], span["parentSpanId"], span["spanId"]) == (TRACE, PARENT, receipt["id"][:16])
    assert span["name"] == "echo.echo" and span["kind"] == 2 and "status" not in span
    begun, ended = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
    assert before <= begun < ended <= after
    said = attributes(span)
    assert said.pop("moat.cpu_ns") >= 0
    assert said == {"moat.plugin": "echo", "moat.version": "1.0.0", "moat.action": "echo", "moat.call": receipt["id"],
                    "moat.code": "ok", "moat.bytes_in": 8, "moat.bytes_out": 8,
                    "moat.queued_ns": receipt["queued_ns"], "moat.ran_ns": receipt["ran_ns"]}
    event, = span["events"]
    assert event["name"] == "running" and begun <= int(event["timeUnixNano"]) <= ended
    assert until(lambda: outcomes(api)["exported"]) == 1


def test_a_call_without_a_trace_begins_one(begin, collector):
    api = begin(collector.url)
    call = json.loads(api.ask("POST", ECHO, {}).headers["Moat-Receipt"])["id"]
    span, = collector.spans(1)
    assert (span["traceId"], span["spanId"], span["parentSpanId"]) == (call, call[:16], "")


def test_what_the_caller_does_not_record_is_not_told(begin, collector):
    api = begin(collector.url)
    api.ask("POST", ECHO, {}, traceparent=f"00-{TRACE}-{PARENT}-00")
    api.ask("POST", ECHO, {})
    assert collector.spans(1)[0]["traceId"] != TRACE


def test_failures_say_what_failed(begin, collector):
    api = begin(collector.url)
    failed = api.bad(422, "action_failed", "POST", "/api/plugins/execute/echo/fail", {"code": "oops", "message": "a\u001bb"})
    crashed = api.bad(502, "plugin_crashed", "POST", "/api/plugins/execute/echo/crash", {})
    strange = api.bad(404, "no_such_action", "POST", "/api/plugins/execute/echo/%22%7D", {})
    nobody = api.bad(404, "no_such_plugin", "POST", "/api/plugins/execute/nobody/run", {})
    spans = {attributes(s)["moat.call"]: s for s in collector.spans(3)}
    assert set(spans) == {failed["id"], crashed["id"], strange["id"]}  # a plugin that is not there has no spans
    assert nobody["id"] not in spans
    for error in (failed, crashed, strange):
        span = spans[error["id"]]
        assert span["status"]["code"] == 2 and attributes(span)["moat.code"] == error["code"]
    assert spans[failed["id"]]["status"]["message"] == "echo.fail failed: oops: a?b"
    assert "SIGSEGV" in spans[crashed["id"]]["status"]["message"]
    assert spans[strange["id"]]["name"] == 'echo."}'


def test_every_call_of_a_batch(begin, collector):
    api = begin(collector.url)
    items = [{"plugin": "echo", "action": "echo", "parameters": {"n": i}} for i in range(600)]
    api.ask("POST", "/api/calls", items, traceparent=f"00-{TRACE}-{PARENT}-01")
    spans = collector.spans(600)
    assert {s["traceId"] for s in spans} == {TRACE} and len({s["spanId"] for s in spans}) == 600


STEPS = [{"id": "one", "plugin": "echo", "action": "echo", "parameters": {"n": 1}},
         {"id": "two", "plugin": "echo", "action": "log", "parameters": {"text": "in a task"}}]


@pytest.mark.parametrize("given", [None, f"00-{TRACE}-{PARENT}-01"])
def test_a_task_is_the_parent_of_its_calls(begin, collector, given):
    api = begin(collector.url)
    headers = {"traceparent": given} if given else {}
    answer = api.ask("POST", "/api/tasks", {"task": 1, "steps": STEPS}, **headers)
    assert answer.status_code == 200, answer.text
    task_id = answer.json()["result"]["id"]
    spans = {s["name"]: s for s in collector.spans(3)}
    assert set(spans) == {"task", "echo.echo", "echo.log"}
    task = spans.pop("task")
    trace = TRACE if given else task_id
    assert (task["traceId"], task["spanId"], task["parentSpanId"]) == (trace, task_id[:16], PARENT if given else "")
    assert attributes(task)["moat.task"] == task_id and attributes(task)["moat.code"] == "ok"
    assert "moat.plugin" not in attributes(task)
    for span in spans.values():
        assert (span["traceId"], span["parentSpanId"]) == (trace, task_id[:16])
        assert int(task["startTimeUnixNano"]) <= int(span["startTimeUnixNano"])
        assert int(span["endTimeUnixNano"]) <= int(task["endTimeUnixNano"])
    lines = api.good("GET", f"/api/log?trace={trace}")["records"]
    assert "in a task" in [r["text"] for r in lines]


def test_a_task_that_fails_says_why(begin, collector):
    api = begin(collector.url)
    api.ask("POST", "/api/tasks", {"task": 1, "steps": [{"id": "one", "plugin": "echo", "action": "fail"}]})
    spans = {s["name"]: s for s in collector.spans(2)}
    assert spans["task"]["status"]["code"] == 2 and "it was asked to fail" in spans["task"]["status"]["message"]


@pytest.mark.parametrize("bad", [f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{PARENT}-01",
                                 f"ff-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}", "nonsense"])
def test_a_malformed_trace_begins_another(begin, collector, bad):
    api = begin(collector.url)
    call = json.loads(api.ask("POST", ECHO, {}, traceparent=bad).headers["Moat-Receipt"])["id"]
    span, = collector.spans(1)
    assert (span["traceId"], span["parentSpanId"]) == (call, "")


def test_a_collector_that_comes_later_gets_them(begin):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    api = begin(f"http://127.0.0.1:{port}")
    api.ask("POST", ECHO, {})
    until_told(api, "spans_not_exported")
    collector = Collector(port)
    try:
        assert collector.spans(1)[0]["name"] == "echo.echo"
        assert until(lambda: outcomes(api)["exported"]) == 1
        until_told(api, "spans_exported_again")
        _, _, err = api.place.end_server()
        assert "spans_not_exported" not in err and "spans_lost" not in err
    finally:
        collector.close()


def test_not_now_is_tried_again_and_never_is_not(begin, collector):
    collector.answers.put((503, {"Retry-After": "1"}, b"later"))
    api = begin(collector.url)
    api.ask("POST", ECHO, {})
    first, again = collector.request(), collector.request()
    assert first == again
    assert until(lambda: outcomes(api)["exported"]) == 1
    collector.answers.put((400, {}, b"what is that"))
    api.ask("POST", ECHO, {})
    collector.request()
    assert until(lambda: outcomes(api)["refused"]) == 1
    collector.answers.put((200, {}, b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"one is enough"}}'))
    api.ask("POST", ECHO, {})
    collector.request()
    assert until(lambda: outcomes(api)["refused"] == 2)
    for nonsense in (b"", b"[]", b"{", b'{"partialSuccess":7}', b'{"partialSuccess":{"rejectedSpans":"99999999999999999999"}}',
                     b'{"partialSuccess":{"rejectedSpans":-1}}', b"x" * 100_000):
        collector.answers.put((200, {}, nonsense))
        api.ask("POST", ECHO, {})
        collector.request()
    assert until(lambda: sum(outcomes(api).values()) == 10)
    assert outcomes(api)["dropped"] == 0


def test_a_collector_that_hangs_is_in_nobodys_way(begin):
    """It takes connections and never answers: calls go on, spans are dropped and counted, the server ends in time."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        api = begin(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        items = [{"plugin": "echo", "action": "echo"}] * 1000
        begun = time.monotonic()
        for _ in range(4):
            assert api.ask("POST", "/api/calls", items).status_code == 200
        assert time.monotonic() - begun < 30  # sixteen requests of the exporter, each given up after ten seconds
        dropped = until(lambda: outcomes(api)["dropped"])
        assert dropped >= 4000 - 2048 - 256
        begun = time.monotonic()
        status, _, err = api.place.end_server()
        assert status == 0 and time.monotonic() - begun < 20
        lost = [json.loads(line) for line in err.splitlines() if "spans_lost" in line]
        assert lost[0]["dropped"] == 4000


def test_what_waits_is_sent_at_the_end(begin, collector):
    api = begin(collector.url)
    api.ask("POST", ECHO, {})
    assert api.place.end_server()[0] == 0
    assert len(collector.spans(1)) == 1


def maps(pid):
    return pathlib.Path(f"/proc/{pid}/maps").read_text()


def test_libcurl_is_loaded_by_who_needs_it(begin, collector):
    api = begin("")
    assert "libcurl-gnutls.so" not in maps(api.ready["pid"])
    assert api.ask("POST", ECHO, {}).status_code == 200
    place = api.place
    assert place.end_server()[0] == 0
    place.good("settings", "set", "otlp_endpoint", json.dumps(collector.url))
    assert "libcurl-gnutls.so" in maps(place.serve()["pid"])


def test_a_collector_that_nobody_vouches_for_is_told_nothing(begin, tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem", "-days", "2", "-subj", "/CN=127.0.0.1",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    collector = Collector(context=context)
    try:
        api = begin(collector.url)
        api.ask("POST", ECHO, {})
        assert "certificate" in until_told(api, "spans_not_exported")["why"].lower()
        assert api.place.end_server()[0] == 0
        assert collector.requests.empty()
    finally:
        collector.close()


@pytest.mark.parametrize("value", ["ftp://host", "host:4318", "http://", "http://:4318", "http:///path", "http://u:p@host",
                                   "http://host/?q=1", "http://host/#f", "http://ho st", "http://h\n", "http://" + "h" * 1000,
                                   7, None, ["http://host"]])
def test_an_endpoint_is_a_plain_url(build, tmp_path, value):
    place = Place(build, tmp_path)
    place.bad(2, "bad_usage", "settings", "set", "otlp_endpoint", json.dumps(value))
    place.good("settings", "set", "otlp_endpoint", json.dumps("https://collector.example.org:4318/otlp"))
    assert place.result("settings", "get", "otlp_endpoint")["value"] == "https://collector.example.org:4318/otlp"
    place.good("settings", "set", "otlp_endpoint", '""')
