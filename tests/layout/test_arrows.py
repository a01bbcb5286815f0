"""Which folder of src/ may include which: the arrows of docs/architecture.md, read off the #include lines."""

import re

import pytest

EVERYBODY = {"base", "json"}
ARROWS = {
    "base": set(),
    "json": set(),
    "measure": set(),
    "trace": set(),
    "wire": set(),
    "sandbox": set(),
    "policy": set(),
    "registry": set(),
    "package": {"sandbox", "wire"},
    "worker": {"wire", "sandbox"},
    "helper": {"wire", "sandbox"},
    "broker": {"policy", "wire", "sandbox"},
    "loader": {"wire", "sandbox", "policy", "package", "measure"},
    "service": {"loader", "broker", "registry", "package", "policy", "measure", "trace"},
    "orchestrator": {"service", "registry"},
    "rest": {"orchestrator", "service"},
    "http": {"rest"},
    "cli": {"http", "rest", "package", "sandbox"},
}
# Two folders at the bottom: json stands on base, and base on nothing.
NOT_EVEN = {"base": {"json"}}

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)


def sources(root):
    return sorted(p for p in (root / "src").rglob("*") if p.suffix in (".c", ".h"))


def target(root, file, name):
    """The file that an include line means; None for what is made during the build."""
    for base in (root / "src", file.parent, root / "include"):
        found = (base / name).resolve()
        if found.is_file():
            return found
    return None


def wrong_arrows(root):
    for file in sources(root):
        here = file.relative_to(root / "src").parts[0]
        if len(file.relative_to(root / "src").parts) == 1:
            yield f"{file.relative_to(root)}: stands in no folder"
            continue
        for name in INCLUDE.findall(file.read_text()):
            found = target(root, file, name)
            if found is None or found.is_relative_to(root / "include"):
                continue
            if not found.is_relative_to(root / "src"):
                yield f"{file.relative_to(root)}: includes {name}, outside src/"
                continue
            there = found.relative_to(root / "src").parts[0]
            allowed = {here} | (EVERYBODY - NOT_EVEN.get(here, set())) | ARROWS.get(here, set())
            if there not in allowed:
                yield f"{file.relative_to(root)}: includes {name}; {here} may use only {', '.join(sorted(allowed))}"


def test_every_folder_is_known(root):
    folders = {p.name for p in (root / "src").iterdir() if p.is_dir() and any(p.rglob("*.c"))}
    assert folders <= set(ARROWS), "say in ARROWS what the new folder may use"


def test_nothing_points_back():
    """The allowed arrows have no cycle."""
    done = set()
    while len(done) < len(ARROWS):
        free = {name for name, uses in ARROWS.items() if name not in done and uses <= done}
        assert free, f"a cycle among {sorted(set(ARROWS) - done)}"
        done |= free


def test_includes_follow_the_arrows(root):
    wrong = list(wrong_arrows(root))
    assert not wrong, "\n".join(wrong)


def test_a_wrong_include_is_found(tmp_path):
    for name, text in (("wire/wire.h", ""), ("service/service.h", ""), ("base/base.h", ""),
                       ("wire/wire.c", '#include "base/base.h"\n#include "service/service.h"\n'),
                       ("base/base.c", '#include <stdio.h>\n#  include "../wire/wire.h"\n')):
        file = tmp_path / "src" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found = list(wrong_arrows(tmp_path))
    assert [line.split(";")[0] for line in found] == [
        "src/base/base.c: includes ../wire/wire.h", "src/wire/wire.c: includes service/service.h"]


@pytest.mark.parametrize("folder", ["plugins", "examples"])
def test_plugins_include_nothing_of_the_host(root, folder):
    for file in (root / folder).rglob("*.[ch]"):
        for name in re.findall(r'^\s*#\s*include\s*["<]([^">]+)[">]', file.read_text(), re.M):
            found = target(root, file, name)
            assert found is None or not found.is_relative_to(root / "src"), f"{file}: {name}"
