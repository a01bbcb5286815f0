"""What the shared library shows is what moat/moat.h declares, nothing more and nothing less."""

import re
import subprocess


def test_only_the_header_is_exported(root, build):
    header = (root / "include" / "moat" / "moat.h").read_text()
    declared = set(re.findall(r"^MOAT_API [^;(]*?\b(moat_\w+)\(", header, re.MULTILINE))
    assert len(declared) >= 18
    library = build / "src" / "rest" / "libmoat.so"
    symbols = subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True)
    exported = {line.split()[-1].split("@")[0] for line in symbols.stdout.splitlines()}
    assert exported == declared


def test_the_header_is_c_and_cpp(root, tmp_path):
    for compiler, name in (("cc", "use.c"), ("c++", "use.cpp")):
        source = tmp_path / name
        source.write_text("#include <moat/moat.h>\nint main(void) { return moat_code_name(0) == 0; }\n")
        subprocess.run([compiler, "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I",
                        str(root / "include"), str(source)], check=True)


def test_the_documented_program_is_the_tested_one(root):
    shown = re.search(r"```c\n(.*?)```", (root / "docs" / "embedding.md").read_text(), re.DOTALL).group(1)
    tested = (root / "tests" / "service" / "embed.c").read_text()
    assert tested.endswith(shown)
    assert shown.startswith("#include <moat/moat.h>")
