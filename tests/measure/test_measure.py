"""src/measure against Python: quantiles against sorted lists, the sequential test against its definition, worked out by
another way (the nearest rates by minimising the relative entropy itself)."""

import math
import pathlib
import statistics
import subprocess

import pytest


@pytest.fixture(scope="module")
def ask(build):
    def run(*arguments, text):
        done = subprocess.run([build / "tests" / "measure" / "measure_tool", *map(str, arguments)], input=text,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()
    return run


# Histograms

QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0)


@pytest.mark.parametrize("shape", ["uniform", "lognormal", "small", "two humps", "one value"])
def test_quantiles_are_within_a_sixteenth(ask, rng, shape):
    draw = {
        "uniform": lambda: rng.randrange(1, 10**9),
        "lognormal": lambda: int(rng.lognormvariate(12, 3)),
        "small": lambda: rng.randrange(0, 16),
        "two humps": lambda: rng.choice((900, 5_000_000)) + rng.randrange(100),
        "one value": lambda: 123_456,
    }[shape]
    parts = [[draw() for _ in range(rng.randrange(1, 800))] for _ in range(4)]
    lines = ask("quantiles", *QUANTILES, text=" merge ".join(" ".join(map(str, part)) for part in parts))
    values = sorted(sum(parts, []))
    assert lines[0] == f"{len(values)} {sum(values)}"
    for q, said in zip(QUANTILES, map(int, lines[1:]), strict=True):
        true = values[max(math.ceil(q * len(values)), 1) - 1]
        assert abs(said - true) * 16 <= true, (q, said, true)


# The sequential test

def entropy(p, q):
    return sum(a * math.log(a / b) for a, b in ((p, q), (1 - p, 1 - q)) if a)


def nearest(before, after, d, n, m):
    """The least n KL(before, p) + m KL(after, p + d) over p, by ternary search."""
    def cost(p):
        return n * entropy(before, p) + m * entropy(after, p + d)
    low, high = 1e-15, 1 - d - 1e-15
    for _ in range(200):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, b) if cost(a) < cost(b) else (a, high)
    return (low + high) / 2, (low + high) / 2 + d


def likelihood(bad, all_, p):
    return (bad * math.log(p) if bad else 0) + ((all_ - bad) * math.log(1 - p) if all_ > bad else 0)


class Definition:
    """docs/measure.md in Python."""

    def __init__(self, tolerated, margin, false_alarm, false_pass, n, m):
        self.tolerated, self.margin, self.sizes = tolerated, margin, {"b": n, "n": m}
        self.borders = -math.log(false_alarm), -math.log(false_pass)
        self.waiting = {"b": [], "n": []}
        self.used = {"b": [0, 0], "n": [0, 0]}
        self.worse = self.fine = 0.0
        self.verdict = "open"

    def add(self, who, bad):
        self.waiting[who] = (self.waiting[who] + [bad])[-64:]
        if all(len(self.waiting[w]) >= self.sizes[w] for w in "bn"):
            self.compare()

    def compare(self):
        guess = {w: (bad + 0.2) / (all_ + 4) for w, (all_, bad) in self.used.items()}
        bad = {}
        for w, size in self.sizes.items():
            bad[w] = sum(self.waiting[w][:size])
            self.waiting[w] = self.waiting[w][size:]
            self.used[w][0] += size
            self.used[w][1] += bad[w]
        if guess["n"] > guess["b"] + self.tolerated:
            self.worse += self.evidence(guess, bad, self.tolerated)
        if guess["n"] < guess["b"] + self.margin:
            self.fine += self.evidence(guess, bad, self.margin)
        if self.verdict == "open" and self.worse >= self.borders[0]:
            self.verdict = "worse"
        elif self.verdict == "open" and self.fine >= self.borders[1]:
            self.verdict = "fine"

    def evidence(self, guess, bad, d):
        null = dict(zip("bn", nearest(guess["b"], guess["n"], d, self.sizes["b"], self.sizes["n"]), strict=True))
        return sum(likelihood(bad[w], self.sizes[w], guess[w]) - likelihood(bad[w], self.sizes[w], null[w])
                   for w in "bn")


