"""data_processor against Python: exact arithmetic by fractions, spreads by statistics, over random data."""

import json
import math
import operator
import statistics
import struct
from fractions import Fraction

import jsonschema
import pytest

from runner import Plugin, Refused

EPSILON = 2.0**-53  # half a unit in the last place, relative


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "sanitized"])
def plugin(build, request):
    if request.param and not (build / "tests" / "plugins" / "plugin_run_asan").exists():
        pytest.skip("this compiler has no sanitizers")
    plugin = Plugin(build, "data_processor", sanitized=request.param)
    yield plugin
    assert plugin.end() == 0


def refused(plugin, action, text):
    with pytest.raises(Refused) as caught:
        plugin.ask(action, text if isinstance(text, str) else json.dumps(text))
    return caught.value


# ---- random numbers of every kind ----


def any_double(rng):
    while True:
        x = struct.unpack("<d", rng.randbytes(8))[0]
        if math.isfinite(x):
            return x


def number(rng):
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randrange(-1000, 1000)
    if kind == 1:
        return rng.randrange(-(2**53), 2**53)
    if kind == 2:
        return rng.uniform(-1000, 1000)
    if kind == 3:
        return round(rng.uniform(-1e6, 1e6), rng.randrange(8))
    if kind == 4:
        return rng.gauss(0, 1) * 10.0 ** rng.randrange(-20, 20)
    return any_double(rng)


def moderate(rng):
    """Of a size that neither sums nor squares leave the range."""
    return number(rng) if rng.random() < 0.3 else rng.gauss(rng.choice([0, 1e3, 1e9]), rng.choice([1e-3, 1, 1e3]))


def numbers(rng, pick=number, least=0):
    return [pick(rng) for _ in range(rng.choice([least, 1, 2, 3, 7, 30, 100]) or least)]


# ---- results are written as the shortest text that reads back ----


def test_prints_what_reads_back(plugin, rng):
    data = [any_double(rng) for _ in range(3000)]
    data += [rng.uniform(-1, 1) * 10.0 ** rng.randrange(-12, 24) for _ in range(3000)]
    data += [round(rng.uniform(-1e4, 1e4), rng.randrange(1, 12)) for _ in range(3000)]
    data += [float(2**k + d) for k in range(-1074, 1023, 13) for d in (0, 1)]
    data += [5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1.7976931348623157e308, 0.1, 1e21, 1e-7, 1e15]
    text = plugin.ask("transform", json.dumps({"data": data, "operation": "add", "factor": 0}))
    for x, printed in zip(data, text.strip("[]").split(","), strict=True):
        assert float(printed) == x
        # Python's repr is the shortest too: the same count of significant digits.
        assert len(digits(printed)) == len(digits(repr(x))), (x, printed)


def digits(text):
    return text.lower().split("e")[0].replace("-", "").replace(".", "").strip("0")


@pytest.mark.parametrize("x, text", [
    (4.0, "4"), (-0.0, "0"), (0.1, "0.1"), (1e15, "1000000000000000"), (1e16, "1e+16"), (1.5e300, "1.5e+300"),
    (1e-6, "0.000001"), (1e-7, "1e-7"), (-1.25e-10, "-1.25e-10"), (123456.789, "123456.789"), (5e-324, "5e-324"),
    (9007199254740993.0, "9007199254740992"), (2.0**60, "1.152921504606847e+18"), (1 / 3, "0.3333333333333333"), (100.0, "100")])
def test_lays_numbers_out(plugin, x, text):
    assert plugin.ask("transform", json.dumps({"data": [x], "operation": "multiply", "factor": 1})) == f"[{text}]"


def test_reads_every_spelling(plugin):
    text = '{"data":[0,-0,1E2,1e+2,1.0e-2,0.000,123456789012345678901234567890,1e-400,1.7976931348623157e308,' \
           '0.1000000000000000055511151231257827,0e999999999999],"operation":"add","factor":0}'
    want = [0, 0, 100, 100, 0.01, 0, 123456789012345678901234567890.0, 0, 1.7976931348623157e308, 0.1, 0]
    assert json.loads(plugin.ask("transform", text)) == want


def test_reads_any_decimal_as_python_does(plugin, rng):
    spelled = []
    for _ in range(4000):
        text = str(rng.randrange(10 ** rng.randrange(1, 25)))
        if rng.random() < 0.7:
            text += "." + str(rng.randrange(10 ** rng.randrange(1, 25))).zfill(rng.randrange(1, 25))
        if rng.random() < 0.5:
            text += rng.choice("eE") + rng.choice(["", "+", "-"]) + str(rng.randrange(rng.choice([25, 290])))
        if math.isfinite(float(text)):
            spelled.append(rng.choice(["", "-"]) + text)
    text = '{"data":[' + ",".join(spelled) + '],"operation":"add","factor":0}'
    for got, text in zip(json.loads(plugin.ask("transform", text)), spelled, strict=True):
        assert got == float(text), text


