"""search, and list with its filters."""

import pytest


@pytest.fixture
def stocked(either):
    for name, more in {
        "data_processor": {"description": "Transforms numbers", "keywords": ["math"]},
        "data_viewer": {"description": "Shows what the data processor made", "capabilities": ["visualization"]},
        "processor": {"description": "Nothing of note"},
        "weather": {"description": "Forecasts for Zürich", "author": "Ada Lovelace", "only": ("echo", "log")},
    }.items():
        either.install("1.0.0", name=name, **more)
    return either


def found(place, *arguments):
    return [p["name"] for p in place.result("search", *arguments)["plugins"]]


def test_the_very_name_then_names_that_begin_so_then_words(stocked):
    assert found(stocked, "processor") == ["processor", "data_processor", "data_viewer"]
    assert found(stocked, "data") == ["data_processor", "data_viewer"]
    assert found(stocked, "data proc") == ["data_processor", "data_viewer"]
    assert found(stocked, "DATA-VIEWER") == ["data_viewer"]


@pytest.mark.parametrize("text,name", [
    ("forecast", "weather"), ("ada love", "weather"), ("zurich", "weather"), ("Zürich", "weather"),
    ("math", "data_processor"), ("log", "weather"), ("numb", "data_processor"),
    # one slip of the keys: swapped, left out, doubled, wrong
    ("wether", "weather"), ("weahter", "weather"), ("weaather", "weather"), ("weathxr", "weather"),
    ("transfroms numbers", "data_processor"),
])
def test_words_and_slips(stocked, text, name):
    assert name in found(stocked, text)


@pytest.mark.parametrize("text", [
    '"', "'", "*", "(", ")", "-", "AND", "OR NOT", "NEAR(a b)", "name:data", "{name}: x", "^data", "data*", 'a" OR "b',
    "\\", "%", "_", "x" * 5000, "ü" * 300, "💣 💣", "a b c d e f g h i j k l m n o p",
])
def test_no_text_is_an_error(place, text):
    place.install("1.0.0")
    done = place.good("search", "--json", "--", text)
    assert isinstance(done.json["plugins"], list)


def test_pages_are_whole_and_stable(stocked):
    all_of_it = found(stocked, "data")
    first = stocked.result("search", "data", "--limit", "1")
    assert first["next"] == all_of_it[0]
    assert found(stocked, "data", "--after", first["next"]) == all_of_it[1:]
    stocked.bad(2, "bad_request", "search", "data", "--after", "nobody")
    names = [p["name"] for p in stocked.result("list")["plugins"]]
    assert names == sorted(names) and len(names) == 4
    assert [p["name"] for p in stocked.result("list", "--after", names[0], "--limit", "2")["plugins"]] == names[1:3]


def test_filters(stocked):
    def listed(*options):
        return [p["name"] for p in stocked.result("list", *options)["plugins"]]
    assert listed("--capability", "Visualization") == ["data_viewer"]
    assert listed("--permission", "file_read", "--publisher", "acme") == listed()
    assert listed("--publisher", "nobody") == []
    stocked.good("deactivate", "weather")
    assert listed("--status", "inactive") == ["weather"]
    assert "weather" not in listed("--status", "active")
    assert found(stocked, "data", "--capability", "visualization") == ["data_viewer"]
    stocked.bad(2, "bad_request", "list", "--status", "sleepy")
    stocked.bad(2, "bad_request", "list", "--capability", "flying")


def test_a_search_follows_what_is_current(stocked):
    stocked.install("2.0.0", name="weather", description="Tides of the sea")
    assert found(stocked, "tides") == []
    stocked.good("use", "weather@2.0.0", "--accept-changes")
    assert found(stocked, "tides") == ["weather"] and found(stocked, "forecasts") == []
    stocked.good("uninstall", "weather")
    assert found(stocked, "tides") == []
