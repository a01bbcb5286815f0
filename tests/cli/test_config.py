"""config get, set, unset: checked by the plugin's schema, taken by what runs, secrets given to nobody else."""

import json

import pytest

SCHEMA = {
    "type": "object",
    "properties": {
        "init_ms": {"type": "integer", "minimum": 0, "maximum": 60000, "default": 0},
        "refuse": {"type": "string", "default": ""},
        "ratio": {"type": "number"},
        "api_key": {"type": "string", "secret": True},
    },
    "additionalProperties": False,
}


@pytest.fixture
def configured(either):
    either.install("1.0.0", config=SCHEMA)
    return either


def test_defaults_then_what_was_set(configured):
    now = configured.result("config", "get", "alpha")
    assert now["config"] == {"init_ms": 0, "refuse": ""} and now["set"] == {} and now["revision"] == 0
    assert now["secrets"] == [{"name": "api_key", "set": False}]
    after = configured.result("config", "set", "alpha", "ratio", "0.10")
    assert after["revision"] == 1 and after["set"] == {"ratio": 0.10}
    assert '"ratio":0.10' in configured.good("config", "get", "alpha", "--json").out, "as it was written"
    assert configured.result("config", "set", "alpha", "init_ms", "-", input="5\n")["config"]["init_ms"] == 5
    assert configured.result("config", "unset", "alpha", "init_ms")["config"]["init_ms"] == 0
    assert "ratio = 0.1" in configured.good("config", "get", "alpha").out


def test_the_schema_decides(configured):
    configured.bad(2, "bad_parameters", "config", "set", "alpha", "init_ms", "-1")
    configured.bad(2, "bad_parameters", "config", "set", "alpha", "init_ms", '"5"')
    configured.bad(2, "bad_parameters", "config", "set", "alpha", "unheard_of", "1")
    configured.bad(4, "no_such_plugin", "config", "set", "beta", "init_ms", "1")
    configured.bad(4, "no_such_plugin", "config", "get", "beta")
    assert configured.result("config", "get", "alpha")["revision"] == 0
    # A property of type string takes a bare text, also one that looks like a number.
    assert configured.result("config", "set", "alpha", "api_key", "-", input="12345\n")["revision"] == 1


def test_workers_get_it(configured):
    assert configured.result("call", "alpha", "count") == 1
    configured.good("load", "alpha")
    refused = configured.moat("config", "set", "alpha", "refuse", "not today")
    if configured.server:
        # What runs is asked first: what it does not take is not kept, and the old workers go on.
        assert refused.status == 5 and "not today" in refused.err, refused
        assert configured.result("config", "get", "alpha")["revision"] == 0
        assert configured.result("call", "alpha", "count") >= 1
    else:
        assert refused.status == 0
        assert "not today" in configured.bad(5, "start_failed", "call", "alpha", "count").err
        configured.good("config", "unset", "alpha", "refuse")
    assert configured.result("call", "alpha", "echo", "1") == 1


@pytest.fixture
def ledger(place):
    """A plugin that runs, tells the configuration that it has, and remembers what it was told."""
    place.serve()
    place.have("ledger")
    place.good("load", "ledger")
    place.good("call", "ledger", "note", '{"n": 5}')
    return place


def test_a_change_is_taken_live(ledger):
    done = ledger.result("config", "set", "ledger", "word", '"one"')
    assert done["revision"] == 1 and done["config"]["word"] == "one"
    assert ledger.result("call", "ledger", "configured")["word"] == "one"
    # A secret reaches its own plugin, and nobody else sees it.
    assert "sesame" not in ledger.good("config", "set", "ledger", "key", "-", "--json", input="sesame").out
    assert ledger.result("call", "ledger", "configured")["key"] == "sesame"
    assert ledger.result("config", "unset", "ledger", "word")["config"]["word"] == ""
    assert ledger.result("call", "ledger", "configured")["word"] == ""
    # All this time it was the same process, with what it had in memory.
    assert ledger.result("call", "ledger", "book") == {"count": 1, "sum": 5}
    assert [r["action"] for r in ledger.result("audit", "--subject", "ledger")["records"]].count("plugin.configure") == 3
    assert ledger.result("info", "ledger")["restarts"] == 0


