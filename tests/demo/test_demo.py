"""scripts/demo, as a newcomer runs it. It checks its own claims; here its exit status and what it leaves are looked at."""

import glob
import os
import re
import subprocess

import pytest


@pytest.fixture
def demo(root, build):
    def run(*arguments):
        before = set(glob.glob("/tmp/moat-demo-*")) | set(glob.glob(f"{build}/demo-*"))
        env = {k: v for k, v in os.environ.items() if k not in ("MOAT_HOME", "PLUGIN_DIR", "REGISTRY_DIR")}
        done = subprocess.run([root / "scripts" / "demo", *arguments], env=env | {"MOAT_BUILD": str(build)},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        after = set(glob.glob("/tmp/moat-demo-*")) | set(glob.glob(f"{build}/demo-*"))
        assert not after - before, "the demo left something"
        return done

    return run


def test_on_this_machine(demo):
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "THIS SHOULD NOT HAVE HAPPENED" not in done.stdout
    assert "100000 reads" in done.stdout
    attacks = re.findall(r"^ +\d+\. (.*)$", done.stdout.split("A plugin that attacks")[1], re.M)
    assert len(attacks) >= 10 and not [line for line in attacks if line.endswith("?")], attacks


def test_with_the_users_numbers(demo, tmp_path):
    file = tmp_path / "numbers.json"
    file.write_text("[1, 2.5, 3, 1000]\n")
    done = demo(file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 numbers of numbers.json" in done.stdout and "least 1, average 251.625, greatest 1000" in done.stdout


@pytest.mark.parametrize("text", ['[1, "2"]', '{"a": 1}', "[1, 2", "", "[1e999]"])
def test_with_what_is_no_list_of_numbers(demo, tmp_path, text):
    file = tmp_path / "numbers.json"
    file.write_text(text)
    done = demo(file)
    assert done.returncode == 1
    assert "has to hold a JSON list of numbers" in done.stderr