# ---- transform ----

OPERATIONS = {"multiply": operator.mul, "add": operator.add, "subtract": operator.sub, "divide": operator.truediv,
              "power": math.pow}


def test_the_example(plugin):
    assert plugin.ask("transform", '{"data":[1,2,3],"operation":"multiply","factor":2}') == "[2,4,6]"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_transform(plugin, rng, operation):
    for _ in range(400):
        data, factor = numbers(rng), number(rng) if rng.random() < 0.7 else rng.randrange(-5, 6)
        want, problem = [], None
        for i, x in enumerate(data):
            try:
                y = OPERATIONS[operation](float(x), float(factor))
                problem = None if math.isfinite(y) else ("overflow", i)
            except ZeroDivisionError:
                problem = ("division_by_zero", None)
            except OverflowError:
                problem = ("overflow", i)
            except ValueError:
                problem = ("division_by_zero" if x == 0 else "not_a_number", i)
            if problem:
                break
            want.append(y)
        if operation == "divide" and factor == 0:
            problem = ("division_by_zero", None)
        member = rng.choice(["factor", "value"])
        if problem:
            answer = refused(plugin, "transform", {"data": data, "operation": operation, member: factor})
            assert answer.code == problem[0], (data, factor)
            assert problem[1] is None or f"data[{problem[1]}]" in answer.message
        else:
            assert plugin.call("transform", data=data, operation=operation, **{member: factor}) == want


def expected_log(x, base):
    if base is None:
        return math.log(x)
    return {2: math.log2, 10: math.log10}.get(base, lambda x: math.log(x, base))(x)


@pytest.mark.parametrize("base", [None, 2, 10, 3, 0.5, 1e-300])
def test_log(plugin, rng, base):
    factor = {} if base is None else {rng.choice(["factor", "value"]): base}
    for _ in range(200):
        data = [abs(float(x)) or 5e-324 for x in numbers(rng)]
        for x, y in zip(data, plugin.call("transform", data=data, operation="log", **factor), strict=True):
            assert math.isclose(y, expected_log(x, base), rel_tol=1e-15, abs_tol=1e-16), (x, y)
    assert plugin.call("transform", data=[1024, 0.5, 1], operation="log", factor=2) == [10, -1, 0]
    assert plugin.call("transform", data=[1000, 1e-5], operation="log", factor=10) == [3, -5]


def test_what_has_no_logarithm(plugin):
    for x in (0, -0.0, -1):
        answer = refused(plugin, "transform", {"data": [1, x], "operation": "log"})
        assert answer.code == "not_a_number" and "data[1]" in answer.message
    for base in (0, -2, 1):
        assert refused(plugin, "transform", {"data": [1], "operation": "log", "factor": base}).code == "not_a_number"


def test_round(plugin, rng):
    """As Python has it: the nearest of the exact value, ties to even."""
    for _ in range(600):
        digits = rng.randrange(-22, 23)
        data = [float(x) for x in numbers(rng)]
        data += [rng.randrange(-10**6, 10**6) / 10 ** rng.randrange(8) for _ in range(20)]  # near ties in decimal
        data += [rng.randrange(-999, 999) + 0.5, rng.randrange(-999, 999) / 8, 5 * 10.0 ** rng.randrange(0, 22)]  # ties
        got = plugin.call("transform", data=data, operation="round", **({"factor": digits} if digits or rng.random() < 0.5 else {}))
        assert got == [round(x, digits) for x in data], (digits, data)


@pytest.mark.parametrize("x, digits, want", [
    (2.5, 0, 2), (3.5, 0, 4), (-2.5, 0, -2), (0.5, 0, 0), (1.5, 0, 2), (2.675, 2, 2.67), (0.05, 1, 0.1), (0.04999, 1, 0),
    (15, -1, 20), (25, -1, 20), (5, -1, 0), (6, -1, 10), (5.000000000000001, -1, 10), (1e308, -22, 1e308), (5e-324, 22, 0),
    (1234567.891, 2, 1234567.89), (0.1, 22, 0.1), (9.999, 2, 10), (4e21, -22, 0), (6e21, -22, 1e22)])
def test_rounds_to_even(plugin, x, digits, want):
    assert plugin.call("transform", data=[x], operation="round", factor=digits) == [want]


