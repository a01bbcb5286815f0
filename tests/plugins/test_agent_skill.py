"""agent_skill over real tasks: what it must find in each, that it points at the right words, and its promises on any text."""

import json
import pathlib
import re

import jsonschema
import pytest

from runner import Plugin, Refused

HERE = pathlib.Path(__file__).resolve().parent
TASKS = json.loads((HERE / "agent_skill_tasks.json").read_text())
MANIFEST = json.loads((HERE.parents[1] / "plugins" / "agent_skill" / "plugin.json").read_text())
ACTIONS = {a["name"]: a for a in MANIFEST["actions"]}
LISTS = ["requirements", "entities", "constraints", "timings", "risks", "ambiguities"]


class Checked(Plugin):
    """Every result is held against the manifest, and every finding against the text."""

    def call(self, action, **parameters):
        result = super().call(action, **parameters)
        jsonschema.validate(parameters, ACTIONS[action]["parameters"])
        jsonschema.validate(result, ACTIONS[action]["result"])
        if action == "analyze":
            for f in [f for name in LISTS for f in result[name]] + result["kind"]["because"]:
                assert parameters["task"][f["offset"]:f["offset"] + f["length"]] == f["text"]
        return result


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "sanitized"])
def skill(build, request):
    if request.param and not (build / "tests" / "plugins" / "plugin_run_asan").exists():
        pytest.skip("this compiler has no sanitizers")
    plugin = Checked(build, "agent_skill", sanitized=request.param)
    yield plugin
    assert plugin.end() == 0


def texts(found, kind):
    return [f["text"] for f in found if f["type"] == kind]


def test_there_are_enough_tasks():
    assert len(TASKS) >= 60 and len({t["task"] for t in TASKS}) == len(TASKS)


@pytest.mark.parametrize("task", TASKS, ids=[re.sub(r"\W+", "_", t["task"])[:40] for t in TASKS])
def test_a_real_task(skill, task):
    seen = skill.call("analyze", task=task["task"], today="2026-11-30")
    assert seen["language"] == task.get("language", "en")
    assert seen["kind"]["name"] == task.get("kind", seen["kind"]["name"])
    assert len(seen["requirements"]) == task.get("requirements", len(seen["requirements"]))
    for kind, words in task.get("entities", {}).items():
        assert set(words) <= set(texts(seen["entities"], kind)), seen["entities"]
    for kind, words in task.get("timings", {}).items():
        assert words in texts(seen["timings"], kind), seen["timings"]
    if "date" in task:
        assert task["date"] in [t["date"] for t in seen["timings"]]
    assert set(task.get("risks", {}).items()) <= {(r["type"], r["severity"]) for r in seen["risks"]}
    assert set(task.get("constraints", [])) <= {c["type"] for c in seen["constraints"]}, seen["constraints"]
    assert set(task.get("ambiguities", [])) <= {a["type"] for a in seen["ambiguities"]}, seen["ambiguities"]
    assert set(task.get("not_stated", [])) <= {m["what"] for m in seen["not_stated"]}
    offered = skill.call("suggest", task=task["task"])["approaches"]
    assert set(task.get("suggests", [])) <= {a["approach"] for a in offered}
    scores = [a["score"] for a in offered]
    assert scores == sorted(scores, reverse=True) and all(a["because"] and a["steps"] for a in offered)


def test_the_same_text_gets_the_same_answer(skill):
    for action in ACTIONS:
        first = skill.ask(action, json.dumps({"task": TASKS[0]["task"]}))
        skill.ask(action, json.dumps({"task": TASKS[30]["task"]}))
        assert skill.ask(action, json.dumps({"task": TASKS[0]["task"]})) == first


def test_asking_for_more_is_never_less(skill, rng):
    """Another sentence never lowers the points, nor either end of the interval."""
    english = [t["task"] for t in TASKS if t.get("language", "en") == "en"]
    for _ in range(60):
        text, last = "", {"points": 0, "low": 0, "high": 0}
        for more in rng.sample(english, 6):
            text = (text + "\n\n" + more).strip()
            now = skill.call("estimate", task=text)
            assert all(now[k] >= last[k] for k in last), (text, last, now)
            assert now["low"] <= now["points"] <= now["high"]
            last = {k: now[k] for k in last}


def test_the_points_are_the_sum_of_their_parts(skill):
    for task in TASKS:
        estimate = skill.call("estimate", task=task["task"])
        assert estimate["points"] == pytest.approx(sum(p["points"] for p in estimate["parts"]))


def test_an_unread_language_is_said_and_not_guessed(skill):
    seen = skill.call("analyze", task="Merci d'envoyer le rapport à paul@example.com avant vendredi, s'il vous plaît, et de vérifier les chiffres.")
    assert seen["language"] == "unknown" and seen["kind"]["name"] == "unknown" and seen["requirements"] == []
    assert texts(seen["entities"], "email") == ["paul@example.com"], "what a form alone tells is told"
    assert skill.call("estimate", task="Überweise 300 € an das Konto und schreibe dazu, wofür das Geld gedacht ist.")["complexity"] == "unknown"


