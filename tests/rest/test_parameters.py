"""Parameters over a real server: settings that take effect at once, with their history; and what is refused."""

import pytest

from client import Api
from place import Place


@pytest.fixture
def place(build, tmp_path):
    place = Place(build, tmp_path)
    yield place
    place.close()


def test_a_setting_that_takes_effect_at_once_is_a_parameter(place):
    api = Api(place)
    told = api.good("GET", "/api/parameters")["parameters"]
    live = {s["key"] for s in api.good("GET", "/api/settings")["settings"] if s["takes_effect"] == "at once"}
    assert {p["name"] for p in told} == {f"settings.{key}" for key in live} and live
    done = api.good("PUT", "/api/parameters/settings.token_requests?why=a%20client%20polls", "5000")
    assert (done["value"], done["min"], done["changes"]) == (5000, 0, 1)
    [change] = done["history"]
    assert (change["from"], change["to"], change["why"], change["guard"]) == (0, 5000, "a client polls", "unguarded")
    assert change["who"].startswith("token:") and "fewer than 100" in change["guard_why"]
    assert api.good("GET", "/api/settings/token_requests")["value"] == 5000, "it is the setting"
    assert api.good("PUT", "/api/parameters/settings.token_requests", "5000")["changes"] == 1, "nothing new"
    [record] = api.good("GET", "/api/audit?action=parameter.set")["records"]
    assert record["subject"] == "settings.token_requests"
    assert record["detail"] == {"outcome": "set", "why": "a client polls", "from": 0, "to": 5000}


@pytest.mark.parametrize("name,value,status,code", [
    ("settings.nothing", "1", 404, "not_found"), ("settings.pool", "1", 404, "not_found"), ("x" * 100, "1", 404, "not_found"),
    ("settings.token_requests", "-1", 400, "bad_usage"), ("settings.token_requests", '"many"', 400, "bad_usage"),
    ("settings.token_requests", "1 1", 400, "bad_json"), ("settings.token_requests", "", 400, "bad_json"),
    ("settings.log_level", '"loud"', 400, "bad_usage")])
def test_what_cannot_be_is_refused(place, name, value, status, code):
    api = Api(place)
    api.bad(status, code, "PUT", f"/api/parameters/{name}", value)
    assert all(p["changes"] == 0 for p in api.good("GET", "/api/parameters")["parameters"])


def test_by_the_command_line(place):
    place.good("parameter", "set", "settings.log_level", "warn", "--reason", "less to read")
    assert place.result("settings", "get", "log_level")["value"] == "warn"
    shown = place.good("parameter", "get").out
    assert "settings.log_level" in shown and "warn" in shown
    place.bad(4, "not_found", "parameter", "get", "nothing")
    place.bad(2, "bad_usage", "parameter", "set", "settings.log_level", "loud")
    place.serve()
    place.good("parameter", "set", "settings.log_level", '"info"', "--reason", "more to read", "--no-guard")
    shown = place.good("parameter", "get", "settings.log_level").out
    assert "it was not asked for" in shown and "more to read" in shown


def test_who_may(place):
    api = Api(place)
    token = place.result("token", "create", "--scope", "read", "--scope", "manage")["token"]
    assert api.ask("GET", "/api/parameters/settings.log_level", token=token).status_code == 200
    api.bad(403, "forbidden", "PUT", "/api/parameters/settings.log_level", '"warn"', token=token)
