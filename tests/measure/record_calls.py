"""Makes calls.trace, which test_series.py replays: how long calls of a real plugin ran, on a machine with other work, in sums
of five seconds. By hand, beside a build: python record_calls.py BUILD SECONDS > calls.trace"""

import collections
import json
import pathlib
import random
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests" / "cli"), str(ROOT / "tests" / "rest")]

from client import Api
from place import Place

build, seconds = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2])
rng = random.Random(7)


def rounded(ns):
    """Two digits."""
    scale = 10 ** max(len(str(ns)) - 2, 0)
    return ns // scale * scale


def call(api):
    body = {"data": [rng.random() for _ in range(rng.choice((3, 3, 3, 300, 3000)))], "operation": "multiply", "factor": 2}
    answer = api.ask("POST", "/api/plugins/execute/data_processor/transform", body)
    return answer.status_code, json.loads(answer.headers["Moat-Receipt"])["ran_ns"]


with tempfile.TemporaryDirectory() as folder:
    place = Place(build, folder)
    place.good("trust", "add", "demo", build / "packages" / "demo.pub")
    place.good("install", build / "packages" / "data_processor-1.0.0.moat")
    api = Api(place)
    for span in range(seconds // 5):
        end, values, bad = time.monotonic() + 5, collections.Counter(), 0
        while time.monotonic() < end:
            status, ran = call(api)
            bad += status != 200
            values[rounded(ran)] += 1
            time.sleep(rng.expovariate(40))
        print(sum(values.values()), bad, *(f"{v}*{n}" for v, n in sorted(values.items())), flush=True)
    place.close()
