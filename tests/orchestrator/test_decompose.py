"""agent_skill's decompose and the orchestrator: what one says that it runs, the other takes and runs."""


def test_a_task_of_arithmetic_alone_runs(tasks):
    tasks.place.have("agent_skill")
    text = "Keep only those above 10 of the numbers 3, 9, 12, 15 and 21, then multiply them by 2 and compute the average."
    made = tasks.good("POST", "/api/plugins/execute/agent_skill/decompose", {"task": text})
    assert made["runs"] is True and made["needs"] == [] and made["complete"] is True
    assert tasks.good("POST", "/api/tasks/check", made["task"])["valid"] is True
    document = tasks.good("POST", "/api/tasks", made["task"])
    last = made["task"]["steps"][-1]["id"]
    assert document["status"] == "succeeded" and document["result"] == {last: 32.0}
    assert {s["plugin"] for s in document["steps"]} == {"data_processor"}
    assert [s["outcome"] for s in document["steps"]] == ["succeeded"] * 3


def test_what_it_says_does_not_run_is_not_run(tasks):
    """A step that nobody is known for is refused before anything runs."""
    tasks.place.have("agent_skill")
    made = tasks.good("POST", "/api/plugins/execute/agent_skill/decompose",
                      {"task": "Translate the letter into German and email it to maria@example.com."})
    assert made["runs"] is False and made["needs"]
    tasks.bad(422, "bad_task", "POST", "/api/tasks", made["task"])
