"""Makes statsmodels.json, which test_forecast.py compares with: series and what statsmodels' ExponentialSmoothing (additive
trend and season) makes of them. By hand, where statsmodels 0.14 is installed: python make_statsmodels.py > statsmodels.json"""

import json
import math
import random
import sys
import warnings

import statsmodels
from statsmodels.tsa.holtwinters import ExponentialSmoothing

rng = random.Random(7)


def shapes():
    day = [3, 2, 1, 1, 1, 2, 5, 12, 30, 44, 48, 45, 38, 42, 47, 46, 40, 31, 22, 15, 11, 8, 6, 4]
    yield "office hours", 24, [max(0, round(day[t % 24] * (0.2 if t // 24 % 7 > 4 else 1) * rng.lognormvariate(0, 0.2))) for t in range(24 * 28)]
    yield "smooth season, growing", 24, [round(200 + 0.4 * t + 60 * math.sin(2 * math.pi * t / 24) + rng.gauss(0, 12), 3) for t in range(24 * 14)]
    yield "by the week", 7, [round(1000 - 2 * t + 150 * (t % 7 < 5) + rng.gauss(0, 40), 2) for t in range(7 * 30)]
    level, walk = 500, []
    for t in range(24 * 10):
        level += rng.gauss(0, 9)
        walk.append(round(level + 80 * math.cos(2 * math.pi * t / 24) + rng.gauss(0, 5), 2))
    yield "wandering", 24, walk
    yield "airline passengers", 12, [112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118, 115, 126, 141, 135, 125, 149,
        170, 170, 158, 133, 114, 140, 145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166, 171, 180, 193, 181, 183, 218,
        230, 242, 209, 191, 172, 194, 196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201, 204, 188, 235, 227, 234, 264,
        302, 293, 259, 229, 203, 229, 242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278, 284, 277, 317, 313, 318, 374,
        413, 405, 355, 306, 271, 306, 315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336, 340, 318, 362, 348, 363, 435,
        491, 505, 404, 359, 310, 337, 360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405, 417, 391, 419, 461, 472, 535,
        622, 606, 508, 461, 390, 432]


out = {"statsmodels": statsmodels.__version__, "series": []}
warnings.simplefilter("ignore")
for name, season, y in shapes():
    fit = ExponentialSmoothing(y, trend="add", seasonal="add", seasonal_periods=season, initialization_method="estimated").fit()
    p = fit.params
    out["series"].append({
        "name": name, "season": season, "y": y, "alpha": p["smoothing_level"], "beta": p["smoothing_trend"],
        "gamma": p["smoothing_seasonal"], "level": p["initial_level"], "trend": p["initial_trend"],
        "seasons": list(p["initial_seasons"]), "sse": fit.sse, "ahead": list(fit.forecast(24))})
json.dump(out, sys.stdout)
print()
