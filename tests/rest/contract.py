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
                return operation
        raise AssertionError(f"{method} {path} is no route of the description")

    def _resolve(self, node):
        if "$ref" not in node:
            return node
        for step in node["$ref"].removeprefix("#/").split("/"):
            node = self.document[step] if node is None or "$ref" in node else node[step]
        return node

    def check(self, method, target, status, media, body):
        """body: the parsed answer."""
        answers = self.find(method, target)["responses"]
        assert str(status) in answers, f"{method} {target}: {status} is not described"
        answer = self._resolve(answers[str(status)])
        content = answer.get("content", {})
        assert media in content or not content, f"{method} {target}: {media} is not described"
        if media == "application/json" and content:
            pointer = {"$ref": "urn:api#" + self._pointer(method, target, status)}
            jsonschema.Draft202012Validator(pointer, registry=self.registry).validate(body)

    def _pointer(self, method, target, status):
        operation = self.find(method, target)
        if "$ref" in operation["responses"][str(status)]:
            return "/components/responses/Failure/content/application~1json/schema"
        for m, path, o in self.operations:
            if o is operation:
                escaped = path.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
                return f"/paths/{escaped}/{m.lower()}/responses/{status}/content/application~1json/schema"
        raise AssertionError
