"""Forecasts over a real server: of hours that the registry has, of series of the caller's, and drawn."""

import math
import re
import sqlite3
import subprocess
import time
import xml.etree.ElementTree

import pytest
from client import Api, until

from place import Place


@pytest.fixture
def place(build, tmp_path):
    place = Place(build, tmp_path)
    yield place
    place.close()


def hours_of(place, name, values):
    """As if the plugin had been called so often in each of the last hours."""
    [path] = place.home.rglob("registry.db")
    db = sqlite3.connect(path)
    now = int(time.time()) // 3600
    [(plugin,)] = db.execute("SELECT id FROM plugin WHERE name = ?", (name,)).fetchall()
    db.executemany("INSERT INTO hour VALUES (?, ?, ?, 0)", [(plugin, now - len(values) + i, v) for i, v in enumerate(values) if v])
    db.commit()
    db.close()


def daily(n):
    return [round(100 + 80 * math.sin(2 * math.pi * t / 24)) for t in range(n)]


def test_recorded_hours_are_continued(place):
    place.install()
    hours_of(place, "alpha", daily(400))
    api = Api(place)
    told = api.good("GET", "/api/forecast?plugin=alpha&horizon=30&limit=150")
    assert told["enough"] and told["points"] in (400, 401) and told["model"]["seasons"] == [24, 168]
    assert len(told["past"]) == 168 and len(told["forecast"]) == 30
    for one in told["forecast"]:
        assert one["low95"] <= one["low80"] <= one["mean"] <= one["high80"] <= one["high95"]
        assert time.strptime(one["time"][:19], "%Y-%m-%dT%H:%M:%S").tm_min == 0
    if told["points"] == 400:  # no hour has ended meanwhile
        true = daily(430)[400:]
        assert max(abs(a["mean"] - t) for a, t in zip(told["forecast"], true)) < 5
        assert told["limit"]["expected_ahead"] == next(i for i, t in enumerate(true, 1) if t >= 150)
    assert api.good("GET", "/api/forecast")["points"] == told["points"], "all plugins together"
    api.bad(404, "no_such_plugin", "GET", "/api/forecast?plugin=beta")
    api.bad(400, "bad_usage", "GET", "/api/forecast?horizon=337")


def test_calls_are_counted_by_the_hour(place):
    place.install()
    place.good("call", "alpha", "echo", "[1]")
    told = place.result("forecast", "alpha")
    assert not told["enough"] and "10" in told["why"] and told["forecast"] == []
    [path] = place.home.rglob("registry.db")
    assert sum(n for n, in sqlite3.connect(path).execute("SELECT calls FROM hour")) == 1
    assert "Too little is known" in place.good("forecast", "alpha").out


def starts_of(place, values):
    """As if so many workers at once had been started at most in each of the last hours."""
    [path] = place.home.rglob("registry.db")
    db = sqlite3.connect(path)
    now = int(time.time()) // 3600
    db.executemany("INSERT INTO start VALUES (?, ?, ?)", [(now - len(values) + i, v, v) for i, v in enumerate(values) if v])
    db.commit()
    db.close()


def pool(api):
    return api.good("GET", "/api/plugins/stats")["pool"]


def gauges(api):
    return dict(re.findall(r"^(moat_pool_\w+) (\S+)$", api.ask("GET", "/metrics").text, re.M))


def test_walls_stand_ready_for_the_starts_that_are_to_come(place):
    """Each hour five at once, and a flood once: so many are built before anybody asks; the flood is bounded."""
    place.install()
    place.good("settings", "set", "monitor_every", '"100ms"')
    starts_of(place, [5] * 40 + [1000] + [5] * 40)
    api = Api(place)
    until(lambda: pool(api)["by"] == "forecast")
    told = pool(api)
    assert (told["least"], told["most"]) == (1, 8) and 5 <= told["size"] <= 8
    assert told["expected"] <= told["possible"] and told["size"] == min(8, max(1, math.ceil(told["possible"])))
    until(lambda: api.good("GET", "/api/plugins/health")["pool"] == {"size": told["size"], "ready": told["size"]})
    seen = gauges(api)
    assert float(seen["moat_pool_size"]) == told["size"] and float(seen["moat_pool_forecast"]) == pytest.approx(told["possible"])
    forecast = api.good("GET", "/api/forecast?pool&limit=8")
    assert forecast["pool"] == told | {"ready": told["size"]} and max(forecast["past"]) == 8 and forecast["plugin"] is None
    assert forecast["limit"]["per_hour"] == 8
    said = place.good("forecast", "--pool").out
    assert f"{told['size']} of {told['size']} half-built walls stand ready, from 1 to 8" in said and "EXPECTED" in said
    api.bad(400, "bad_usage", "GET", "/api/forecast?pool&plugin=alpha")