@pytest.mark.parametrize("rates", [(0.0, 0.0), (0.01, 0.01), (0.01, 0.2), (0.3, 0.1), (0.5, 0.53), (1.0, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize("sizes", [(9, 1), (1, 1), (1, 4)])
def test_the_evidence_is_what_the_definition_says(ask, rng, rates, sizes):
    limits = (rng.choice((0.0, 0.01)), rng.choice((0.03, 0.1)), 0.01, 0.02)
    share = sizes[1] / sum(sizes)
    outcomes = []
    for _ in range(1200):
        new = rng.random() < share
        outcomes.append(("n" if new else "b", int(rng.random() < rates[new])))
    lines = ask("sequential", *limits, *sizes, text=" ".join(f"{who}{bad}" for who, bad in outcomes))
    model = Definition(*limits, *sizes)
    for (who, bad), line in zip(outcomes, lines, strict=True):
        model.add(who, bad)
        verdict, worse, fine = line.split()
        assert float(worse) == pytest.approx(model.worse, rel=1e-5, abs=1e-5)
        assert float(fine) == pytest.approx(model.fine, rel=1e-5, abs=1e-5)
        assert verdict == model.verdict
    if rates == (0.0, 1.0):
        assert model.verdict == "worse"
    if rates == (0.0, 0.0) and limits[1] == 0.1:  # a smaller margin needs more outcomes than these
        assert model.verdict == "fine"


# The guard of a change, on recorded run times: 4000 calls of data_processor.transform with parameters of many sizes, by
# one client alone, by six at once, and by six beside four programs that want every CPU.

TRACES = pathlib.Path(__file__).parent / "traces"
SEEN, NEW, CASES = 2048, 600, 100


def worse(rng, runs, failing=0.0, slow=0.0):
    """What a change for the worse makes of runs: a share fails, a share takes thirty times as long."""
    for ns in runs:
        if rng.random() < failing:
            yield f"f{ns}"
        else:
            yield f"g{ns * 30 if rng.random() < slow else ns}"


def judged(ask, rng, trace, **change):
    """Of many places in the trace: the verdicts, and after how many new calls they fell."""
    runs = (TRACES / f"{trace}.txt").read_text().split()
    cases = []
    for _ in range(CASES):
        at = rng.randrange(len(runs) - SEEN - NEW)
        new = worse(rng, map(int, runs[at + SEEN:at + SEEN + NEW]), **change)
        cases.append(" ".join([*(f"g{ns}" for ns in runs[at:at + SEEN]), "|", *new, "."]))
    told = [line.split() for line in ask("guard", text=" ".join(cases))]
    assert len(told) == CASES
    verdicts = [verdict for verdict, _ in told]
    fell = sorted(int(after) for verdict, after in told if verdict != "open")
    print(trace, change, {v: verdicts.count(v) for v in set(verdicts)}, fell and statistics.median(fell))
    return verdicts, fell


@pytest.mark.parametrize("trace", ["alone", "busy", "crowded"])
def test_a_guard_raises_no_alarm_where_nothing_changed(ask, rng, trace):
    verdicts, fell = judged(ask, rng, trace)
    # Stated: 1 of 100. The places overlap, so that an alarm seldom comes alone.
    assert verdicts.count("worse") <= 0.03 * CASES
    assert verdicts.count("fine") >= 0.9 * CASES
    assert statistics.median(fell) <= 150


@pytest.mark.parametrize("trace", ["alone", "busy", "crowded"])
@pytest.mark.parametrize("change, median", [({"failing": 1.0}, 6), ({"failing": 0.3}, 40), ({"failing": 0.12}, 200),
                                            ({"slow": 1.0}, 120), ({"failing": 0.1, "slow": 0.3}, 150)])
def test_a_guard_finds_what_is_worse_soon(ask, rng, trace, change, median):
    verdicts, fell = judged(ask, rng, trace, **change)
    assert verdicts.count("fine") <= 0.03 * CASES
    assert verdicts.count("worse") >= 0.9 * CASES
    assert statistics.median(fell) <= median


def test_what_a_guard_does_not_count(ask):
    seen = " ".join(["g1000000"] * 300)
    ask_one = lambda new: ask("guard", text=f"{seen} | {new} .")[0].split()[0]  # noqa: E731
    # The whole time or a shorter one was over before the action was slow: nothing is known.
    assert ask_one(" ".join(["c500000"] * 500)) == ask_one(" ".join(["l500000"] * 500)) == "open"
    # It was slow by then: a failure, whoever set the time.
    assert ask_one(" ".join(["c9000000"] * 50)) == ask_one(" ".join(["l9000000"] * 50)) == "worse"
    # Nothing is slow while too little is known of it; then only the whole time that it has says something.
    few = " ".join(["g1000000"] * 50)
    assert ask("guard", text=f"{few} | {' '.join(['c9000000'] * 99)} .") == ["open 99"]
    assert ask("guard", text=f"{few} | {' '.join(['l9000000'] * 99)} .")[0].split()[0] == "worse"
    assert ask("guard", text=f"{' '.join(['g1000'] * 19)} | {' '.join(['f1000'] * 99)} .") == ["none 0"]
