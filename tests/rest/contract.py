"""What /openapi.json promises, held against what the server answers.

A client must take an answer with members that it does not know, for answers may gain some; here such a member is one
that nobody has described, and fails."""

import copy
import re

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012


def close(schema):
    """In place: an object with described members has no others."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and "type" in schema:
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            close(value)
    elif isinstance(schema, list):
        for value in schema:
            close(value)


class Contract:
    def __init__(self, document):
        self.document = document
        closed = copy.deepcopy(document)
        close(closed)
        self.registry = Registry().with_resource("urn:api", Resource.from_contents(closed, DRAFT202012))
        self.operations = [(method.upper(), path, operation) for path, item in document["paths"].items()
                           for method, operation in item.items()]
        self.seen = set()  # of answers: (method, path, status)

    def find(self, method, target):
        """A path without parameters goes before one with."""
        path = target.split("?")[0]
        found = [pattern for m, pattern, _ in self.operations
                 if m == method and re.fullmatch(re.sub(r"\\\{[a-z_]+\\\}", "[^/]+", re.escape(pattern)), path)]
        if not found:
            raise AssertionError(f"{method} {path} is no route of the description")
        return min(found, key=lambda pattern: pattern.count("{"))

    def check(self, method, target, status, media, body):
        """body: the parsed answer."""
        self.check_operation(method, self.find(method, target), status, media, body)

    def check_operation(self, method, path, status, media, body):
        answers = self.document["paths"][path][method.lower()]["responses"]
        assert str(status) in answers, f"{method} {path}: {status} is not described"
        self.seen.add((method, path, status))
        answer = answers[str(status)]
        at = f"/paths/{escape(path)}/{method.lower()}/responses/{status}"
        if "$ref" in answer:
            at = "/components/responses/Failure"
            answer = self.document["components"]["responses"]["Failure"]
        content = answer.get("content", {})
        assert media in content or not content, f"{method} {path}: {media} is not described"
        if media == "application/json" and content:
            pointer = {"$ref": f"urn:api#{at}/content/application~1json/schema"}
            jsonschema.Draft202012Validator(pointer, registry=self.registry).validate(body)

    def resolve(self, schema):
        while "$ref" in schema:
            at = self.document
            for step in schema["$ref"].removeprefix("#/").split("/"):
                at = at[step]
            schema = at
        return schema


def escape(path):
    return path.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
