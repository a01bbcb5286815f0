"""docs/threat-model.md: promises are numbered without a gap, and each names tests that are there and are run."""

import re


def promises(root):
    text = (root / "docs" / "threat-model.md").read_text().split("## Promises")[1].split("## What is not")[0]
    parts = re.split(r"^(\d+)\. ", text, flags=re.M)
    return [int(n) for n in parts[1::2]], parts[2::2]


def is_run(root, file, test):
    """Not only there: a test in C is in its program's list too, a fuzz target among the targets."""
    source = (root / file).read_text()
    if file.startswith("fuzz/"):
        target = file.removeprefix("fuzz/").removesuffix(".c")
        targets = (root / "fuzz" / "targets.txt").read_text()
        return f"{test}(" in source and re.search(rf"^{target}:", targets, re.M)
    if file.endswith(".py"):
        return re.search(rf"^def {test}\(", source, re.M)
    defined = re.search(rf"^static void {test}\(", source, re.M)
    return defined and len(re.findall(rf"\b{test}\b", source)) >= 2


def test_every_promise_has_its_test(root):
    numbers, bodies = promises(root)
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 34
    for number, body in zip(numbers, bodies):
        named = re.findall(r"`((?:tests|fuzz)/[\w/.]+): (\w+)`", body)
        assert named, f"promise {number} has no test"
        assert len(named) == body.count("`tests/") + body.count("`fuzz/"), f"promise {number} names a test in another form"
        for file, test in named:
            assert is_run(root, file, test), f"promise {number}: {file} does not run {test}"


def test_a_test_that_is_not_run_is_noticed(root):
    """The check itself: what is only a word in a file, or no target, does not count."""
    assert is_run(root, "tests/policy/policy_test.c", "nothing_granted_is_nothing")
    assert not is_run(root, "tests/policy/policy_test.c", "main")
    assert not is_run(root, "tests/docs/test_threat_model.py", "is_there")
    assert not is_run(root, "fuzz/replay.c", "LLVMFuzzerTestOneInput")


def test_it_says_what_is_not_promised(root):
    text = (root / "docs" / "threat-model.md").read_text()
    assert text.split("## What is not promised")[1].count("\n- ") >= 5
