"""Every route, asked so that it has something to tell: what it answers is what /openapi.json says, with no member that
is not described."""

import sqlite3
import subprocess
import threading

import pytest
from client import Api, until

from place import Place

OCTETS = {"Content_Type": "application/octet-stream"}
CONFIG = {"type": "object", "properties": {"precision": {"type": "integer", "default": 6},
                                           "key": {"type": "string", "secret": True}}}


@pytest.fixture
def api(build, tmp_path):
    place = Place(build, tmp_path)
    api = Api(place)
    yield api
    place.close()


# ---- the walk ----


def install(api, version, **more):
    return api.good("POST", "/api/plugins/install?grant=file_read%3D%2Fetc", api.place.pack(version, **more).read_bytes(),
                    **OCTETS)


def have_publisher(api):
    api.place.good("keygen", "acme.key")
    pem = (api.place.root / "acme.key.pub").read_text()
    key = api.good("POST", "/api/trust", {"publisher": "acme", "public_key": pem, "names": "alpha"})["key_id"]
    api.good("PUT", "/api/trust/acme", {"names": "alpha,beta"})
    assert api.good("GET", "/api/trust")["publishers"]
    return key


def have_versions(api):
    only = ("echo", "sleep", "fail", "read", "log")
    assert api.good("POST", "/api/plugins/validate", api.place.pack("1.0.0", only=only, config=CONFIG).read_bytes(),
                    **OCTETS)["valid"]
    assert install(api, "1.0.0", only=only, config=CONFIG)["current"]
    later = {"descriptions": {"echo": "Says it again"}, "limits": {"memory": "32MiB"}, "description": "Another",
             "optional_permissions": ["file_read", "network_access"], "keywords": ["new"], "config": CONFIG}
    install(api, "1.1.0", only=("echo", "sleep", "count"), **later)
    diff = api.good("GET", "/api/diff?from=alpha%401.0.0&to=alpha%401.1.0")
    assert diff["actions"]["added"] and diff["actions"]["removed"] and diff["actions"]["changed"]
    assert diff["permissions"] and diff["limits"] and diff["other"] and diff["description"]
    assert api.good("POST", "/api/diff?from=alpha", api.place.pack("1.2.0", only=only, **later).read_bytes(), **OCTETS)


def decide(api):
    api.good("POST", "/api/plugins/info/alpha/grants", {"grant": "file_read=/usr"})
    api.good("POST", "/api/plugins/info/alpha/refusals", {"permission": "execute_code"})
    assert api.good("GET", "/api/plugins/info/alpha/grants")["grants"] and api.good("GET", "/api/grants")["grants"]
    api.good("DELETE", "/api/plugins/info/alpha/grants?grant=file_read%3D%2Fusr")
    never = {"subject": "publisher:other", "never": "file_write=/etc"}
    api.good("POST", "/api/ceilings", never)
    assert api.good("GET", "/api/ceilings")["ceilings"]
    api.good("DELETE", "/api/ceilings?subject=publisher%3Aother&never=file_write%3D%2Fetc")
    api.good("POST", "/api/sources", {"name": "main", "kind": "sqlite", "place": str(api.place.root / "main.db")})
    assert api.good("GET", "/api/sources")["sources"]
    api.good("DELETE", "/api/sources/main")


def bound(api):
    data = api.place.root / "data.db"
    sqlite3.connect(data).execute("CREATE TABLE t (a)").connection.commit()
    api.good("POST", "/api/ceilings", {"subject": "publisher:acme", "never": "network_access"})
    assert api.good("GET", "/api/ceilings")["ceilings"]
    api.good("DELETE", "/api/ceilings?subject=publisher%3Aacme&never=network_access")
    api.good("POST", "/api/sources", {"name": "notes", "kind": "sqlite", "place": str(data)})
    assert api.good("GET", "/api/sources")["sources"]
    api.good("DELETE", "/api/sources/notes")


