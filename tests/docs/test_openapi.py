"""The description of the HTTP API, as `moat help pages/openapi` prints it: it is one, and says something of every answer."""

import json
import subprocess

import openapi_spec_validator
import pytest


@pytest.fixture(scope="module")
def document(build):
    done = subprocess.run([build / "moat", "help", "pages/openapi"], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def operations(document):
    return [(method.upper(), path, operation) for path, item in document["paths"].items()
            for method, operation in item.items()]


def resolve(document, schema):
    while "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        schema = document["components"]["schemas"][name]
    return schema


def schemas_in(schema):
    """This one and all in it."""
    yield schema
    for value in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(value, (dict, list)):
            yield from schemas_in(value)


def test_the_description_is_one(document, operations):
    openapi_spec_validator.validate(document)
    ids = [operation["operationId"] for _, _, operation in operations]
    assert len(set(ids)) == len(ids) > 50


def test_no_route_leaves_its_answer_open(document, operations):
    """`{"type": "object"}` alone says nothing: src/rest/answers.json has to name the members."""
    for method, path, operation in operations:
        content = operation["responses"]["200"]["content"]
        schema = resolve(document, next(iter(content.values()))["schema"])
        if "application/json" in content and "result" in schema.get("properties", {}):
            schema = schema["properties"]["result"]
            assert schema is not True, f"src/rest/answers.json has no entry for {method} {path}"
            schema = resolve(document, schema)
        if "{action}" in path:
            continue  # the action's own schema, which `info` shows
        told = any(schema.get(word) for word in ("properties", "items", "anyOf", "oneOf")) or schema.get("type") == "string"
        assert told, f"src/rest/answers.json: {method} {path} says {schema}"


def test_generators_understand_every_schema(document):
    """A flag that may be missing is a boolean and no constant; a member of any kind is `{}`, not `true`: what generators
    make of the others is not always a program."""
    for schema in schemas_in([document["components"]["schemas"], document["paths"]]):
        if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
            for name, member in schema["properties"].items():
                assert member is not True, f"{name} of {sorted(schema['properties'])}: write {{}}"
                constant = isinstance(member, dict) and isinstance(member.get("const"), bool)
                assert not constant or name in schema.get("required", []), f"{name} of {sorted(schema['properties'])}"


def test_the_export_is_described_once(document, root):
    """The form that documents publish is the one of the description."""
    published = json.loads((root / "docs" / "schema" / "export.schema.json").read_text())
    schemas = document["components"]["schemas"]

    def renamed(o):
        if isinstance(o, dict):
            return {k: "#/components/schemas/Export" + v.split("/")[-1].capitalize() if k == "$ref" else renamed(v)
                    for k, v in o.items()}
        return [renamed(v) for v in o] if isinstance(o, list) else o

    for name, schema in published["$defs"].items():
        assert renamed(schema) == schemas["Export" + name.capitalize()], name
    assert all(renamed(published[k]) == schemas["Export"][k] for k in ("type", "properties", "required"))