def test_what_is_forbidden_is_no_deed(skill):
    seen = skill.call("analyze", task="Sort the files in /data by size. Do not delete anything and never email the customers.")
    assert texts(seen["risks"], "destructive") == [] and len(texts(seen["constraints"], "must_not")) == 2
    assert [r["verb"] for r in seen["requirements"]] == ["sort"]


def test_days_are_counted_from_today(skill):
    def day(text, today="2026-02-26"):
        return [t["date"] for t in skill.call("analyze", task=text, today=today)["timings"]]
    assert day("Send the report by tomorrow.") == ["2026-02-27"]
    assert day("Send the report in 3 days.") == ["2026-03-01"]
    assert day("Send the report by the end of the month.") == ["2026-02-28"]
    assert day("Send the report by the end of the month.", "2028-02-03") == ["2028-02-29"]
    assert day("Send the report by Thursday.") == ["2026-02-26"]
    assert day("Send the report by January 5.") == ["2027-01-05"]
    assert day("Send the report by 31.12.2026.") == ["2026-12-31"]
    assert day("Send the report by 03/04/2026.") == [None]
    assert day("Send the report by 2026-02-30.") == [None]
    assert [t["date"] for t in skill.call("analyze", task="Send the report by tomorrow.")["timings"]] == [None]


@pytest.mark.parametrize("today", ["2026-13-01", "2026-02-30", "yesterday!", "26-02-01xx"])
def test_a_day_that_is_none(skill, today):
    with pytest.raises(Refused) as caught:
        skill.ask("analyze", json.dumps({"task": "Send it.", "today": today}))
    assert caught.value.code == "bad_parameters"


# ---- decompose ----


def test_arithmetic_over_the_numbers_of_the_text_runs(skill):
    made = skill.call("decompose", task="Keep only those above 10 of the numbers 3, 9, 12, 15 and 21, then multiply them by 2 and compute the average.")
    assert made["runs"] and made["needs"] == [] and made["complete"]
    task = made["task"]
    assert task["input"] == {"data": [3, 9, 12, 15, 21]}
    steps = task["steps"]
    assert [(s["capability"], s["action"]) for s in steps] == [("data_processing", a) for a in ("filter", "transform", "aggregate")]
    assert steps[0]["parameters"] == {"data": {"$from": "/input/data"}, "condition": "greater", "value": 10}
    assert steps[1]["parameters"] == {"data": {"$from": f"/steps/{steps[0]['id']}/result"}, "operation": "multiply", "factor": 2}
    assert steps[2]["parameters"] == {"data": {"$from": f"/steps/{steps[1]['id']}/result"}, "operation": "avg"}


def test_a_step_that_nobody_is_known_for_says_so(skill):
    made = skill.call("decompose", task="Translate the letter into German and email it to maria@example.com.")
    assert not made["runs"] and len(made["needs"]) == 2
    assert [s["capability"] for s in made["task"]["steps"]] == ["model_inference", "integration"]
    assert made["task"]["steps"][1]["depends_on"] == [made["task"]["steps"][0]["id"]]


def test_what_the_caller_can_run_is_chosen_from(skill):
    offers = [{"capability": "integration", "action": "send_mail", "description": "Sends an email to one recipient"},
              {"capability": "model_inference", "action": "translate", "description": "Translates text between languages"},
              {"capability": "custom", "action": "reboot"}]
    made = skill.call("decompose", task="Translate the letter into German and email it to maria@example.com.", available=offers)
    assert [s["action"] for s in made["task"]["steps"]] == ["translate", "send_mail"]
    assert not made["runs"], "words alone are no proof"


def test_tasks_are_what_the_orchestrator_takes(skill):
    schema = json.loads((HERE.parents[1] / "docs" / "schema" / "task.schema.json").read_text())
    for task in TASKS:
        made = skill.call("decompose", task=task["task"])
        assert (made["task"] is None) == (task.get("language") == "unknown")
        if made["task"]:
            jsonschema.validate(made["task"], schema)
            ids = [s["id"] for s in made["task"]["steps"]]
            assert len(set(ids)) == len(ids)


# ---- hostile texts ----

WORDS = ["and", "delete", "the", "by", "friday", ",", "sort", ".", "\n- ", "$5", "café", "“", "then", "must", "not", "\"", "`", "3", "…", "//"]


def test_any_text_is_answered_within_bounds(skill, rng):
    for n in (1, 2, 3, 50, 2000):
        for _ in range(10):
            task = " ".join(rng.choice(WORDS) for _ in range(n))
            for action in ACTIONS:
                skill.call(action, task=task)
    for task in ("a" * 65536, "delete and " * 5957, "- " * 32768, "1," * 32768, "\"" * 65536, "(" * 65536, "é" * 32768,
                 "by the end of the " * 3640, "\n" * 65536, "the file " * 7281, "don't " * 10922, "a/" * 32768):
        for action in ACTIONS:
            assert json.loads(skill.ask(action, json.dumps({"task": task})))


def test_longer_than_it_reads_is_refused(skill):
    with pytest.raises(Refused) as caught:
        skill.ask("analyze", json.dumps({"task": "é" * 32769}))
    assert caught.value.code == "bad_parameters" and "65536" in caught.value.message
