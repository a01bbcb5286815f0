"""What a supervisor and an operator rely on: the unit leaves workers their walls, an end loses no call, a stop stops,
a setting holds at once."""

import configparser
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import wire
from client import Api, Held, until
from test_transport import make_certificate

from place import Place

SBIN = os.environ["PATH"] + ":/usr/sbin:/sbin"  # where some have administrators' programs
SLEEP = "/api/plugins/execute/echo/sleep"


@pytest.fixture
def api(build, tmp_path):
    place = Place(build, tmp_path)
    place.have("echo")
    api = Api(place)
    yield api
    place.close()


def running(api):
    return api.good("GET", "/api/calls")["running"]


# ---- ending ----


def test_an_end_loses_no_call_and_takes_no_new_one(api):
    held = [Held(api, SLEEP, {"ms": 1500}) for _ in range(3)]
    until(lambda: len(running(api)) == 3)
    standing = http.client.HTTPConnection(*wire.address(api.url), timeout=30)
    assert wire.request(standing, "GET", "/api/plugins/stats", None, api.admin).status == 200
    api.place.server.send_signal(signal.SIGTERM)
    until(lambda: refused(api))
    reply = wire.request(standing, "GET", "/api/plugins/stats", None, api.admin)
    assert (reply.status, reply.code, reply.headers["Connection"]) == (503, "draining", "close")
    assert reply.headers["Retry-After"]
    api.place.server.send_signal(signal.SIGHUP)  # which is none to end at once
    for one in held:
        one.join()
        assert one.answer.status_code == 200 and one.answer.json()["result"] is True
    assert api.place.server.wait(30) == 0


def refused(api):
    try:
        wire.dial(api.url).close()
        return False
    except OSError:
        return True


def test_a_second_signal_waits_for_nobody(api):
    held = Held(api, SLEEP, {"ms": 600000, "deaf": True})
    until(lambda: running(api))
    api.place.server.send_signal(signal.SIGTERM)
    until(lambda: refused(api))
    begun = time.monotonic()
    api.place.server.send_signal(signal.SIGTERM)
    held.join()
    assert held.answer.json()["error"]["code"] == "cancelled"
    assert api.place.server.wait(30) == 0 and time.monotonic() - begun < 8


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_no_token_is_written_to_the_journal(build, tmp_path, options):
    place, said = Place(build, tmp_path), tmp_path / "journal"
    with open(said, "w") as out:
        stream = os.fstat(out.fileno())
        server = subprocess.Popen([build / "moat", "serve", "--listen", "127.0.0.1:0", "--home", place.home, *options],
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                  env={**os.environ, "JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino}"})
    try:
        until(lambda: '"event":"listening"' in said.read_text() and place.moat("token", "list").status == 0)
        assert place.good("token", "list", "--json").json == {"tokens": []}
        place.good("token", "create", "--scope", "admin")
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    text = said.read_text()
    assert "moat token create --scope admin" in text and not re.search("[0-9a-f]{64}", text)


def test_what_is_damaged_is_answered_as_described(api):
    [package] = (api.place.home / "packages" / "sha256").glob("*.moat")
    package.chmod(0o600)
    package.write_bytes(package.read_bytes()[:-1] + b"?")
    api.bad(422, "package_damaged", "GET", "/api/plugins/info/echo/package")


def test_a_hangup_ends_nothing(api):
    held = Held(api, SLEEP, {"ms": 1000})
    until(lambda: running(api))
    for _ in range(5):
        api.place.server.send_signal(signal.SIGHUP)
    held.join()
    assert held.answer.status_code == 200 and api.good("GET", "/api/plugins/stats")


