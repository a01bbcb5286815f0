"""The examples print what docs/tasks.md shows."""

import os
import re
import subprocess
import sys

import pytest

from place import Place


@pytest.fixture(scope="module")
def shown(root):
    """What stands below each command of the page."""
    page = (root / "docs/tasks.md").read_text()
    return {command.split("/")[-1].split()[0]: answer
            for command, answer in re.findall(r"^```\n\$ (.*)\n((?:.*\n)*?)```", page, re.M)}


@pytest.mark.parametrize("name", ["service", "orchestrate"])
def test_in_c(build, tmp_path, shown, name):
    place = Place(build, tmp_path)
    place.have("data_processor")
    done = subprocess.run([build / "examples" / name, place.home], env=place.env | {"MOAT_LIBEXEC": str(build)},
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, shown[name]), done.stderr


def test_in_python(tasks, root, shown):
    token = tasks.good("POST", "/api/tokens", {"scopes": ["execute:data_processor"]})["token"]
    done = subprocess.run([sys.executable, root / "examples/orchestrate.py"], capture_output=True, text=True, timeout=60,
                          env=os.environ | {"MOAT_URL": tasks.ready["url"], "MOAT_TOKEN": token})
    assert (done.returncode, done.stdout) == (0, shown["orchestrate.py"]), done.stderr
