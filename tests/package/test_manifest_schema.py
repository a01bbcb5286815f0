"""docs/schema/plugin.schema.json is one source for people, editors and the host: all must read it alike."""
import json
import subprocess

import jsonschema
import pytest

from packing import ROOT, manifest

SCHEMA = json.loads((ROOT / "docs/schema/plugin.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture
def test(build):
    """The C test, which also answers for the host's reader."""
    return build / "tests/package/package_manifest_test"


def answers(test, documents):
    """What the host's reader says of each document: "ok" or its message."""
    lines = "".join(json.dumps(d) + "\n" for d in documents)
    done = subprocess.run([test, "--answer"], input=lines, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.splitlines()


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_documents_of_the_c_tests(test):
    lines = subprocess.run([test, "--documents"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) > 80
    documents = [json.loads(line) for line in lines]
    compare(test, documents)


# What Python's schema accepts and the host refuses must be one of the rules that a schema cannot say.
BEYOND = (
    "name is a small letter",
    "is not a version",
    "control character",
    "the path ",
    "there is no ",
    " stands twice",
    " is asked for twice",
    " has no scope ",
    "is not an absolute path",
    "component",
    "is not HOST:PORT",
    "is not PLUGIN.ACTION",
    "is not the name of a data source",
    "is there twice",
    "/parameters",
    "/result",
    "/config",
    "is not a size",
    "is not a time",
    "plugin.json: line ",
)


def compare(test, documents):
    said = answers(test, documents)
    assert len(said) == len(documents)
    for document, answer in zip(documents, said):
        if VALIDATOR.is_valid(document):
            assert answer == "ok" or any(text in answer for text in BEYOND), (document, answer)
        else:
            assert answer != "ok", document


def mutated(rng, value, depth=0):
    """The same document with one place changed."""
    pool = [None, True, 0, 1, -1, 1.5, "", "x", "native", [], {}, ["x"], {"x": 1}, "a" * 300, ["custom"] * 9]
    if isinstance(value, dict) and value and rng.random() < 0.85:
        copy = dict(value)
        name = rng.choice(list(copy))
        kind = rng.random()
        if kind < 0.2:
            del copy[name]
        elif kind < 0.3:
            copy[rng.choice(["x", "name", "type", "default", "memory", "workers"])] = rng.choice(pool)
        else:
            copy[name] = mutated(rng, copy[name], depth + 1)
        return copy
    if isinstance(value, list) and value and rng.random() < 0.7:
        copy = list(value)
        place = rng.randrange(len(copy))
        copy[place] = mutated(rng, copy[place], depth + 1)
        return copy
    return rng.choice(pool)


def test_random_documents(test, rng):
    rich = manifest(
        author="a",
        description="d",
        keywords=["k"],
        libraries=["l.so"],
        required_permissions={"file_read": {"paths": ["/data"]}},
        optional_permissions=["network_access"],
        config={"type": "object", "properties": {"a": {"type": "integer", "default": 1}}},
        limits={"memory": "64MiB", "tmp": "1MiB", "processes": 1, "deadline": "2s", "workers": 1},
        state=False,
        actions=[{"name": "a", "description": "d", "idempotent": True, "parameters": {}, "result": True}],
    )
    assert answers(test, [rich]) == ["ok"]
    documents = []
    for _ in range(3000):
        document = rich
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            document = mutated(rng, document)
        documents.append(document)
    good = sum(map(VALIDATOR.is_valid, documents))
    assert 100 < good < 2900, "the mutations are too mild or too wild to tell anything"
    compare(test, documents)


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").glob("*/plugin.json")), ids=lambda p: p.parent.name)
def test_the_plugins_here(test, path):
    document = json.loads(path.read_text())
    VALIDATOR.validate(document)
    assert answers(test, [document]) == ["ok"]
