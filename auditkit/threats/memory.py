"""How much of the requested records a network still knows, where it should know nothing.

Who retrains, or goes back to before the records came in, delivers a network that never saw them. To
it they are like any unseen record of the same labels: which of the two a record is, is chance. The
p-value is that among all choices, by a saddlepoint approximation (`subsets`) or, of fewer than ten
records, by choices at random, and needs no model of the scores. It holds of an exact method only;
what an approximate one leaves is a residue, not laziness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from auditkit.certificate.submission import UnlearnedSubmission
from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome
from auditkit.threats.assertion import EXACT
from auditkit.threats.decide import IN_AUDIT, REFUTE, decide
from auditkit.threats.evidence import Evidence, Requested, others
from auditkit.threats.interface import Judgement
from auditkit.threats.numbers import confidence_signal
from auditkit.threats.references import answering
from auditkit.threats.subsets import tail

F64 = NDArray[np.float64]

NOT_KNOWN = (
    "requested records may be easier or harder than unseen ones: networks that never saw them "
    "would tell, or that the request was drawn by lot"
)
COPIED = "requested records have copies among the retained ones, of which any network learns them"
UNLIKE = "requested records are closer to each other, or elsewhere, than unseen ones are"
HARDER = "requested records are not as hard as unseen ones of their labels"
MOSTLY = 0.5  # of what was known: with more left it is not part of the request but none of it
COMPARED = 2000  # unseen records at most; more make it slower and hardly any sharper
CONFIDENT = 4.0  # φ at which a record weighs half: p_y = 98 %, and being trained on adds little
FADING = 1.5  # φ over which the weight falls
CLIPPED = 4.0  # a difference of φ beyond it counts as this: few records must not decide
SIMILAR = 0.01  # level at which either test tells requested from unseen records beforehand
LOOKED_AT = 300  # records of either kind whose distances are compared
BASE = 1000  # retained records among which neighbours are looked for
SHUFFLES = 199  # so that the smallest p-value is 0.005
NEIGHBOURS = 10
LEAST = 5  # records: of fewer neither the spread nor of what kind they are is known
GRID = 101  # shares that an interval is looked for among


@dataclass(frozen=True, eq=False)
class Memory:
    """What `n` requested records are to the delivered network, against `others` unseen ones.

    `p_more`: that they are answered as well by chance, if it never saw them. `share`: of what the
    original knew of them, how much is left, with a 95 % interval, within [0, 1]. `power`: chance to
    refute if all were left. `doubt`: why the two kinds cannot be taken for alike; then nothing is
    to be concluded. `delivered`, `original`: scores [n] and [others] of either network.
    """

    n: int
    others: int
    references: int
    p_more: float
    share: float
    interval: tuple[float, float]
    power: float
    doubt: str
    delivered: tuple[F64, F64]
    original: tuple[F64, F64]

    def p_less_left(self, share: float) -> float:
        """Return the p-value against the hypothesis that `share` or more of it is left, or that the
        original knew nothing, of which nothing could be missed."""
        gap, spread, freedom = _contrast(self.delivered, self.original, share)
        lead, reach, of_lead = _contrast(self.original, self.original, 0.0)
        if min(self.n, self.others) < LEAST or not (spread > 0 and reach > 0):
            return 1.0
        knew_nothing = float(student.sf(lead / reach, of_lead))
        return max(knew_nothing, float(student.cdf(gap / spread, freedom)))

    @property
    def told(self) -> str:
        """Return the finding in words."""
        low, high = self.interval
        against = f", net of {self.references} reference(s)" if self.references else ""
        return (
            f"of what the original knew of {self.n} requested records, {self.share:.0%} is left "
            f"(95 % interval {low:.0%} to {high:.0%}), compared with {self.others} unseen "
            f"ones{against}"
        )

    def figures(self) -> dict[str, Any]:
        """Return what a result shows."""
        return {
            "observed": self.share,
            "interval": self.interval,
            "n": self.n,
            "evidence": {"others": self.others, "references": self.references},
        }


def exact(submission: UnlearnedSubmission) -> bool:
    """Return whether the owner says that the network never saw the forgotten records."""
    return submission.claim.method.name in EXACT


def remembered(
    submission: UnlearnedSubmission, evidence: Evidence, asked: Requested, seed: int
) -> Memory | str:
    """Return what the delivered network still knows, or the reason why that cannot be said."""
    groups = others(evidence, asked)
    pair = of_shared_labels(asked, groups.get("unseen"))
    if isinstance(pair, str):
        return pair
    mine, unseen = pair
    y = np.concatenate([mine.y, unseen.y])
    x = np.concatenate([mine.x, unseen.x])
    both = Records(x, y)
    after = confidence_signal(submission.delivered(x), y)
    before = signal_of(submission.network, both)
    known = [signal_of(network, both) for network in evidence.references.networks]
    if not all(np.isfinite(values).all() for values in (after, before, *known)):
        return "records are answered with nan or infinity"
    usual = np.mean(known, axis=0) if known else None
    n = len(mine)
    now, then = (_scores(values, usual, y) for values in (after, before))
    delivered, original = (now[:n], now[n:]), (then[:n], then[n:])
    gap, spread, _ = _contrast(original, original, 0.0)
    level = float(norm.isf(IN_AUDIT))
    share, interval = _share(delivered, original)
    return Memory(
        n,
        len(unseen),
        len(known),
        tail(*delivered, seed),
        share,
        interval,
        float(norm.sf(level - gap / spread)) if spread > 0 else 0.0,
        _doubt(submission, evidence, mine, unseen, usual, seed),
        delivered,
        original,
    )


def of_shared_labels(asked: Requested, unseen: Records | None) -> tuple[Records, Records] | str:
    """Return requested and unseen records of labels that both have, or why there are none."""
    if unseen is None:
        return "no unseen records to compare with"
    unseen = unseen.take(np.flatnonzero(np.isin(unseen.y, asked.records.y))[:COMPARED])
    mine = asked.records.take(np.isin(asked.records.y, unseen.y))
    return (mine, unseen) if len(mine) else "no unseen record has a requested label"


def weighed_as_a_whole(judged: Judgement, left: Memory, caveat: str) -> CheckResult:
    """Return whether the request as a whole is known as before: most of it left, and by no chance.

    That only part of it is left is a matter of `threats.lazy`.
    """
    figures = left.figures() | {"threshold": MOSTLY}
    if left.p_more <= REFUTE and left.share < MOSTLY:
        figures["evidence"] = {**figures["evidence"], "power": left.power}
        told = f"{left.told}{caveat}: a part, see threats.lazy (p = {left.p_more:.2g})"
        return judged(Outcome.INCONCLUSIVE, told, **figures)
    return decide(
        judged,
        left.told + caveat,
        p_refute=left.p_more,
        p_support=left.p_less_left(MOSTLY),
        power=left.power,
        **figures,
    )


def signal_of(network: Network, records: Records) -> F64:
    """Return φ [N] of a network whose inputs may have another shape."""
    return confidence_signal(answering(network)(records.x), records.y)


def centred(values: F64, y: NDArray[np.int64]) -> F64:
    """Return values [N] less the mean of all of the same label: labels differ in difficulty."""
    _, label = np.unique(y, return_inverse=True)
    means = np.bincount(label, values) / np.bincount(label)
    return np.asarray(values - means[label])


def _scores(phi: F64, usual: F64 | None, y: NDArray[np.int64]) -> F64:
    """Return the score [N] of each record, from nothing that knows which records are requested.

    With references: φ beyond what they say, where they are unsure, for being trained on shows
    where it is not superfluous. Without: the rank of φ.
    """
    if usual is None:
        return centred(rankdata(phi) / (len(phi) + 1), y)
    weight = expit((CONFIDENT - usual) / FADING)
    return centred(weight * np.clip(phi - usual, -CLIPPED, CLIPPED), y)


def _contrast(
    delivered: tuple[F64, F64], original: tuple[F64, F64], share: float
) -> tuple[float, float, float]:
    """Return by how much requested records score above unseen ones, less `share` of the original's
    lead, the standard error, and its degrees of freedom (Welch 1947, Satterthwaite 1946)."""
    mine, theirs = (d - share * o for d, o in zip(delivered, original, strict=True))
    if len(mine) < 2 or len(theirs) < 2:
        return float(mine.mean() - theirs.mean()), 0.0, 1.0
    a, b = mine.var(ddof=1) / len(mine), theirs.var(ddof=1) / len(theirs)
    below = a**2 / (len(mine) - 1) + b**2 / (len(theirs) - 1)
    freedom = float((a + b) ** 2 / below) if below > 0 else 1.0
    return float(mine.mean() - theirs.mean()), float(np.sqrt(a + b)), freedom


def _share(
    delivered: tuple[F64, F64], original: tuple[F64, F64]
) -> tuple[float, tuple[float, float]]:
    """Return how much is left, and the shares that a two-sided test at 5 % does not reject.

    Records are a mixture of some that are known as before and some that are not known, so that
    their mean is that mixture of the two means; the interval is Fieller's (1954), cut to [0, 1].
    """
    lead, reach, freedom = _contrast(original, original, 0.0)
    gap, _, _ = _contrast(delivered, original, 0.0)
    share = min(1.0, max(0.0, gap / lead)) if lead > 0 else 0.0
    # the original knew nothing of them, to speak of
    if lead <= float(student.isf(0.025, freedom)) * reach or reach == 0:
        return share, (0.0, 1.0)
    tests = [(s, *_contrast(delivered, original, s)) for s in np.linspace(0, 1, GRID).tolist()]
    reaches = student.isf(0.025, [freedom for *_, freedom in tests])
    kept = [t[0] for t, k in zip(tests, reaches.tolist(), strict=True) if abs(t[1]) <= k * t[2]]
    return share, (min(kept, default=share), max(kept, default=share))


def _doubt(
    submission: UnlearnedSubmission,
    evidence: Evidence,
    mine: Records,
    unseen: Records,
    usual: F64 | None,
    seed: int,
) -> str:
    """Return why requested and unseen records are not of a kind, "" where nothing speaks for it.

    That they are as hard as each other is known from references, whose answers are set off, or by
    lot. Looked at besides is what no forgetting changes: how hard they are for networks that saw
    neither (or for their neighbours among the retained), and how far from each other.
    """
    retained = evidence.retain
    if usual is None:
        if not evidence.drawn or retained is None:
            return NOT_KNOWN
        if near_copies(mine, unseen, retained, seed):
            return COPIED
    if submission.claim.method.scenario == "backdoor":
        return "poisoned records are unlike any unseen one"
    n = len(mine)
    y = np.concatenate([mine.y, unseen.y])
    if usual is not None and _differ(usual[:n], usual[n:], y):
        return HARDER
    if retained is not None and not as_hard(mine, unseen, retained, seed):
        return HARDER
    kind = of_one_kind(mine, unseen, seed)
    if kind is None:
        return "of so few records nothing shows whether they are of one kind with the unseen"
    return "" if kind else UNLIKE


def near_copies(mine: Records, unseen: Records, retained: Records, seed: int) -> bool:
    """Whether requested records lie nearer to retained ones than unseen ones do (ranks within
    labels, one side, at SIMILAR)."""
    a, b = _looked_at(mine, unseen, [seed, 27])
    base = flat(retained)
    both = np.concatenate([flat(a), flat(b)])
    nearest = np.full(len(both), np.inf)
    for start in range(0, len(base), BASE):
        nearest = np.minimum(nearest, squared(both, base[start : start + BASE]).min(axis=1))
    y = np.concatenate([a.y, b.y])
    gap, spread, freedom = _in_ranks(nearest[: len(a)], nearest[len(a) :], y)
    return spread > 0 and float(student.cdf(gap / spread, freedom)) <= SIMILAR


def as_hard(mine: Records, unseen: Records, retained: Records, seed: int) -> bool:
    """Return whether retained records near requested ones agree as often with their labels as those
    near unseen ones do: where they do not, records are disputed, mislabelled, or too easy."""
    a, b = _looked_at(mine, unseen, [seed, 24])
    near = _agreement(a, b, retained)
    return not _differ(near[: len(a)], near[len(a) :], np.concatenate([a.y, b.y]))


def _differ(mine: F64, unseen: F64, y: NDArray[np.int64]) -> bool:
    """Whether two kinds of records differ in how hard they are (ranks within labels, two sides)."""
    gap, spread, freedom = _in_ranks(mine, unseen, y)
    return spread > 0 and 2 * float(student.sf(abs(gap) / spread, freedom)) <= SIMILAR


def _in_ranks(mine: F64, unseen: F64, y: NDArray[np.int64]) -> tuple[float, float, float]:
    """Return the `_contrast` of two kinds' ranks within labels `y` [N + M]."""
    ranks = centred(rankdata(np.concatenate([mine, unseen])), y)
    parts = (ranks[: len(mine)], ranks[len(mine) :])
    return _contrast(parts, parts, 0.0)