def test_clip(plugin, rng):
    for _ in range(300):
        data = [float(x) for x in numbers(rng)]
        low, high = sorted((float(number(rng)), float(number(rng))))
        assert plugin.call("transform", data=data, operation="clip", min=low, max=high) == [min(max(x, low), high) for x in data]
        assert plugin.call("transform", data=data, operation="clip", min=low) == [max(x, low) for x in data]
        assert plugin.call("transform", data=data, operation="clip", max=high) == [min(x, high) for x in data]
    assert refused(plugin, "transform", {"data": [1], "operation": "clip", "min": 2, "max": 1}).code == "bad_parameters"


# ---- filter ----

CONDITIONS = {"greater": operator.gt, "greater_equal": operator.ge, "less": operator.lt, "less_equal": operator.le,
              "equal": operator.eq, "not_equal": operator.ne}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_filter(plugin, rng, condition):
    for _ in range(300):
        data = numbers(rng)
        value = rng.choice(data) if data and rng.random() < 0.6 else number(rng)
        want = [x for x in data if CONDITIONS[condition](float(x), float(value))]
        assert plugin.call("filter", data=data, condition=condition, value=value) == want


def test_between(plugin, rng):
    for _ in range(300):
        data = numbers(rng)
        low, high = sorted((rng.choice(data), rng.choice(data)), key=float) if data else (0, 1)
        want = [x for x in data if float(low) <= float(x) <= float(high)]
        assert plugin.call("filter", data=data, condition="between", min=low, max=high) == want
    assert refused(plugin, "filter", {"data": [], "condition": "between", "min": 2, "max": 1}).code == "bad_parameters"


# ---- objects ----


def people(rng, n):
    return [{"name": rng.choice(["a", "b", "\u00e9\"q", "\U0001f600", ""]), "n": {"age": 1, "n": [1, {"age": "x"}]},
             "age": number(rng)} for _ in range(n)]


def test_filter_by_a_key(plugin, rng):
    for _ in range(200):
        data = people(rng, rng.choice([0, 1, 2, 30]))
        value = rng.choice(data)["age"] if data else 0
        for condition, holds in CONDITIONS.items():
            want = [one for one in data if holds(float(one["age"]), float(value))]
            assert plugin.call("filter", data=data, key="age", condition=condition, value=value) == want


def test_objects_pass_exactly_as_they_were_written(plugin):
    text = '{"data":[ {"x" : 1.50, "y":[ 1,{ } ]} , {"x":2,"z":"}]"},{ "\\u0078":0.5}],"key":"x","condition":"less","value":2}'
    assert plugin.ask("filter", text) == '[{"x" : 1.50, "y":[ 1,{ } ]},{ "\\u0078":0.5}]'


def test_every_action_takes_a_key(plugin, rng):
    for _ in range(50):
        data = people(rng, 7)
        ages = [one["age"] for one in data]
        for action, rest in (("transform", {"operation": "clip", "min": 3}), ("normalize", {"method": "min-max"}),
                             ("aggregate", {"operation": "max"})):
            assert plugin.call(action, data=data, key="age", **rest) == plugin.call(action, data=ages, **rest)


@pytest.mark.parametrize("data, code", [
    ([{"k": 1}, {}], "missing_key"), ([{"k": 1}, {"k": "1"}], "missing_key"), ([{"k": 1}, {"k": [1]}], "missing_key"),
    ([{"k": 1}, {"K": 1}], "missing_key"), ([{"k": 1}, 2], "bad_parameters"), ([{"k": 1}, [1]], "bad_parameters"),
    ([{"k": 1}, {"k": None}], "missing_key")])
def test_objects_without_the_number(plugin, data, code):
    for action, rest in (("transform", {"operation": "round"}), ("filter", {"condition": "less", "value": 5}),
                         ("aggregate", {"operation": "sum"}), ("normalize", {})):
        answer = refused(plugin, action, {"data": data, "key": "k", **rest})
        assert answer.code == code and "data[1]" in answer.message
    assert refused(plugin, "aggregate", {"data": [{"k": 1}], "operation": "sum"}).code == "bad_parameters"


def test_a_long_key(plugin):
    key = "\U0001f600" * 63
    assert plugin.call("aggregate", data=[{key: 2}], key=key, operation="sum") == 2
    assert plugin.call("aggregate", data=[{key + "x": 3, key: 2}], key=key, operation="sum") == 2
    assert refused(plugin, "aggregate", {"data": [], "key": "k" * 256, "operation": "sum"}).code == "bad_parameters"


def test_filter_keeps_every_digit(plugin):
    text = '{"data":[ 1.50 ,12345678901234567890123, -0.0, 1e3 ],"condition":"greater_equal","value":0}'
    assert plugin.ask("filter", text) == "[1.50,12345678901234567890123,-0.0,1e3]"


