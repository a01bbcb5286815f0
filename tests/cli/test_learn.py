"""`moat learn`: what an action needs, found without ever opening everything."""

import json
import shutil
import tempfile
import pathlib

import pytest


@pytest.fixture
def data():
    """Not in /tmp: there a plugin has a directory of its own."""
    place = pathlib.Path(tempfile.mkdtemp(dir="/var/tmp", prefix="moat-test-learn-"))
    place.chmod(0o755)
    for name in ("in", "more", "out"):
        (place / name).mkdir()
    (place / "in" / "a").write_text("a")
    (place / "more" / "b").write_text("b")
    yield place
    shutil.rmtree(place)


@pytest.fixture
def package(place):
    return place.pack(plugin="seeker", only=("errand", "probe"))


def errand(data, **changes):
    wants = {"first": f"{data}/in/a", "second": f"{data}/more/b", "out": f"{data}/out/c"}
    return json.dumps(wants | changes)


def left_behind():
    return set(pathlib.Path(tempfile.gettempdir()).glob("moat-learn-*"))


def test_three_things_one_after_another(place, package, data):
    before = left_behind()
    done = place.good("learn", package, "errand", errand(data), "--json", input="y\ny\ny\n")
    learned = done.json
    assert learned["succeeded"] and learned["ended"] == "done" and learned["rounds"] == 4
    assert [g["grant"] for g in learned["granted"]] == [
        f"file_read={data}/in/a", f"file_read={data}/more/b", f"file_write={data}/out"]
    assert all(g["reason"] and g["required"] for g in learned["granted"])
    assert learned["manifest"] == {"optional_permissions": {}, "required_permissions": {
        "file_read": {"paths": [f"{data}/in/a", f"{data}/more/b"]}, "file_write": {"paths": [f"{data}/out"]}}}
    assert learned["commands"] == [f"moat grant alpha {g['grant']}" for g in learned["granted"]]
    assert done.err.count("[y/N]") == 3
    # What it says is enough: with the fragment and the commands the plugin runs.
    place.install("1.1.0", plugin="seeker", only=("errand",), **learned["manifest"])
    assert place.moat("call", "alpha", "errand", errand(data)).status == 3
    for command in learned["commands"]:
        place.good(*command.split()[1:])
    assert place.result("call", "alpha", "errand", errand(data)) is True
    assert left_behind() <= before, "the home is thrown away"


def test_nothing_is_tried_without_a_yes(place, package, data):
    for answers in ("", "n\n", "maybe\n"):
        done = place.moat("learn", package, "errand", errand(data), "--json", input=answers)
        assert done.status == 1 and done.json["rounds"] == 1, done
        assert done.json["ended"] == "declined" and not done.json["granted"]
        assert [g["grant"] for g in done.json["declined"]] == [f"file_read={data}/in/a"]
        assert done.json["failure"]["code"] == "action_failed" and "in/a" in done.json["failure"]["message"]
    people = place.moat("learn", package, "errand", errand(data), input="y\n")
    assert people.status == 1 and "Needed:" in people.out and "Declined:" in people.out
    assert f"moat grant alpha file_read={data}/in/a" in people.out
    assert not (data / "out" / "c").exists()


def test_auto_says_yes_in_its_directory_alone(place, package, data):
    learned = place.good("learn", package, "errand", errand(data), "--auto", data, "--json").json
    assert learned["succeeded"] and len(learned["granted"]) == 3 and (data / "out" / "c").exists()
    done = place.moat("learn", package, "errand", errand(data), "--auto", data / "in", "--json")
    assert done.status == 1 and [g["grant"] for g in done.json["granted"]] == [f"file_read={data}/in/a"]
    assert [g["grant"] for g in done.json["declined"]] == [f"file_read={data}/more/b"]
    (data / "in" / "link").symlink_to(data / "more" / "b")  # a way out of it
    away = errand(data, first=f"{data}/in/link")
    done = place.moat("learn", package, "errand", away, "--auto", data / "in", "--json")
    assert done.status == 1 and not done.json["granted"]
    place.bad(2, "bad_usage", "learn", package, "errand", errand(data), "--auto", "/etc")
    place.bad(4, "no_such_file", "learn", package, "errand", errand(data), "--auto", data / "none")


def test_what_is_closed_to_others_says_so(place, package, data):
    (data / "in" / "a").chmod(0o640)
    done = place.moat("learn", package, "errand", errand(data), "--json", input="y\ny\ny\n")
    assert ["CAUTION" in g["reason"] for g in done.json["granted"]] == [True, False, False]
    assert done.err.count("CAUTION: it is closed to other users") == 1, "it is said before the question"


@pytest.mark.parametrize("subject", ["everybody", "publisher:acme", "capability:custom"])
def test_what_a_ceiling_forbids_is_not_proposed(place, package, data, subject):
    place.good("ceiling", "set", subject, f"file_read={data}/more")
    done = place.moat("learn", package, "errand", errand(data), "--json", input="y\ny\ny\n")
    assert done.status == 1 and done.json["ended"] == "nothing_to_propose" and done.json["ceilings"]
    assert [g["grant"] for g in done.json["granted"]] == [f"file_read={data}/in/a"]
    [refused] = done.json["refused"]
    assert refused["grant"] == f"file_read={data}/more/b" and refused["code"] == "permission_denied"
    assert "ceiling" in refused["reason"]