def run(api):
    assert api.good("POST", "/api/plugins/load/alpha")["state"] == "ready"
    assert api.good("POST", "/api/plugins/execute/alpha/echo", [1]) == [1]
    failed = api.bad(422, "action_failed", "POST", "/api/plugins/execute/alpha/fail", {"code": "a", "message": "b"})
    assert api.good("GET", f"/api/why/{failed['id']}")["code"] == "action_failed"
    api.ask("POST", "/api/plugins/execute/alpha/read", {"path": "/var/secret"})
    api.good("GET", "/api/plugins/info/alpha/denials")
    api.good("GET", "/api/plugins/info/alpha/proposals")
    api.good("GET", "/api/denials")
    held = threading.Thread(target=lambda: api.again().ask("POST", "/api/plugins/execute/alpha/sleep", {"ms": 600000}))
    held.start()
    until(lambda: api.good("GET", "/api/calls")["running"])
    api.good("DELETE", f"/api/calls/{api.good('GET', '/api/calls')['running'][0]['id']}")
    held.join()
    api.good("POST", "/api/calls", [{"plugin": "alpha", "action": "echo"}, {"plugin": "alpha", "action": "fail"}])
    assert api.good("GET", "/api/plugins/loaded")["plugins"] and api.good("GET", "/api/plugins/available")["plugins"]
    info = api.good("GET", "/api/plugins/info/alpha")
    assert info["last_errors"] and info["execution_count"] and info["permissions"]
    assert api.good("GET", "/api/plugins/info/alpha/errors")["last_errors"]
    api.good("POST", "/api/plugins/execute/alpha/log", {"text": "a line"})
    until(lambda: api.good("GET", "/api/log")["records"])
    api.good("POST", "/api/plugins/reload/alpha")


def configure(api):
    target = "/api/plugins/info/alpha/config"
    api.good("PUT", target + "/precision", 9)
    api.good("PUT", target + "/key", '"hidden"')
    told = api.good("GET", target)
    assert told["config"]["precision"] == 9 and told["secrets"] == [{"name": "key", "set": True}]
    api.good("DELETE", target + "/precision")
    assert api.good("GET", target + "-history")["revisions"]


def change_versions(api):
    assert api.good("POST", "/api/plugins/use/alpha%401.1.0?accept=all")["before"] == "1.0.0"
    api.good("POST", "/api/plugins/rollback/alpha")
    api.good("POST", "/api/plugins/pin/alpha")
    api.good("POST", "/api/plugins/unpin/alpha")
    assert api.good("POST", "/api/plugins/deprecate/alpha%401.1.0?reason=old")["deprecated"] == "old"
    assert api.good("POST", "/api/plugins/archive/alpha%401.1.0")["state"] == "archived"
    assert len(api.good("GET", "/api/plugins/info/alpha/versions")["versions"]) == 2
    assert api.ask("GET", "/api/plugins/info/alpha/package").status_code == 200
    api.good("POST", "/api/plugins/deactivate/alpha")
    api.good("POST", "/api/plugins/activate/alpha")
    api.good("POST", "/api/plugins/unload/alpha")
    api.good("POST", "/api/stop-all")


def sign(api, head):
    """Signs the head as docs/audit.md says, with openssl."""
    api.place.good("keygen", "auditor.key")
    text, key = api.place.root / "head", api.place.root / "auditor.key"
    text.write_text(f"moat-audit-head-1\n{head['registry']}\n{head['count']}\n{head['hash']}\n")
    signature = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", text], check=True,
                               capture_output=True).stdout
    public = subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"], check=True,
                            capture_output=True).stdout[-32:]
    return {"head": f"{head['count']}:{head['hash']}", "key": public.hex(), "signature": signature.hex()}


def audit(api):
    signed = sign(api, api.good("GET", "/api/audit/head"))
    api.good("POST", "/api/audit/heads", signed)
    assert api.good("GET", f"/api/audit/verify?key={signed['key']}")["signed_upto"] > 0
    assert api.good("GET", "/api/audit?limit=3")["next"]
    assert api.good("POST", "/api/audit/rotate?keep=2")["file"]
    checked = api.good("GET", "/api/audit/verify")
    assert checked["valid"] and checked["segments"]