@pytest.mark.parametrize("settings,starts,size,why", [
    ({}, [5] * 9, 1, "too little is recorded"),
    ({"pool": 3}, [1] * 80, 3, None),
    ({"pool_forecast": 0}, [5] * 80, 1, "not above `pool`"),
    ({"pool": 0}, [5] * 80, 0, "is 0"),
])
def test_the_pool_is_never_smaller_than_told_nor_larger(place, settings, starts, size, why):
    place.install()
    for key, value in ({"monitor_every": '"100ms"'} | settings).items():
        place.good("settings", "set", key, str(value))
    starts_of(place, starts)
    api = Api(place)
    api.good("POST", "/api/monitor", {"plugin": "test", "action": "looked", "success": True})
    until(lambda: why or pool(api)["by"] == "forecast")
    told = pool(api)
    assert told["size"] == size and (told["by"] == "setting") == bool(why) and (why or "") in told["why"]


def test_starts_are_counted_for_the_pool(place):
    place.install()
    place.good("call", "alpha", "echo", "[1]")
    [path] = place.home.rglob("registry.db")
    [(starts, most)] = sqlite3.connect(path).execute("SELECT sum(starts), max(most) FROM start").fetchall()
    assert starts >= 1 and 1 <= most <= starts


def test_a_series_of_the_callers(place):
    api = Api(place)
    told = api.good("POST", "/api/forecast", {"plugin_executions": daily(100), "horizon": 5})
    assert told["enough"] and [f["ahead"] for f in told["forecast"]] == [1, 2, 3, 4, 5]
    assert all(f["time"] is None for f in told["forecast"]) and told["plugin"] is None
    assert not api.good("POST", "/api/forecast", {"plugin_executions": []})["enough"]
    for body in ({"plugin_executions": 3}, {"plugin_executions": [1, "2"]}, {"plugin_executions": [1e300]},
                 {"plugin_executions": [1], "horizon": 0}, {"plugin_executions": [1], "horizon": 1000}):
        api.bad(422, "bad_parameters", "POST", "/api/forecast", body)
    assert "/plugin_executions/1" in api.ask("POST", "/api/forecast", {"plugin_executions": [1, "2"]}).text


def test_it_is_drawn(place, tmp_path):
    place.install()
    hours_of(place, "alpha", daily(200))
    seen = place.good("forecast", "alpha", "--svg", str(tmp_path / "x.svg"), "--limit", "170")
    assert "EXPECTED" in seen.out and "170 calls an hour: expected in" in seen.out
    root = xml.etree.ElementTree.parse(tmp_path / "x.svg").getroot()
    assert root.tag.endswith("svg")
    lines = [e.attrib["points"].split() for e in root.iter() if e.tag.endswith("polyline")]
    assert [len(points) for points in lines] == [168, 24]
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for points in lines:
        for x, y in (map(float, p.split(",")) for p in points):
            assert 0 <= x <= width and 0 <= y <= height
    assert re.search("Calls an hour: alpha", (tmp_path / "x.svg").read_text())
    place.bad(7, "storage_failed", "forecast", "alpha", "--svg", str(tmp_path / "none" / "x.svg"))


def test_the_c_api_answers_the_same(place, root, build, tmp_path, sanitizers):
    (tmp_path / "f.c").write_text("""
#include <moat/moat.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    double y[60];
    for (int i = 0; i < 60; i++)
        y[i] = i % 24;
    struct moat *m;
    struct moat_error err;
    struct moat_options o = {.size = sizeof o, .home = argv[1]};
    struct moat_forecast_options f = {.size = sizeof f, .plugin_executions = y, .n = 60, .horizon = 3};
    char *json;
    if (moat_open(&o, &m, &err) || moat_forecast(m, &f, &json, &err))
        return fprintf(stderr, "%s", err.message), 1;
    puts(json);
    moat_free(json);
    f.size = 8; /* of a program that knows less of it: refused, not read beyond */
    if (moat_forecast(m, &f, &json, &err) != MOAT_E_BAD_USAGE || moat_forecast(m, NULL, &json, &err))
        return 2;
    moat_free(json);
    f = (struct moat_forecast_options){.size = sizeof f, .pool = true};
    if (moat_forecast(m, &f, &json, &err))
        return 3;
    puts(json);
    moat_free(json);
    f.plugin_executions = y; /* the pool is no series of anybody's, and has no plugin */
    if (moat_forecast(m, &f, &json, &err) != MOAT_E_BAD_USAGE)
        return 4;
    f = (struct moat_forecast_options){.size = offsetof(struct moat_forecast_options, pool), .pool = true};
    if (moat_forecast(m, &f, &json, &err)) /* of a program that ends before it: not read */
        return 5;
    puts(json);
    moat_free(json);
    moat_close(m);
    return 0;
}
""")
    subprocess.run(["cc", f"-fsanitize={sanitizers}" if sanitizers else "-O0", "-o", tmp_path / "f", tmp_path / "f.c",
                    f"-I{root / 'include'}", f"-L{build}", "-lmoat", f"-Wl,-rpath,{build}"], check=True)
    import json
    out = subprocess.run([tmp_path / "f", tmp_path / "other"], check=True, capture_output=True, text=True).stdout
    told, pool, without = map(json.loads, out.splitlines())
    assert told["points"] == 60 and len(told["forecast"]) == 3 and told["pool"] is None
    assert pool["pool"]["size"] >= 1 and pool["plugin"] is None
    assert without["pool"] is None