# ---- aggregate ----


def within(got, exact, error):
    return abs(Fraction(got) - exact) <= error


def test_sum_and_avg(plugin, rng):
    for _ in range(1500):
        data = [float(x) for x in numbers(rng, moderate if rng.random() < 0.9 else number)]
        exact = sum((Fraction(x) for x in data), Fraction(0))
        absolute = sum((abs(Fraction(x)) for x in data), Fraction(0))
        if abs(exact) > Fraction(1.79e308):
            continue
        # Neumaier's bound: one rounding of the result, and n * epsilon^2 of the sum of sizes.
        n = max(len(data), 1)
        error = 2 * Fraction(EPSILON) * abs(exact) + 2 * n * Fraction(EPSILON) ** 2 * absolute * n + Fraction(5e-324)
        assert within(plugin.call("aggregate", data=data, operation="sum"), exact, error)
        if data:
            mean = plugin.call("aggregate", data=data, operation="avg")
            assert within(mean, exact / n, 2 * error / n + Fraction(5e-324))


def test_sums_that_cancel(plugin):
    assert plugin.call("aggregate", data=[1e16, 1, -1e16], operation="sum") == 1
    assert plugin.call("aggregate", data=[1, 1e100, 1, -1e100], operation="sum") == 2
    assert plugin.call("aggregate", data=[0.1] * 10, operation="sum") == 1
    assert plugin.call("aggregate", data=[0.1, 0.2, 0.3], operation="avg") == 0.2


def test_sums_that_leave_the_range_on_the_way(plugin):
    assert plugin.call("aggregate", data=[1e308, 1e308, -1e308], operation="sum") == 1e308
    assert plugin.call("aggregate", data=[1.7e308, 1.7e308], operation="avg") == 1.7e308
    assert refused(plugin, "aggregate", {"data": [1e308, 1e308], "operation": "sum"}).code == "overflow"


def test_min_max_count(plugin, rng):
    for _ in range(300):
        data = numbers(rng, least=1)
        assert plugin.call("aggregate", data=data, operation="min") == min(map(float, data))
        assert plugin.call("aggregate", data=data, operation="max") == max(map(float, data))
        assert plugin.call("aggregate", data=data, operation="count") == len(data)


def test_median(plugin, rng):
    for _ in range(600):
        data = [float(x) for x in numbers(rng, least=1)]
        exact = statistics.median(Fraction(x) for x in data)
        got = plugin.call("aggregate", data=data, operation="median")
        assert within(got, exact, 2 * Fraction(EPSILON) * abs(exact) + Fraction(5e-324)), data
        if len(data) % 2:
            assert got == statistics.median(data)
    assert math.isclose(plugin.call("aggregate", data=[1.7e308, 1.6e308], operation="median"), 1.65e308, rel_tol=1e-15)
    assert plugin.call("aggregate", data=[1, 2, 4, 3], operation="median") == 2.5


def exact_percentile(data, percent):
    data = sorted(Fraction(x) for x in data)
    position = Fraction(percent) / 100 * (len(data) - 1)
    low = math.floor(position)
    return data[low] + (position - low) * (data[min(low + 1, len(data) - 1)] - data[low])


def test_percentile(plugin, rng):
    for _ in range(800):
        data = [float(x) for x in numbers(rng, moderate if rng.random() < 0.8 else number, least=1)]
        percent = rng.choice([0, 25, 50, 75, 90, 95, 99, 100, rng.uniform(0, 100), rng.randrange(101)])
        got = plugin.call("aggregate", data=data, operation="percentile", percent=percent)
        exact, size = exact_percentile(data, percent), max(map(abs, map(Fraction, data)))
        assert within(got, exact, Fraction(EPSILON) * 8 * size * (1 + len(data)) + Fraction(5e-324)), (data, percent)
        assert min(data) <= got <= max(data)
    data = [rng.gauss(0, 5) for _ in range(101)]
    for k in range(101):  # there each percent is one of the numbers
        assert plugin.call("aggregate", data=data, operation="percentile", percent=k) == sorted(data)[k]
    quartiles = statistics.quantiles(data, n=4, method="inclusive")
    assert [plugin.call("aggregate", data=data, operation="percentile", percent=p) for p in (25, 50, 75)] == quartiles
    assert plugin.call("aggregate", data=[-1.7e308, 1.7e308], operation="percentile", percent=50) == 0
    for percent in (-1, 100.5, "50", None):
        answer = refused(plugin, "aggregate", {"data": [1], "operation": "percentile", "percent": percent})
        assert answer.code == "bad_parameters"
    assert refused(plugin, "aggregate", {"data": [1], "operation": "percentile"}).code == "bad_parameters"
    assert refused(plugin, "aggregate", {"data": [1], "operation": "sum", "percent": 5}).code == "bad_parameters"


