"""Asking a server for tasks, and making them."""

import http.client
import json
import pathlib
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / folder) for folder in ("cli", "rest")]
import wire  # noqa: E402
from contract import Contract  # noqa: E402

JSON = {"Content-Type": "application/json"}
STEPS = ("echo", "count", "sleep", "fail", "crash", "typed", "big")


class Tasks:
    """Asks a server; every answer is held against /openapi.json."""

    def __init__(self, place):
        self.place = place
        self.contract = None

    def start(self):
        self.ready = self.place.serve()
        self.contract = self.contract or Contract(self.ask("GET", "/openapi.json").json)
        return self

    def ask(self, method, target, body=None, token=None, headers=JSON):
        connection = (http.client.HTTPConnection(*wire.address(self.ready["url"]), timeout=60) if token
                      else wire.UnixConnection(self.ready["socket"], timeout=60))
        try:
            reply = wire.request(connection, method, target, json.dumps(body) if body is not None else None, token,
                                 headers if body is not None else {})
        finally:
            connection.close()
        if self.contract and reply.headers["Content-Type"] == "application/json":
            self.contract.check(method, target, reply.status, "application/json", reply.json)
        return reply

    def good(self, *arguments, **more):
        reply = self.ask(*arguments, **more)
        assert reply.status == 200, (reply.status, reply.body[:2000])
        return reply.json["result"]

    def bad(self, status, code, *arguments, **more):
        reply = self.ask(*arguments, **more)
        assert (reply.status, reply.code) == (status, code), (reply.status, reply.body[:2000])
        return reply.json["error"]

    def run(self, *steps, query="", **members):
        return self.good("POST", f"/api/tasks{query}", task(*steps, **members))

    def check(self, *steps, **members):
        return self.good("POST", "/api/tasks/check", task(*steps, **members))


def task(*steps, **members):
    return {"task": 1, "steps": list(steps), **members}


def step(id, action="echo", parameters=None, plugin="echo", **members):
    made = {"id": id, "plugin": plugin, "action": action, **members}
    if "capability" in members:
        del made["plugin"]
    if parameters is not None:
        made["parameters"] = parameters
    return made


def steps_of(document):
    return {s["id"]: s for s in document["steps"]}


def outcomes(document):
    return {s["id"]: s["outcome"] for s in document["steps"]}
