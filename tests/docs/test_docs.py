"""The documents keep their word: links lead somewhere, commands exist, what README shows is what one sees."""

import json
import os
import re
import shutil
import subprocess

import pytest

NOT_YET = "## Not yet"


def documents(root):
    files = [*root.glob("*.md"), *(root / "docs").rglob("*.md"), *(root / "plugins").rglob("*.md")]
    return {str(path.relative_to(root)): path for path in sorted(files)}


@pytest.fixture(scope="module")
def moat(build, tmp_path_factory):
    """Runs `moat` in a home of this module's own; its standard output."""
    place = tmp_path_factory.mktemp("docs")
    env = {k: v for k, v in os.environ.items() if k not in ("PLUGIN_DIR", "REGISTRY_DIR")} | {
        "MOAT_HOME": str(place / "home"), "PATH": f"{build}:{os.environ['PATH']}"}

    def run(*arguments, cwd=None, status=0):
        done = subprocess.run([build / "moat", *map(str, arguments)], env=env, cwd=cwd, capture_output=True, text=True,
                              timeout=60)
        assert done.returncode == status, (arguments, done.returncode, done.stderr)
        return done.stdout if status == 0 else done.stderr

    run.env, run.place = env, place
    return run


@pytest.fixture(scope="module")
def commands(moat):
    """Every command that `moat --help` lists."""
    return set(re.findall(r"^  ([a-z-]+(?: [a-z]+)?)  ", moat("--help"), re.M))


def test_links_lead_somewhere(root):
    broken = []
    for name, path in documents(root).items():
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{name}: {target}")
    assert not broken, "\n".join(broken)


def test_readme_names_only_what_there_is(root, commands):
    text = (root / "README.md").read_text().split(NOT_YET)[0]
    named = set(re.findall(r"`moat ([a-z-]+(?: (?:add|list|revoke|names|transfer|get|set|verify|head|sign|rotate|run|check|show|cancel))?)`", text))
    assert len(named) > 20
    assert named <= commands, f"README names {sorted(named - commands)}"


def test_readme_names_all_there_is(root, commands):
    text = (root / "README.md").read_text()
    missing = {c for c in commands - {"help", "version"} if f"`moat {c}`" not in text}
    assert not missing, f"README does not name {sorted(missing)}"


def test_what_is_not_yet_is_not_there(root, moat):
    """A promise that came true has to leave the list."""
    text = (root / "README.md").read_text().split(NOT_YET)[1]
    for name in re.findall(r"`moat ([a-z]+)`", text):
        moat(name, status=2)


def test_scripts_that_documents_name_are_there(root):
    for name, path in documents(root).items():
        for script in re.findall(r"(?:^|[\s`(])(scripts/[a-z.]+[a-z])", path.read_text(), re.M):
            assert (root / script).exists(), f"{name}: {script}"


def test_every_script_says_what_it_is(root):
    for path in sorted((root / "scripts").iterdir()):
        if os.access(path, os.X_OK) and path.is_file():
            assert path.read_text().splitlines()[1].startswith(f"# scripts/{path.name}"), path


def shown(text):
    """("moat …" command, what stands below it) of every console block."""
    for block in re.findall(r"^```(?:console)?\n(.*?)^```", text, re.M | re.S):
        for command, answer in re.findall(r"^\$ (moat .*)\n((?:(?!\$ ).*\n)*)", block, re.M):
            yield command, answer.strip()


def shell(moat, command, cwd):
    return subprocess.run(["bash", "-c", command], env=moat.env, cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def tree(build, moat):
    """A directory in which `build/` is the build under test, as README has it."""
    place = moat.place / "tree"
    place.mkdir()
    (place / "build").symlink_to(build)
    return place


def test_readme_first_plugin(root, moat, tree):
    section = (root / "README.md").read_text().split("A first plugin")[1].split("## ")[0]
    seen = list(shown(section))
    assert len(seen) == 3
    for command, answer in seen:
        done = shell(moat, command, tree)
        assert done.returncode == 0, (command, done.stderr)
        assert not answer or done.stdout.strip() == answer, command


@pytest.mark.parametrize("name,examples", [("agent_skill", 2), ("data_processor", 6)])
def test_a_plugins_readme(root, moat, tree, name, examples):
    if name not in moat("list"):
        if "demo" not in moat("trust", "list"):
            moat("trust", "add", "demo", "build/packages/demo.pub", cwd=tree)
        moat("install", f"build/packages/{name}-1.0.0.moat", cwd=tree)
    seen = list(shown((root / "plugins" / name / "README.md").read_text()))
    assert len(seen) == examples
    for command, answer in seen:
        done = shell(moat, command, tree)
        assert (done.returncode, done.stdout.strip()) == (0, answer), (command, done.stderr)


@pytest.fixture(scope="module")
def word_count(root, moat):
    """`moat new word_count`, as README has it."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    moat("new", "word_count", cwd=moat.place)
    return moat.place / "word_count"


def test_a_new_plugin_builds_and_passes_its_check(root, moat, word_count):
    done = subprocess.run(["make", "CFLAGS=-O2 -Wall -Wextra -Werror"], cwd=word_count, env=moat.env, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(["make", "check"], cwd=word_count, env=moat.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    promised = re.search(r"^\$ make check\n(.*)$", (root / "README.md").read_text(), re.M).group(1)
    assert done.stdout.strip() == promised


def test_a_required_permission_waits_for_a_decision(root, moat, word_count, tmp_path):
    """The end of "A plugin in ten minutes", line by line, in the home of somebody who has that directory."""
    manifest = json.loads((word_count / "plugin.json").read_text())
    manifest |= {"version": "0.2.0", "required_permissions": ["file_read"]}
    copy = tmp_path / "word_count"
    shutil.copytree(word_count, copy)
    (copy / "plugin.json").write_text(json.dumps(manifest))
    subprocess.run(["make"], cwd=copy, env=moat.env, capture_output=True, check=True)
    (tmp_path / "data").mkdir()
    section = (root / "README.md").read_text().split("## A plugin in ten minutes")[1]
    block = section.split("install, and decide:\n\n```\n")[1].split("```")[0]
    said = ""
    for line in block.splitlines():
        done = shell(moat, f"export HOME='{tmp_path}'; {line}", copy)
        denied = "permission_denied" in line
        assert done.returncode == (3 if denied else 0), (line, done.stderr)
        said += done.stderr if denied else ""
    assert "moat grant word_count file_read" in said
    assert json.loads(moat("call", "word_count", "count", '{"text":"one two"}')) == {"words": 2, "longest": 3}


@pytest.mark.parametrize("name, status, says", [
    ("Word", 2, "no plugin's name"), ("two__lines", 2, "no plugin's name"), ("a" * 31, 2, "no plugin's name"),
    ("missing/word_count", 4, "not there"), ("full", 2, "not an empty directory")])
def test_new_refuses_in_one_line(moat, tmp_path, name, status, says):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    said = moat("new", name, cwd=tmp_path, status=status)
    assert says in said and len(said.strip().splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full"], "nothing half-done is left"


def test_new_here(moat, tmp_path):
    (tmp_path / "line_count").mkdir()
    moat("new", ".", cwd=tmp_path / "line_count")
    assert json.loads((tmp_path / "line_count" / "plugin.json").read_text())["name"] == "line_count"
