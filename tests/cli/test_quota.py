"""A bound on what a plugin adds in a place that it may write: however it does it, it is held to it."""

import json
import os
import subprocess
import time
import urllib.request

import place as place_module
import pytest

MIB = 1 << 20
ASKS = {"optional_permissions": ["file_write"]}


@pytest.fixture
def out(tmp_path):
    place = tmp_path / "out"
    place.mkdir()
    yield place
    for path, folders, _ in os.walk(place):
        for folder in folders:
            os.chmod(os.path.join(path, folder), 0o700)
    subprocess.run(["rm", "-rf", place], check=True)


def fill(out, how, bytes=16 * MIB, wait=20000, **more):
    return json.dumps({"dir": str(out), "how": how, "bytes": bytes, "wait": wait, **more})


def allocated(place):
    return sum(os.lstat(os.path.join(path, name)).st_blocks * 512
               for path, _, names in os.walk(place) for name in names)


@pytest.fixture(scope="module")
def served(build, tmp_path_factory):
    """One server for all: each test has a directory of its own."""
    place = place_module.Place(build, tmp_path_factory.mktemp("quota"))
    place.serve()
    place.install(plugin="filler", only=("fill",), **ASKS)
    yield place
    place.close()


@pytest.fixture
def filler(served, out):
    served.good("grant", "alpha", f"file_write={out},max=1MiB")
    yield served
    served.moat("revoke", "alpha", "file_write")


def refused(place, out, parameters):
    done = place.moat("call", "alpha", "fill", parameters, "--json")
    assert done.status == 5, done
    error = done.failure
    assert error["code"] == "limit" and (str(out) in error["message"] or error["detail"]["limit"] == "file_size"), done
    return error


# ---- ways ----

@pytest.mark.parametrize("how", ["one", "many", "empty", "mapping", "deleted", "unmapped"])
def test_it_is_held_to_its_bound(filler, out, how):
    before = time.monotonic()
    error = refused(filler, out, fill(out, how, {"one": 64, "mapping": 64, "deleted": 8}.get(how, 16) * MIB))
    assert time.monotonic() - before < 15, "the wait would have been over"
    if error["detail"]["limit"] == "file_write":
        assert error["detail"]["value"] == MIB and error["detail"]["seen"] > MIB
        assert f"moat grant alpha file_write={out},max=" in error["message"]
    assert allocated(out) < 17 * MIB


