"""What a package brings beside its entry works end to end: libraries in order from sealed memory, C++, and assets that
all workers share and nobody can change."""

import hashlib
import os
import pathlib
import random
import shutil
import subprocess
import threading
import time

import pytest

from author import Author
from place import Place

HERE = pathlib.Path(__file__).parent / "bundle"
LARGE = random.Random(1).randbytes(3_000_000)  # does not compress, and no page is like another
WORDS = "some words\nand more\n"


@pytest.fixture(scope="module")
def shelf(build, tmp_path_factory):
    """A server with the plugin `shelf`, of two workers at most."""
    place = Place(build, tmp_path_factory.mktemp("shelf"))
    author = Author(place, "shelf")
    author.library("libalpha.so", HERE / "alpha.c", soname="libalpha.so.1")
    author.library("libbeta.so", HERE / "beta.c", "libalpha.so", soname="libbeta.so.1")
    author.entry(HERE / "shelf.c", "libbeta.so", "libalpha.so")
    author.file("data/words.txt", WORDS.encode())
    author.file("data/large.bin", LARGE)
    author.file("data/empty", b"")
    actions = ["order", "first_word", "words", "large", "empty", "missing", "scribble", "pry", "wait"]
    author.manifest(libraries=["libalpha.so", "libbeta.so"], assets=["data/words.txt", "data/large.bin", "data/empty"],
                    actions=[{"name": name} for name in actions], limits={"workers": 2, "deadline": "60s"})
    place.good("install", author.pack())
    place.serve()
    yield place
    place.close()


def ask(place, action, plugin="shelf", parameters="{}"):
    return place.good("call", plugin, action, parameters).json


def test_libraries_are_loaded_in_the_manifests_order(shelf):
    assert ask(shelf, "order")["text"] == "ab"


def test_assets_are_what_was_packed(shelf):
    assert ask(shelf, "words") == {"len": len(WORDS), "sum": sum(WORDS.encode()), "behind": "0"}
    assert ask(shelf, "large") == {"len": len(LARGE), "sum": sum(LARGE), "behind": "0"}
    assert ask(shelf, "empty") == {"len": 0, "sum": 0, "behind": "0"}
    assert ask(shelf, "first_word")["text"] == "some"


def test_what_is_no_asset_is_not_found(shelf):
    """A library of the same package is none."""
    done = shelf.moat("call", "shelf", "missing")
    assert done.status == 1 and "no asset of that name" in done.err


def test_writing_to_an_asset_ends_the_writer_alone(shelf):
    done = shelf.moat("call", "shelf", "scribble")
    assert done.status == 5 and "SIGSEGV" in done.err, done
    assert ask(shelf, "words")["sum"] == sum(WORDS.encode())


def test_nothing_makes_an_asset_writable_or_code(shelf):
    assert ask(shelf, "pry") == {"writable": 0, "code": 0, "held": "no"}


def test_inspect_shows_their_hashes(shelf):
    package = next(shelf.root.glob("shelf-*.moat"))
    shown = shelf.good("inspect", package, "--key", shelf.root / "author.pub", "--json").json
    files = {f["path"]: f["sha256"] for f in shown["files"]}
    assert files["data/large.bin"] == hashlib.sha256(LARGE).hexdigest()
    assert files["data/empty"] == hashlib.sha256(b"").hexdigest()
    assert set(files) == {"data/words.txt", "data/large.bin", "data/empty", "libalpha.so", "libbeta.so", "shelf.so"}


def below(pid):
    """Processes that descend from pid."""
    children = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = list(children.get(pid, []))
    for one in found:
        found += children.get(one, [])
    return found


def mappings(pid):
    """{(inode, flags): {field: KiB}} of the asset file in a process; nothing of one that has ended."""
    out, fields = {}, None
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps").read_text()
    except OSError:
        return {}
    for line in text.splitlines():
        head = line.split()
        if "-" in head[0]:
            fields = {}
            if "moat-assets" in line:
                out[(head[4], head[1])] = fields
        elif head[1].isdigit():
            fields[head[0][:-1]] = int(head[1])
    return out


def read_all(mapped):
    return sum(m["Rss"] for m in mapped.values()) * 1024 >= len(LARGE)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees the mappings of a process that is not dumpable")
def test_workers_share_the_memory_of_assets(shelf):
    held = threading.Thread(target=shelf.moat, args=("call", "shelf", "wait", "{}", "--deadline", "20s"))
    held.start()
    seen = {}
    until = time.monotonic() + 20
    while len(seen) < 2 and time.monotonic() < until:
        ask(shelf, "large")  # while one worker is held, another one answers
        seen = {pid: m for pid in below(shelf.server.pid) if (m := mappings(pid)) and read_all(m)}
    shelf.good("stop-all")
    held.join()
    assert len(seen) == 2, seen
    (one, first), (two, second) = seen.items()
    assert len(first) == 1 and first.keys() == second.keys(), "one memory file, by its inode"
    assert next(iter(first))[1] == "r--s"
    # Each has read all of it, and each is counted with half.
    both = [*first.values(), *second.values()]
    assert sum(m["Pss"] for m in both) <= max(m["Rss"] for m in both) + 8, both
    assert all(m["Private_Dirty"] + m["Private_Clean"] <= 64 for m in both), both


def test_a_plugin_in_cpp(build, tmp_path):
    if not shutil.which("g++"):
        pytest.skip("no C++ compiler")
    place = Place(build, tmp_path)
    author = Author(place, "counter")
    author.entry(HERE / "counter.cc")
    author.manifest(actions=[{"name": "count"}], limits={"processes": 2})
    needed = subprocess.run(["objdump", "-p", author.dir / "counter.so"], capture_output=True, text=True).stdout
    assert "libstdc++.so.6" in needed, "the test is about that library"
    place.good("install", author.pack())
    assert ask(place, "count", "counter", '{"text":"a b a"}') == {"a": 2, "b": 1}
    assert "no words" in place.moat("call", "counter", "count", '{"text":""}').err
    place.close()