@pytest.mark.parametrize("operation, less", [("stddev", 0), ("stddev_sample", 1)])
def test_standard_deviation(plugin, rng, operation, less):
    for _ in range(500):
        data = [float(x) for x in numbers(rng, moderate if rng.random() < 0.8 else number, least=2)]
        if len(data) <= less:
            continue
        exact = [Fraction(x) for x in data]
        mean = sum(exact) / len(exact)
        variance = sum((x - mean) ** 2 for x in exact) / (len(exact) - less)
        if variance >= Fraction(1.79e308) ** 2:
            continue
        got = plugin.call("aggregate", data=data, operation=operation)
        size = max(map(abs, exact))
        # The square, which is exact without a root; what lies 2^-1000 below the largest is not seen.
        assert abs(Fraction(got) ** 2 - variance) <= variance * Fraction(EPSILON) * 64 + (size * Fraction(EPSILON) ** 2 * 64) ** 2 \
            + Fraction(5e-324) ** 2 + size**2 * Fraction(2) ** -1900, data
    data = [1e9 + rng.gauss(0, 1e-3) for _ in range(1000)]
    want = (statistics.pstdev if not less else statistics.stdev)(map(Fraction, data))
    assert math.isclose(plugin.call("aggregate", data=data, operation=operation), float(want), rel_tol=1e-9)
    assert plugin.call("aggregate", data=[7, 7, 7], operation=operation) == 0
    # With a single number there is a deviation of the population only, and it is 0.
    if less:
        assert refused(plugin, "aggregate", {"data": [7], "operation": operation}).code == "empty"
        assert refused(plugin, "aggregate", {"data": [1.7e308, -1.7e308], "operation": operation}).code == "overflow"
    else:
        assert plugin.call("aggregate", data=[7], operation=operation) == 0
        assert plugin.call("aggregate", data=[1.7e308, -1.7e308], operation=operation) == 1.7e308


OPERATIONS_OF_A_LIST = ["sum", "avg", "min", "max", "count", "median", "stddev", "percentile"]


@pytest.mark.parametrize("operation", OPERATIONS_OF_A_LIST)
def test_groups(plugin, rng, operation):
    """Each group is as its numbers alone; groups stand in the order in which they came up."""
    rest = {"percent": 30} if operation == "percentile" else {}
    for _ in range(120):
        data = people(rng, rng.choice([0, 1, 2, 7, 60]))
        alone = {}
        for one in data:
            alone.setdefault(one["name"], []).append(one["age"])
        got = plugin.call("aggregate", data=data, key="age", group_by="name", operation=operation, **rest)
        assert list(got) == list(alone)
        for name, ages in alone.items():
            assert got[name] == plugin.call("aggregate", data=ages, operation=operation, **rest)


def test_many_groups(plugin, rng):
    names = [f"group {i}" for i in range(5000)]
    data = [{"g": rng.choice(names), "x": i % 100} for i in range(20000)]
    alone = {}
    for one in data:
        alone[one["g"]] = alone.get(one["g"], 0) + one["x"]
    assert plugin.call("aggregate", data=data, key="x", group_by="g", operation="sum") == alone


def test_one_group_however_it_is_spelled(plugin):
    text = '{"data":[{"g":"a","x":1},{"g":"\\u0061","x":2},{"\\u0067":"a","x":4}],"key":"x","group_by":"g","operation":"sum"}'
    assert plugin.ask("aggregate", text) == '{"a":7}'


@pytest.mark.parametrize("data", [[{"x": 1}], [{"x": 1, "g": 1}], [{"x": 1, "g": None}], [{"x": 1, "g": "g" * 256}]])
def test_objects_without_a_group(plugin, data):
    answer = refused(plugin, "aggregate", {"data": [{"x": 1, "g": "a"}, *data], "key": "x", "group_by": "g", "operation": "sum"})
    assert answer.code == "missing_key" and "data[1]" in answer.message


def test_groups_need_a_key(plugin):
    assert refused(plugin, "aggregate", {"data": [1], "group_by": "g", "operation": "sum"}).code == "bad_parameters"


def test_a_group_that_has_no_answer_is_an_error(plugin):
    data = [{"g": "a", "x": 1e308}, {"g": "b", "x": 1}, {"g": "a", "x": 1e308}]
    assert refused(plugin, "aggregate", {"data": data, "key": "x", "group_by": "g", "operation": "sum"}).code == "overflow"
    assert refused(plugin, "aggregate", {"data": data, "key": "x", "group_by": "g", "operation": "stddev_sample"}).code == "empty"
    assert plugin.call("aggregate", data=data, key="x", group_by="g", operation="count") == {"a": 2, "b": 1}