def test_what_takes_no_room_is_no_offence(filler, out):
    for how, bytes in (("sparse", 8 * MIB), ("rewrite", 2 * MIB), ("links", 8 * MIB), ("deep", 20)):
        filler.good("call", "alpha", "fill", fill(out, how, bytes, 0))
    assert filler.result("call", "alpha", "fill", fill(out, "one", MIB // 2, 100)) == MIB // 2
    assert filler.result("info", "alpha")["health_status"] == "healthy"


def test_what_comes_from_another_place_counts(filler, out, tmp_path):
    """Both places lie in one granted directory: only then the kernel lets it be moved."""
    within = out / "within"
    within.mkdir()
    filler.good("grant", "alpha", f"file_write={within},max=8MiB")
    (within / "one").write_bytes(b"x" * 4 * MIB)
    filler.good("call", "alpha", "fill", fill(within, "rewrite", 65536, 0))
    done = filler.result("info", "alpha")["writes"]
    assert {w["place"]: w["max"] for w in done} == {str(out): 9 * MIB, str(within): 8 * MIB}
    filler.good("revoke", "alpha", f"file_write={out}")
    other = tmp_path / "other"
    other.mkdir()
    filler.good("grant", "alpha", f"file_write={other},max=64MiB")
    filler.good("grant", "alpha", f"file_write={out},max=1MiB")
    assert filler.good("call", "alpha", "fill", fill(other, "one", 3 * MIB, 0))
    parameters = fill(out, "moved", 0, 0, **{"from": str(other)})
    assert "EXDEV" in filler.moat("call", "alpha", "fill", parameters).err
    assert not (out / "one").exists()


def test_what_cannot_be_counted_is_too_much(filler, out):
    assert "200 deep" in refused(filler, out, fill(out, "deep", 300))["message"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every directory")
def test_a_closed_directory_hides_nothing(filler, out):
    assert "cannot be read" in refused(filler, out, fill(out, "closed", 4 * MIB))["message"]


def test_a_closed_directory_is_read_by_root(filler, out):
    if os.geteuid() == 0:
        refused(filler, out, fill(out, "closed", 4 * MIB))


def test_what_it_does_when_nobody_calls_is_seen(filler, out):
    filler.good("call", "alpha", "fill", fill(out, "later", 4 * MIB, 0))
    end = time.monotonic() + 60
    while filler.result("info", "alpha")["health_status"] != "failed":
        assert time.monotonic() < end
        time.sleep(0.1)
    assert allocated(out) <= 5 * MIB


@pytest.mark.skipif(not os.environ.get("MOAT_LONG"), reason="it takes a minute to use so little: with --long")
def test_what_it_does_little_by_little_is_seen(filler, out):
    filler.good("call", "alpha", "fill", fill(out, "drip", 64 * MIB, 0))
    end = time.monotonic() + 120
    while filler.result("info", "alpha")["health_status"] != "failed":
        assert time.monotonic() < end, allocated(out)
        time.sleep(1)
    assert allocated(out) <= 16 * MIB


# ---- afterwards ----

def test_it_stays_ended_until_there_is_room(filler, out):
    refused(filler, out, fill(out, "one", 4 * MIB))
    info = filler.result("info", "alpha")
    assert info["health_status"] == "failed" and str(out) in info["health_why"] and info["loading"] == "open_circuit"
    before = allocated(out)
    for _ in range(5): # nothing of it runs any more
        refused(filler, out, fill(out, "many", 4 * MIB, 0))
    assert allocated(out) == before and not filler.result("info", "alpha")["workers"]
    (out / "one").unlink()
    assert filler.result("call", "alpha", "fill", fill(out, "one", 65536, 0)) == 65536
    info = filler.result("info", "alpha")
    assert info["health_status"] == "healthy"
    assert info["writes"] == [{"place": str(out), "held": info["writes"][0]["held"], "max": MIB, "added": info["writes"][0]["added"]}]


def test_a_larger_bound_lets_it_go_on(filler, out):
    error = refused(filler, out, fill(out, "one", 4 * MIB))
    [denial] = [d for d in filler.result("denials", "alpha")["denials"] if d["object"].startswith(f"{out},max=")]
    assert denial["operation"] == "write more"
    assert denial["permission"] == "file_write" and denial["command"] in error["message"]
    assert denial["action"] == "fill" and denial["wall"] == "quota"
    filler.good(*denial["command"].split()[1:])
    assert filler.result("call", "alpha", "fill", fill(out, "rewrite", 65536, 0)) == 65536
    assert filler.result("info", "alpha")["writes"][0]["max"] >= 4 * MIB
    token = filler.result("token", "create", "--scope", "read")["token"]
    request = urllib.request.Request(f"{filler.ready['url']}/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        kills = [line for line in answer.read().decode().splitlines() if line.startswith("moat_plugin_quota_kills_total{")]
    assert kills and all(int(line.split()[-1]) >= 1 for line in kills)


def test_granted_anew_the_count_begins_anew(filler, out):
    refused(filler, out, fill(out, "one", 4 * MIB))
    filler.good("revoke", "alpha", f"file_write={out}")
    filler.good("grant", "alpha", f"file_write={out},max=1MiB")
    assert filler.result("call", "alpha", "fill", fill(out, "rewrite", 65536, 0)) == 65536
    assert filler.result("info", "alpha")["writes"][0]["held"] >= 4 * MIB


def test_a_restart_begins_no_new_count(place, out):
    place.install(plugin="filler", only=("fill",), **ASKS)
    (out / "there").write_bytes(b"x" * 3 * MIB)
    place.good("grant", "alpha", f"file_write={out},max=1MiB")
    for i in range(3): # each in a process of its own
        (out / "one").rename(out / f"was{i}") if i else None
        place.moat("call", "alpha", "fill", fill(out, "one", MIB // 2, 0))
    refused(place, out, fill(out, "one", MIB // 2, 5000))
    assert allocated(out) < 3 * MIB + MIB + 2 * MIB


def test_two_that_share_a_place_share_what_lies_there(filler, out):
    filler.install(name="beta", plugin="filler", only=("fill",), **ASKS)
    filler.good("grant", "beta", f"file_write={out},max=8MiB")
    filler.good("call", "beta", "fill", fill(out, "one", 4 * MIB, 0))
    refused(filler, out, fill(out, "rewrite", 65536, 5000)) # its bound is of the place, whoever filled it
    assert filler.result("info", "beta")["health_status"] == "healthy"
    filler.good("uninstall", "beta", "--purge")


# ---- said and kept ----

def test_the_setting_bounds_what_the_grant_does_not(place, out):
    place.install(plugin="filler", only=("fill",), **ASKS)
    place.good("settings", "set", "file_write_max", "2MiB")
    place.good("grant", "alpha", f"file_write={out}")
    place.serve()
    assert place.result("call", "alpha", "fill", fill(out, "rewrite", 65536, 0)) == 65536
    assert place.result("info", "alpha")["writes"][0]["max"] == 2 * MIB
    refused(place, out, fill(out, "one", 8 * MIB))


def test_a_file_granted_alone_is_held_to_it_too(place, out):
    (out / "one").write_text("")
    place.install(plugin="filler", only=("fill",), **ASKS)
    place.good("grant", "alpha", f"file_write={out / 'one'},max=1MiB")
    place.serve()
    refused(place, out / "one", fill(out, "one", 8 * MIB))


def test_documents_carry_the_bound(place, out):
    filler = place
    place.serve()
    place.install(plugin="filler", only=("fill",), **ASKS)
    place.good("grant", "alpha", f"file_write={out},max=1MiB")
    document = json.loads(filler.good("export").out)
    assert document["plugins"][0]["decisions"][0]["scope"] == f"{out},max=1MiB"
    file = filler.root / "document.json"
    file.write_text(json.dumps(document))
    filler.good("import", file)
    assert filler.result("grants", "alpha")["grants"][0]["scope"] == f"{out},max=1MiB"
    refused(filler, out, fill(out, "one", 8 * MIB))
    [weighed] = filler.result("audit", "--action", "grant.weighed")["records"]
    assert weighed["subject"] == "alpha"


def test_what_is_no_bound(filler, out):
    filler.bad(2, "bad_usage", "grant", "alpha", f"file_write={out},max=1TB")
    assert len(filler.result("grants", "alpha")["grants"]) == 1


def test_a_revocation_is_of_the_place(filler, out):
    filler.good("grant", "alpha", f"file_write={out},max=4MiB")
    assert len(filler.result("grants", "alpha")["grants"]) == 2
    filler.good("revoke", "alpha", f"file_write={out}")
    assert not filler.result("grants", "alpha")["grants"]
