"""docs/schema/task.schema.json is one source for people, editors and the host: all must read it alike."""

import json
import re
import subprocess

import jsonschema
import pytest


@pytest.fixture(scope="module")
def validator(root):
    return jsonschema.Draft202012Validator(json.loads((root / "docs/schema/task.schema.json").read_text()))


@pytest.fixture(scope="module")
def rich(root):
    return json.loads((root / "fuzz/corpus/task/full").read_text())


def answers(build, documents):
    """What the host's reader says of each document: "ok", its findings, or another refusal's message."""
    lines = "".join(json.dumps(d) + "\n" for d in documents)
    done = subprocess.run([build / "tests/orchestrator/task_test", "--answer"], input=lines, capture_output=True, text=True,
                          check=True, timeout=120)
    return done.stdout.splitlines()


# The finding of a document that the schema accepts is one of these: a schema cannot say it.
BEYOND = {"bad_id", "bad_target", "bad_value", "unknown_reference", "bad_template", "cycle", "too_large"}


def compare(build, validator, documents):
    said = answers(build, documents)
    assert len(said) == len(documents)
    for document, answer in zip(documents, said):
        if validator.is_valid(document):
            assert answer == "ok" or {f["code"] for f in json.loads(answer)} <= BEYOND, (document, answer)
        else:
            assert answer != "ok", document


def resolve(document, pointer):
    for token in pointer.split("/")[1:]:
        token = token.replace("~1", "/").replace("~0", "~")
        document = document[int(token)] if isinstance(document, list) else document[token]
    return document


def mutated(rng, value):
    """The same document with one place changed."""
    pool = [None, True, 0, 1, -1, 1.5, "", "x", "a", "2s", [], {}, ["a"], {"$from": "/input"}, {"$text": "{/item}"}, "é" * 40,
            {"$from": "/steps/c/result"}, {"step": "c", "outcome": "failed"}]
    if isinstance(value, dict) and value and rng.random() < 0.9:
        copy = dict(value)
        name = rng.choice(list(copy))
        kind = rng.random()
        if kind < 0.15:
            del copy[name]
        elif kind < 0.25:
            copy[rng.choice(["x", "id", "timeout", "on_error", "sticky", "default"])] = rng.choice(pool)
        else:
            copy[name] = mutated(rng, copy[name])
        return copy
    if isinstance(value, list) and value and rng.random() < 0.85:
        copy = list(value)
        place = rng.randrange(len(copy))
        copy[place] = mutated(rng, copy[place])
        return copy
    return rng.choice(pool)


def test_random_documents(build, validator, rich, rng):
    assert answers(build, [rich]) == ["ok"]
    documents = []
    for _ in range(4000):
        document = rich
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            document = mutated(rng, document)
        documents.append(document)
    good = sum(map(validator.is_valid, documents))
    assert 200 < good < 3800, "the mutations are too mild or too wild to tell anything"
    compare(build, validator, documents)


def test_findings_point_at_something(build, rich, rng):
    """Each pointer leads to a value of the document."""
    documents = [mutated(rng, rich) for _ in range(1000)]
    seen = 0
    for document, answer in zip(documents, answers(build, documents)):
        if answer != "ok":
            for finding in json.loads(answer):
                resolve(document, finding["pointer"])
                assert re.search(r"\S", finding["message"])
                seen += 1
    assert seen > 200
