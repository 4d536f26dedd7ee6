"""Do the statistics hold? Coverage of every interval and error rate of every decision, simulated.

    python benchmarks/coverage.py [--repetitions 4000] [--only delong,...] [--state out/coverage]
        [--out docs/coverage-study.md] [--jobs 2]

A cell is one method on scores of which the truth is known. Each repetition draws its scores from
the cell's name and its own number alone, so that a run can be stopped, resumed (`--state`) and
spread over processes, and always gives the same figures. A cell prints its rate with the 99 %
Monte-Carlo interval of that rate and says

- `within`: the rate lies in the nominal range;
- `open`: it does not, but its Monte-Carlo interval reaches into it;
- `OUTSIDE`: all of the interval lies outside.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from attacks.decision import AttackScores, CohortPlan, Verdict, decide_cohort, decide_small_request
from attacks.decision.exposure import exposed_by_p_value, exposed_by_rank
from attacks.statistics import (
    Refused,
    auc_difference,
    auc_estimate,
    clopper_pearson,
    epsilon_lower_bound,
    membership_advantage,
    tpr_at_fpr,
)
from attacks.statistics.bootstrap import bca_auc
from attacks.statistics.epsilon import EpsilonMethod

Scores = tuple[NDArray[np.float64], NDArray[np.float64]]

REPETITIONS = 4000
CHUNK = 250
RESAMPLES = 500  # of a bootstrap within a repetition; more would cover a little better
AREAS = (0.5, 0.55, 0.7, 0.85, 0.95)
FAMILIES = ("gaussian", "exponential", "mixture", "ties")
SIZES = ((200, 200), (500, 500), (2000, 2000), (200, 5000))
TWO_SIDED, AT_LEAST, AT_MOST = (0.94, 0.96), (0.95, 1.0), (0.0, 0.05)


@dataclass(frozen=True)
class Cell:
    """One question. once: the answer of one repetition, in [0, 1]. wanted: the range of its mean.

    shown: a miss is expected and only shown, with the reason in `note`.
    """

    group: str
    name: str
    wanted: tuple[float, float]
    once: Callable[[np.random.Generator], float]
    note: str = ""
    shown: bool = False

    @property
    def key(self) -> str:
        return f"{self.group} | {self.name}"


# Scores of which the truth is known.


def draw(family: str, area: float, m: int, n: int, rng: np.random.Generator) -> Scores:
    """Return m member and n non-member scores with this area under the population's ROC curve.

    gaussian: a shift. exponential: means 1 and area/(1 - area), which ranks as Pareto tails do.
    mixture: a few members stand four deviations out, the others not at all. ties: a Gaussian shift
    seen in five steps.
    """
    x, y = rng.normal(size=m), rng.normal(size=n)
    if family == "gaussian":
        return x + math.sqrt(2.0) * float(norm.ppf(area)), y
    if family == "exponential":
        return rng.exponential(area / (1.0 - area), m), rng.exponential(1.0, n)
    if family == "mixture":
        return x + 4.0 * (rng.random(m) < out_share(area)), y
    return np.digitize(x + steps_shift(area), STEPS).astype(float), np.digitize(y, STEPS) * 1.0


STEPS = np.array([-1.5, -0.5, 0.5, 1.5])


def out_share(area: float) -> float:
    """Return which share of members must stand four deviations out."""
    return (area - 0.5) / (float(norm.cdf(4.0 / math.sqrt(2.0))) - 0.5)


@lru_cache
def steps_shift(area: float) -> float:
    """Return the shift that gives this area when scores are seen in five steps."""

    def excess(shift: float) -> float:
        p = np.diff(np.concatenate([[0.0], norm.cdf(STEPS - shift), [1.0]]))
        q = np.diff(np.concatenate([[0.0], norm.cdf(STEPS), [1.0]]))
        return float(p @ (np.cumsum(q) - q / 2.0)) - area

    return float(brentq(excess, -1.0, 8.0))


def true_rate(family: str, area: float, fpr: float) -> float:
    """Return the true-positive rate at a false-positive rate, of continuous families."""
    if family == "gaussian":
        return float(norm.sf(norm.isf(fpr) - math.sqrt(2.0) * norm.ppf(area)))
    if family == "exponential":
        return float(fpr ** ((1.0 - area) / area))
    share = out_share(area)
    return float(share * norm.sf(norm.isf(fpr) - 4.0) + (1.0 - share) * fpr)


# One repetition each: was the truth covered, was the verdict wrong?


def covers(interval: tuple[float, float], truth: float) -> float:
    return float(interval[0] <= truth <= interval[1])


def delong(family: str, area: float, m: int, n: int, rng: np.random.Generator) -> float:
    return covers(auc_estimate(*draw(family, area, m, n, rng)).interval(0.95), area)


def bca(family: str, area: float, m: int, n: int, rng: np.random.Generator) -> float:
    x, y = draw(family, area, m, n, rng)
    seed = int(rng.integers(2**31))
    return covers(bca_auc(x, y, resamples=RESAMPLES, seed=seed).interval(0.95), area)


def paired(family: str, area: float, m: int, n: int, rng: np.random.Generator) -> float:
    """Two attacks on the same records, correlated 0.7 within each record, areas `area` and 0.55."""
    shift, base = (math.sqrt(2.0) * float(norm.ppf(a)) for a in (area, 0.55))
    x, y = correlated(rng, m, 2, 0.7), correlated(rng, n, 2, 0.7)
    a, b = (x[0] + shift, y[0]), (x[1] + base, y[1])
    if family == "exponential":  # another shape in each group, ranks of the first attack unchanged
        a, b = (np.exp(a[0]), np.exp(a[1])), (b[0] ** 3, b[1] ** 3)
    return covers(auc_difference(*a, [b]).interval(0.95), area - 0.55)


def correlated(rng: np.random.Generator, n: int, attacks: int, rho: float) -> NDArray[np.float64]:
    """Return [attacks, n] standard normal, correlated rho between the attacks."""
    shared = rng.normal(size=n)
    return math.sqrt(rho) * shared + math.sqrt(1.0 - rho) * rng.normal(size=(attacks, n))


def of_people(method: str, people: int, records: int, rng: np.random.Generator) -> float:
    """Members are people with several records, correlated 0.7; AUC 0.7."""
    shift = math.sqrt(2.0) * float(norm.ppf(0.7))
    x = correlated(rng, people, records, 0.7).T.ravel() + shift
    y = rng.normal(size=1000)
    names = (np.repeat(np.arange(people), records), np.arange(people, people + 1000))
    if method == "bca":
        seed = int(rng.integers(2**31))
        estimate = bca_auc(x, y, clusters=names, resamples=RESAMPLES, seed=seed)
        return covers(estimate.interval(0.95), 0.7)
    clusters = names if method == "clustered" else None
    return covers(auc_estimate(x, y, 0.95, clusters).interval(0.95), 0.7)


def exact_share(share: float, n: int, rng: np.random.Generator) -> float:
    return covers(clopper_pearson(int(rng.binomial(n, share)), n), share)


def rate(
    what: str, family: str, area: float, m: int, n: int, fpr: float, rng: np.random.Generator
) -> float:
    """The TPR at a FPR, of this sample's threshold or of the population's."""
    x, y = draw(family, area, m, n, rng)
    found = tpr_at_fpr(x, y, fpr)
    assert not isinstance(found, Refused)
    if what == "population":
        return covers(
            (found.population_lower, found.population_upper), true_rate(family, area, fpr)
        )
    truth = true_rate(family, area, fpr)
    if what == "this threshold":
        truth = true_rate(family, area, float(norm.sf(found.threshold)))
    return covers((found.lower, found.upper), truth)


def advantage(area: float, n: int, rng: np.random.Generator) -> float:
    found = membership_advantage(*draw("gaussian", area, n, n, rng), seed=int(rng.integers(2**31)))
    assert not isinstance(found, Refused)
    shift = math.sqrt(2.0) * float(norm.ppf(area))
    truth = np.mean([norm.sf(t - shift) - norm.sf(t) for t in found.thresholds])
    return covers((found.lower, found.upper), float(truth))


def false_epsilon(
    method: EpsilonMethod, scores: str, records: int, rng: np.random.Generator
) -> float:
    """Is the bound above the true ε? A coin decides for each record whether it is in."""
    inside = rng.random(records) < 0.5
    truth, delta = 0.0, 1e-5
    if scores == "null":
        values = rng.normal(size=records)
    elif scores == "null, tied":
        values = rng.integers(0, 3, records) * 1.0
    elif scores == "gaussian, μ = 1":
        values, truth = rng.normal(size=records) + inside, 4.3771
    else:  # randomised response: right with chance e/(1 + e), which is ε = 1 exactly
        truth, delta = 1.0, 0.0
        honest = rng.random(records) < math.e / (1.0 + math.e)
        values = np.where(honest, inside, ~inside) * 1.0
    bound = epsilon_lower_bound(
        values[inside],
        values[~inside],
        method=method,
        delta=delta,
        inclusion_randomised=True,
        seed=int(rng.integers(2**31)),
    )
    return float(bound.epsilon > truth)


def cohort(
    wrong: str,
    effects: Sequence[tuple[str, float]],
    m: int,
    n: int,
    references: int,
    rng: np.random.Generator,
) -> float:
    """Is the cohort's verdict the wrong one? Attacks are correlated 0.5 within each record.

    effects: per attack "auc" and the true AUC by a shift, or "tpr" and the true-positive rate at
    1 % by members that stand out.
    """
    x, y = correlated(rng, m, len(effects), 0.5), correlated(rng, n, len(effects), 0.5)
    given = []
    for i, (kind, size) in enumerate(effects):
        others = tuple(
            (0.7 * x[i] + math.sqrt(0.51) * rng.normal(size=m),
             0.7 * y[i] + math.sqrt(0.51) * rng.normal(size=n))
            for _ in range(references)
        )  # fmt: skip
        if kind == "auc":
            forgotten = x[i] + math.sqrt(2.0) * float(norm.ppf(size))
        else:
            share = (size - 0.01) / (float(norm.sf(norm.isf(0.01) - 4.0)) - 0.01)
            forgotten = x[i] + 4.0 * (rng.random(m) < share)
        given.append(AttackScores(f"attack-{i}", forgotten, y[i], others))
    return float(decide_cohort(CohortPlan(), given).verdict is Verdict(wrong))


def small(records: int, shadows: int, tail: str, unit: str, rng: np.random.Generator) -> float:
    """Is anyone called exposed although the audited model never saw them? IN models do differ."""
    inside = np.zeros((shadows, records), dtype=bool)
    for column in range(records if unit == "record" else 1):
        half = rng.permutation(shadows)[: shadows // 2]
        inside[half, column if unit == "record" else slice(None)] = True
    signals = correlated(rng, shadows, records, 0.3).T + 1.5 * inside
    target = correlated(rng, 1, records, 0.3)[:, 0]
    verdict = decide_small_request(
        target,
        signals,
        inside,
        subjects=["a"] * records if unit == "subject" else None,
        unit="subject" if unit == "subject" else "record",
        tail="normal" if tail == "normal" else "rank",
    )
    return float(verdict.verdict is Verdict.FAIL)


def false_discoveries(
    how: str, exposed: int, attacks: int, m: int, n: int, rng: np.random.Generator
) -> float:
    """The share of false ones among the records called exposed; the first `exposed` truly are."""
    x = correlated(rng, m, attacks, 0.5)
    x[:, :exposed] += 4.5
    if how == "rank":
        found = exposed_by_rank(list(zip(x, correlated(rng, n, attacks, 0.5), strict=True)))
    else:
        found = exposed_by_p_value(norm.sf(x[0]), m)
    records = np.array(found.records, dtype=int)
    return float(np.mean(records >= exposed)) if records.size else 0.0


# The study.


def cells() -> Iterator[Cell]:
    """Every cell, in the order of the tables."""
    for (m, n), family, area in product(SIZES, FAMILIES, AREAS):
        name = f"{family}, AUC {area:g}, {m} + {n}"
        yield Cell("delong", name, TWO_SIDED, partial(delong, family, area, m, n))
    for (m, n), family, area in product(SIZES, ("gaussian", "exponential"), AREAS):
        if max(m, n) > 500 and family != "gaussian":
            continue
        name = f"{family}, AUC {area:g} against 0.55, {m} + {n}"
        yield Cell("paired", name, TWO_SIDED, partial(paired, family, area, m, n))
    for (m, n), family, area in bca_cells():
        name = f"{family}, AUC {area:g}, {m} + {n}"
        yield Cell("bca", name, TWO_SIDED, partial(bca, family, area, m, n))
    for people, records in ((200, 3), (70, 3), (100, 10)):
        name = f"{people} people with {records} records each, 1000 others"
        for method in ("clustered", "bca"):
            yield Cell(
                "people", f"{method}: {name}", TWO_SIDED,
                partial(of_people, method, people, records),
            )  # fmt: skip
        yield Cell(
            "people", f"plain DeLong: {name}", TWO_SIDED,
            partial(of_people, "plain", people, records),
            "takes every record for a person of its own: why `clusters` exists", shown=True,
        )  # fmt: skip
    for n, share in product((20, 200, 2000), (0.003, 0.05, 0.5)):
        once = partial(exact_share, share, n)
        yield Cell("exact", f"share {share:g} of {n}", AT_LEAST, once)
    yield from rate_cells()
    for area, n in product((0.5, 0.55, 0.7, 0.95), (50, 200, 2000)):
        yield Cell("advantage", f"AUC {area:g}, {n} + {n}", AT_LEAST, partial(advantage, area, n))
    yield from epsilon_cells()
    yield from decision_cells()


def bca_cells() -> Iterator[tuple[tuple[int, int], str, float]]:
    """Fewer for more records: the shape of the scores matters less there, and the time more."""
    yield from product(SIZES[:1], ("gaussian", "mixture", "ties"), AREAS)
    yield from product(SIZES[1:2], ("gaussian",), AREAS)
    yield from product(SIZES[3:] + SIZES[2:3], ("gaussian",), (0.55, 0.95))


def rate_cells() -> Iterator[Cell]:
    """The true-positive rate at a false-positive rate, in its two meanings."""
    sizes = ((300, 300), (300, 2000), (300, 10_000), (2000, 2000))
    for (m, n), (family, area) in product(
        sizes, (("gaussian", 0.5), ("gaussian", 0.7), ("mixture", 0.55), ("gaussian", 0.95))
    ):
        name = f"{family}, AUC {area:g}, {m} + {n}, FPR 0.01"
        for what in ("this threshold", "population"):
            yield Cell(
                "rate", f"{what}: {name}", AT_LEAST, partial(rate, what, family, area, m, n, 0.01)
            )
        yield Cell(
            "rate",
            f"this threshold's interval for the population's rate: {name}",
            AT_LEAST,
            partial(rate, "wrong", family, area, m, n, 0.01),
            "the threshold is estimated, which that interval does not count",
            shown=True,
        )


def epsilon_cells() -> Iterator[Cell]:
    """A lower bound of ε must not exceed the truth."""
    methods: tuple[EpsilonMethod, ...] = ("cp-split", "cp-bonferroni", "one-run", "one-run-gdp")
    for method, records in product(methods, (200, 1800)):
        kinds = ["null", "null, tied", "gaussian, μ = 1"]
        if method != "one-run-gdp":  # randomised response is not Gaussian-private
            kinds.append("randomised response, ε = 1, δ = 0")
        for kind in kinds:
            yield Cell(
                "epsilon",
                f"{method}: {kind}, {records} records",
                AT_MOST,
                partial(false_epsilon, method, kind, records),
            )


def decision_cells() -> Iterator[Cell]:
    """Wrong verdicts, with the effect where the wrong one is likeliest."""
    null, margin, below = ("auc", 0.5), ("auc", 0.55), ("auc", 0.45)
    seldom = ("tpr", 0.06)  # 1 % and the margin
    sizes = ((200, 1000), (600, 2000))
    for (m, n), references in product(sizes, (0, 1, 5)):
        if references and m < 600:
            continue
        against = f"{references} retrained" if references else "known reference"
        where = f"{m} + {n}, {against}"
        for title, effects in (
            ("one of three attacks on the AUC margin", (margin, null, null)),
            ("one attack on the AUC margin", (margin,)),
            ("one attack on the lower AUC margin", (below,)),
            ("one attack on the TPR margin", (seldom,)),
        ):
            yield Cell(
                "false PASS", f"{title}, {where}", AT_MOST,
                partial(cohort, "pass", effects, m, n, references),
            )  # fmt: skip
        for title, effects in (
            ("three attacks on the AUC margin", (margin,) * 3),
            ("above and below, on the AUC margin", (margin, below)),
            ("one attack on the TPR margin", (seldom,)),
            ("nothing left, three attacks", (null,) * 3),
        ):
            yield Cell(
                "false FAIL", f"{title}, {where}", AT_MOST,
                partial(cohort, "fail", effects, m, n, references),
            )  # fmt: skip
    for records, shadows, tail, unit in (
        (1, 40, "rank", "record"),
        (1, 100, "rank", "record"),
        (5, 200, "rank", "record"),
        (20, 800, "rank", "record"),
        (5, 64, "normal", "record"),
        (20, 64, "normal", "record"),
        (5, 100, "rank", "subject"),
    ):
        yield Cell(
            "small request",
            f"{records} records, {shadows} shadow models, {tail}, by {unit}",
            AT_MOST,
            partial(small, records, shadows, tail, unit),
        )
    for how, exposed, attacks, m, n in (
        ("rank", 0, 1, 200, 5000),
        ("rank", 0, 5, 200, 5000),
        ("rank", 20, 1, 200, 5000),
        ("rank", 20, 5, 200, 5000),
        ("rank", 100, 5, 1000, 2000),
        ("p-value", 0, 1, 200, 1),
        ("p-value", 20, 1, 200, 1),
    ):
        name = f"by {how}, {exposed} of {m} exposed, {attacks} attacks"
        yield Cell(
            "exposure", name, AT_MOST, partial(false_discoveries, how, exposed, attacks, m, n)
        )


TITLES = {
    "delong": "AUC, DeLong on the logit scale: coverage at 95 %",
    "paired": "Difference of two AUCs on the same records, paired DeLong: coverage at 95 %",
    "bca": f"AUC, BCa bootstrap of {RESAMPLES} draws: coverage at 95 %",
    "people": "AUC where people have several records: coverage at 95 %",
    "exact": "Clopper-Pearson: coverage at 95 %",
    "rate": "True-positive rate at a false-positive rate: coverage at 95 %",
    "advantage": "Membership advantage, cross-fitted: coverage at 95 %",
    "epsilon": "Lower bound of ε above the true one, at 95 %",
    "false PASS": "Cohort rule: PASS with an effect on the margin, alpha 0.05",
    "false FAIL": "Cohort rule: FAIL with no effect beyond the margin, alpha 0.05",
    "small request": "Small requests: somebody called exposed whom no model saw, alpha 0.05",
    "exposure": "Exposure of single records: false discovery rate, 0.05",
}


@dataclass(frozen=True)
class Measured:
    """How a cell came out: the mean of its repetitions and their number."""

    repetitions: int
    total: float
    squares: float

    @property
    def rate(self) -> float:
        return self.total / self.repetitions

    @property
    def interval(self) -> tuple[float, float]:
        """The 99 % Monte-Carlo interval of the rate; exact where it is a share."""
        if self.squares == self.total:  # every answer was 0 or 1
            return clopper_pearson(round(self.total), self.repetitions, 0.99)
        variance = max(0.0, self.squares / self.repetitions - self.rate**2)
        half = float(norm.isf(0.005)) * math.sqrt(variance / self.repetitions)
        return max(0.0, self.rate - half), min(1.0, self.rate + half)

    def verdict(self, wanted: tuple[float, float]) -> str:
        low, high = self.interval
        if wanted[0] <= self.rate <= wanted[1]:
            return "within"
        return "OUTSIDE" if high < wanted[0] or low > wanted[1] else "open"


def repeat(cell: Cell, first: int, last: int) -> tuple[float, float]:
    """Run repetitions first..last-1; return the sum of the answers and of their squares."""
    key = zlib.crc32(cell.key.encode())
    answers = np.array([cell.once(np.random.default_rng([key, i])) for i in range(first, last)])
    return float(answers.sum()), float((answers**2).sum())


def measure(
    wanted: Sequence[Cell], repetitions: int, state: Path | None, jobs: int
) -> dict[str, Measured]:
    """Run what the state does not have yet; return every cell that is complete, by key."""
    known = read(state)
    todo = [c for c in wanted if known.get(f"{c.key} | {repetitions}") is None]
    started = time.perf_counter()
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        for done, cell in enumerate(todo, 1):
            starts = range(0, repetitions, CHUNK)
            parts = [pool.submit(repeat, cell, i, min(i + CHUNK, repetitions)) for i in starts]
            sums = [part.result() for part in as_completed(parts)]
            total, squares = (math.fsum(s[i] for s in sums) for i in (0, 1))
            found = Measured(repetitions, total, squares)
            known[f"{cell.key} | {repetitions}"] = found
            if state is not None:
                with state.open("a") as file:
                    line = [f"{cell.key} | {repetitions}", repetitions, total, squares]
                    file.write(json.dumps(line) + "\n")
            spent = time.perf_counter() - started
            print(
                f"{done}/{len(todo)} {spent:.0f} s  {found.rate:.4f} "
                f"{found.verdict(cell.wanted)}  {cell.key}",
                flush=True,
            )
    return {
        c.key: known[f"{c.key} | {repetitions}"]
        for c in wanted
        if f"{c.key} | {repetitions}" in known
    }


def read(state: Path | None) -> dict[str, Measured]:
    """Return what earlier runs finished; a line that was cut off is run again."""
    found: dict[str, Measured] = {}
    if state is None or not state.exists():
        return found
    for line in state.read_text().splitlines():
        try:
            key, *figures = json.loads(line)
        except ValueError:
            continue
        found[key] = Measured(*figures)
    return found


def report(wanted: Sequence[Cell], found: dict[str, Measured], command: str) -> str:
    """Return the tables as Markdown."""
    judged = [c for c in wanted if c.key in found and not c.shown]
    verdicts = [found[c.key].verdict(c.wanted) for c in judged]
    lines = [
        "# The coverage study",
        "",
        "What `benchmarks/coverage.py` measures: on scores of which the truth is known, how often "
        "each interval covers it and how often each decision is wrong. A rate stands with its 99 % "
        "Monte-Carlo interval; *within*: the rate lies in the nominal range; *open*: it does not, "
        "but its interval reaches into it; **OUTSIDE**: all of the interval lies outside. Cells in "
        "italics are shown and not judged: they measure what a method is not meant for.",
        "",
        f"`{command}`",
        "",
        f"Judged: {len(judged)} cells, of which {verdicts.count('within')} within, "
        f"{verdicts.count('open')} open, {verdicts.count('OUTSIDE')} outside.",
    ]
    missing = [c for c in wanted if c.key not in found]
    if missing:
        lines += ["", f"Not finished in this run: {len(missing)} of {len(wanted)} cells."]
    for group, title in TITLES.items():
        of_group = [c for c in wanted if c.group == group and c.key in found]
        if not of_group:
            continue
        low, high = of_group[0].wanted
        lines += ["", f"## {title}", "", f"Nominal: {low:g} to {high:g}.", ""]
        lines += ["| cell | repetitions | rate | 99 % | |", "| --- | ---: | ---: | --- | --- |"]
        for cell in of_group:
            m = found[cell.key]
            name = f"*{cell.name}*" if cell.shown else cell.name
            verdict = m.verdict(cell.wanted).replace("OUTSIDE", "**OUTSIDE**")
            verdict = cell.note if cell.shown else verdict
            between = f"{m.interval[0]:.4f} to {m.interval[1]:.4f}"
            lines.append(f"| {name} | {m.repetitions} | {m.rate:.4f} | {between} | {verdict} |")
    return "\n".join(lines) + "\n"


def sharpness(samples: int = 40) -> list[str]:
    """Return what each bound of ε shows of a truth of 4.38, on average: a table as lines."""
    lines = [
        "",
        "## How much of ε the bounds show",
        "",
        "900 members with scores N(1, 1) and 900 others with N(0, 1): Gaussian privacy with μ = 1, "
        "which at δ = 1e-5 is ε = 4.38. Thresholds at ranks planned beforehand (two a doubling) "
        "cost less than a correction over every threshold of the sample: with all 1,800 of them "
        "`cp-bonferroni` would show 1.0.",
        "",
        f"| method | mean of {samples} samples | standard deviation |",
        "| --- | ---: | ---: |",
    ]
    for method in get_args(EpsilonMethod):
        bounds = []
        for seed in range(samples):
            rng = np.random.default_rng(seed)
            x, y = rng.normal(1.0, 1.0, 900), rng.normal(size=900)
            bounds.append(epsilon_lower_bound(x, y, method=method, seed=seed).epsilon)
        lines.append(f"| {method} | {np.mean(bounds):.2f} | {np.std(bounds, ddof=1):.2f} |")
    return lines


def main() -> None:
    """Run the study and print or write its tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--only", help=f"groups, with commas between: {', '.join(TITLES)}")
    parser.add_argument("--state", type=Path, help="file of finished cells, to resume from")
    parser.add_argument("--out", type=Path, help="write the tables to this file")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--show", action="store_true", help="run nothing, show what is finished")
    args = parser.parse_args()
    groups = args.only.split(",") if args.only else list(TITLES)
    unknown = [g for g in groups if g not in TITLES]
    if unknown or args.repetitions < 1:
        parser.error(f"unknown groups {unknown}" if unknown else "--repetitions must be positive")
    wanted = [c for c in cells() if c.group in groups]
    found = measure([] if args.show else wanted, args.repetitions, args.state, args.jobs)
    if args.show:
        known = read(args.state)
        keys = {c.key: f"{c.key} | {args.repetitions}" for c in wanted}
        found = {key: known[stored] for key, stored in keys.items() if stored in known}
    command = f"python benchmarks/coverage.py --repetitions {args.repetitions}"
    if args.only:
        command += f' --only "{args.only}"'
    text = report(wanted, found, command)
    if "epsilon" in groups:
        text += "\n".join(sharpness()) + "\n"
    if args.out:
        args.out.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
