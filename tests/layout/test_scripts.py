"""The scripts themselves: what they count, and how they refuse."""

import re
import subprocess
import sys

import pytest

MESON = """<testsuites><testsuite name="moat:base" tests="3" errors="0" failures="1" skipped="1">
<testcase name="1 - a" classname="base"/><testcase name="2 - b" classname="base"><failure/></testcase>
<testcase name="3 - c" classname="base"><skipped/></testcase></testsuite></testsuites>"""
DIED = """<testsuites><testsuite name="moat:base" tests="1" errors="1" failures="0" skipped="0">
<testcase name="1 - a" classname="base"/></testsuite></testsuites>"""
PYTEST = """<testsuites><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4">
<testcase classname="t" name="a"/><testcase classname="t" name="b"><failure message="no"/></testcase>
<testcase classname="t" name="c"><error message="setup"/></testcase>
<testcase classname="t" name="d"><skipped message="not here"/></testcase></testsuite></testsuites>"""


def run(root, *arguments, text=None):
    return subprocess.run([*arguments], cwd=root, input=text, capture_output=True, text=True, timeout=60)


def count(root, tmp_path, *texts):
    files = []
    for i, text in enumerate(texts):
        files.append(tmp_path / f"{i}.xml")
        files[-1].write_text(text)
    return run(root, sys.executable, "scripts/results.py", "count", *files).stdout.splitlines()


@pytest.mark.parametrize("texts, totals", [
    ([MESON], "1 1 1"), ([PYTEST], "1 2 1"), ([MESON, PYTEST], "2 3 2"), ([DIED], "1 1 0"), (["<half"], "0 1 0")])
def test_counts_what_happened(root, tmp_path, texts, totals):
    assert count(root, tmp_path, *texts)[0] == totals


def test_every_failure_and_skip_has_a_line(root, tmp_path):
    lines = count(root, tmp_path, PYTEST)[1:]
    assert lines == ["failed  t b: no", "failed  t c: setup", "skipped t d: not here"]


def test_no_results_are_a_failure(root, tmp_path):
    done = run(root, sys.executable, "scripts/results.py", "count", tmp_path / "absent.xml")
    assert done.stdout.startswith("0 1 0\n")


def test_figures_become_one_document(root):
    lines = '{"name":"call.spin","value":0.9,"unit":"us"}\n\n{"name":"json.int","value":3.4,"unit":"GB/s"}\n'
    done = run(root, sys.executable, "scripts/results.py", "figures", "--json", text=lines)
    assert done.stdout == '{"results": [{"name": "call.spin", "value": 0.9, "unit": "us"}, ' \
                          '{"name": "json.int", "value": 3.4, "unit": "GB/s"}]}\n'


@pytest.mark.parametrize("command", [["test", "nonsense"], ["fuzz", "nonsense"], ["test", "--nonsense"], ["fuzz", "--x"],
                                     ["demo", "--x"], ["demo", "/nonexistent"], ["bench", "--x"], ["bench", "json.x"], ["setup", "x"],
                                     ["build", "x"], ["lint", "x"]])
def test_refuses_at_once(root, command):
    done = run(root, f"scripts/{command[0]}", *command[1:])
    assert done.returncode in (1, 2) and (done.stderr or done.stdout)


def test_a_wrong_group_is_told_the_right_ones(root):
    assert "layout" in run(root, "scripts/test", "nonsense").stderr


def test_setup_has_nothing_to_do(root):
    """This test runs, so all of packages.txt is there; then no network is needed either."""
    done = run(root, "scripts/setup", "--packages")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_setup_installs_is_pinned_or_debian(root):
    names = [line.split("#")[0].strip() for line in (root / "scripts" / "packages.txt").read_text().splitlines()]
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", name) for name in names if name)
    pins = [line for line in (root / "scripts" / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert pins and all(re.fullmatch(r"[A-Za-z0-9_-]+==[0-9.]+(\.post[0-9]+)?", pin) for pin in pins)


def test_fuzz_targets_have_code_and_seeds(root):
    lines = [line for line in (root / "fuzz" / "targets.txt").read_text().splitlines() if line.strip() and line[0] != "#"]
    names = [line.split(":")[0] for line in lines]
    assert len(names) == len(set(names)) > 3
    for name in names:
        assert (root / "fuzz" / f"{name}.c").exists() and any((root / "fuzz" / "corpus" / name).iterdir()), name
    strays = {p.name for p in (root / "fuzz" / "corpus").iterdir()} - set(names)
    assert not strays, f"no target reads {strays}"
