"""docs/tasks.md and the schema of tasks speak of the same form."""

import json
import re

import jsonschema
import pytest


@pytest.fixture(scope="module")
def schema(root):
    return json.loads((root / "docs/schema/task.schema.json").read_text())


def test_the_schema_is_a_schema(schema):
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_tasks_shown_are_tasks(root, schema):
    shown = re.findall(r"^```json\n(.*?)^```", (root / "docs/tasks.md").read_text(), re.M | re.S)
    tasks = [json.loads(text) for text in shown if '"task"' in text]
    assert tasks
    for task in tasks:
        jsonschema.validate(task, schema)


def test_the_page_names_every_member_of_a_step(root, schema):
    page = (root / "docs/tasks.md").read_text()
    missing = [name for name in schema["$defs"]["step"]["properties"] if f"`{name}`" not in page]
    assert missing == ["description"], missing
