"""The table of imports, read, checked and written as C or as a page.

    imports.py IMPORTS.txt           C on standard output
    imports.py IMPORTS.txt --docs    docs/imports.md on standard output
    imports.py IMPORTS.txt --check   nothing; the exit status

Every fault is printed as FILE:LINE: TEXT on standard error, and then nothing is written."""

import re
import sys

# As src/base/words.h has them: the C that is written fails to compile when one is unknown there.
PERMISSIONS = ["file_read", "file_write", "network_access", "database_read", "database_write", "execute_code",
               "system_access", "agent_control"]
SYMBOLS_MAX, RULES_MAX, LIBRARIES_MAX, SYMBOL_LEN_MAX, WHY_MAX = 512, 64, 32, 128, 130

HEAD = re.compile(r"rule ([a-z_]+) (\S+) (\S+): (.+)$")
SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?$")
LIBRARY = re.compile(r"[A-Za-z0-9_+.-]+\.so(\.[0-9]+)*$")


class Rule:
    def __init__(self, name, refuses, permissions, why):
        self.name, self.refuses, self.permissions, self.why, self.symbols = name, refuses, permissions, why, []


class Table:
    def __init__(self, path):
        self.path, self.rules, self.libraries, self.where, self.faults = path, [], [], {}, 0
        with open(path, encoding="utf-8") as text:
            for number, line in enumerate(text, 1):
                self.line = number
                self.read(line.rstrip("\n"))
        for rule in self.rules:
            if not rule.symbols:
                self.fault(f"the rule {rule.name} names no symbol")
        self.check_prefixes()
        for what, count, most in (("symbols", len(self.where), SYMBOLS_MAX), ("rules", len(self.rules), RULES_MAX),
                                  ("libraries", len(self.libraries), LIBRARIES_MAX)):
            if not 0 < count <= most:
                self.fault(f"{count} {what}; there must be 1 to {most}")

    def fault(self, text):
        self.faults += 1
        print(f"{self.path}:{self.line}: {text}", file=sys.stderr)

    def read(self, line):
        words = line.split()
        if not words or words[0].startswith("#"):
            return
        if line.startswith("    "):
            self.read_symbols(words)
        elif words[0] == "library":
            self.read_libraries(words[1:])
        elif words[0] == "rule":
            self.read_rule(line)
        else:
            self.fault(f"a line begins with `library`, `rule` or four spaces, not with `{words[0]}`")

    def read_libraries(self, names):
        for name in names:
            if not LIBRARY.match(name):
                self.fault(f"{name} is not the name of a library")
            elif name in self.libraries:
                self.fault(f"{name} stands twice")
            self.libraries.append(name)

    def read_rule(self, line):
        found = HEAD.match(line)
        if not found:
            self.fault("a rule is `rule NAME SEVERITY PERMISSION: WHY`")
            return
        name, severity, permissions, why = found.groups()
        if severity not in ("refuse", "warn"):
            self.fault(f"a rule refuses or warns; it does not {severity}")
        if any(rule.name == name for rule in self.rules):
            self.fault(f"the rule {name} stands twice")
        if not 12 <= len(why) <= WHY_MAX:
            self.fault(f"why must be said in 12 to {WHY_MAX} characters")
        names = [] if permissions == "none" else permissions.split("|")
        for one in names:
            if one not in PERMISSIONS:
                self.fault(f"there is no permission {one}")
        self.rules.append(Rule(name, severity == "refuse", names, why))

    def read_symbols(self, names):
        if not self.rules:
            self.fault("a symbol stands before any rule")
            return
        for name in names:
            if not SYMBOL.match(name) or len(name) > SYMBOL_LEN_MAX:
                self.fault(f"{name} is not a symbol")
            elif name in self.where:
                self.fault(f"{name} stands twice: in the rules {self.where[name].name} and {self.rules[-1].name}")
            else:
                self.where[name] = self.rules[-1]
                self.rules[-1].symbols.append(name)

    def check_prefixes(self):
        """The reader takes the longest prefix from a sorted list, so no name may lie between a prefix and what it covers."""
        for prefix in [name[:-1] for name in self.where if name.endswith("*")]:
            for name in self.where:
                if name != prefix + "*" and name.startswith(prefix):
                    self.fault(f"{name} is already covered by {prefix}*")


