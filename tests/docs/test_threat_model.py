"""docs/threat-model.md: promises are numbered without a gap, and each names tests that are there."""

import re


def test_every_promise_has_its_test(root):
    text = (root / "docs" / "threat-model.md").read_text().split("## Promises")[1].split("## What is not")[0]
    promises = re.split(r"^(\d+)\. ", text, flags=re.M)
    numbers, bodies = promises[1::2], promises[2::2]
    assert [int(n) for n in numbers] == list(range(1, len(numbers) + 1)) and len(numbers) >= 15
    for number, body in zip(numbers, bodies):
        named = re.findall(r"`((?:tests|fuzz)/[\w/.]+): (\w+)`", body)
        assert named, f"promise {number} has no test"
        for file, test in named:
            source = (root / file).read_text()
            assert re.search(rf"\b{test}\(", source), f"promise {number}: {file} has no {test}"


def test_it_says_what_is_not_promised(root):
    text = (root / "docs" / "threat-model.md").read_text()
    assert text.split("## What is not promised")[1].count("\n- ") >= 5
