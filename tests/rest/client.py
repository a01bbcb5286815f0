"""A client of a real server, by requests: every answer is held against the server's own description."""

import copy
import json
import pathlib
import sys
import threading
import time

import requests

from contract import Contract

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))  # place


def until(true, within=30):
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


class Api:
    def __init__(self, place, *serve, **options):
        self.place = place
        self.ready = place.serve(*serve, **options)
        self.url, self.admin = self.ready["url"], self.ready["admin_token"]
        self.session = requests.Session()
        answer = self.session.get(self.url + "/openapi.json", headers={"Authorization": f"Bearer {self.admin}"}, timeout=60)
        self.contract = Contract(answer.json())

    def again(self):
        """For another thread."""
        other = copy.copy(self)
        other.session = requests.Session()
        return other

    def ask(self, method, target, body=None, token="admin", **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        if token:
            headers["Authorization"] = f"Bearer {self.admin if token == 'admin' else token}"
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, (bytes, str)) else json.dumps(body)
        answer = self.session.request(method, self.url + target, data=body, headers=headers, timeout=60)
        media = answer.headers.get("Content-Type", "")
        if media.startswith("text/event-stream") and method == "GET":
            self.contract.check(method, target, answer.status_code, media, answer.text)
        elif method != "OPTIONS" and not media.startswith("text/event-stream"):
            self.contract.check(method, target, answer.status_code, media,
                                answer.json() if media == "application/json" else None)
        return answer

    def good(self, *arguments, **more):
        answer = self.ask(*arguments, **more)
        assert answer.status_code == 200, (arguments, answer.text)
        return answer.json()["result"]

    def bad(self, status, code, *arguments, **more):
        answer = self.ask(*arguments, **more)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), (arguments, answer.text)
        return answer.json()["error"]

    def token(self, *scopes, **more):
        return self.good("POST", "/api/tokens", {"scopes": list(scopes), **more})


class Held(threading.Thread):
    """A request that waits for its answer."""

    def __init__(self, api, target, body):
        super().__init__()
        self.api, self.target, self.body, self.answer = api.again(), target, body, None
        self.start()

    def run(self):
        self.answer = self.api.ask("POST", self.target, self.body)
        self.api.session.close()
