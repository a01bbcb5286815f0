"""An orchestrator that exists already uses Moat step by step, over REST; the standard library is enough.

    MOAT_URL=http://127.0.0.1:8080 MOAT_TOKEN=… python3 examples/orchestrate.py

with data_processor installed, and a token of the scope execute:data_processor. The graph, the order and the decisions stay
here; Moat says which plugin fits a step, runs it behind its wall, and answers for it."""

import json
import os
import urllib.error
import urllib.request

URL = os.environ["MOAT_URL"]
TOKEN = os.environ["MOAT_TOKEN"]


class Failed(Exception):
    def __init__(self, error):
        super().__init__(error["message"])
        self.code, self.id = error["code"], error["id"]


def ask(target, body):
    request = urllib.request.Request(URL + target, json.dumps(body).encode(),
                                     {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["result"]
    except urllib.error.HTTPError as refused:
        raise Failed(json.load(refused)["error"]) from None


def run(capability, action, parameters, tries=3):
    """One step: chosen by capability; tried again where another attempt may do."""
    chosen = ask("/api/tasks/select", {"capability": capability, "action": action, "parameters": parameters})["plugin"]
    if chosen is None:
        raise SystemExit(f"no plugin can run {action}")
    while True:
        try:
            result = ask(f"/api/plugins/execute/{chosen}/{action}", parameters)
            print(f"{action} by {chosen}: {json.dumps(result)}")
            return result
        except Failed as failed:
            tries -= 1
            if not tries or failed.code not in ("plugin_crashed", "queue_full", "deadline"):
                raise


# A graph of one's own: clean, then two branches, then a decision.
clean = run("data_processing", "filter", {"data": [3, 14, 15, 92, 65, -1], "condition": "greater", "value": 0})
mean = run("data_processing", "aggregate", {"data": clean, "operation": "avg"})
most = run("data_processing", "aggregate", {"data": clean, "operation": "max"})
if most > 2 * mean:
    clean = run("data_processing", "transform", {"data": clean, "operation": "clip", "max": 2 * mean})

# The same in one request, for whom Moat is the orchestrator.
document = ask("/api/tasks", {
    "task": 1, "input": [3, 14, 15, 92, 65, -1],
    "steps": [
        {"id": "clean", "capability": "data_processing", "action": "filter",
         "parameters": {"data": {"$from": "/input"}, "condition": "greater", "value": 0}},
        {"id": "mean", "capability": "data_processing", "action": "aggregate",
         "parameters": {"data": {"$from": "/steps/clean/result"}, "operation": "avg"}}]})
print(f"task {document['status']}: {json.dumps(document['result'])}")