# ---- normalize ----


def test_robust(plugin, rng):
    for _ in range(500):
        data = [float(x) for x in numbers(rng, moderate if rng.random() < 0.8 else number, least=1)]
        exact = [Fraction(x) for x in data]
        apart = exact_percentile(data, 75) - exact_percentile(data, 25)
        if min(data) == max(data):
            assert plugin.call("normalize", data=data, method="robust") == [0] * len(data)
            continue
        if apart == 0:
            assert refused(plugin, "normalize", {"data": data, "method": "robust"}).code == "no_spread"
            continue
        median = statistics.median(exact)
        want = [(x - median) / apart for x in exact]
        if max(map(abs, want)) > Fraction(1.79e308):
            assert refused(plugin, "normalize", {"data": data, "method": "robust"}).code == "overflow"
            continue
        tiny = apart < Fraction(1e-290)  # below that a double has fewer digits
        for y, exactly in zip(plugin.call("normalize", data=data, method="robust"), want, strict=True):
            assert within(y, exactly, abs(exactly) * (Fraction(1e-3) if tiny else 16 * Fraction(EPSILON)) + Fraction(1e-300)), data


def test_robust_does_not_mind_what_lies_far_out(plugin):
    assert plugin.call("normalize", data=[1, 2, 3, 4, 1e300], method="robust")[:4] == [-1, -0.5, 0, 0.5]
    assert plugin.call("normalize", data=[1e-10, 2e-10, 3e-10, 4e-10, 1e290], method="robust")[2] == 0
    low, high = plugin.call("normalize", data=[-1.7e308, 1.7e308], method="robust")
    assert math.isclose(low, -1, rel_tol=1e-15) and high == -low
    assert refused(plugin, "normalize", {"data": [5, 5, 5, 5, 6], "method": "robust"}).code == "no_spread"


def test_min_max_normalisation(plugin, rng):
    for _ in range(500):
        data = [float(x) for x in numbers(rng, least=1)]
        low, high = Fraction(min(data)), Fraction(max(data))
        got = plugin.call("normalize", data=data, method="min-max") if rng.random() < 0.5 else \
            plugin.call("normalize", data=data)
        for x, y in zip(data, got, strict=True):
            exact = (Fraction(x) - low) / (high - low) if high > low else Fraction(0)
            assert within(y, exact, 4 * Fraction(EPSILON) * exact + Fraction(2) ** -1000), (data, x, y)
        if high > low:
            assert min(got) == 0 and max(got) == 1


def test_z_score(plugin, rng):
    for _ in range(400):
        data = [float(x) for x in numbers(rng, moderate if rng.random() < 0.8 else number, least=1)]
        got = plugin.call("normalize", data=data, method="z-score")
        if min(data) == max(data):
            assert got == [0] * len(data)
            continue
        exact = [Fraction(x) for x in data]
        mean = statistics.mean(exact)
        variance = sum((x - mean) ** 2 for x in exact) / len(exact)
        for x, z in zip(exact, got, strict=True):
            want = (x - mean) ** 2 / variance  # the square: exact without a root
            # A score near 0 comes from a difference of the size of the mean's own last digits.
            slack = Fraction(EPSILON) * 8 + Fraction(EPSILON) ** 2 * 64 * (mean**2 / variance + 1)
            assert abs(Fraction(z) ** 2 - want) <= slack * (1 + 2 * want), (data, x, z)
            assert (x > mean) == (z > 0) or want < slack


def test_z_score_as_statistics_has_it(plugin, rng):
    data = [rng.gauss(50, 12) for _ in range(1000)]
    mean, deviation = statistics.fmean(data), statistics.pstdev(data)
    for x, z in zip(data, plugin.call("normalize", data=data, method="z-score"), strict=True):
        assert math.isclose(z, (x - mean) / deviation, rel_tol=1e-11, abs_tol=1e-13)


@pytest.mark.parametrize("data", [[1e308, -1e308, 0], [1.7e308, 1.6e308], [5e-324, 0], [1e-320, 3e-320, 2e-320]])
def test_normalises_at_the_ends_of_the_range(plugin, data):
    assert max(plugin.call("normalize", data=data)) == 1
    z = plugin.call("normalize", data=data, method="z-score")
    assert abs(sum(z)) < 1e-12 and math.isclose(sum(x * x for x in z) / len(z), 1, rel_tol=1e-12)


# ---- the edges ----


