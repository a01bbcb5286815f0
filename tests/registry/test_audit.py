"""The audit trail from outside: its chain computed anew from docs/audit.md, and what tampering does to its commands."""

import hashlib
import json
import select
import sqlite3
import struct
import time
import urllib.error
import urllib.request

import pytest

FIELDS = "seq time count actor call action subject outcome detail hash".split()


def text(value):
    data = value.encode()
    return struct.pack(">I", len(data)) + data


def record_hash(before, r):
    return hashlib.sha256(b"moat-audit-1" + before + struct.pack(">QQQ", r["seq"], r["time"], r["count"]) + b"".join(
        text(r[name]) for name in ("actor", "call", "action", "subject", "outcome", "detail"))).digest()


def origin(identity):
    return hashlib.sha256(b"moat-audit-root-1" + identity.encode()).digest()


def database(place):
    return place.home / "registry" / "registry.db"


def query(place, sql, *values):
    """On the database itself; nobody else has it open."""
    db = sqlite3.connect(database(place))
    rows = db.execute(sql, values).fetchall()
    db.commit()
    db.close()
    return rows


def records(place):
    return [dict(zip(FIELDS, row)) for row in query(place, f"SELECT {', '.join(FIELDS)} FROM audit ORDER BY seq")]


def do_things(place):
    place.have("data_processor")
    place.good("settings", "set", "log_level", "warn")
    place.good("unload", "data_processor")
    place.good("load", "data_processor")


def test_the_chain_is_what_the_document_says(place):
    do_things(place)
    [(identity,)] = query(place, "SELECT id FROM identity")
    before, chain = origin(identity), records(place)
    assert len(chain) >= 5
    for n, r in enumerate(chain, 1):
        assert r["seq"] == n
        before = record_hash(before, r)
        assert before == r["hash"], r
    assert query(place, "SELECT seq, hash FROM audit_head") == [(len(chain), before)]
    head = place.good("audit", "head", "--json").json
    assert head == {"registry": identity, "count": len(chain), "hash": before.hex()}
    assert place.good("audit", "head").out == f"{len(chain)}:{before.hex()}\n"


def test_what_the_command_shows_is_what_is_there(either):
    do_things(either)
    begun = 1 if either.server else 0  # a server makes itself a token
    shown = either.good("audit", "--json").json["records"]
    assert [r["action"] for r in shown[5:]] == ["token.create"] * begun
    shown = shown[:5]
    assert [r["action"] for r in reversed(shown)] == [
        "trust.add", "plugin.install", "setting.set", "plugin.want", "plugin.want"]
    assert shown[-2]["subject"] == "data_processor" and shown[-2]["detail"]["version"] == "1.0.0"
    assert shown[0]["detail"] == {"wanted": "loaded"}
    for r in shown:
        assert r["outcome"] == "ok" and r["count"] == 1 and len(r["hash"]) == 64
    lines = either.good("audit", "--subject", "data_processor").out.splitlines()
    assert len(lines) == 3 and "plugin.install" in lines[0]
    page = either.good("audit", "--limit", "2", "--json").json
    assert [r["seq"] for r in page["records"]] == [5 + begun, 4 + begun] and page["next"] == 4 + begun
    assert either.good("audit", "--action", "trust.", "--json").json["records"][0]["seq"] == 1 + begun
    assert either.good("audit", "--since", "1h", "--json").json["records"][:5] == shown
    assert either.good("audit", "--actor", "nobody").out == "Nothing of that kind has happened.\n"
    either.bad(2, "bad_request", "audit", "--since", "yesterday")


def test_follow_shows_what_comes(place):
    place.serve()
    place.have("data_processor")
    follower = place.start("audit", "-f", "--limit", "1")
    try:
        assert "plugin.install" in follower.stdout.readline()
        place.good("settings", "set", "log_level", "warn")
        assert select.select([follower.stdout], [], [], 30)[0], "nothing came"
        assert "setting.set" in follower.stdout.readline()
    finally:
        follower.kill()
        follower.communicate()


@pytest.mark.parametrize("tamper, bad", [
    ("UPDATE audit SET subject = 'other' WHERE seq = 2", 2),
    ("DELETE FROM audit WHERE seq = 3", 3),
    ("DELETE FROM audit WHERE seq >= 4", 4),
    ("UPDATE audit SET detail = '{\"wanted\":\"stopped\"}' WHERE seq = 5", 5),
])
def test_tampering_is_found_and_named(place, tamper, bad):
    do_things(place)
    assert place.good("audit", "verify").out.endswith("The audit trail is whole.\n")
    query(place, tamper)
    done = place.moat("audit", "verify")
    assert done.status == 1 and f"record {bad} " in done.out, done
    document = place.moat("audit", "verify", "--json")
    assert document.status == 1 and document.json["valid"] is False and document.json["bad"] == bad
    # It is told, and changes nothing of what Moat does.
    assert place.good("list", "--json").json["plugins"][0]["name"] == "data_processor"


