"""What each executable links.  A worker must have nothing but the C library; the parsers of packages may be in the
helper and nowhere else."""

import pytest

from elf import Elf

C_LIBRARY = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
PARSERS = {"libarchive.so.13", "libcares.so.2", "libzstd.so.1", "libelf.so.1", "libz.so.1"}
HOST = {"libsqlite3.so.0", "libsodium.so.23", "libgnutls.so.30", "libmicrohttpd.so.12", "libjansson.so.4",
        "libz.so.1"}  # libz writes compressed answers; nothing here reads what it writes
# libpq is in none of them: the helper loads it for the duty that needs it, before its wall stands.
# libcurl is in none of them: the host loads it when a collector of traces is named (docs/dependencies.md).

ALLOWED = {
    "moat": C_LIBRARY | HOST,
    "libmoat.so": C_LIBRARY | HOST,
    "moat-helper": C_LIBRARY | PARSERS | {"libsqlite3.so.0"},  # linked statically where the archives are installed
    "moat-worker": C_LIBRARY - {"libm.so.6"},
}
# What stands for each parser that the host must not have, even when it is linked statically.
NEVER_IN_HOST = ("archive_read", "archive_write", "ZSTD_", "elf_begin", "elf_memory", "elf_getscn", "gelf_",
                 "seccomp_", "inflate", "PQconnect", "PQexec", "ares_")
IN_HELPER = ("archive_read_next_header", "ZSTD_decompressStream", "elf_begin", "sqlite3_set_authorizer",
             "ares_getaddrinfo")


def names_of(elf):
    return elf.names() | elf.imports()


@pytest.mark.parametrize("name", ALLOWED)
def test_links_only_what_it_may(build, name):
    needed = Elf(build / name).needed()
    print(f"{name}: {', '.join(sorted(needed))}")
    assert "libc.so.6" in needed
    assert needed <= ALLOWED[name], f"{name} also links {', '.join(sorted(needed - ALLOWED[name]))}"


@pytest.mark.parametrize("name", ["moat", "libmoat.so", "moat-worker"])
def test_has_no_parser_of_packages(build, name):
    found = sorted(n for n in names_of(Elf(build / name)) if n.startswith(NEVER_IN_HOST))
    assert not found, f"{name} holds {', '.join(found[:10])}"


def test_the_helper_is_where_they_are(build):
    """A control: were the names above wrong, nothing would be found anywhere."""
    names = names_of(Elf(build / "moat-helper"))
    assert [n for n in IN_HELPER if n not in names] == []


@pytest.mark.parametrize("name", ["agent_skill", "data_processor", "hostile"])
def test_plugins_need_no_library_of_moat(build, name):
    assert Elf(build / "plugins" / f"{name}.so").needed() <= C_LIBRARY
