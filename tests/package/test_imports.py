"""The import check, each rule with a real ELF that is built for it; and the table that it reads."""

import pathlib
import re
import subprocess
import sys

import pytest

from author import Author
from place import Place

TABLE = pathlib.Path(__file__).resolve().parents[2] / "src" / "package" / "imports"

PLUGIN = """
#include <moat/plugin.h>
%s
static bool initialize(const struct moat_host *host, const char *config, size_t len) { return true; }
static bool execute(struct moat_call *call, const char *action, const char *parameters, size_t len) { %s; return false; }
MOAT_PLUGIN(.initialize = initialize, .execute = execute);
"""


def calling(*symbols):
    """A plugin that imports these, whatever their types are."""
    return PLUGIN % ("".join(f"extern void *{s}(void) __asm__(\"{s}\");\n" for s in symbols).replace("extern void *", "void *"),
                     "; ".join(f"{s}()" for s in symbols))


@pytest.fixture
def author(build, tmp_path):
    place = Place(build, tmp_path)
    yield Author(place, "plug")
    place.close()


def refused(author, *says):
    done = author.try_pack()
    assert done.status == 3 and done.err.count("\n") == 1, done
    for one in says:
        assert one in done.err, done
    document = author.place.moat("pack", author.dir, "--key", author.key, "--json").failure
    assert document["code"] == "import_refused"
    assert not list(author.place.root.glob("*.moat")), "nothing is left of it"


def accepted(author, advice=None):
    done = author.try_pack()
    assert done.status == 0, done
    if advice is None:
        assert done.err == "", done
    else:
        assert done.err.startswith("advice: ") and advice in done.err, done


# ---- symbols and permissions ----


@pytest.mark.parametrize("symbol, permission", [
    ("socket", "network_access"), ("connect", "network_access"), ("getaddrinfo", "network_access"),
    ("getifaddrs", "network_access"), ("execve", "execute_code"), ("system", "execute_code"), ("posix_spawn", "execute_code"),
    ("fork", "execute_code"), ("dlopen", "execute_code")])
def test_what_needs_a_permission_is_refused_without_it(author, symbol, permission):
    author.entry(calling(symbol))
    refused(author, f"plug.so imports {symbol}, which needs {permission}", f"ask for {permission} in")
    for asked in ("required_permissions", "optional_permissions"):
        author.manifest(**{asked: [permission]})
        accepted(author)


@pytest.mark.parametrize("symbol", ["ptrace", "process_vm_readv", "mount", "unshare", "setuid", "shmget", "memfd_create",
                                    "io_uring_queue_init_params", "symlink", "mknod"])
def test_what_nothing_allows_is_refused_whatever_is_asked(author, symbol):
    author.manifest(optional_permissions=["file_read", "file_write", "network_access", "execute_code", "system_access"])
    libraries = []
    if symbol.startswith("io_uring"):  # of no library here: one that is bundled has it
        author.library("liburing.so", f"void *{symbol}(void); void *{symbol}(void) {{ return 0; }}")
        author.manifest(libraries=["liburing.so"])
        libraries = ["liburing.so"]
    author.entry(calling(symbol), *libraries)
    refused(author, "which nothing allows", "leave out what imports it")


@pytest.mark.parametrize("symbol, permissions", [
    ("fopen", ["file_read", "file_write"]), ("open", ["file_read", "file_write"]), ("opendir", ["file_read", "file_write"]),
    ("unlink", ["file_write"]), ("getpwnam", ["system_access"]), ("dlsym", ["execute_code"]), ("syscall", ["execute_code"])])
def test_what_may_be_harmless_is_advice(author, symbol, permissions):
    author.entry(calling(symbol))
    accepted(author, f"plug.so imports {symbol}, which needs {' or '.join(permissions)}")
    for one in permissions:
        author.manifest(required_permissions=[one])
        accepted(author)


