"""A client that a generator makes of /openapi.json, without a hint of ours: a plugin's whole life by it."""

import asyncio
import importlib
import io
import json
import os
import pkgutil
import subprocess
import sys

import pytest
from client import Api

from place import Place

# What is generated needs no formatting; OpenMetrics is text to whoever has no parser for it.
CONFIG = {"post_hooks": [], "package_name_override": "moat_client",
          "content_type_overrides": {"application/openmetrics-text; version=1.0.0; charset=utf-8": "text/plain"}}


@pytest.fixture(scope="module")
def api(build, tmp_path_factory):
    place = Place(build, tmp_path_factory.mktemp("generated"))
    api = Api(place)
    place.trust()
    yield api
    place.close()


@pytest.fixture(scope="module")
def made(api, tmp_path_factory):
    """The package moat_client; a part of the description that the generator cannot use fails here."""
    root = tmp_path_factory.mktemp("client")
    (root / "openapi.json").write_text(json.dumps(api.contract.document))
    (root / "config.json").write_text(json.dumps(CONFIG))
    done = subprocess.run([sys.executable, "-m", "openapi_python_client", "generate", "--path", root / "openapi.json", "--config",
                           root / "config.json", "--meta", "none", "--fail-on-warning", "--output-path", root / "moat_client"],
                          capture_output=True, text=True, timeout=120, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(root))
    yield importlib.import_module("moat_client")
    sys.path.remove(str(root))


def operation(name, tag="plugins"):
    return importlib.import_module(f"moat_client.api.{tag}.{name}")


def test_every_route_is_a_function(api, made):
    package = importlib.import_module("moat_client.api")
    names = [m.name for m in pkgutil.walk_packages(package.__path__, "moat_client.api.") if not m.ispkg]
    assert len(names) == len(api.contract.operations)
    assert all(callable(importlib.import_module(name).sync_detailed) for name in names)


def test_a_whole_life(api, made):
    types = importlib.import_module("moat_client.types")
    package = types.File(payload=io.BytesIO(api.place.package("echo").read_bytes()))
    with made.AuthenticatedClient(base_url=api.url, token=api.admin, timeout=60) as client:
        installed = operation("post_plugins_install").sync(client=client, body=package, auto_load=True,
                                                           grant=["file_read=/etc"]).result
        assert (installed.name, installed.version, installed.loaded) == ("echo", "1.0.0", True)
        listed = operation("get_plugins_available").sync(client=client, q="echo").result
        assert [p.name for p in listed.plugins] == ["echo"] and listed.plugins[0].status.value == "active"
        info = operation("get_plugins_info_name").sync("echo", client=client).result
        assert {a.name for a in info.actions} >= {"echo", "sleep"} and info.limits.workers >= 1
        call = operation("post_plugins_execute_name_action")
        reply = call.sync_detailed("echo", "echo", client=client, body={"a": [1, "ü"]})
        assert reply.parsed.result == {"a": [1, "ü"]} and json.loads(reply.headers["Moat-Receipt"])["version"] == "1.0.0"
        failed = call.sync("echo", "fail", client=client, body={"code": "x", "message": "no"})
        assert failed.success is False and failed.error.code.value == "action_failed"
        batch = operation("post_calls", "calls")
        items = [made.models.PostCallsBodyItem(plugin="echo", action="echo", parameters=n) for n in range(3)]
        assert [o.result for o in batch.sync(client=client, body=items).result] == [0, 1, 2]
        stats = operation("get_plugins_stats").sync(client=client).result
        assert stats.loaded_plugins == 1 and stats.executions.total == 5 and stats.security.enabled is True
        assert operation("delete_plugins_uninstall_name").sync("echo", client=client, purge=True).result.removed == 1
        gone = operation("get_plugins_info_name").sync_detailed("echo", client=client)
        assert gone.status_code == 404 and gone.parsed.error.code.value == "no_such_plugin"


def test_the_same_without_waiting(api, made):
    async def many():
        async with made.AuthenticatedClient(base_url=api.url, token=api.admin, timeout=60) as client:
            ask = operation("get_plugins_health").asyncio
            return await asyncio.gather(*[ask(client=client) for _ in range(20)])
    assert all(answer.result.status.value in ("healthy", "degraded") for answer in asyncio.run(many()))


def test_without_a_token(api, made):
    with made.Client(base_url=api.url) as client:
        refused = operation("get_plugins_stats").sync_detailed(client=client)
    assert refused.status_code == 401 and refused.parsed.error.code.value == "unauthorized"
