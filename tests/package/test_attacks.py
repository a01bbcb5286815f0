"""Packages that a publisher's key signed and that nobody should have made: every part of them is made by hand here, byte by
byte, so that nothing is too odd to be tried.  Each is refused with a reason, soon, and without much memory."""

import hashlib
import os
import pathlib
import resource
import struct
import subprocess
import time

import pytest

from author import Author
from place import Place

MANIFEST = (b'{"moat":1,"name":"demo","version":"1.0.0","engine":"native","entry":"demo.so","capabilities":["custom"],'
            b'"actions":[{"name":"run"}]%s}')


@pytest.fixture(scope="module")
def forge(build, tmp_path_factory):
    place = Place(build, tmp_path_factory.mktemp("attacks"))
    forge = Forge(place)
    yield forge
    place.close()


def block(data, kind=0, last=False, size=None):
    return struct.pack("<I", last | kind << 1 | (len(data) if size is None else size) << 3)[:3] + data


def frame(data, window=b"\x58", head=b"\x00", magic=b"\x28\xb5\x2f\xfd", checksum=b""):
    """A zstd frame of raw blocks (RFC 8878)."""
    pieces = [data[i:i + 65536] for i in range(0, len(data), 65536)] or [b""]
    return magic + head + window + b"".join(block(p, last=p is pieces[-1]) for p in pieces) + checksum


def zeros(n, entry):
    """The bytes of an entry, then n zeros, each block of them in four bytes."""
    blocks = n // 131072
    return (b"\x28\xb5\x2f\xfd\x00\x58" + block(entry) + block(b"\0", 1, size=131072) * (blocks - 1) +
            block(b"\0", 1, True, 131072))


def entry(path, data=b"", kind=b"0", mode=0o644, link=b"", magic=b"ustar\x0000", size=None, prefix=b"", checksum=None, pad=None,
          device=b""):
    path = path.encode() if isinstance(path, str) else path
    size = b"%011o\0" % len(data) if size is None else size
    head = bytearray(512)
    for at, text in ((0, path), (100, b"%07o\0" % mode), (108, b"0000000\0" * 2), (124, size), (136, b"00000000000\0"),
                     (148, b" " * 8), (156, kind), (157, link), (257, magic), (329, device), (345, prefix)):
        head[at:at + len(text)] = text
    head[148:156] = b"%06o\0 " % (sum(head) if checksum is None else checksum)
    return bytes(head[:512]) + data + (bytes(-len(data) % 512) if pad is None else pad)


END = bytes(1024)


class Forge:
    def __init__(self, place):
        self.place, self.author = place, Author(place, "demo")
        self.code = self.author.entry("#include <moat/plugin.h>\n"
                                      "static bool i(const struct moat_host *h, const char *c, size_t n) { return 1; }\n"
                                      "static bool e(struct moat_call *c, const char *a, const char *p, size_t n) { return 0; }\n"
                                      "MOAT_PLUGIN(.initialize = i, .execute = e);").read_bytes()
        self.good = entry("demo.so", self.code)
        self.count = 0

    def sign(self, signed):
        path = self.place.root / "signed"
        path.write_bytes(signed)
        return subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.author.key, "-in", path],
                              capture_output=True, check=True).stdout

    def package(self, archive, files=None, manifest=b"", lengths=None):
        manifest = manifest if manifest.startswith(b"{") else MANIFEST % manifest
        if files is None:
            files = [("demo.so", self.code)]
        if not isinstance(files, bytes):
            files = b"".join(b"%s  %s\n" % (hashlib.sha256(data).hexdigest().encode(), path.encode()) for path, data in files)
        payload = manifest + files + archive
        key = subprocess.run(["openssl", "pkey", "-pubin", "-in", self.place.root / "author.pub", "-outform", "DER"],
                             capture_output=True, check=True).stdout[-32:]
        head = bytearray(448)
        for at, text in ((0, b"MOAT package v1\n"), (16, struct.pack("<QQQ", 1, int(time.time()), 0)),
                         (40, struct.pack("<QQQ", *(lengths or (len(manifest), len(files), len(archive))))),
                         (64, hashlib.sha256(key).digest()), (96, hashlib.sha256(payload).digest()), (128, b"demo"),
                         (160, b"1.0.0")):
            head[at:at + len(text)] = text
        self.count += 1
        path = self.place.root / f"attack-{self.count}.moat"
        path.write_bytes(bytes(head) + self.sign(bytes(head)) + payload)
        return path

    def verdict(self, path):
        """(exit status, first finding) by `moat inspect`."""
        done = self.place.moat("inspect", path, "--key", self.place.root / "author.pub", "--json")
        document = done.json
        assert document["valid"] == (done.status == 0)
        return done.status, (document["findings"] or [{"code": "", "message": ""}])[0]

    def refused(self, path, code, *says):
        status, finding = self.verdict(path)
        assert (status, finding["code"]) == (2 if code == "bad_json" else 3, code), finding
        assert any(one in finding["message"] for one in says) or not says, finding
        assert finding["message"].isprintable(), "nothing of a package reaches a terminal as it is"