def test_a_forged_chain_does_not_meet_its_anchor(place):
    do_things(place)
    anchor = place.good("audit", "head").out.strip()
    place.good("settings", "set", "log_level", "info")
    place.good("audit", "verify", "--anchor", anchor)
    [(identity,)] = query(place, "SELECT id FROM identity")
    before, chain = origin(identity), records(place)
    chain[1]["actor"] = "uid:12345"
    db = sqlite3.connect(database(place))
    for r in chain:
        before = record_hash(before, r)
        db.execute("UPDATE audit SET actor = ?, hash = ? WHERE seq = ?", (r["actor"], before, r["seq"]))
    db.execute("UPDATE audit_head SET hash = ?", (before,))
    db.commit()
    db.close()
    place.good("audit", "verify")
    done = place.moat("audit", "verify", "--anchor", anchor)
    assert done.status == 1 and "record 5 " in done.out and "rewritten" in done.out, done
    place.bad(2, "bad_request", "audit", "verify", "--anchor", "5:abc")


def test_signed_heads(place):
    do_things(place)
    place.good("keygen", "auditor.key")
    place.good("keygen", "other.key")
    done = place.moat("audit", "verify", "--key", "auditor.key.pub")
    assert done.status == 1 and "no head is signed" in done.out
    place.good("audit", "sign", "auditor.key")
    check = place.good("audit", "verify", "--key", "auditor.key.pub", "--json").json
    assert check["signatures"] == 1 and check["signed_upto"] == 5 and check["records"] == 6
    assert place.moat("audit", "verify", "--key", "other.key.pub").status == 1
    query(place, "UPDATE audit_sign SET hash = randomblob(32)")
    assert place.moat("audit", "verify").status == 1


def test_rotation_keeps_the_chain(place):
    do_things(place)
    anchor = place.good("audit", "head").out.strip()
    first = place.good("audit", "rotate", "--keep", "2", "--json").json
    assert first["upto"] == 3
    place.good("audit", "rotate")
    folder = place.home / "registry" / "audit"
    files = sorted(folder.iterdir())
    assert [f.name for f in files] == [f"{1:020}-{3:020}.jsonl", f"{4:020}-{6:020}.jsonl"]
    [(identity,)] = query(place, "SELECT id FROM identity")
    before = origin(identity)
    for file in files:
        head, *lines = map(json.loads, file.read_text().splitlines())
        assert head["moat_audit"] == 1 and head["registry"] == identity and head["hash"] == before.hex()
        for r in lines:
            assert list(r) == FIELDS
            before = record_hash(before, r)
            assert before.hex() == r["hash"]
    [kept] = records(place)
    assert kept["action"] == "audit.rotate" and record_hash(before, kept) == kept["hash"]
    check = place.good("audit", "verify", "--anchor", anchor, "--json").json
    assert [s["valid"] for s in check["segments"]] == [True, True] and check["records"] == 1
    place.bad(8, "wrong_state", "audit", "rotate", "--keep", "5")
    # What a rotation that died has left is not taken for a segment.
    (folder / f"{7:020}-{7:020}.jsonl").write_text("half")
    place.good("audit", "verify")
    files[0].write_text(files[0].read_text().replace('"actor":"', '"actor":"x', 1))
    done = place.moat("audit", "verify")
    assert done.status == 1 and "record 1 " in done.out, done


def test_a_trail_that_is_not_whole_is_not_rotated(place):
    do_things(place)
    query(place, "DELETE FROM audit WHERE seq = 2")
    place.bad(8, "wrong_state", "audit", "rotate")
    assert not (place.home / "registry" / "audit").exists()


# ---- what the front door refuses ----

def knock(place, method, path, token=None):
    """The code of the failure."""
    request = urllib.request.Request(place.ready["url"] + path, method=method, data=b"1" if method == "POST" else None,
                                     headers={"Content-Type": "application/json"})
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    with refused.value as answer:
        return json.load(answer)["error"]["code"]


def test_refusals_of_the_front_door_are_folded_with_their_counts(place):
    place.serve()
    place.install("1.0.0", required_permissions=["file_read"], optional_permissions=[])
    reader, caller = (place.result("token", "create", "--scope", s) for s in ("read", "execute:alpha"))
    knocks = [
        # who, the route, its code; the actor and the subject that the trail names
        (None, "GET", "/api/plugins/stats", "unauthorized", "nobody", "/api/plugins/stats"),
        ("00" * 32, "GET", "/api/grants", "unauthorized", "nobody", "/api/grants"),
        (reader["token"], "POST", "/api/stop-all", "forbidden", f"token:{reader['id']}", "/api/stop-all"),
        (caller["token"], "POST", "/api/plugins/execute/alpha/echo", "permission_denied", f"token:{caller['id']}", "alpha"),
    ]
    for _ in range(40):
        for token, method, path, code, *_ in knocks:
            assert knock(place, method, path, token) == code
    for _ in range(50):
        records = place.result("audit", "--action", "request.refused", "--limit", "1000")["records"]
        if sum(r["count"] for r in records) == 40 * len(knocks):
            break
        time.sleep(0.1)
    for _, _, _, code, actor, subject in knocks:
        told = [r for r in records if (r["outcome"], r["actor"], r["subject"]) == (code, actor, subject)]
        assert sum(r["count"] for r in told) == 40, (code, records)
    assert len(records) < 40 * len(knocks), "not one record for each"
    assert place.result("audit", "verify")["valid"] is True
