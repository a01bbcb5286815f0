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


# ---- normalize ----


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
    assert plugin.call("aggregate", data=[], operation="sum") == 0
    assert plugin.call("aggregate", data=[], operation="count") == 0
    for operation in ("avg", "min", "max"):
        assert refused(plugin, "aggregate", {"data": [], "operation": operation}).code == "empty"


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
             '{"data":[1,2,4],"method":"z-score"}', '{"data":[0.1,0.2],"operation":"avg"}']
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
    for action, schema in schemas.items():
        for member, property in schema["parameters"]["properties"].items():
            for word in property.get("enum", []):
                result = plugin.call(action, data=[1, 2, 3], **rest[action], **{member: word})
                assert jsonschema.Draft202012Validator(schema["result"]).is_valid(result)
