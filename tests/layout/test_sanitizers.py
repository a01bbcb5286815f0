"""A worker that ships never carries what a sanitizer needs: neither its code nor a call that is allowed for its sake.

Sanitizers want shadow memory, ptrace and /proc; a wall that lets them in for tests and forgets it there is a hole."""

import json
import re

import pytest

from elf import Elf

# What each of them brings along, in every executable that has it.
RUNTIMES = ("__asan_", "__ubsan_", "__tsan_", "__msan_", "__lsan_", "__sanitizer_", "__hwasan_", "__gcov_", "__llvm_profile_",
            "__afl_")
WALLED = ["moat-worker", "plugins/agent_skill.so", "plugins/data_processor.so", "plugins/hostile.so"]


def release(build):
    options = json.loads((build / "meson-info" / "intro-buildoptions.json").read_text())
    return {o["name"]: o["value"] for o in options}["b_sanitize"] == "none"


@pytest.mark.parametrize("name", WALLED)
def test_what_runs_behind_the_wall_has_no_sanitizer(build, name):
    """In a sanitized build too: there the host is tested, against plain workers."""
    file = Elf(build / name)
    found = sorted(n for n in file.names() | file.imports() if n.startswith(RUNTIMES))
    assert not found, f"{name} holds {found[:5]}"


@pytest.mark.parametrize("name", ["moat", "moat-helper", "libmoat.so"])
def test_what_ships_has_no_sanitizer(build, name):
    if not release(build):
        pytest.skip("this build is for tests")
    file = Elf(build / name)
    assert not [n for n in file.names() | file.imports() if n.startswith(RUNTIMES)]


def test_the_names_are_the_right_ones(build):
    """A control: a plugin that is built with them for the tests has them."""
    file = build / "tests" / "plugins" / "data_processor_asan.so"
    if not file.exists():
        pytest.skip("this compiler has no sanitizers")
    elf = Elf(file)
    assert [n for n in elf.names() | elf.imports() if n.startswith("__asan_")]


def test_the_wall_is_compiled_without(build):
    """Each object of the inside, by its own command."""
    commands = json.loads((build / "compile_commands.json").read_text())
    inside = [c for c in commands if re.search(r"(sandbox_inside|moat-worker)\S*\.p/", c["output"])]
    assert len(inside) > 10
    assert not [c["output"] for c in inside if "-fsanitize" in c["command"] and "-fsanitize=all" not in c["command"]]


def test_the_policy_knows_no_other_build(root):
    """One filter for every build: nothing in the policy, or in what installs it, asks which one this is."""
    sandbox = root / "src" / "sandbox"
    files = [*sandbox.rglob("*.policy"), *sandbox.glob("inside*.[ch]"), *sandbox.glob("spawner_*.[ch]"), sandbox / "limits.c",
             *(sandbox / "policy").glob("*.[ch]"), *(root / "src" / "worker").rglob("*.[ch]")]
    assert len(files) > 30
    pattern = re.compile(r"__SANITIZE_|__has_feature|NDEBUG|FUZZING_BUILD|asan|tsan|msan", re.I)
    found = [f"{path.name}: {line}" for path in files for line in path.read_text().splitlines() if pattern.search(line)]
    assert not found, found