def _looked_at(mine: Records, unseen: Records, seed: list[int]) -> tuple[Records, Records]:
    """Return LOOKED_AT records of either kind, drawn by chance."""
    generator = np.random.default_rng(seed)
    a, b = (r.take(np.sort(generator.permutation(len(r))[:LOOKED_AT])) for r in (mine, unseen))
    return a, b


def _agreement(mine: Records, unseen: Records, retained: Records) -> F64:
    """Return [N + M]: the share of a record's nearest retained records that have its label."""
    base = retained.take(np.arange(min(len(retained), BASE)))
    distances = squared(np.concatenate([flat(mine), flat(unseen)]), flat(base))
    k = min(NEIGHBOURS, len(base))
    near = np.argpartition(distances, k - 1, axis=1)[:, :k]
    labels = np.concatenate([mine.y, unseen.y])
    return np.asarray((base.y[near] == labels[:, None]).mean(axis=1), np.float64)


def of_one_kind(mine: Records, unseen: Records, seed: int) -> bool | None:
    """Return whether requested and unseen records look drawn from one source; None: too few.

    Only if so may a test take the ones for the others: what is learned of a cluster or of a person
    spreads to its like and to nobody else. They do not where the energy distance or the nearest
    neighbours tell them apart, at SIMILAR each.
    """
    if min(len(mine), len(unseen)) < LEAST:
        return None
    a, b = _looked_at(mine, unseen, [seed, 24])
    return min(apart(a, b, seed), near_their_own(a, b, seed)) > SIMILAR


