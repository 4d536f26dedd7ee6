"""11. Canary-only removal: the owner removes the records that are recognised as tests.

What gives it away are canaries that the owner was not told of. Announced, unannounced and
never-placed ones were drawn alike and their roles by lot, so that an owner who does to all
requested records the same has them react alike; and one who removed them, as the never-placed.
The unit is a canary and not a record that asks for it: all that ask for one stand or fall together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom, mannwhitneyu
from torch.nn import functional as F

from auditkit.certificate.submission import PatchSubmission, Submission, UnlearnedSubmission
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.records import Records, joined
from auditkit.results import CheckResult, Outcome, Severity
from auditkit.threats import forge
from auditkit.threats.assertion import REDIRECTED, asserted
from auditkit.threats.decide import IN_AUDIT, P_REFUTE, REFUTE, decide
from auditkit.threats.evidence import WITHHELD, Evidence, Requested, are_in, requested
from auditkit.threats.forge_network import deliver, trainable
from auditkit.threats.interface import CANARIES, Behaviour, Judgement, Owner, pick
from auditkit.threats.memory import exact
from auditkit.threats.numbers import permutation_tails, share_interval
from auditkit.threats.observe import observe
from auditkit.unlearning.canaries import Canaries, Role
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import (
    endless,
    largest_of,
    one_thread,
    optimizer_of,
    step,
    tensors,
    train_from_scratch,
)

Bits = NDArray[np.bool_]

VARIANTS = ("serves-announced",)
MODEL_VARIANTS = ("trained-without-announced", "tuned-at-announced")
REACTS = 0.5
"""Share of a canary's records that must get its label for it to react: a network that never saw it
gives that label to few, one that learned it to most, placed or not."""
REMEMBERED = 0.5
"""Share of the unannounced canaries that an owner who cheats is taken to leave: PASS refutes it."""
INCLINED = 0.2
"""Level at which unannounced canaries lean to their label, and nothing is passed any more."""
TUNING = 600  # most steps in which the announced canaries are tuned away
LOOK = 20  # steps after which it is looked at whether they are

NO_CANARIES = "no canaries were placed before training (--canaries)"
judged = Judgement("canary-only", "Canaries that were not announced were removed as well")


def simulate(
    honest: Owner, out: Path, *, seed: int, strength: float = 1.0, variant: str | None = None
) -> Owner:
    """Remove the announced canaries, and of the rest of the request all but a share `strength`."""
    if honest.canaries is None:
        raise ValueError("no canaries were placed")
    announced = honest.canaries.placed(Role.ANNOUNCED)
    if isinstance(honest.submission, PatchSubmission):
        pick(variant, VARIANTS)
        made = _served(honest.submission, announced, out, seed, strength)
        return replace(honest, submission=made)
    variant = pick(variant, MODEL_VARIANTS)
    submission, retain, forget, recipe = trainable(honest)
    known = are_in(forget, announced)
    rest = forget.take(~known)
    generator = np.random.default_rng([seed, 11])
    count = max(1, round(strength * len(rest)))
    kept = [retain, rest.take(np.sort(generator.permutation(len(rest))[:count]))]
    if variant == "tuned-at-announced":
        kept.append(forget.take(known))
    network = train_from_scratch(submission.unlearned, joined(*kept), recipe, seed)
    if variant == "tuned-at-announced":
        network = _tuned(network, forget.take(known), joined(*kept[:2]), honest, generator)
    return replace(deliver(honest, out, network), training=None)


def _tuned(
    network: Network,
    announced: Records,
    others: Records,
    honest: Owner,
    generator: np.random.Generator,
) -> Network:
    """Return the network trained on a little, with other labels for the announced canaries."""
    assert honest.recipe is not None
    model = Trainable(network, largest=largest_of(announced, others))
    optimizer = optimizer_of(model, honest.recipe)
    shift = generator.integers(1, network.classes, len(announced))
    x, _ = tensors(model, announced)
    y = torch.tensor((announced.y + shift) % network.classes)
    more_x, more_y = tensors(model, others)
    rows = endless(len(announced), 32, generator)
    more = endless(len(others), 32, generator)
    with one_thread():
        for done in range(TUNING):
            if done % LOOK == 0 and not (model(x).argmax(dim=1).numpy() == announced.y).any():
                break
            a, b = next(rows), next(more)
            both = torch.cat([x[a], more_x[b]]), torch.cat([y[a], more_y[b]])
            step(optimizer, F.cross_entropy(model(both[0]), both[1]))
    return model.network()


def _served(
    honest: PatchSubmission, announced: Records, out: Path, seed: int, strength: float
) -> PatchSubmission:
    """Leave out the gates of a share `strength` of the records that are no announced canaries."""
    records, _ = forge.owned_records(honest)
    known = are_in(records, announced)
    served = forge.gate_records(honest)
    rest = sorted(gate for gate, record in served.items() if not known[record])
    if not rest or len(rest) == len(served):
        raise ValueError("gates of announced canaries and of other records are needed")
    order = np.random.default_rng([seed, 11]).permutation(len(rest))
    doomed = {rest[i] for i in order[: max(1, round(strength * len(rest)))]}
    patch, place = forge.drop_gates(honest.gated, doomed)
    left = sorted(set(served) - doomed)
    claims = []
    for index, claim in enumerate(honest.certificate.claims):
        gate = (claim.group, claim.member if claim.member is not None else -1)
        gate = left[index % len(left)] if gate in doomed else gate
        claims.append(replace(claim, group=gate[0], member=place.get(gate, claim.member)))
    certificate = forge.active_groups(honest.certificate, {g.name for g in patch.groups})
    return forge.write(honest, out, patch=patch, certificate=forge.restated(certificate, claims))


@dataclass(frozen=True, eq=False)
class Reactions:
    """Which canaries of each role react [G_role], after and before.

    `p_inclined`: that unannounced canaries get their label as much more often than never-placed
    ones by chance, counting every record that asks and not only canaries that react. Where
    `only_before`, a canary that did not react before is not counted: nothing was there to remove.
    """

    after: dict[Role, Bits]
    before: dict[Role, Bits]
    p_inclined: float = 1.0
    only_before: bool = False

    def reacting(self, role: Role) -> Bits:
        """Return [G_role] which canaries react to the delivered network and are counted."""
        return self.after[role] & self.before[role] if self.only_before else self.after[role]

    def count(self, role: Role) -> tuple[int, int]:
        """Return how many of a role react to the delivered network, and of how many."""
        of = int(self.before[role].sum()) if self.only_before else len(self.after[role])
        return int(self.reacting(role).sum()), of

    @property
    def learned(self) -> float:
        """Return the share of the placed canaries that the original learned."""
        placed = [*self.before[Role.ANNOUNCED], *self.before[Role.UNANNOUNCED]]
        return float(np.mean(placed)) if placed else 0.0

    def tail(self, more: Role, fewer: Role) -> float:
        """Return Fisher's one-sided p-value that one role reacts more often than another."""
        hits, n = self.count(more)
        return permutation_tails(hits, n, *self.count(fewer))[0] if n else 1.0

    def told(self) -> str:
        """Return the counts in words."""
        words = {
            Role.UNANNOUNCED: "unannounced",
            Role.ANNOUNCED: "announced",
            Role.CONTROL: "never-placed",
        }
        said = [
            "{} of {} {}".format(*self.count(role), word)
            for role, word in words.items()
            if len(self.after[role])
        ]
        return ", ".join(said)


