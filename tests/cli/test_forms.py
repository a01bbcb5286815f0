"""What every command has in common: help, JSON, the pages made of the table."""

import json
import re
import subprocess

import pytest


def commands(place):
    text = place.good("help").out
    return re.findall(r"^  ([a-z-]+(?: [a-z]+)?)  +\S", text, re.M)


def test_every_command_has_help_with_an_example(place):
    names = commands(place)
    assert {"doctor", "trust add", "call", "serve", "settings set", "help"} <= set(names)
    for name in names:
        told = place.good(*name.split(), "--help").out
        assert f"Usage: moat {name}" in told and f"Example: moat {name}" in told, told
        assert place.good("help", *name.split()).out == told
    assert "moat trust add" in place.good("help", "trust").out
    assert place.good("--help").out == place.good("help").out
    assert re.fullmatch(r"moat \d+\.\d+\.\d+\n", place.good("--version").out)


def test_help_touches_no_home(place):
    place.good("help")
    place.good("call", "--help")
    place.good("completion", "bash")
    assert not place.home.exists()


def test_completion(place):
    script = place.good("completion", "bash").out
    ask = script + """
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _moat; printf '%s\\n' "${COMPREPLY[@]}"
"""

    def complete(*words):
        done = subprocess.run(["bash", "-c", ask, "bash", "moat", *words], capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == "", done
        return done.stdout.split()

    assert complete("inst") == ["install"]
    assert set(complete("trust", "")) == {"add", "list", "names", "revoke", "transfer"}
    assert "--grant" in complete("install", "--")
    assert "--grant" not in complete("list", "--")
    assert set(c.split()[0] for c in commands(place)) == set(complete(""))


@pytest.mark.parametrize("page,path", [("cli", "docs/cli.md"), ("api", "docs/api.md"),
                                       ("permissions", "docs/permissions.md")])
def test_pages_are_as_the_tables_say(place, root, page, path):
    assert (root / path).read_text() == place.good("help", f"pages/{page}").out, (
        f"{path} is old: moat help pages/{page} > {path}")


def test_man_page(place):
    page = place.good("help", "pages/man").out
    assert page.startswith(".TH MOAT 1")
    assert all(f"\\fBmoat {name}\\fR" in page for name in commands(place))


READS = [("list",), ("list", "--loaded"), ("info", "echo"), ("grants",), ("grants", "echo"), ("denials",),
         ("denials", "echo"), ("stats",), ("health",), ("capabilities",), ("permissions",), ("settings", "get"),
         ("settings", "get", "pool"), ("trust", "list"), ("audit",), ("audit", "verify"), ("audit", "head"),
         ("call", "echo", "echo", '{"a":[1]}')]


def test_json_of_every_reading_command(either):
    either.have("echo")
    for command in READS:
        done = either.good(*command, "--json")
        assert done.err == "" and done.out.endswith("\n"), done
        assert not isinstance(done.json, str) and "success" not in done.json
        text = either.good(*command)
        assert text.out and text.err == "", text
    assert len(either.good("capabilities", "--json").json) == 8
    assert len(either.good("permissions", "--json").json) == 8


def test_json_of_every_writing_command(either):
    place = either
    key = place.build / "packages" / "demo.pub"
    steps = [("trust", "add", "demo", key), ("validate", place.package("echo")), ("install", place.package("echo")),
             ("load", "echo"), ("reload", "echo"), ("use", "echo@1.0.0"), ("grant", "echo", "file_read=/etc"),
             ("revoke", "echo", "file_read=/etc"), ("refuse", "echo", "execute_code"), ("unload", "echo"),
             ("load", "echo"), ("stop-all",), ("settings", "set", "pool", "0"), ("uninstall", "echo@1.0.0"),
             ("install", place.package("echo"), "--grant", "file_read=/etc", "--load"), ("uninstall", "echo", "--purge"),
             ("trust", "revoke", "demo")]
    for step in steps:
        done = place.good(*step, "--json")
        assert done.err == "" and done.out.count("\n") == 1, done
        json.loads(done.out)


def test_text_of_every_writing_command(either):
    place = either
    key = place.build / "packages" / "demo.pub"
    for step in [("trust", "add", "demo", key), ("validate", place.package("echo")), ("install", place.package("echo")),
                 ("load", "echo"), ("reload", "echo"), ("use", "echo@1.0.0"), ("grant", "echo", "file_read=/etc"),
                 ("revoke", "echo", "file_read=/etc"), ("refuse", "echo", "execute_code"), ("stop-all",),
                 ("settings", "set", "pool", "0"), ("uninstall", "echo"), ("trust", "revoke", "demo")]:
        done = place.good(*step)
        assert done.out.strip() and done.err == "", done


def test_call_prints_the_result_and_nothing_else(either):
    either.have("data_processor")
    done = either.good("call", "data_processor", "transform", '{"data":[1,2,3],"operation":"multiply","factor":2}',
                       "--receipt")
    assert done.out == "[2,4,6]\n" and done.err.count("\n") == 1 and "ran ns" in done.err
    done = either.good("call", "data_processor", "aggregate", "-", "--json", "--receipt",
                       input='{"data":[1,2,3],"operation":"sum"}')
    receipt = json.loads(done.err)
    assert json.loads(done.out) == 6 and receipt["version"] == "1.0.0" and receipt["bytes_in"] == 34


def test_options_stand_anywhere(place):
    place.good("--home", place.home, "list", "--json")
    place.good("list", f"--home={place.home}")
    place.good("--json", "trust", "list")


def test_output_that_cannot_be_written(place):
    place.good("list")
    with open("/dev/full", "w") as full:
        done = subprocess.run([place.build / "moat", "settings", "get"], stdout=full, stderr=subprocess.PIPE, text=True,
                              env=place.env)
    assert done.returncode == 7 and "standard output" in done.stderr