def test_empty_lists(plugin):
    assert plugin.call("transform", data=[], operation="power", factor=2) == []
    assert plugin.call("filter", data=[], condition="less", value=2) == []
    assert plugin.call("normalize", data=[]) == []
    assert plugin.call("normalize", data=[], method="z-score") == []
    assert plugin.call("normalize", data=[], method="robust") == []
    assert plugin.call("filter", data=[], key="k", condition="between", min=1, max=2) == []
    assert plugin.call("aggregate", data=[], key="k", group_by="g", operation="median") == {}
    assert plugin.call("aggregate", data=[], operation="sum") == 0
    assert plugin.call("aggregate", data=[], operation="count") == 0
    for operation in ("avg", "min", "max", "median", "stddev", "stddev_sample"):
        assert refused(plugin, "aggregate", {"data": [], "operation": operation}).code == "empty"
    assert refused(plugin, "aggregate", {"data": [], "operation": "percentile", "percent": 5}).code == "empty"


def test_numbers_beyond_a_double(plugin):
    for action, rest in (("transform", '"operation":"add","factor":1'), ("filter", '"condition":"less","value":1'),
                         ("aggregate", '"operation":"count"'), ("normalize", '"method":"z-score"')):
        answer = refused(plugin, action, '{"data":[1,2,-1e400],%s}' % rest)
        assert answer.code == "overflow" and "data[2]" in answer.message
    assert refused(plugin, "transform", '{"data":[1],"operation":"add","factor":1e999}').code == "overflow"


def test_order_space_and_escapes_of_members_do_not_matter(plugin):
    text = ' { "factor" : 2 ,\t"operation":"mult\\u0069ply", "d\\u0061ta" : [ 1 , 2 ] } '
    assert plugin.ask("transform", text) == "[2,4]"


def test_a_result_larger_than_the_host_takes(build):
    small = Plugin(build, "data_processor", payload_max=100)
    assert small.call("transform", data=[1] * 49, operation="multiply", factor=1) == [1] * 49  # 99 bytes: fits exactly
    assert small.call("filter", data=[1] * 49, condition="equal", value=1) == [1] * 49
    assert small.call("filter", data=[1] * 1000 + [2], condition="equal", value=2) == [2]
    assert refused(small, "transform", {"data": [1] * 100, "operation": "add", "factor": 1}).code == "too_large"
    assert refused(small, "filter", {"data": [1] * 100, "condition": "less", "value": 2}).code == "too_large"
    assert small.end() == 0


@pytest.mark.parametrize("text", [
    "", "{", "[]", "{}", '{"data":}', '{"data":[1,]}', '{"data":[,1]}', '{"data":[1 2]}', '{"data":[1,"2"]}',
    '{"data":[1', '{"data":[01]}', '{"data":[+1]}', '{"data":[1.]}', '{"data":[.5]}', '{"data":[1e]}', '{"data":[0x10]}',
    '{"data":[nan]}', '{"data":[inf]}', '{"data":[-]}', '{"data":[[1]]}', '{"data":"[1]"}', '{"a\\',
    '{"data":[}', '{"data":1}', '{"data":[1.5.5]}', '{"data":[--1]}', '{"data":[1e5e5]}'])
def test_text_that_no_host_would_pass_on(plugin, text):
    """The host checks first; the plugin stays whole and says no all the same."""
    for action, rest in (("transform", '"operation":"add","factor":1,'), ("filter", '"condition":"less","value":1,'),
                         ("aggregate", '"operation":"sum",'), ("normalize", '"method":"z-score",')):
        assert refused(plugin, action, text.replace("{", "{" + rest, 1)).code == "bad_parameters", text


def test_mutated_requests_leave_it_whole(plugin, rng, long):
    seeds = ['{"data":[1,2.5,-3e2],"operation":"multiply","factor":2}', '{"data":[1,2],"condition":"less","value":2}',
             '{"data":[1,2,4],"method":"z-score"}', '{"data":[0.1,0.2],"operation":"avg"}',
             '{"data":[{"g":"a","x":1},{"g":"b","x":2}],"key":"x","group_by":"g","operation":"median"}',
             '{"data":[3,1,2],"operation":"percentile","percent":40}', '{"data":[3,1,2,9],"method":"robust"}',
             '{"data":[{"x":1.5},{"x":2}],"key":"x","condition":"between","min":0,"max":2}',
             '{"data":[3.14,1],"operation":"round","factor":1}', '{"data":[3,1],"operation":"clip","min":2}']
    alphabet = '{}[],:"\\u0123456789.eE+- \tdatoperifcvm'
    for _ in range(20000 if long else 2000):
        text = list(rng.choice(seeds))
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(len(text))
            text[at:at + rng.randrange(3)] = rng.choice(alphabet)
        try:
            plugin.ask(rng.choice(["transform", "filter", "aggregate", "normalize"]), "".join(text))
        except Refused:
            pass


