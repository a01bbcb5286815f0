"""The peer of rest.vs_flask: the same route as a Flask blueprint, doing what that route does: who asks, is the body JSON
(the action declares no more), the action (in this process: no wall), an id, a receipt, what is counted."""

import hashlib
import hmac
import json
import os
import time
import uuid

from flask import Blueprint, Flask, Response, request

TOKEN = hashlib.sha256(os.environ["PEER_TOKEN"].encode()).digest()
plugins = Blueprint("plugins", __name__, url_prefix="/api/plugins")
actions = {("echo", "echo"): lambda parameters: parameters}
counted = {key: {"executions": 0, "errors": 0, "bytes_in": 0, "bytes_out": 0, "ran_ns": 0} for key in actions}


def failure(status, code):
    return Response(json.dumps({"success": False, "error": {"code": code, "id": uuid.uuid4().hex}}), status,
                    mimetype="application/json")


@plugins.post("/execute/<name>/<action>")
def execute(name, action):
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(hashlib.sha256(given.encode()).digest(), TOKEN):
        return failure(401, "unauthorized")
    run = actions.get((name, action))
    if not run:
        return failure(404, "no_such_action")
    body = request.get_data()
    try:
        parameters = json.loads(body)
    except ValueError:
        return failure(400, "bad_json")
    count, begun = counted[name, action], time.monotonic_ns()
    result = json.dumps(run(parameters), separators=(",", ":"))
    ran = time.monotonic_ns() - begun
    count["executions"] += 1
    count["bytes_in"] += len(body)
    count["bytes_out"] += len(result)
    count["ran_ns"] += ran
    answer = Response('{"success":true,"result":' + result + "}", mimetype="application/json")
    answer.headers["Moat-Receipt"] = json.dumps({"id": uuid.uuid4().hex, "version": "1.0.0", "ran_ns": ran,
                                                 "bytes_in": len(body), "bytes_out": len(result)})
    return answer


app = Flask(__name__)
app.register_blueprint(plugins)