def as_c(table):
    print("/* Made of imports.txt by imports.py. */")
    print('#include "package/imports.h"\n')
    print("const char *const imports_libraries[] = {")
    print("".join(f'    "{name}",\n' for name in table.libraries) + "};")
    print(f"const size_t imports_nlibraries = {len(table.libraries)};\n")
    print("const struct import_rule imports_rules[] = {")
    for rule in table.rules:
        mask = " | ".join(f"1u << PERMISSION_{p.upper()}" for p in rule.permissions) or "0"
        why = rule.why.replace("\\", "\\\\").replace('"', '\\"')
        print(f'    {{"{rule.name}", {"true" if rule.refuses else "false"}, {mask}, "{why}"}},')
    print(f"}};\nconst size_t imports_nrules = {len(table.rules)};\n")
    print("const struct import_symbol imports_symbols[] = {")
    # In the order of strcmp; a prefix is written without its star, which stands for any rest.
    for name in sorted(table.where, key=lambda name: name.rstrip("*").encode()):
        bare, rest = name.rstrip("*"), name.endswith("*")
        print(f'    {{"{bare}", {"true" if rest else "false"}, {table.rules.index(table.where[name])}}},')
    print(f"}};\nconst size_t imports_nsymbols = {len(table.where)};")


INTRODUCTION = """# What a plugin may import

When a package is packed, inspected, validated, installed or first run, the inspector reads its ELF files behind its wall and reports which
libraries they need and which symbols the loader would bind in them: those that a relocation names. The host
compares them with the table below and with the manifest. This page is made of that table, `src/package/imports/imports.txt`, by
`python3 src/package/imports/imports.py src/package/imports/imports.txt --docs > docs/imports.md`.

**It is a tripwire, not the wall.** It tells an author before the release what would fail at run time, and an operator
that a plugin wants more than its manifest says. Code that makes system calls of its own or looks symbols up at run time passes it,
and meets the same walls as all other code; [hostile](../plugins/hostile/README.md) does just that.

A rule speaks when the manifest asks for none of its permissions, neither under `required_permissions` nor under
`optional_permissions`. Then each finding names the file, the symbols, the permission and the cure. `refuse`
keeps the package out with `import_refused`; `warn` is said by `moat pack`, `moat inspect` and `moat validate`, and the package is
accepted. Where nothing can allow a symbol, the cure is to leave it out.

What the entry and each bundled library must be besides: a shared object for this machine, whose stack and writable
memory are not executable, without relocations in its code, without a library path that leads out of the package (`RPATH`,
`RUNPATH`), not marked against `dlopen`, with a soname of its own if it is bundled; and the entry exports `moat_plugin`.
Constructors and indirect functions are fine: they run inside the wall.
"""


def as_page(table):
    print(INTRODUCTION)
    print("## Libraries\n")
    print("A worker has these of the host's when the code needs them: " + ", ".join(f"`{name}`" for name in table.libraries) + ".")
    print("\nAny other library must be in the package, listed under `libraries` before what needs it.\n")
    print("## Symbols\n")
    print("| rule | what is missing without | then | because | symbols |\n| --- | --- | --- | --- | --- |")
    for rule in table.rules:
        needs = " or ".join(f"`{p}`" for p in rule.permissions) or "nothing allows it"
        names = " ".join(f"`{name}`" for name in rule.symbols)
        print(f"| {rule.name} | {needs} | {'refuse' if rule.refuses else 'warn'} | {rule.why} | {names} |")


def main(arguments):
    if len(arguments) not in (1, 2) or arguments[1:] not in ([], ["--docs"], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    table = Table(arguments[0])
    if table.faults:
        return 1
    if arguments[1:] == ["--docs"]:
        as_page(table)
    elif not arguments[1:]:
        as_c(table)
    return 0


sys.exit(main(sys.argv[1:]))