def test_a_hangup_brings_the_new_certificate(build, tmp_path):
    """And one that cannot be used leaves the old one, with a line that says why."""
    place = Place(build, tmp_path)
    cert, key = tmp_path / "cert", tmp_path / "key"
    one, two = make_certificate(tmp_path, "one"), make_certificate(tmp_path, "two")

    def put(pair):
        for source, target in zip(pair, (cert, key)):
            shutil.copy(source, target.with_suffix(".new"))
            target.with_suffix(".new").chmod(0o600)
            target.with_suffix(".new").rename(target)

    def shown():
        return ssl.get_server_certificate(wire.address(ready["url"])) == two[0].read_text()

    put(one)
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        ready = place.serve("--tls-cert", cert, "--tls-key", key, stderr=log)
    try:
        assert ready["url"].startswith("https://") and not shown()
        put(two)
        place.server.send_signal(signal.SIGHUP)
        until(shown)
        cert.write_text("nonsense")
        place.server.send_signal(signal.SIGHUP)
        until(lambda: "cannot" in (tmp_path / "log").read_text() or "no certificate" in (tmp_path / "log").read_text())
        assert shown()
    finally:
        place.close()


# ---- stopping ----


def workers(pid):
    """Of the server: its grandchildren, by way of the spawner."""
    found = []
    for task in Path("/proc").glob("[0-9]*"):
        try:
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            found.append((int(task.name), int(fields[1]), fields[0]))
        except (OSError, IndexError):
            continue
    spawners = {p for p, parent, _ in found if parent == pid}
    return {p for p, parent, state in found if parent in spawners and state != "Z"}


def test_stop_all_leaves_no_worker_and_no_call(api):
    place = api.place
    assert place.good("install", place.pack("1.0.0")).out
    pids = {p["pid"] for name in ("echo", "alpha") if api.good("POST", f"/api/plugins/load/{name}")
            for p in api.good("GET", "/api/plugins/loaded")["plugins"]}
    assert len(pids) == 2 and pids <= workers(place.server.pid)
    held = [Held(api, SLEEP, {"ms": 600000, "deaf": True}), Held(api, SLEEP.replace("echo", "alpha", 1), {"ms": 600000})]
    until(lambda: len(running(api)) == 2)
    assert sorted(api.good("POST", "/api/stop-all")["stopped"]) == ["alpha", "echo"]
    assert not pids & workers(place.server.pid)
    api.bad(409, "wrong_state", "POST", "/api/plugins/execute/echo/echo", {})
    api.bad(409, "wrong_state", "POST", "/api/plugins/execute/alpha/echo", {})
    for one in held:
        one.join()
        assert one.answer.status_code >= 400, one.answer.text
    assert not running(api) and api.good("GET", "/api/plugins/loaded")["plugins"] == []


def test_what_does_not_fit_starts_no_worker(api):
    for body, code, status in (('{"ms":"x"}', "bad_parameters", 422), ('{"ms":1,"ms":2}', "bad_parameters", 422),
                               ("{", "bad_json", 400), (b'"\xff"', "bad_json", 400), ("[" * 300 + "]" * 300, "bad_json", 400)):
        api.bad(status, code, "POST", SLEEP, body)
    assert api.good("GET", "/api/plugins/loaded")["plugins"] == []


# ---- settings that hold at once ----


def test_the_level_of_the_log_holds_at_once(build, tmp_path):
    place = Place(build, tmp_path)
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        api = Api(place, stderr=log)
    quiet = api.bad(404, "no_such_plugin", "GET", "/api/plugins/info/nothing")["id"]
    api.good("PUT", "/api/settings/log_level", '"debug"')
    told = api.bad(404, "no_such_plugin", "GET", "/api/plugins/info/nothing")["id"]
    api.good("PUT", "/api/settings/log_level", '"error"')
    place.close()
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [e["id"] for e in events if e["event"] == "refused"] == [told] and quiet != told


# ---- the unit ----


def unit(root, name):
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    parser.optionxform = str
    parser.read(root / "contrib" / name)
    return parser


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze on this machine")
def test_systemd_knows_every_line_of_the_units(root, build, tmp_path):
    for name in ("moat.service", "moat.socket"):
        text = (root / "contrib" / name).read_text().replace("/usr/bin/moat", str(build / "moat"))
        (tmp_path / name).write_text(text.replace("Documentation=man:moat(1)\n", ""))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", tmp_path / "moat.service", tmp_path / "moat.socket"],
                          capture_output=True, text=True, timeout=60)
    complaints = [line for line in done.stderr.splitlines() if str(tmp_path) in line or line.startswith("moat.")]
    assert not complaints, "\n".join(complaints)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze on this machine")
