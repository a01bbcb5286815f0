"""The whole API as its description invites to use it, with tokens of every scope, by a stranger that tries its edges: no
500, no answer outside the description.  The budget is one of examples; with --long there are ten times as many."""

import os
import pathlib
import sys

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from contract import Contract

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from place import Place  # noqa: E402

LONG = os.environ.get("MOAT_LONG") == "1"
EXAMPLES = 40 if LONG else 4
SCOPES = [["read"], ["manage"], ["execute:*"], ["execute:echo", "read"], ["admin"]]


@pytest.fixture(scope="module")
def server(build, tmp_path_factory):
    place = Place(build, tmp_path_factory.mktemp("stranger"))
    place.have("echo")
    ready = place.serve()
    auth = {"Authorization": f"Bearer {ready['admin_token']}"}
    document = requests.get(ready["url"] + "/openapi.json", headers=auth, timeout=60).json()
    yield place, ready["url"], auth, document
    place.close()


@pytest.mark.parametrize("scopes", SCOPES, ids=lambda s: "+".join(s))
def test_a_stranger_finds_no_500_and_nothing_undescribed(server, scopes):
    place, url, auth, document = server
    token = requests.post(url + "/api/tokens", json={"scopes": scopes}, headers=auth, timeout=60).json()["result"]["token"]
    schema = schemathesis.openapi.from_dict(document)
    contract, session = Contract(document), requests.Session()
    seen = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @hypothesis.seed(int(os.environ["MOAT_SEED"]))
        @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))
        @hypothesis.given(case=operation.as_strategy())
        def one(case):
            nonlocal seen
            if case.path == "/api/tokens/{id}" or case.path == "/api/backup":
                return  # would end this very token; would write where the test does not look
            arguments = case.as_transport_kwargs(base_url=url, headers={"Authorization": f"Bearer {token}"})
            answer = session.request(**arguments, timeout=30)
            media = answer.headers.get("Content-Type", "")
            if answer.status_code == 400 and media != "application/json":
                return  # malformed HTTP: the library's own answer
            seen += 1
            assert answer.status_code != 500
            body = answer.json() if media == "application/json" else None
            contract.check_operation(case.method, case.path, answer.status_code, media, body)

        one()
    assert seen > 50
    assert requests.get(url + "/api/plugins/health", timeout=30).status_code == 200