def keep_house(api):
    for target in ("/api/plugins/stats", "/api/plugins/health", "/api/plugins/capabilities", "/api/plugins/permissions",
                   "/api/settings", "/api/settings/pool", "/api/tokens"):
        api.good("GET", target)
    api.good("PUT", "/api/settings/token_requests", 0)
    api.good("DELETE", f"/api/tokens/{api.token('read')['id']}")
    assert api.good("POST", "/api/backup", {"file": str(api.place.root / "kept.moatbackup")})["packages"] == 2
    assert api.good("POST", "/api/check")["good"]
    exported = api.ask("GET", "/api/export")
    assert exported.status_code == 200
    api.good("POST", "/api/import", exported.content)
    alpha = exported.json()["plugins"][0]
    one = {"name": "alpha", "version": alpha["current"], "sha256": alpha["versions"][0]["sha256"], "wanted": "lazy",
           "grants": ["file_read=/usr"], "refuse": ["execute_code"], "config": {"precision": 7}, "pinned": True}
    for target, n in (("/api/apply?check", 5), ("/api/apply", 5), ("/api/apply", 0)):
        assert len(api.good("POST", target, {"moat_apply": 1, "plugins": [one]})["changes"]) == n
    assert api.ask("GET", "/metrics").status_code == api.ask("GET", "/openapi.json").status_code == 200


def tasks(api):
    """alpha is pinned, and has `echo`; a task that waits for nothing is there to be cancelled."""
    one = {"id": "a", "capability": "custom", "action": "echo", "parameters": {"x": {"$from": "/input"}}}
    made = {"task": 1, "name": "a task", "input": 7, "steps": [one]}
    done = api.good("POST", "/api/tasks?explain", made)
    assert done["status"] == "succeeded" and done["steps"][0]["choice"]
    failing = {"task": 1, "steps": [{"id": "a", "plugin": "alpha", "action": "none"}]}
    assert api.good("POST", "/api/tasks/check", failing)["findings"]
    assert api.good("POST", "/api/tasks/select", {"capability": "custom", "action": "echo", "explain": True})["candidates"]
    api.good("GET", f"/api/tasks/{done['id']}")
    assert "event: task_ended" in api.ask("GET", f"/api/tasks/{done['id']}/events").text
    assert api.good("GET", "/api/tasks")["tasks"]
    assert api.good("GET", "/api/tasks/stats")["plugins_used"]
    sleeps = {"task": 1, "steps": [{"id": "a", "plugin": "alpha", "action": "sleep", "parameters": {"ms": 60000}}]}
    api.good("DELETE", f"/api/tasks/{api.good('POST', '/api/tasks?wait=false', sleeps)['id']}")


def look_ahead(api):
    assert {line["check"] for line in api.good("GET", "/api/production")["lines"]} >= {"backup", "tokens"}
    api.good("GET", "/api/forecast?plugin=alpha&limit=5")
    assert api.good("POST", "/api/forecast", {"plugin_executions": [1] * 10, "limit": 1})["limit"]["expected_ahead"] == 1


def watch(api):
    assert api.good("GET", "/api/report?since=1h")["plugins"]
    assert api.good("GET", "/api/plugins/info/alpha/config-history")["revisions"]
    assert api.good("GET", "/api/parameters")["parameters"]
    assert api.good("PUT", "/api/parameters/settings.log_level?why=quiet", '"warn"')["value"] == "warn"
    assert api.good("GET", "/api/parameters/settings.log_level")["history"][0]["why"] == "quiet"
    api.good("POST", "/api/monitor", {"plugin": "billing", "action": "charge", "success": True, "duration": "3ms"})
    assert {"alpha", "billing"} <= {e["plugin"] for e in api.good("GET", "/api/monitor")["entries"]}


def part(api, key):
    other = api.place.good("keygen", "other.key") and (api.place.root / "other.key.pub").read_text()
    api.good("POST", "/api/trust", {"publisher": "other", "public_key": other})
    assert api.good("POST", "/api/trust/transfer", {"plugin": "alpha", "publisher": "other"})["before"] == "acme"
    api.good("DELETE", f"/api/trust/acme/{key}")
    api.good("DELETE", "/api/trust/other")
    assert api.good("DELETE", "/api/plugins/uninstall/alpha?purge=true")["removed"] == 2


def test_every_route_answers_as_it_says(api):
    key = have_publisher(api)
    for step in (have_versions, decide, bound, run, tasks, configure, change_versions, audit, look_ahead, watch, keep_house):
        step(api)
    part(api, key)
    silent = [f"{m} {p}" for m, p, _ in api.contract.operations if (m, p, 200) not in api.contract.seen]
    assert not silent, f"these routes were never asked with success: add a step to this file for {silent}"
