"""src/json against Python: its json module about syntax, jsonschema (Draft 2020-12) about schemas, and the public
suite of JSON texts when JSON_SUITE names its directory."""

import json
import os
import pathlib
import subprocess

import jsonschema
import pytest

SYNTAX_TEXTS = 6000
SCHEMAS = 1500
INSTANCES = 8  # of each schema


@pytest.fixture(scope="module")
def check(build):
    return build / "tests" / "json" / "json_check"


def ask_syntax(check, texts):
    records = b"".join(b"%d\n%s" % (len(t), t) for t in texts)
    done = subprocess.run([check, "syntax"], input=records, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr[:2000]
    answers = [int(line) for line in done.stdout.split()]
    assert len(answers) == len(texts)
    return answers


def ask_schema(check, pairs):
    lines = "".join(f"{schema}\n{instance}\n" for schema, instance in pairs)
    done = subprocess.run([check, "schema"], input=lines.encode(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr[:2000]
    answers = done.stdout.decode().split("\n")[:-1]
    assert len(answers) == len(pairs)
    return answers


# Syntax


def refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def python_says(text):
    """RFC 8259, as json.loads reads it: strict UTF-8 first, no NaN.  Its depth is Python's, ours is 256."""
    try:
        json.loads(text.decode("utf-8"), parse_constant=refuse_constant, parse_int=str, parse_float=str)
    except (ValueError, UnicodeDecodeError):
        return 0
    return 1


def random_string(rng):
    parts = ["a", "key", " ", "\u00e9", "\u6f22", "\U0001f600", '"', "\\", "\n", "\x00", "\x7f", "/", "~", "x" * 30]
    return "".join(rng.choice(parts) for _ in range(rng.randrange(5)))


def random_number(rng):
    return rng.choice([0, -0.0, 1, 1.0, -1, 2, 2.5, 10, 1e2, 1e-3, -7.25, 3, 5, 6, 2**53 + 1, 2**64 + 1, rng.randrange(-9, 99)])


def random_value(rng, depth=0):
    kind = rng.randrange(6 if depth > 3 else 9)
    if kind < 2:
        return rng.choice([None, True, False])
    if kind < 4:
        return random_number(rng)
    if kind < 6:
        return random_string(rng)
    if kind == 6:
        return {rng.choice(NAMES): random_value(rng, depth + 1) for _ in range(rng.randrange(5))}
    return [random_value(rng, depth + 1) for _ in range(rng.randrange(5))]


def written(rng, value):
    """The value as text, with escapes or without, with space or without."""
    return json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1, 3]))


def mutated(rng, text):
    text = bytearray(text)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(text) + 1)
        piece = rng.choice([b'"', b"\\", b"{", b"]", b",", b":", b"0", b"-", b"e", b"\xc3", b"\xed\xa0\x80", b"\x00", b" ", b"nul"])
        how = rng.randrange(3)
        if how == 0:
            text[at:at] = piece
        elif how == 1:
            text[at : at + 1] = piece
        else:
            del text[at : at + rng.randrange(1, 4)]
    return bytes(text)