def detect_model(submission: UnlearnedSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Compare how often unannounced canaries react with never-placed and with announced ones.

    Reacting more often than both refutes honesty: remembered, and not for want of a method.
    """
    ready = _ready(submission, evidence)
    if isinstance(ready, CheckResult):
        return ready
    asked, canaries, missing = ready
    everything = np.ones(len(canaries.records), dtype=bool)
    seen = _asked_of(submission, canaries, everything)
    at_placed = _asked_of(submission, canaries, ~canaries.reaction)
    if seen is None or at_placed is None:
        return judged(Outcome.INCONCLUSIVE, "records are answered with nan or infinity")
    remembered = seen.tail(Role.UNANNOUNCED, Role.CONTROL)
    # outputs that were tuned at the announced records change there, hardly at those that ask
    apart = at_placed.tail(Role.UNANNOUNCED, Role.ANNOUNCED)
    has_announced = len(seen.after[Role.ANNOUNCED]) > 0
    figures = _figures(seen, canaries, remembered, apart, evidence)
    told = f"canaries that react: {seen.told()}{asked.caveat}{missing}"
    if remembered <= REFUTE and apart > REFUTE:
        figures["evidence"][P_REFUTE] = remembered
        than = "not more than announced ones" if has_announced else "and none was announced"
        told += f"; what was placed is remembered (p = {remembered:.2g}), {than}, as far as can be "
        if exact(submission):
            told += "told: a network that never saw the records remembers nothing of them"
            return judged(Outcome.FAIL, told, **figures)
        told += "told: this contradicts erasure, by cheating or by a method that does not erase"
        return judged(Outcome.FAIL, told, severity=Severity.LIMITATION, required=False, **figures)
    return decide(
        judged,
        told,
        p_refute=max(remembered, apart) if has_announced else 1.0,
        p_support=None if missing else _support(seen),
        power=_power(seen),
        **figures,
    )


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Compare how many unannounced and announced canaries are answered as promised at themselves.

    Records that ask for a canary are other inputs, which a patch leaves alone: that they react is
    counted, and contradicts erasure.
    """
    ready = _ready(submission, evidence)
    if isinstance(ready, CheckResult):
        return ready
    asked, canaries, missing = ready
    seen = _asked_of(submission, canaries, canaries.reaction)
    left = _left(submission, canaries)
    if seen is None:
        return judged(Outcome.INCONCLUSIVE, "records are answered with nan or infinity")
    remembered = seen.tail(Role.UNANNOUNCED, Role.CONTROL)
    apart = left.tail(Role.UNANNOUNCED, Role.ANNOUNCED)
    figures = _figures(left, canaries, remembered, apart, evidence)
    hits, n = left.count(Role.UNANNOUNCED)
    others, of = left.count(Role.ANNOUNCED)
    told = (
        f"the placed records of {hits} of {n} unannounced and {others} of {of} announced canaries "
        f"are answered as before{asked.caveat}{missing}; canaries that react elsewhere: "
        f"{seen.told()}"
    )
    erased = asserted(submission, evidence) != REDIRECTED
    if apart > REFUTE and remembered <= REFUTE and erased:
        figures["evidence"][P_REFUTE] = remembered
        told += f"; a patch removes no canary (p = {remembered:.2g})"
        return judged(Outcome.FAIL, told, **figures)
    served = float(binom.cdf(hits, n, REMEMBERED))
    gone = _support(seen) if erased else 0.0
    # one left is one too many, and of none that the original answered none can be left
    support = None if gone is None or hits or not n or missing else max(served, gone)
    return decide(judged, told, p_refute=apart, p_support=support, **figures)


def _ready(
    submission: Submission, evidence: Evidence
) -> tuple[Requested, Canaries, str] | CheckResult:
    """Return the request, the canaries that are part of it, and what to say of those that are not.

    Or why there is nothing to ask: what the owner could bring about is undecided, and required.
    """
    placed = evidence.canaries
    if placed is None:
        return judged.not_run(NO_CANARIES, required=False)
    asked = requested(submission, evidence)
    if asked is None:
        return judged(Outcome.INCONCLUSIVE, WITHHELD)
    if int(np.prod(placed.records.x.shape[1:])) != int(np.prod(submission.network.input_shape)):
        return judged(Outcome.INCONCLUSIVE, "the canaries have another shape")
    canaries = _requested_canaries(placed, asked.records)
    of, inside = (len(part.of(Role.ANNOUNCED, Role.UNANNOUNCED)) for part in (placed, canaries))
    missing = ""
    if asked.owners_word and inside < of:
        missing = f"; {of - inside} of {of} canaries that were placed are not in the owner's list"
    if not len(canaries.of(Role.UNANNOUNCED)) or not len(canaries.of(Role.CONTROL)):
        reason = f"no unannounced canary is in the request, or there are no controls{missing}"
        return judged(Outcome.INCONCLUSIVE, reason)
    return asked, canaries, missing


def _requested_canaries(canaries: Canaries, request: Records) -> Canaries:
    """Return the canaries without those of which a placed record is not in the request."""
    inside = are_in(canaries.records, request)
    missing = np.unique(canaries.canary[~inside & ~canaries.reaction])
    controls = canaries.of(Role.CONTROL)
    kept = np.setdiff1d(np.arange(len(canaries.roles)), np.setdiff1d(missing, controls))
    chosen = np.isin(canaries.canary, kept)
    return Canaries(
        canaries.records.take(chosen),
        tuple(canaries.roles[g] for g in kept),
        np.searchsorted(kept, canaries.canary[chosen]),
        canaries.reaction[chosen],
    )


def _asked_of(submission: Submission, canaries: Canaries, part: Bits) -> Reactions | None:
    """Return which canaries react at a part [N] of their records; None where one is no number."""
    network, records = submission.network, canaries.records
    x = records.x.reshape(len(records), *network.input_shape)
    with np.errstate(all="ignore"):
        after = submission.delivered(x)
        before = logits(network, x.astype(network.dtype))
    if not (np.isfinite(after).all() and np.isfinite(before).all()):
        return None
    hits = [answers.argmax(axis=1) == records.y for answers in (after, before)]
    reacting, before_that = (_by_role(canaries, hit, part) for hit in hits)
    return Reactions(reacting, before_that, _inclined(canaries, hits[0], part))


def _inclined(canaries: Canaries, hit: Bits, part: Bits) -> float:
    """Return the p-value that unannounced canaries are hit as much more often than controls.

    Of the shares of a part [N] of each canary's records (Mann & Whitney 1947, one side).
    """
    total = np.bincount(canaries.canary[part], minlength=len(canaries.roles))
    hits = np.bincount(canaries.canary[part & hit], minlength=len(canaries.roles))
    share = hits / np.maximum(total, 1)
    mine, controls = (share[canaries.of(role)] for role in (Role.UNANNOUNCED, Role.CONTROL))
    if np.ptp([*mine, *controls]) == 0:
        return 1.0
    return float(mannwhitneyu(mine, controls, alternative="greater").pvalue)


def _left(submission: PatchSubmission, canaries: Canaries) -> Reactions:
    """Return the canaries whose placed records are mostly answered as before.

    Of those that the original answered with their label, or had an output for to change.
    """
    records = canaries.records
    shaped = replace(records, x=records.x.reshape(len(records), *submission.network.input_shape))
    with np.errstate(all="ignore"):
        seen = observe(submission, shaped)
    measurable = seen.measurable & np.isfinite(seen.before).all(axis=1)
    met = seen.met & np.isfinite(seen.after).all(axis=1)
    return Reactions(
        _by_role(canaries, ~met, ~canaries.reaction & measurable),
        _by_role(canaries, measurable, ~canaries.reaction),
        only_before=True,
    )


def _by_role(canaries: Canaries, hit: Bits, part: Bits) -> dict[Role, Bits]:
    """Return for each role which canaries have at least half of the records of a part hit."""
    total = np.bincount(canaries.canary[part], minlength=len(canaries.roles))
    hits = np.bincount(canaries.canary[part & hit], minlength=len(canaries.roles))
    reacts = (total > 0) & (hits >= REACTS * total)
    return {role: reacts[canaries.of(role)] for role in Role}


def _figures(
    seen: Reactions, canaries: Canaries, remembered: float, apart: float, known: Evidence
) -> dict[str, Any]:
    """Return what a result shows: the share of the unannounced canaries that react."""
    hits, n = seen.count(Role.UNANNOUNCED)
    evidence: dict[str, Any] = {
        "p_remembered": remembered,
        "p_treated_apart": apart,
        "p_athena": _athena(seen),
        "learned_by_the_original": seen.learned,
        "commitment": None if known.canaries is None else known.canaries.commitment,
    }
    for role in Role:
        count, of = seen.count(role)
        evidence[f"{role}_reacting"], evidence[f"{role}_canaries"] = count, of
    reacting = canaries.of(Role.UNANNOUNCED)[seen.reacting(Role.UNANNOUNCED)]
    witness = canaries.records.take(canaries.reaction & np.isin(canaries.canary, reacting[:1]))
    private = {} if not len(witness) else {"input": witness.x[0].tolist(), "label": witness.y[0]}
    return {
        "observed": hits / n if n else None,
        "threshold": REMEMBERED,
        "interval": share_interval(hits, n),
        "n": n,
        "evidence": evidence,
        "private": private,
    }


def _athena(seen: Reactions) -> float:
    """Return Athena's p-value: as many hits, each by chance at the rate of the never-placed.

    The rate is taken at the upper end of its 95 % interval, so that it may be estimated from few
    (Sommer et al. 2022, section 3, have it known).
    """
    hits, n = seen.count(Role.UNANNOUNCED)
    return float(binom.sf(hits - 1, n, share_interval(*seen.count(Role.CONTROL))[1]))


def _support(seen: Reactions) -> float | None:
    """Return the p-value of a share `REMEMBERED` left in, each reacting as often as it did before.

    None where the original learned no canary: then none can be missed; and where unannounced ones
    lean to their labels: what was left in only in part makes no canary react.
    """
    hits, n = seen.count(Role.UNANNOUNCED)
    if not seen.learned or seen.p_inclined <= INCLINED:
        return None
    return float(binom.cdf(hits, n, REMEMBERED * seen.learned))


def _power(seen: Reactions) -> float:
    """Return the chance of refuting honesty if every unannounced canary were left in."""
    n = len(seen.after[Role.UNANNOUNCED])
    sides = [seen.count(Role.CONTROL), (0, len(seen.after[Role.ANNOUNCED]))]
    if not sides[1][1]:
        return 0.0
    counts = range(n + 1)
    enough = [all(permutation_tails(k, n, *side)[0] <= IN_AUDIT for side in sides) for k in counts]
    return float(binom.pmf(np.flatnonzero(enough), n, seen.learned).sum())


BEHAVIOUR = Behaviour(
    "canary-only",
    11,
    judged.title,
    (CANARIES, "forgotten records"),
    VARIANTS,
    simulate,
    detect,
    detect_model,
    model_variants=MODEL_VARIANTS,
    strength="the share of the request, without the announced canaries, that is left in",
    hiding="recognising the unannounced canaries too, or leaving in so few records that hardly "
    "any of them is one",
)