def test_systemd_finds_the_unit_no_more_exposed_than_walls_need(root):
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=45", root / "contrib/moat.service"],
                          capture_output=True, text=True, timeout=60)
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd-analyze is older than version 250")
    assert done.returncode == 0, done.stdout + done.stderr


def profiles(root):
    return (root / "contrib" / "apparmor.moat").read_text()


def test_the_unit_names_the_profile_that_no_path_attaches(root):
    """A profile that is attached by path would hold for `moat keygen` in somebody's home as well."""
    name = unit(root, "moat.service")["Service"]["AppArmorProfile"].removeprefix("-")
    heads = re.findall(r"^profile +(\S+) *(/\S*)? *flags=\((\S*)\)", profiles(root), re.M)
    assert (name, "", "attach_disconnected") in heads
    assert all(flags == "unconfined" for _, path, flags in heads if path), heads


@pytest.mark.skipif(not shutil.which("apparmor_parser", path=SBIN), reason="no apparmor_parser on this machine")
def test_apparmor_reads_the_profiles(root, tmp_path):
    parser = shutil.which("apparmor_parser", path=SBIN)
    version = subprocess.run([parser, "--version"], capture_output=True, text=True, timeout=60).stdout
    text = profiles(root)
    if int(re.search(r"version (\d+)", version)[1]) < 4:  # it knows all but user namespaces
        text = re.sub(r"^ *userns,$", "", text, flags=re.M).replace("abi/4.0", "abi/3.0")
    (tmp_path / "moat").write_text(text)
    done = subprocess.run([parser, "-Q", "-K", tmp_path / "moat"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take so much away")
def test_the_unit_leaves_workers_their_walls(root, build, sanitized):
    """What moat.service takes from the host and can be taken without systemd: capabilities, new privileges, a system
    that can be written, the temporary files of others."""
    if sanitized:
        pytest.skip("says nothing of a sanitizer's own needs")
    service = unit(root, "moat.service")["Service"]
    assert service["CapabilityBoundingSet"] == "" and service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict" and service["PrivateTmp"] == "yes"
    for name in ("RestrictNamespaces", "ProtectProc", "ProcSubset", "ProtectKernelTunables", "ProtectControlGroups",
                 "PrivateUsers", "ProtectHostname", "MemoryDenyWriteExecute", "SystemCallFilter"):
        assert name not in service, f"{name} takes away what walls are built of"
    base = Path(tempfile.mkdtemp(prefix="moat-unit-", dir="/var/tmp"))
    try:
        programs = base / "programs"
        programs.mkdir()
        for name in ("moat", "moat-worker", "moat-helper"):
            shutil.copy(build / name, programs / name)
        shutil.copytree(build / "packages", programs / "packages")
        package = next((build / "packages-test").glob("echo-*.moat"))
        shutil.copy(package, programs / "echo.moat")
        (base / "state").mkdir()
        for path in [base, *base.rglob("*")]:
            os.chown(path, 65534, 65534)
        base.chmod(0o755)
        script = f"""set -e
        mount --make-rprivate /
        mount --bind {base} {base}
        mount -t tmpfs tmpfs /tmp
        mount -o remount,bind,ro /
        umask 077
        exec setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs \
            sh -c 'export MOAT_HOME={base}/state/home
            {programs}/moat trust add demo {programs}/packages/demo.pub > /dev/null
            {programs}/moat install {programs}/echo.moat > /dev/null
            {programs}/moat call echo echo "[1]"
            {programs}/moat stats --json
            grep -E "^(NoNewPrivs|CapBnd)" /proc/self/status'
        """
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        called, stats, *status = done.stdout.splitlines()
        assert called == "[1]" and json.loads(stats)["security"]["wall"] == "whole"
        assert [line.split()[1] for line in status] == ["0" * 16, "1"]
    finally:
        shutil.rmtree(base)
