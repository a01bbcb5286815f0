"""Reads what meson and pytest leave behind, for scripts/test and scripts/bench.  Standard library only.

    results.py suites < INTROSPECTION   the suites that have tests, one a line
    results.py count FILE…              "PASSED FAILED SKIPPED", then a line for each failure and each skip
    results.py compiled DIR             the source files that DIR's compile_commands.json knows, one a line
    results.py figures [--json] < LINES one JSON object a line becomes the document of figures, or a table
"""

import json
import pathlib
import sys
import xml.etree.ElementTree as xml


def suites(_):
    names = {suite.rpartition(":")[2] for test in json.load(sys.stdin) for suite in test["suite"]}
    print("\n".join(sorted(names)))


def outcome(case):
    for child in case:
        if child.tag in ("failure", "error"):
            return "failed", child.get("message") or ""
        if child.tag == "skipped":
            return "skipped", child.get("message") or (child.text or "")
    return "passed", ""


def count(files):
    """A suite of meson's whose program died without a case that says so has counted an error of its own."""
    tally, lines = {"passed": 0, "failed": 0, "skipped": 0}, []
    for file in files:
        try:
            root = xml.parse(file).getroot()
        except (OSError, xml.ParseError) as error:
            tally["failed"] += 1
            lines.append(f"failed  {pathlib.Path(file).stem}: no results ({error})")
            continue
        for suite in root.iter("testsuite"):
            bad = 0
            for case in suite.iter("testcase"):
                what, why = outcome(case)
                tally[what] += 1
                bad += what == "failed"
                if what != "passed":
                    name = f"{case.get('classname') or ''} {case.get('name') or ''}".strip()
                    why = " ".join(why.split())[:160]
                    lines.append(f"{what:7} {name}" + (f": {why}" if why else ""))
            unexplained = int(suite.get("errors") or 0) + int(suite.get("failures") or 0) - bad
            if unexplained > 0:
                tally["failed"] += unexplained
                lines.append(f"failed  {suite.get('name')}: ended before its last test")
    print(tally["passed"], tally["failed"], tally["skipped"])
    print("\n".join(lines))


def compiled(arguments):
    """Of this tree only, each once."""
    here = pathlib.Path(__file__).resolve().parent.parent
    path = pathlib.Path(arguments[0], "compile_commands.json")
    files = {(pathlib.Path(entry["directory"]) / entry["file"]).resolve() for entry in json.loads(path.read_text())}
    names = {file.relative_to(here) for file in files if file.is_relative_to(here)}
    print("\n".join(sorted(str(name) for name in names if name.parts[0] != "build")))


def rounded(value):
    return "" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


COLUMNS = ("name", "value", "unit", "p50_us", "p99_us", "reference", "reference_value", "ratio")


def figures(options):
    results = [json.loads(line) for line in sys.stdin if line.strip()]
    if "--json" in options:
        json.dump({"results": results}, sys.stdout)
        print()
        return
    table = [COLUMNS] + [tuple(value if isinstance(value := figure.get(column), str) else rounded(value)
                               for column in COLUMNS) for figure in results]
    widths = [max(len(row[i]) for row in table) for i in range(len(COLUMNS))]
    words = {0, 2, 5}
    for row in table:
        print("  ".join(cell.ljust(width) if i in words else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))).rstrip())


if __name__ == "__main__":
    commands = {"suites": suites, "count": count, "compiled": compiled, "figures": figures}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](sys.argv[2:])