def test_streams_of_cpp_are_files_too(author):
    source = author.place.root / "stream.cc"
    source.write_text("#include <fstream>\n" + PLUGIN % ("", 'std::ofstream out("/tmp/x")'))
    author.entry(source)
    accepted(author, "which needs file_read or file_write")


def test_what_any_plugin_does_is_not_mentioned(author):
    author.entry(calling("malloc", "printf", "memcpy", "strtod", "pthread_create", "clock_gettime", "getenv", "read", "write",
                         "mmap", "sigaction", "nanosleep", "qsort", "abort"), "-lm")
    accepted(author)


def test_symbols_of_one_rule_are_one_finding(author):
    author.entry(calling("socket", "connect", "send", "recv", "bind", "listen"))
    refused(author, "imports bind, connect, listen, recv and 2 more, which needs network_access")


def test_only_what_is_bound_counts(author):
    """A word that happens to be there, or a function of the plugin's own, is no import."""
    author.entry(PLUGIN % ('static void ptrace(void) {} const char *const word = "execve"; '
                           '__attribute__((visibility("default"))) int socket(void); int socket(void) { return 0; }',
                           "ptrace(); socket()"))
    accepted(author)


def test_an_import_that_no_section_shows(author):
    """The section headers say that there are fewer symbols than the loader binds."""
    path = author.library("libnet.so", "int socket(int, int, int); int net(void); int net(void) { return socket(1, 2, 3); }")
    author.entry(calling("net"), "libnet.so")
    author.manifest(libraries=["libnet.so"])
    elf = bytearray(path.read_bytes())
    at, = [a for a in sections(elf) if elf[a + 4:a + 8] == (11).to_bytes(4, "little")]  # SHT_DYNSYM
    names = subprocess.run(["nm", "-D", path], capture_output=True, text=True, check=True).stdout
    assert "U socket" in names
    elf[a_size(at):a_size(at) + 8] = (24).to_bytes(8, "little")  # the empty first one only
    path.write_bytes(elf)
    refused(author, "libnet.so imports socket")


def sections(elf):
    start, size, count = (int.from_bytes(elf[o:o + n], "little") for o, n in ((40, 8), (58, 2), (60, 2)))
    return [start + i * size for i in range(count)]


def a_size(section):
    return section + 32


def test_a_bundled_library_is_checked_too(author):
    author.library("libnet.so", "int socket(int, int, int); int net(void); int net(void) { return socket(1, 2, 3); }")
    author.entry(calling("net"), "libnet.so")
    author.manifest(libraries=["libnet.so"])
    refused(author, "libnet.so imports socket, which needs network_access")
    author.manifest(libraries=["libnet.so"], optional_permissions=["network_access"])
    accepted(author)


# ---- libraries ----


def test_libraries_must_be_the_workers_or_bundled(author):
    author.entry(calling("deflate"), "-lz", "-Wl,--no-as-needed")
    refused(author, "needs libz.so.1, which neither the worker nor the package has", "libraries")


def test_libraries_come_in_the_order_of_need(author):
    author.library("liba.so", "int a(void); int a(void) { return 1; }")
    author.library("libb.so", "int a(void); int b(void); int b(void) { return a(); }", "liba.so")
    author.entry(calling("b"), "libb.so")
    author.manifest(libraries=["libb.so", "liba.so"])
    refused(author, "libb.so needs liba.so, which is loaded later", "behind those it needs itself")
    author.manifest(libraries=["liba.so", "libb.so"])
    accepted(author)


def test_a_library_is_found_by_its_soname(author):
    author.cc("liba.so", "int a(void); int a(void) { return 1; }")
    author.entry(calling("a"), "liba.so")
    author.manifest(libraries=["liba.so"])
    refused(author, "liba.so has no soname", "-soname")