# ---- the manifest says what the plugin does ----


@pytest.fixture(scope="module")
def schemas(root):
    manifest = json.loads((root / "plugins" / "data_processor" / "plugin.json").read_text())
    return {a["name"]: a for a in manifest["actions"]}


@pytest.mark.parametrize("action, parameters, fits", [
    ("transform", {"data": [1], "operation": "add", "factor": 1}, True),
    ("transform", {"data": [1], "operation": "add", "value": 1}, True),
    ("transform", {"data": [1], "operation": "add", "value": 1, "factor": 1}, False),
    ("transform", {"data": [1], "operation": "add"}, False),
    ("transform", {"data": [1], "operation": "modulo", "factor": 1}, False),
    ("transform", {"data": ["1"], "operation": "add", "factor": 1}, False),
    ("transform", {"data": [1], "operation": "add", "factor": 1, "more": 1}, False),
    ("transform", {"data": [1], "operation": "log"}, True),
    ("transform", {"data": [1], "operation": "log", "factor": 2}, True),
    ("transform", {"data": [1], "operation": "log", "factor": 1}, False),
    ("transform", {"data": [1], "operation": "log", "value": 0}, False),
    ("transform", {"data": [1], "operation": "round", "factor": 2}, True),
    ("transform", {"data": [1], "operation": "round", "factor": 2.5}, False),
    ("transform", {"data": [1], "operation": "round", "factor": 23}, False),
    ("transform", {"data": [1], "operation": "clip", "min": 2}, True),
    ("transform", {"data": [1], "operation": "clip"}, False),
    ("transform", {"data": [1], "operation": "clip", "min": 2, "factor": 1}, False),
    ("transform", {"data": [1], "operation": "add", "factor": 1, "min": 1}, False),
    ("transform", {"data": [{"a": 1}], "key": "a", "operation": "add", "factor": 1}, True),
    ("transform", {"data": [{"a": 1}], "key": 1, "operation": "add", "factor": 1}, False),
    ("transform", {"data": [1], "key": "k" * 64, "operation": "add", "factor": 1}, False),
    ("filter", {"data": [], "condition": "between", "min": 1, "max": 2}, True),
    ("filter", {"data": [], "condition": "between", "min": 1}, False),
    ("filter", {"data": [], "condition": "between", "value": 1}, False),
    ("filter", {"data": [], "condition": "less", "value": 1, "min": 1}, False),
    ("aggregate", {"data": [1], "operation": "percentile", "percent": 50}, True),
    ("aggregate", {"data": [1], "operation": "percentile", "percent": 101}, False),
    ("aggregate", {"data": [1], "operation": "percentile"}, False),
    ("aggregate", {"data": [1], "operation": "median", "percent": 1}, False),
    ("aggregate", {"data": [{"a": 1, "g": "x"}], "operation": "sum", "key": "a", "group_by": "g"}, True),
    ("aggregate", {"data": [{"a": 1, "g": "x"}], "operation": "sum", "group_by": "g"}, False),
    ("normalize", {"data": [1], "method": "robust"}, True),
    ("filter", {"data": [], "condition": "equal", "value": 1}, True),
    ("filter", {"data": [], "condition": "equal"}, False),
    ("aggregate", {"data": [1], "operation": "count"}, True),
    ("aggregate", {"data": 1, "operation": "count"}, False),
    ("normalize", {"data": [1]}, True),
    ("normalize", {"data": [1], "method": "z-score"}, True),
    ("normalize", {"data": [1], "method": "zscore"}, False)])
def test_schema(schemas, action, parameters, fits):
    assert jsonschema.Draft202012Validator(schemas[action]["parameters"]).is_valid(parameters) == fits


def test_every_word_of_the_schemas_is_known_to_the_plugin(plugin, schemas):
    rest = {"transform": {"factor": 2}, "filter": {"value": 2}, "aggregate": {}, "normalize": {}}
    own = {"clip": {"min": 1, "max": 2}, "between": {"min": 1, "max": 2}, "percentile": {"percent": 50}}
    for action, schema in schemas.items():
        for member, property in schema["parameters"]["properties"].items():
            for word in property.get("enum", []):
                parameters = {"data": [1, 2, 3], **own.get(word, rest[action]), member: word}
                assert jsonschema.Draft202012Validator(schema["parameters"]).is_valid(parameters)
                result = plugin.call(action, **parameters)
                assert jsonschema.Draft202012Validator(schema["result"]).is_valid(result)