def test_another_publishers_ceiling_does_not_matter(place, package, data):
    place.good("ceiling", "set", "publisher:other", "file_read")
    assert place.good("learn", package, "errand", errand(data), "--auto", data, "--json").json["succeeded"]


def test_a_wild_one_is_bounded(place, package, data):
    """Names that are not there are no reason to grant anything; many that are there are told up to a number, or, of one
    directory, as that directory."""
    wild = json.dumps({"dir": f"{data}/nothing", "count": 600})
    learned = place.good("learn", package, "probe", wild, "--json").json
    assert learned["granted"] == learned["declined"] == learned["refused"] == []
    assert learned["missing"] == 64 and learned["unnamed"] == 600 - 64
    for i in range(40):
        (data / "in" / str(i)).write_text("x")
    many = json.dumps({"dir": f"{data}/in", "count": 40})
    done = place.good("learn", package, "probe", many, "--json", input="y\n")
    [granted] = done.json["granted"]
    assert granted["grant"] == f"file_read={data}/in" and "40 of its files" in granted["reason"]
    # Below a ceiling the directory cannot be had; then its files are told, so many and no more.
    place.good("ceiling", "set", "everybody", f"file_read={data}/in/a")
    done = place.good("learn", package, "probe", many, "--json")
    assert len(done.json["declined"]) == 16 and done.json["left_out"] == 40 - 16
    assert not any(g["grant"] == f"file_read={data}/in" for g in done.json["declined"])


def test_two_files_stay_two_files(place, package, data):
    for i in range(2):
        (data / "in" / str(i)).write_text("x")
    two = json.dumps({"dir": f"{data}/in", "count": 2})
    learned = place.good("learn", package, "probe", two, "--auto", data, "--json").json
    assert [g["scope"] for g in learned["granted"]] == [f"{data}/in/0", f"{data}/in/1"]


def test_an_installed_plugin_keeps_what_it_has(place, data):
    """By its name; neither its grants nor what it is change, and what the author asks for already stays where it is."""
    place.install(plugin="seeker", only=("errand",), required_permissions=["file_read"])
    before = place.good("export").out
    learned = place.good("learn", "alpha", "errand", errand(data), "--auto", data, "--json").json
    assert set(learned["manifest"]["required_permissions"]) == {"file_read", "file_write"}
    assert place.good("export").out == before
    assert place.result("denials", "alpha")["denials"] == []


def test_with_a_server(place, data):
    place.serve()
    place.install(plugin="seeker", only=("errand",))
    assert place.good("learn", "alpha", "errand", errand(data), "--auto", data, "--json").json["succeeded"]


def test_what_cannot_be_learned_from(place, package, data):
    place.bad(4, "no_such_action", "learn", package, "cook")
    place.bad(2, "bad_parameters", "learn", package, "probe", "{}")
    place.bad(2, "bad_json", "learn", package, "probe", "{")
    place.bad(4, "no_such_plugin", "learn", "nobody", "probe")
    place.bad(4, "no_such_file", "learn", "./none.moat", "probe")
    broken = place.root / "broken.moat"
    broken.write_bytes(package.read_bytes()[:-1])
    assert place.moat("learn", broken, "probe").status == 3
    changed = bytearray(package.read_bytes())
    changed[600] ^= 1
    broken.write_bytes(changed)
    assert place.moat("learn", broken, "probe").status == 3


def test_programs_are_proposed_one_by_one(place):
    """The one that the author names, then what is really started; not all of the permission, and with no library told."""
    named, other = shutil.which("true"), shutil.which("sed")
    ask = {"execute_code": {"programs": [named]}}
    package = place.pack(plugin="starter", only=("run",), assets=[], optional_permissions=ask)
    wants = json.dumps({"command": f"{other} --version"})
    done = place.good("learn", package, "run", wants, "--json", input="y\ny\n")
    assert [g["grant"] for g in done.json["granted"]] == [f"execute_code={named}", f"execute_code={other}"], done
    assert done.json["commands"] == [f"moat grant alpha execute_code={p}" for p in (named, other)]
    assert done.json["manifest"]["optional_permissions"] == {"execute_code": {"programs": [named, other]}}
    place.install("1.1.0", plugin="starter", only=("run",), assets=[], **done.json["manifest"])
    assert place.result("call", "alpha", "run", wants)["error"] == "EPERM"
    place.good(*done.json["commands"][1].split()[1:])
    assert place.result("call", "alpha", "run", wants) == {"status": 0, "error": ""}


def test_a_program_that_is_not_there_is_not_proposed(place):
    ask = {"execute_code": {"programs": ["/usr/bin/there-is-no-such-program"]}}
    package = place.pack(plugin="starter", only=("run",), assets=[], optional_permissions=ask)
    done = place.moat("learn", package, "run", json.dumps({"command": "/bin/true"}), "--json", input="y\n")
    assert not done.json["granted"] and not done.json["declined"] and done.json["missing"] == 1, done
