"""examples/mount: a server of somebody's own with Moat's routes under /host."""

import pathlib
import subprocess
import sys

import pytest
import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from place import Place  # noqa: E402


@pytest.fixture
def mounted(build, tmp_path):
    place = Place(build, tmp_path)
    place.have("echo")
    token = place.good("token", "create", "--scope", "execute:echo").out.strip()
    process = subprocess.Popen([build / "examples" / "mount", place.home, "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, env=place.env | {"MOAT_LIBEXEC": str(build)})
    yield process.stdout.readline().strip(), token
    process.stdin.close()
    assert process.wait(60) == 0


def test_both_have_their_routes(mounted):
    url, token = mounted
    auth = {"Authorization": f"Bearer {token}"}
    assert requests.get(url + "/hello", timeout=60).text.startswith("hello")
    assert requests.get(url + "/other", timeout=60).status_code == 404
    assert requests.get(url + "/host/api/plugins/health", timeout=60).json()["success"] is True
    answer = requests.post(url + "/host/api/plugins/execute/echo/echo", json=[1], headers=auth, timeout=60)
    assert answer.json() == {"success": True, "result": [1]} and "Moat-Receipt" in answer.headers
    assert requests.post(url + "/host/api/plugins/execute/echo/echo", json=[1], timeout=60).status_code == 401
    assert requests.get(url + "/host/api/plugins/stats", headers=auth, timeout=60).status_code == 403
    assert requests.get(url + "/host/api/plugins/stats", headers={"X-Operator": "yes"}, timeout=60).status_code == 200
    assert requests.get(url + "/hostile/api/plugins/health", timeout=60).status_code == 404
    package = requests.get(url + "/host/api/plugins/info/echo/package", headers={"X-Operator": "yes"}, timeout=60)
    assert package.status_code == 200 and len(package.content) > 1000