def test_what_the_plugin_refuses_is_not_kept(ledger):
    ledger.good("config", "set", "ledger", "word", '"old"')
    assert "no such luck" in ledger.bad(5, "start_failed", "config", "set", "ledger", "refuse", "no such luck").err
    assert "did not take" in ledger.bad(5, "start_failed", "config", "set", "ledger", "configure", "fail").err
    now = ledger.result("config", "get", "ledger")
    assert now["revision"] == 1 and now["set"] == {"word": "old"}
    assert ledger.result("call", "ledger", "configured")["word"] == "old"
    assert ledger.result("call", "ledger", "book") == {"count": 1, "sum": 5}
    # One that it does not survive: the next call meets a worker with the old one.
    crashed = ledger.moat("config", "set", "ledger", "configure", "crash")
    assert crashed.status == 5 and "SIGSEGV" in crashed.err, crashed
    ledger.good("load", "ledger")
    assert ledger.result("call", "ledger", "configured")["word"] == "old"
    # What is recorded holds after the end of the server too, and no more than that.
    ledger.end_server()
    ledger.serve()
    assert ledger.result("call", "ledger", "configured")["word"] == "old"


def test_a_secret_is_shown_nowhere(configured):
    secret = "sesame-7h3-0nly-0ne"
    refused = configured.bad(2, "bad_usage", "config", "set", "alpha", "api_key", secret)
    assert secret not in refused.err and "standard input" in refused.err
    done = configured.good("config", "set", "alpha", "api_key", "-", "--json", input=secret)
    shown = [done.out, done.err]
    for command in (["config", "get", "alpha"], ["info", "alpha"], ["list"], ["audit"], ["stats"],
                    ["config", "set", "alpha", "ratio", "1"]):
        for form in ([], ["--json"]):
            done = configured.good(*command, *form)
            shown += [done.out, done.err]
    # A refusal does not tell it either.
    long = configured.moat("config", "set", "alpha", "ratio", '"x"')
    shown += [long.out, long.err]
    assert not any(secret in text for text in shown)
    assert configured.result("config", "get", "alpha")["secrets"] == [{"name": "api_key", "set": True}]
    assert configured.result("config", "unset", "alpha", "api_key")["secrets"] == [{"name": "api_key", "set": False}]
    if configured.server:
        status, out, err = configured.end_server()
        assert status == 0 and secret not in out + err


@pytest.mark.parametrize("schema", [
    {"type": "object", "properties": {"net": {"type": "object", "properties": {"key": {"type": "string", "secret": True}}}}},
    {"type": "object", "$defs": {"s": {"type": "string", "secret": True}}, "properties": {"net": {"$ref": "#/$defs/s"}}},
    {"type": "object", "additionalProperties": {"type": "string", "secret": True}, "properties": {"net": {}}},
    {"type": "object", "anyOf": [{"properties": {"net": {"secret": True}}}], "properties": {"net": {}}},
])
def test_in_doubt_it_is_secret(place, schema):
    place.install("1.0.0", config=schema)
    place.bad(2, "bad_usage", "config", "set", "alpha", "net", '"hidden-value"')
    value = '{"key":"hidden-value"}' if "object" in json.dumps(schema["properties"]) else '"hidden-value"'
    place.good("config", "set", "alpha", "net", "-", input=value)
    assert "hidden-value" not in place.good("config", "get", "alpha", "--json").out


def test_what_does_not_fit_another_version_keeps_it_out(configured):
    configured.good("config", "set", "alpha", "ratio", "1.5")
    narrow = json.loads(json.dumps(SCHEMA))
    narrow["properties"]["ratio"] = {"type": "integer", "default": 3}
    told = configured.install("2.0.0", "--use", config=narrow)
    if told["current"]:  # nothing ran: it is current, and says what is the matter
        configured.bad(8, "wrong_state", "call", "alpha", "echo", "1")
    else:
        assert told["use_error"]["code"] == "wrong_state"
        configured.bad(8, "wrong_state", "use", "alpha@2.0.0")
    configured.good("config", "unset", "alpha", "ratio")
    configured.good("use", "alpha@2.0.0")
    assert configured.result("call", "alpha", "echo", "1") == 1


def test_it_stays_over_an_uninstall_and_goes_with_a_purge(configured):
    configured.good("config", "set", "alpha", "ratio", "1.5")
    configured.good("uninstall", "alpha")
    configured.install("1.0.0", config=SCHEMA)
    assert configured.result("config", "get", "alpha")["set"] == {"ratio": 1.5}
    configured.good("uninstall", "alpha", "--purge")
    configured.install("1.0.0", config=SCHEMA)
    assert configured.result("config", "get", "alpha")["set"] == {}