def near_their_own(mine: Records, unseen: Records, seed: int) -> float:
    """Return the permutation p-value that requested records' nearest neighbours are their own.

    Schilling's test (1986), of features.
    """
    x = np.concatenate([flat(mine), flat(unseen)])
    distances = squared(x, x)
    np.fill_diagonal(distances, np.inf)
    near = distances.argmin(axis=1)
    own = np.arange(len(x)) < len(mine)
    generator = np.random.default_rng([seed, 26])
    dealt = generator.permuted(np.tile(own, (SHUFFLES, 1)), axis=1)
    counts = (dealt & dealt[:, near]).sum(axis=1)
    return float(1 + (counts >= (own & own[near]).sum()).sum()) / (1 + SHUFFLES)


def apart(mine: Records, unseen: Records, seed: int) -> float:
    """Return the permutation p-value of the energy distance between two kinds of records.

    Of features and labels, each label as far from another as a typical record from the next
    (Székely & Rizzo 2004).
    """
    generator = np.random.default_rng([seed, 25])
    n, m = len(mine), len(unseen)
    if min(n, m) < 2:
        return 1.0
    x = np.concatenate([flat(mine), flat(unseen)])
    y = np.concatenate([mine.y, unseen.y])
    distances = np.sqrt(squared(x, x))
    distances += float(np.median(distances)) * (y[:, None] != y[None, :])
    # with all pairs fixed, what changes between choices is linear in the two inner sums
    picks = np.zeros((SHUFFLES + 1, n + m))
    picks[0, :n] = 1
    for row in picks[1:]:
        row[generator.permutation(n + m)[:n]] = 1
    inner = np.einsum("bi,bi->b", picks @ distances, picks)
    other = 1 - picks
    outer = np.einsum("bi,bi->b", other @ distances, other)
    cross = np.einsum("bi,bi->b", picks @ distances, other)
    energy = 2 * cross / (n * m) - inner / n**2 - outer / m**2
    return float((energy >= energy[0] - 1e-12).mean())


def flat(records: Records) -> NDArray[np.float32]:
    """Return features [N, D]."""
    return records.x.reshape(len(records), -1)


def squared(a: NDArray[np.float32], b: NDArray[np.float32]) -> F64:
    """Return squared Euclidean distances [N, M], to float32's accuracy."""
    sizes = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :]
    return np.maximum(sizes - 2 * a @ b.T, 0.0).astype(np.float64)