def test_no_library_takes_the_place_of_another(author):
    author.library("libm.so", "int a(void); int a(void) { return 1; }", soname="libm.so.6")
    author.entry(calling("malloc"))
    author.manifest(libraries=["libm.so"])
    refused(author, "libm.so calls itself libm.so.6, which the worker has already")
    author.library("libm.so", "int a(void); int a(void) { return 1; }", soname="liba.so")
    author.library("liba.so", "int a(void); int a(void) { return 1; }")
    author.manifest(libraries=["libm.so", "liba.so"])
    refused(author, "liba.so calls itself liba.so, as a library before it does")


def test_a_filter_library_counts_as_needed(author):
    author.entry(calling("malloc"), "-Wl,-F,libfilter.so.1")
    refused(author, "needs libfilter.so.1")


# ---- what the file is ----


@pytest.mark.parametrize("flags, says, cure", [
    (["-Wl,-z,execstack"], "asks for an executable stack", "noexecstack"),
    (["-Wl,-rpath,/opt/lib"], "looks for libraries outside the package", "-rpath"),
    (["-Wl,-rpath,$ORIGIN/../lib"], "looks for libraries outside the package", "-rpath"),
    (["-Wl,-rpath,$ORIGIN/lib:/opt"], "looks for libraries outside the package", "-rpath"),
    (["-Wl,--disable-new-dtags,-rpath,lib"], "looks for libraries outside the package", "-rpath"),
    (["-Wl,-z,nodlopen"], "is marked against being loaded by dlopen", "nodlopen"),
    (["-fvisibility=hidden", "-Wl,--version-script,hide"], "does not export moat_plugin", "MOAT_PLUGIN"),
    (["-s", "-Wl,--strip-all"], None, None),
    (["-Wl,-rpath,$ORIGIN/lib"], None, None),
    (["-Wl,--hash-style=sysv"], None, None),
    (["-Wl,-z,pack-relative-relocs"], None, None),
])
def test_how_it_was_linked(author, flags, says, cure):
    (author.dir / "hide").write_text("{ local: *; };")
    try:
        author.entry(calling("malloc"), *flags)
    except AssertionError:
        pytest.skip("this linker does not know the option")
    if says is None:
        accepted(author)
    else:
        refused(author, says, cure)


def test_a_segment_that_is_writable_and_code(author):
    path = author.entry(calling("malloc"))
    elf = bytearray(path.read_bytes())
    start, count = int.from_bytes(elf[32:40], "little"), int.from_bytes(elf[56:58], "little")
    for at in range(start, start + 56 * count, 56):
        if elf[at:at + 8] == bytes([1, 0, 0, 0, 6, 0, 0, 0]):  # PT_LOAD, readable and writable
            elf[at + 4] = 7
    path.write_bytes(elf)
    refused(author, "has a segment that is writable and executable")


def test_addresses_in_code(author):
    author.entry(PLUGIN % ('__asm__(".text\\n.globl here\\nhere: .quad moat_plugin\\n");', ""), "-Wl,-z,notext")
    refused(author, "has relocations in its code", "-fPIC")


def test_other_kinds_of_file(author):
    author.cc("plug.so", "int main(void) { return 0; }", "-pie", shared=False)
    refused(author, "is not a shared object")
    author.cc("plug.so", calling("malloc"), "-c", shared=False)
    refused(author, "is not a shared object")
    path = author.entry(calling("malloc"))
    elf = bytearray(path.read_bytes())
    elf[18:20] = (183).to_bytes(2, "little")
    path.write_bytes(elf)
    refused(author, "is for machine 183")


def test_constructors_and_indirect_functions_are_fine(author):
    author.entry(PLUGIN % ("""
static int one(void) { return 1; }
static void *pick(void) { return (void *)one; }
int chosen(void) __attribute__((ifunc("pick")));
static int made;
__attribute__((constructor)) static void make(void) { made = chosen(); }
""", "made++"))
    accepted(author)


# ---- where it is shown ----


