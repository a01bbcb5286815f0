"""src/measure against Python: quantiles against sorted lists, the sequential test against its definition, worked out by
another way (the nearest rates by minimising the relative entropy itself)."""

import math
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
