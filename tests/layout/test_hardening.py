"""The hardening of the release binaries, read off the files."""

import json
import shutil
import subprocess

import pytest

import elf
from elf import Elf

EXECUTABLES = ["moat", "moat-worker", "moat-helper"]
LIBRARIES = ["libmoat.so", "plugins/agent_skill.so", "plugins/data_processor.so", "plugins/hostile.so"]


@pytest.fixture(scope="module", autouse=True)
def hardened(build):
    options = json.loads((build / "meson-info" / "intro-buildoptions.json").read_text())
    value = {option["name"]: option["value"] for option in options}
    if value["b_sanitize"] != "none":
        pytest.skip("a build with sanitizers is not hardened")


@pytest.fixture(params=EXECUTABLES + LIBRARIES)
def binary(build, request):
    return Elf(build / request.param)


def test_position_independent(build):
    for name in EXECUTABLES:
        file = Elf(build / name)
        assert file.type == elf.ET_DYN and file.segment(elf.PT_INTERP), name
        assert (file.tag(elf.DT_FLAGS_1) or 0) & elf.DF_1_PIE, name


def test_full_relro(binary):
    assert binary.segment(elf.PT_GNU_RELRO)
    now = (binary.tag(elf.DT_FLAGS) or 0) & elf.DF_BIND_NOW or (binary.tag(elf.DT_FLAGS_1) or 0) & elf.DF_1_NOW
    assert now, "symbols are bound lazily, so their table stays writable"


def test_no_executable_stack(binary):
    stack = binary.segment(elf.PT_GNU_STACK)
    assert stack and not stack["flags"] & elf.PF_X


def test_nothing_is_writable_and_executable(binary):
    loaded = [s for s in binary.segments if s["type"] == elf.PT_LOAD]
    assert loaded and not [s for s in loaded if s["flags"] & elf.PF_X and s["flags"] & elf.PF_W]
    assert binary.tag(elf.DT_TEXTREL) is None and not (binary.tag(elf.DT_FLAGS) or 0) & elf.DF_TEXTREL


def test_no_search_path(binary):
    assert binary.tag(elf.DT_RPATH) is None and binary.tag(elf.DT_RUNPATH) is None


def test_stack_protector(binary):
    assert "__stack_chk_fail" in binary.imports()


def test_fortified(binary):
    assert [name for name in binary.imports() if name.startswith("__") and name.endswith("_chk")]


def test_every_source_is_compiled_so(build):
    """What leaves no trace in the file (stack clash) stands in the compiler's arguments; so do the others' reasons."""
    commands = json.loads((build / "compile_commands.json").read_text())
    ours = [c for c in commands if "asan" not in c["output"] and c["file"].endswith(".c")]
    assert len(ours) > 20
    for command in ours:
        for flag in ("-fstack-clash-protection", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=3"):
            if flag not in command["command"].split():
                assert flag == "-fstack-clash-protection" and not supports(command["command"].split()[0], flag), \
                    f"{command['file']} is compiled without {flag}"


def supports(compiler, flag):
    done = subprocess.run([compiler, "-Werror", flag, "-x", "c", "-c", "-o", "/dev/null", "-"], input="int x;", text=True,
                          capture_output=True)
    return done.returncode == 0


@pytest.fixture(scope="module")
def cet_by_default(tmp_path_factory):
    """Does a program of one line get the mark here?  It needs start files of the C library that are built so."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    program = tmp_path_factory.mktemp("cet") / "program"
    subprocess.run([compiler, "-fcf-protection=full", "-x", "c", "-o", program, "-"], input="int main(void) { return 0; }",
                   text=True, check=True)
    file = Elf(program)
    return file.cet() if file.machine == 62 else None


def test_control_flow_protection(build, cet_by_default):
    """Landing pads stand in the code, and the file is marked wherever this machine's linker marks any program."""
    if cet_by_default is None:
        pytest.skip("not an x86-64 machine")
    for name in EXECUTABLES:
        file = Elf(build / name)
        assert file.code_of("main") == b"\xf3\x0f\x1e\xfa", f"{name}: main does not begin with endbr64"
        assert file.cet() & cet_by_default == cet_by_default, name