def test_inspect_and_validate_show_advice(author):
    author.entry(calling("fopen"))
    package = author.pack()
    place = author.place
    done = place.good("validate", package)
    assert "would be accepted" in done.out and "advice: plug.so imports fopen" in done.out
    for told in (place.good("validate", package, "--json").json,
                 place.good("inspect", package, "--key", place.root / "author.pub", "--json").json):
        assert told["valid"] is True
        finding, = told["findings"]
        assert (finding["severity"], finding["code"], finding["where"]) == ("warn", "import_refused", "plug.so")
        assert "file_read" in finding["message"] and "optional_permissions" in finding["cure"]
    place.good("install", package)
    assert place.good("list", "--json").json["plugins"], "advice keeps nothing out"


# ---- the table ----


def imports(*arguments):
    return subprocess.run([sys.executable, TABLE / "imports.py", *map(str, arguments)], capture_output=True, text=True)


def test_our_table_is_clean():
    assert imports(TABLE / "imports.txt", "--check").stderr == ""


GOOD = "library libc.so.6\nrule a warn none: a reason that says why\n    one two*\n"


@pytest.mark.parametrize("text, says", [
    (GOOD.replace("warn", "allow"), "does not allow"),
    (GOOD.replace("none", "file_eat"), "no permission file_eat"),
    (GOOD.replace("none", "file_read|"), "no permission "),
    (GOOD.replace(": a reason that says why", ": because"), "12 to"),
    (GOOD.replace(":", ""), "a rule is"),
    (GOOD + "    one\n", "one stands twice"),
    (GOOD + "    twofold\n", "already covered by two*"),
    (GOOD + "    t*\n", "already covered by t*"),
    (GOOD + "    a-b\n", "not a symbol"),
    (GOOD + "rule a warn none: another reason for it\n    three\n", "the rule a stands twice"),
    (GOOD + "rule b warn none: another reason for it\n", "names no symbol"),
    (GOOD.replace("libc.so.6", "libc.so.6 libc.so.6"), "libc.so.6 stands twice"),
    (GOOD.replace("libc.so.6", "/lib/libc"), "not the name of a library"),
    ("    one\n" + GOOD, "before any rule"),
    (GOOD + "permit x\n", "begins with"),
    ("library libc.so.6\n", "0 rules"),
    (GOOD.split("\n", 1)[1], "0 libraries"),
])
def test_a_faulty_table_is_refused_with_its_line(tmp_path, text, says):
    path = tmp_path / "table.txt"
    path.write_text(GOOD)
    assert imports(path, "--check").returncode == 0
    path.write_text(text)
    done = imports(path)
    assert done.returncode == 1 and done.stdout == "" and says in done.stderr
    assert all(re.match(rf"{re.escape(str(path))}:\d+: ", line) for line in done.stderr.splitlines())


def test_the_table_knows_what_a_worker_preloads(root):
    """What src/sandbox loads before a plugin, or loads when it is needed, and the C library itself, is what may be needed."""
    preloaded = set()
    for name in ("inside_half.c", "libraries.c"):
        preloaded |= set(re.findall(r'"(lib[a-z_+]+\.so\.\d)"', (root / "src" / "sandbox" / name).read_text()))
    assert len(preloaded) >= 6
    listed = set(" ".join(re.findall(r"^library (.*)$", (TABLE / "imports.txt").read_text(), re.M)).split())
    loaders = {name for name in listed if name.startswith("ld-linux-")}
    assert listed - loaders == preloaded | {"libc.so.6"}


def test_the_table_names_what_a_worker_loads():
    """Accepted libraries and those that a worker has loaded before its root becomes empty are the same list."""
    named = set(re.findall(r"^library (.*)$", (TABLE / "imports.txt").read_text(), re.MULTILINE))
    accepted_names = {name for line in named for name in line.split()}
    source = (TABLE.parents[1] / "sandbox" / "libraries.c").read_text()
    loaded = set(re.findall(r'"([^"]+\.so\.\d+)"', source))
    always = {"libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libgcc_s.so.1"}
    assert loaded and accepted_names == loaded | always