def test_syntax_as_python_reads_it(check, rng):
    texts = []
    for _ in range(SYNTAX_TEXTS // 4):
        text = written(rng, [random_value(rng) for _ in range(rng.choice([1, 1, 2, 30]))]).encode()
        texts.append(text)
        texts.extend(mutated(rng, text) for _ in range(3))
    answers = ask_syntax(check, texts)
    for text, answer in zip(texts, answers):
        assert answer == python_says(text), text
    assert 0 < sum(answers) < len(answers)


# Schemas

NAMES = ["a", "b", "name", "data", "\u00e9", "a/b", "x~y", "long" * 8, "n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7"]
TYPES = ["null", "boolean", "number", "integer", "string", "array", "object"]


def keyword_type(rng, depth):
    return rng.choice(TYPES) if rng.random() < 0.7 else rng.sample(TYPES, rng.randrange(1, 4))


def keyword_properties(rng, depth):
    return {n: random_schema(rng, depth + 1) for n in rng.sample(NAMES, rng.choice([1, 2, 3, 12]))}


def list_of_schemas(rng, depth):
    return [random_schema(rng, depth + 1) for _ in range(rng.randrange(1, 4))]


def size(rng, depth):
    return rng.choice([0, 1, 2, 3, 4.0])


def limit(rng, depth):
    return random_number(rng)


def subschema(rng, depth):
    return random_schema(rng, depth + 1)


KEYWORDS = {
    "type": keyword_type,
    "enum": lambda rng, depth: [random_value(rng, 2) for _ in range(rng.randrange(1, 6))],
    "const": lambda rng, depth: random_value(rng, 2),
    "properties": keyword_properties,
    "required": lambda rng, depth: rng.sample(NAMES, rng.randrange(3)),
    "additionalProperties": subschema,
    "items": subschema,
    "prefixItems": list_of_schemas,
    "minLength": size,
    "maxLength": size,
    "minItems": size,
    "maxItems": size,
    "minProperties": size,
    "maxProperties": size,
    "minimum": limit,
    "maximum": limit,
    "exclusiveMinimum": limit,
    "exclusiveMaximum": limit,
    "multipleOf": lambda rng, depth: rng.choice([1, 2, 3, 5, 10, 7]),
    "anyOf": list_of_schemas,
    "oneOf": list_of_schemas,
    "allOf": list_of_schemas,
    "not": subschema,
    "$ref": lambda rng, depth: rng.choice(["#/$defs/one", "#/$defs/t%77o~1"]),
    "title": lambda rng, depth: "a title",
    "default": lambda rng, depth: random_value(rng, 3),
    "format": lambda rng, depth: "date",
}


def random_schema(rng, depth=0):
    if rng.random() < 0.12:
        return rng.random() < 0.8
    if depth > 2:
        return {"type": keyword_type(rng, depth)}
    names = rng.sample(sorted(KEYWORDS), rng.choice([0, 1, 1, 2, 3, 5]))
    if depth >= 90:  # inside $defs: no $ref, which could lead back
        names = [n for n in names if n != "$ref"]
    return {n: KEYWORDS[n](rng, depth) for n in names}


def without_refs(schema):
    if isinstance(schema, dict):
        return {k: without_refs(v) for k, v in schema.items() if k != "$ref"}
    return [without_refs(v) for v in schema] if isinstance(schema, list) else schema


def whole_schema(rng):
    schema = random_schema(rng)
    if isinstance(schema, dict):
        schema["$defs"] = {"one": without_refs(random_schema(rng, 1)), "two/": without_refs(random_schema(rng, 1))}
    return schema


def sample_of(rng, schema, depth=0):
    """A value that has a fair chance to fit."""
    if not isinstance(schema, dict) or depth > 4 or rng.random() < 0.15:
        return random_value(rng, 2)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema and rng.random() < 0.7:
            return sample_of(rng, rng.choice(schema[key]), depth + 1)
    kinds = schema.get("type", TYPES)
    kind = kinds if isinstance(kinds, str) else rng.choice(kinds)
    if "properties" in schema and "object" in kinds:
        kind = "object"
    if kind == "object":
        properties = schema.get("properties", {})
        names = [n for n in properties if rng.random() < 0.7] + list(schema.get("required", []))
        names += rng.sample(NAMES, rng.choice([0, 0, 1]))
        rest = schema.get("additionalProperties", True)
        return {n: sample_of(rng, properties.get(n, rest), depth + 1) for n in names}
    if kind == "array":
        prefix = schema.get("prefixItems", [])
        items = [sample_of(rng, s, depth + 1) for s in prefix if rng.random() < 0.9]
        return items + [sample_of(rng, schema.get("items", True), depth + 1) for _ in range(rng.randrange(4))]
    simple = {"null": None, "boolean": rng.random() < 0.5, "integer": rng.choice([0, 1, 5, 10, 2.0, -3])}
    if kind in simple:
        return simple[kind]
    return random_number(rng) if kind == "number" else random_string(rng)


def flat(rng, value):
    """On one line, and sometimes with numbers and names written another way."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.3:
        text = text.replace('"a"', '"\\u0061"').replace(" 1,", " 1.0e0,").replace(" 10,", " 100E-1,")
    return text


def test_schemas_as_jsonschema_reads_them(check, rng):
    pairs, expected = [], []
    for _ in range(SCHEMAS):
        schema = whole_schema(rng)
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema)
        for i in range(INSTANCES):
            text = flat(rng, sample_of(rng, schema))
            pairs.append(("" if i else flat(rng, schema), text))
            expected.append(validator.is_valid(json.loads(text)))
    answers = ask_schema(check, pairs)
    schema = ""
    for (line, instance), fits, answer in zip(pairs, expected, answers):
        schema = line or schema
        wanted = ("ok",) if fits else ("bad_parameters",)
        assert answer.split("\t")[0] in wanted, f"{answer}\nschema {schema}\ninstance {instance}\njsonschema says {fits}"
    assert len(expected) * 0.1 < sum(expected) < len(expected) * 0.9


def resolve(value, pointer):
    for token in pointer.split("/")[1:]:
        token = token.replace("~1", "/").replace("~0", "~")
        value = value[int(token)] if isinstance(value, list) else value[token]
    return value


def test_pointers_lead_to_a_value(check, rng):
    """Whatever was refused, its pointer is one that the instance has, and the reason is one line."""
    pairs = []
    for _ in range(500):
        schema = whole_schema(rng)
        for i in range(4):
            pairs.append(("" if i else json.dumps(schema), json.dumps(sample_of(rng, schema))))
    seen = 0
    for (_, instance), answer in zip(pairs, ask_schema(check, pairs)):
        code, *rest = answer.split("\t")
        if code == "ok":
            continue
        pointer, reason = rest
        resolve(json.loads(instance), pointer)
        assert reason and len(reason) < 256
        seen += 1
    assert seen > 100


def test_unknown_keywords_are_refused(check):
    unknown = ["uniqueItems", "pattern", "patternProperties", "propertyNames", "if", "then", "else", "contains",
               "minContains", "dependentRequired", "dependentSchemas", "unevaluatedItems", "unevaluatedProperties",
               "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary", "definitions", "contentEncoding", "types"]
    pairs = [(json.dumps({"properties": {"a/b": {"items": {name: True}}}}), "1") for name in unknown]
    for name, answer in zip(unknown, ask_schema(check, pairs)):
        code, message = answer.split("\t")
        assert code == "refused" and f"/properties/a~1b/items/{name}: " in message


# The public suite

SUITE = os.environ.get("JSON_SUITE")


@pytest.mark.skipif(not SUITE, reason="JSON_SUITE names no directory")
def test_public_suite(check):
    files = sorted(p for p in pathlib.Path(SUITE).rglob("*.json") if p.name[:2] in ("y_", "n_", "i_"))
    assert files, f"no y_*.json, n_*.json or i_*.json in {SUITE}"
    answers = ask_syntax(check, [p.read_bytes() for p in files])
    for path, answer in zip(files, answers):
        assert answer in {"y_": (1,), "n_": (0,), "i_": (0, 1)}[path.name[:2]], path.name