def test_the_forge_makes_good_packages(forge):
    status, finding = forge.verdict(forge.package(frame(forge.good + END)))
    assert status == 0, finding


# ---- tar ----

LONG = b"d" * 50 + b"/" + b"n" * 49


ENTRIES = {
    "absolute": entry("/etc/passwd"), "up": entry("../demo.so"), "inside_up": entry("a/../demo.so"), "dot": entry("./demo.so"),
    "two_slashes": entry("a//demo.so"), "nothing": entry(""), "backslash": entry("a\\demo.so"),
    "symbolic_link": entry("a", kind=b"2", link=b"/etc/passwd"), "hard_link": entry("a", kind=b"1", link=b"demo.so"),
    "character_device": entry("a", kind=b"3", device=b"0000001\x000000003\0"), "block_device": entry("a", kind=b"4"),
    "directory": entry("a/", kind=b"5"), "fifo": entry("a", kind=b"6"), "contiguous": entry("a", kind=b"7"),
    "gnu_long_name": entry("././@LongLink", LONG + b"x\0", kind=b"L"), "gnu_long_link": entry("././@LongLink", b"x\0", kind=b"K"),
    "gnu_sparse": entry("a", kind=b"S"), "gnu_volume": entry("a", kind=b"V"), "gnu_multi": entry("a", kind=b"M"),
    "gnu_directory": entry("a", kind=b"D"), "gnu_magic": entry("a", magic=b"ustar  \0"), "no_magic": entry("a", magic=b"\0" * 8),
    "pax": entry("a", b"18 path=demo.so.x\n", kind=b"x"), "pax_global": entry("a", b"18 path=demo.so.x\n", kind=b"g"),
    "pax_sparse": entry("a", b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n", kind=b"x"),
    "pax_size": entry("a", b"30 size=99999999999999999999\n", kind=b"x"), "pax_xattr": entry("a", b"30 SCHILY.xattr.user.a=bcdef\n", kind=b"x"),
    "solaris": entry("a", b"x", kind=b"X"), "unknown_kind": entry("a", kind=b"Z"), "set_uid": entry("a", mode=0o4755),
    "set_gid": entry("a", mode=0o2755), "sticky": entry("a", mode=0o1755), "other_case": entry("DEMO.SO"),
    "bad_utf8": entry(b"\xff\xfe\x80"), "overlong_utf8": entry(b"..\xc0\xafdemo.so"), "half_surrogate": entry(b"\xed\xa0\x80"),
    "control": entry(b"\x1b[2Jdemo.so"), "newline": entry(b"demo.so\ndemo.so"), "bidi": entry("\u202edemo.so".encode()),
    "too_long": entry(b"n" * 100, prefix=b"p" * 155), "at_the_edge": entry(b"n" * 100),
    "prefix": entry("demo.so", prefix=b".."), "empty_prefix_path": entry("", prefix=b"demo.so"),
    "negative_size": entry("a", size=b"-0000000001\0"), "base256_size": entry("a", size=b"\x80" + bytes(7) + b"\x7f" * 4),
    "base256_negative": entry("a", size=b"\xff" * 12), "not_octal": entry("a", size=b"99999999999\0"), "no_size": entry("a", size=bytes(12)),
    "more_than_there_is": entry("a", b"x", size=b"00010000000\0"), "all_there_is": entry("a", size=b"77777777777\0"),
    "bad_checksum": entry("a", checksum=1), "no_padding": entry("a", b"x", pad=b""), "hidden_in_padding": entry("a", b"x", pad=b"s" * 511),
}


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("where", ["before", "behind"])
def test_entries(forge, name, where):
    tar = ENTRIES[name] + forge.good if where == "before" else forge.good + ENTRIES[name]
    forge.refused(forge.package(frame(tar + END)), "not_a_package", "the archive ", "FILES")


def test_bytes_between_and_behind(forge):
    good = forge.good
    for tar in (bytes(512) + good + END, good + bytes(512) + b"x" * 512, good + END + b"x", good + END + good, good + END + bytes(99) + b"x",
                good + good, good[:-512], good[:1], b"", END, good[:512] + bytes(1024), good + b"x" * 512):
        forge.refused(forge.package(frame(tar)), "not_a_package")
    # Nothing but zeros behind the last entry, however many of them: as tar writes them.
    for tar in (good, good + END, good + bytes(10240)):
        assert forge.verdict(forge.package(frame(tar)))[0] == 0


def test_names_that_differ_in_letter_case_only(forge):
    data = entry("DATA", b"1") + entry("data", b"2") + forge.good
    files = [("DATA", b"1"), ("data", b"2"), ("demo.so", forge.code)]
    forge.refused(forge.package(frame(data + END), files, b',"assets":["DATA","data"]'), "bad_manifest", "letter case")
    forge.refused(forge.package(frame(data + END), files), "not_a_package", "letter case")


def test_lists_that_lie(forge):
    tar, code = frame(forge.good + END), forge.code
    forge.refused(forge.package(tar, [("demo.so", b"other")]), "package_damaged", "not what was signed")
    forge.refused(forge.package(tar, [("demo.so", code), ("demo.so", code)]), "not_a_package", "ascending")
    forge.refused(forge.package(tar, [("demo.so", code), ("extra", b"")]), "not_a_package", "FILES names 2 files")
    forge.refused(forge.package(tar, [("a", b""), ("demo.so", code)], b',"assets":["a"]'), "not_a_package", "where FILES names a")
    forge.refused(forge.package(tar, [("demo.so", code), ("z", b"")], b',"assets":["z"]'), "not_a_package", "does not have")
    for path in ("/demo.so", "../demo.so", "a//b", "\u00e9", "a\\b", "x" * 201, "-rf", "FILES", "a/" * 16 + "b"):
        listed = b"%s  %s\n" % (hashlib.sha256(code).hexdigest().encode(), path.encode())
        forge.refused(forge.package(tar, listed), "not_a_package", "line 1 of FILES")


def test_manifests_that_are_no_text(forge):
    tar = frame(forge.good + END)
    for text, code in ((b'{"moat":1,"name":"\xff"}', "bad_json"), (b'{"moat":1\0}', "bad_json"), (b"{" * 5000, "bad_json"),
                       (MANIFEST % b',"author":"\xed\xa0\x80"', "bad_json"), (MANIFEST % b',"author":"\xc0\xaf"', "bad_json"),
                       (MANIFEST % b',"author":"\\u202edoc"', "bad_manifest"), (MANIFEST % b',"author":"\\u001b[2J"', "bad_manifest"),
                       (MANIFEST % b',"name":"demo"', "bad_manifest"), (MANIFEST % b',"more":1', "bad_manifest"),
                       (b"\xef\xbb\xbf" + MANIFEST % b"", "bad_json")):
        package = forge.package(tar, manifest=text) if text.startswith(b"{") else None
        if package:
            forge.refused(package, code)


# ---- zstd ----


def test_streams(forge):
    tar = forge.good + END
    good = frame(tar)
    skip = b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"spam"
    cases = {
        "twice": (good + good, "belong to no entry"), "tail": (good + b"x", "belong to no entry"), "tail_of_zeros": (good + bytes(9), "belong to no entry"),
        "skippable_first": (skip + good, "not compressed"), "skippable_last": (good + skip, "belong to no entry"),
        "split": (frame(tar[:512]) + frame(tar[512:]), "belong to no entry"), "empty_frame": (frame(b""), "archive"),
        "early_version": (frame(tar, magic=b"\x27\xb5\x2f\xfd"), "not compressed"), "gzip": (b"\x1f\x8b\x08" + bytes(40), "not compressed"),
        "plain_tar": (tar, "not compressed"), "window_of_32_mib": (frame(tar, window=b"\x78"), "window"),
        "window_of_2_tib": (frame(tar, window=b"\xf8"), "window"), "dictionary": (frame(tar, head=b"\x01", window=b"\x58\x07"), "is broken"),
        "reserved_bit": (frame(tar, head=b"\x08"), "is broken"), "reserved_block": (b"\x28\xb5\x2f\xfd\0\x58" + block(b"", 3, True), "is broken"),
        "block_too_large": (b"\x28\xb5\x2f\xfd\0\x58" + block(b"\0", 1, True, 1 << 20), "is broken"),
        "bad_checksum": (frame(tar, head=b"\x04", checksum=b"spam"), "is broken"), "one_byte": (b"\x28", "is broken"),
        "no_last_block": (good[:-1], "is broken"),
    }
    for name, (stream, says) in cases.items():
        status, finding = forge.verdict(forge.package(stream))
        assert (status, finding["code"]) == (3, "not_a_package") and says in finding["message"], (name, finding)


def test_bombs_end_soon_and_small(forge):
    """A GiB out of 40 KiB, by the header's word, against it, behind an entry, and as entries without end."""
    gib = 1 << 30
    bombs = {
        "as_said": zeros(gib, entry("demo.so", size=b"%011o\0" % gib)[:512]),
        "within_the_budget_by_its_word": zeros(gib, entry("demo.so", size=b"%011o\0" % (1 << 20))[:512]),
        "behind_the_entry": zeros(gib, forge.good),
        "empty_entries": frame(b"".join(entry(f"a{i:06}") for i in range(3000)) + END),
        "one_name_for_all": frame(entry("demo.so") * 3000 + END),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for name, archive in bombs.items():
        package = forge.package(archive)
        started = time.monotonic()
        status, finding = forge.verdict(package)
        assert status == 3, (name, finding)
        assert time.monotonic() - started < 20, name
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 20
    # Of all children so far, the inspectors' hosts among them.
    assert after.ru_maxrss < 256 * 1024, after.ru_maxrss


# ---- what was changed after it was signed ----


def test_any_change_of_a_whole_package(forge, rng, long):
    """The codes by place are in verify_test.c; here is the way of a command, and nothing is left of it."""
    good = forge.package(frame(forge.good + END)).read_bytes()
    place, path = forge.place, forge.place.root / "changed.moat"
    places = range(len(good)) if long else sorted({*rng.sample(range(512), 25), *rng.sample(range(len(good)), 25), 0, 511, 512,
                                                   len(good) - 1})
    for at in places:
        changed = bytearray(good)
        changed[at] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        done = place.moat("install", path)
        assert done.status == 3 and done.err.count("\n") == 1, (at, done)
    for cut in (*rng.sample(range(len(good)), 20), 0, 1, 511, 512, len(good) - 1):
        path.write_bytes(good[:cut])
        done = place.moat("install", path)
        assert done.status == 3 and done.err.count("\n") == 1, (cut, done)
    path.write_bytes(good + b"x")
    assert place.moat("install", path).status == 3
    assert place.good("list", "--json").json["plugins"] == []
    stored = [p for p in pathlib.Path(place.home).rglob("*.moat") if p.stat().st_size]
    assert stored == [], "no refused package stays in the home"
    assert os.listdir(place.home), "there is one"
