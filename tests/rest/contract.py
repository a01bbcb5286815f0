"""What /openapi.json promises, held against what the server answers."""

import re

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012


class Contract:
    def __init__(self, document):
        self.document = document
        self.registry = Registry().with_resource("urn:api", Resource.from_contents(document, DRAFT202012))
        self.operations = [(method.upper(), path, operation) for path, item in document["paths"].items()
                           for method, operation in item.items()]

    def find(self, method, target):
        path = target.split("?")[0]
        for m, pattern, operation in self.operations:
            expression = re.sub(r"\\\{[a-z_]+\\\}", "[^/]+", re.escape(pattern))
            if m == method and re.fullmatch(expression, path):
                return pattern
        raise AssertionError(f"{method} {path} is no route of the description")

    def check(self, method, target, status, media, body):
        """body: the parsed answer."""
        self.check_operation(method, self.find(method, target), status, media, body)

    def check_operation(self, method, path, status, media, body):
        answers = self.document["paths"][path][method.lower()]["responses"]
        assert str(status) in answers, f"{method} {path}: {status} is not described"
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


def escape(path):
    return path.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
