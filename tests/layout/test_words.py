"""Nothing in the tree may name the machine it was written on."""

import re
import subprocess

import pytest

# A directory of somebody's, absolute: it is there on one machine only.
FOREIGN = re.compile(
    r"(?<![\w./$}{-])/(?:home/(?!user\b)[a-z]{2}|work/|workspace/|root/|Users/|mnt/|tmp/(?:b-|build|moat-build))|\bfile://|@localhost\.local")


def tracked(root):
    done = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git work tree")
    return [root / name for name in done.stdout.split("\0") if name]


def test_no_path_of_somebodys_machine(root):
    found = []
    for file in tracked(root):
        if not file.is_file() or file.name == "test_words.py" or file.is_relative_to(root / "fuzz" / "corpus"):
            continue
        text = file.read_bytes().decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            if FOREIGN.search(line):
                found.append(f"{file.relative_to(root)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)


def test_the_search_finds_them():
    for line in ("cd /home/ann/moat", 'path = "/work/x"', "see /tmp/b-mine/moat", "(/root/.ssh)"):
        assert FOREIGN.search(line), line
    for line in ("a/home/x", "$HOME/x", "src/work/x", "/tmp/x", "framework/", "/home/user/x", "/home/u", "/var/lib/moat", "${root}/root/x"):
        assert not FOREIGN.search(line), line


def test_no_program_is_committed(root):
    """Seeds of fuzzing may be any bytes, but small; all else is text."""
    for file in tracked(root):
        if not file.is_file() or file.is_symlink():
            continue
        head = file.read_bytes()[:4]
        assert head != b"\x7fELF" and head[:2] != b"!<", file
        if file.is_relative_to(root / "fuzz" / "corpus"):
            assert file.stat().st_size <= 64 * 1024, file


def test_no_file_holds_more_than_one_idea(root):
    for file in tracked(root):
        if file.suffix in (".c", ".h") and file.is_relative_to(root / "src") and file.is_file():
            assert len(file.read_text().splitlines()) <= 650, f"{file.relative_to(root)} is long: split it by idea"
