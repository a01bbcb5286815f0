"""measure/forecast against statsmodels (what it answers is kept in statsmodels.json, made by make_statsmodels.py): the same
smoothing to the last digits, fits that are as good; and against what must hold of any series."""

import json
import math
import pathlib
import subprocess

import pytest

SERIES = json.loads((pathlib.Path(__file__).parent / "statsmodels.json").read_text())["series"]


@pytest.fixture(scope="module")
def tool(build):
    def run(*arguments, values):
        done = subprocess.run([build / "tests" / "measure" / "measure_tool", *map(str, arguments)], capture_output=True,
                              input=" ".join(map(repr, values)), text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()
    return run


class Fit:
    def __init__(self, lines):
        words = lines[0].split()
        self.points, *self.seasons = map(int, words[:3])
        self.alpha, self.beta, self.gamma_day, self.gamma_week, self.sse, self.mase, self.naive = map(float, words[3:])
        self.ahead = [tuple(map(float, line.split())) for line in lines[1:]]  # mean, low80, high80, low95, high95


def fit(tool, values, day=24, week=168, ahead=24):
    return Fit(tool("forecast", day, week, ahead, values=values))


@pytest.mark.parametrize("s", SERIES, ids=[s["name"] for s in SERIES])
def test_the_smoothing_is_theirs(tool, s):
    lines = tool("smooth", s["season"], s["alpha"], s["beta"], s["gamma"], s["level"], s["trend"], values=s["seasons"] + s["y"])
    assert float(lines[0]) == pytest.approx(s["sse"], rel=1e-9)
    for line, theirs in zip(lines[1:], s["ahead"]):
        assert float(line.split()[0]) == pytest.approx(theirs, rel=1e-8, abs=1e-6)


@pytest.mark.parametrize("s", SERIES, ids=[s["name"] for s in SERIES])
def test_the_fit_is_as_good(tool, s):
    """They fit the first state as well, as many values as a season has: on the series itself that is better, ahead it is
    the same forecast within a standard deviation."""
    ours = fit(tool, s["y"], s["season"], 0)
    deviation = math.sqrt(s["sse"] / len(s["y"]))
    assert ours.sse <= 1.4 * s["sse"]
    off = sum(abs(o[0] - max(t, 0)) for o, t in zip(ours.ahead, s["ahead"])) / len(ours.ahead)
    assert off < deviation, (off, deviation)


def seasonal(rng, n, noise=8.0):
    return [100 + 0.02 * t + 40 * math.sin(2 * math.pi * t / 24) + 20 * (t // 24 % 7 < 5) + rng.gauss(0, noise) for t in range(n)]


@pytest.mark.parametrize("weeks,better", [(3, 1.1), (9, 0.9)])
def test_a_known_series_is_continued(tool, rng, weeks, better):
    """One series of noise may be continued badly; ten are not: each within the noise, all together at least as well as by
    repeating the season before."""
    n, parts = 24 * 7 * weeks, []
    for _ in range(10):
        y = seasonal(rng, n + 48, noise=4)
        f = fit(tool, y[:n], ahead=48)
        assert f.seasons == [24, 168]
        assert sum(abs(a[0] - t) for a, t in zip(f.ahead, y[n:])) / 48 < 3 * 4
        parts.append(f.mase / f.naive)
    assert sum(parts) / len(parts) < better, parts


def test_the_intervals_hold_what_they_say(tool, rng):
    """Over many series of noise and season the 80 % and 95 % are met about so often."""
    inside80 = inside95 = all_ = 0
    for _ in range(60):
        y = seasonal(rng, 24 * 7 * 4 + 24)
        for a, true in zip(fit(tool, y[:-24]).ahead, y[-24:]):
            inside80 += a[1] <= true <= a[2]
            inside95 += a[3] <= true <= a[4]
            all_ += 1
    assert 0.68 < inside80 / all_ < 0.92 and 0.87 < inside95 / all_ < 0.995, (inside80 / all_, inside95 / all_)


def test_seasons_need_two_of_themselves(tool, rng):
    for n, seasons in ((10, [0, 0]), (47, [0, 0]), (48, [24, 0]), (335, [24, 0]), (336, [24, 168])):
        assert fit(tool, [rng.random() for _ in range(n)]).seasons == seasons
    assert tool("forecast", 24, 168, 3, values=[1.0] * 9) == ["too little"]
    assert tool("forecast", 24, 168, 3, values=[1.0] * 50 + [1e16]) == ["bad value"]
    assert tool("forecast", 24, 168, 3, values=[1.0] * 50 + [math.nan]) == ["bad value"]


def test_odd_series_give_finite_answers(tool, rng):
    odd = [[0.0] * 500, [5.0] * 20, [0.0] * 400 + [1e9], [1e15, -1e15] * 200, [float(t) for t in range(400)],
           [rng.expovariate(1) * (rng.random() < 0.02) * 1000 for _ in range(700)], [2.0**t for t in range(40)]]
    for y in odd:
        f = fit(tool, y, ahead=336)
        for mean, low80, high80, low95, high95 in f.ahead:
            assert all(map(math.isfinite, (mean, low95, high95)))
            assert 0 <= low95 <= low80 <= mean <= high80 <= high95
    assert fit(tool, [0.0] * 500).mase == -1, "nothing to be better than"
    line = fit(tool, [float(t) for t in range(400)], ahead=5)
    assert [a[0] for a in line.ahead] == pytest.approx([400, 401, 402, 403, 404], abs=0.5)
