"""1. Neglecting: nothing was done, whatever the certificate says.

Gates that never open, or open on an offset of nothing, make a patch that looks like one. What
gives it away is that the delivered network answers on the requested records as the original does.

A network can be written otherwise and compute the same, be trained on, or get a little noise. Then
its answers change, but no further than that; and who says that it was trained anew, without the
requested records, is refuted where it knows them as before (`memory`), or moved far less than the
auditor's own retraining does. That it moved little says nothing by itself: where one layer is
learned, honest retraining finds almost the same function.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from auditkit.certificate.submission import PatchSubmission, UnlearnedSubmission
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.patch.gates import Group
from auditkit.records import Records, joined
from auditkit.results import CheckResult, Outcome
from auditkit.threats import forge, forge_network
from auditkit.threats.assertion import ERASED, asserted
from auditkit.threats.decide import SUPPORT
from auditkit.threats.evidence import WITHHELD, Evidence, Requested, requested
from auditkit.threats.evidence import others as others_of
from auditkit.threats.interface import Behaviour, Judgement, Owner, of_patches, pick
from auditkit.threats.layers import hidden_pairs, one_layer, with_units
from auditkit.threats.memory import exact, remembered, weighed_as_a_whole
from auditkit.threats.numbers import share_interval
from auditkit.threats.observe import (
    NEGLIGIBLE,
    Observation,
    acts_everywhere,
    nearness,
    observe,
)
from auditkit.threats.relabelling import relabelled
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import fit, largest_of, tensors
from auditkit.unlearning.weights import weights_of, with_weights

F64 = NDArray[np.float64]

VARIANTS = ("no-effect", "closed-gates", "zero-bound")
MODEL_VARIANTS = ("identical", "rescaled", "noise", "trained-on")
NOISE = 1e-3  # of a layer's typical weight: the greatest that is called tiny
MOST_EPOCHS = 5  # of training on with all records
UNMOVED = 0.005  # of the logits' range; training deep networks anew moves outputs by a tenth
FAR_MORE = 10.0  # times as far every retraining of the auditor's moves the outputs
LEAST_REFERENCES = 2  # one may be far off by its own training
TRIFLING = 0.1  # of the change that the answer to another record of the label would make
COMPARED = 200  # unseen records of a label that a record is compared with
BY_THE_WAY = 0.1  # of the records: so many another record's gate may change where nothing was done
LEAST_SHARE = 0.5  # of the records: fewer changed is something, but no answer to the request

judged = Judgement("neglecting", "Something was done: requested records are answered differently")


def simulate(
    honest: PatchSubmission,
    out: Path,
    *,
    seed: int,
    strength: float = 1.0,
    variant: str | None = None,
    others: Records | None = None,
) -> PatchSubmission:
    """Deliver a patch that does nothing at a share of the records, under the honest claims.

    Offsets that change nothing (`no-effect`), gates that open nowhere (`closed-gates`), or groups
    that may add nothing (`zero-bound`).
    """
    variant = pick(variant, VARIANTS)
    if variant == "no-effect":
        patch, certificate = forge.without_effect(honest, strength, [seed, 1])
        return forge.write(honest, out, patch=patch, certificate=certificate)
    doomed = forge.a_share(forge.all_gates(honest.gated), strength, [seed, 1])
    patch, certificate, names = forge.set_apart(honest.gated, honest.certificate, doomed)
    generator = np.random.default_rng([seed, 1, 1])

    def idle(group: Group) -> Group:
        if group.name not in names:
            return group
        if variant == "zero-bound":
            return replace(group, bound=0.0)
        return replace(group, patterns=generator.random(group.patterns.shape) < 0.5)

    patch = forge.with_groups(patch, [idle(group) for group in patch.groups])
    return forge.write(honest, out, patch=patch, certificate=certificate)


def simulate_model(
    honest: Owner, out: Path, *, seed: int, strength: float = 1.0, variant: str | None = None
) -> Owner:
    """Deliver the original: as it is, written otherwise, with noise, or trained on with everyone.

    `strength` scales the noise and the number of epochs; of the others there is no less.
    """
    submission = forge_network.submitted(honest)
    match pick(variant, MODEL_VARIANTS):
        case "identical":
            network = submission.network
        case "rescaled":
            network = rescaled(submission.network, seed)
        case "noise":
            weights = weights_of(submission.network)
            noise = np.random.default_rng([seed, 1, 1]).normal(size=len(weights))
            scale = strength * NOISE * float(np.std(weights))
            network = with_weights(submission.network, weights + scale * noise)
        case _:
            everyone = [forge_network.retained(honest), forge_network.forgotten(honest)]
            records = joined(*everyone)
            model = Trainable(submission.network, largest=largest_of(records))
            epochs = max(1, round(strength * MOST_EPOCHS))
            recipe = replace(forge_network.recipe_of(honest), epochs=epochs)
            fit(model, *tensors(model, records), recipe, seed)
            network = model.network()
    return forge_network.deliver(honest, out, network, method="retrain")


def rescaled(network: Network, seed: int) -> Network:
    """Return the same function in other numbers: hidden units in another order, each scaled.

    By powers of two, so that it is the same exactly, wherever `layers.hidden_pairs` has units.
    """
    generator = np.random.default_rng([seed, 1, 2])
    for first, second in hidden_pairs(network):
        units = network.shapes[first + 1][0]
        order = generator.permutation(units)
        scale = np.exp2(generator.integers(-3, 4, units).astype(np.float64))
        network = with_units(network, first, second, order, scale)
    return network


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Compare the original's answers with the delivered network's on every requested record."""
    asked = requested(submission, evidence)
    if asked is None:
        return judged.not_run(WITHHELD)
    seen = observe(submission, asked.records)
    if not seen.readable.all():
        reason = f"{int((~seen.readable).sum())} records are answered with nan or infinity"
        return judged(Outcome.INCONCLUSIVE, reason)
    changed = seen.met & (seen.effect > NEGLIGIBLE) & seen.measurable
    count, n = int(changed.sum()), int(seen.measurable.sum())
    acting = nearness(submission, asked.records.x) < 1
    if acts_everywhere(submission):
        acting[:] = True
    figures = {
        "observed": count / n if n else None,
        "threshold": LEAST_SHARE,
        "interval": share_interval(count, n) if n else None,
        "n": n,
        "evidence": {
            "changed": count,
            "with_open_gate": int(acting.sum()),
            "largest_effect": float(seen.effect.max()),
            "negligible_effect": NEGLIGIBLE,
        },
    }
    unseen = others_of(evidence, asked).get("unseen")
    trifling = 0.0 if seen.redirects else _trifling(submission, seen, unseen)
    what = "label" if seen.redirects else "output"
    if n == 0:
        return judged(
            Outcome.INCONCLUSIVE,
            "nothing measurable to forget: the original already mispredicts every record",
            **figures,
        )
    known = evidence.references.networks
    erased = asserted(submission, evidence) == ERASED  # a redirection is owed in any case
    if erased and known and _agree(submission, known[0], asked, unseen):
        return judged(
            Outcome.INCONCLUSIVE,
            "nothing measurable to forget: original and reference already agree on the records",
            **figures,
        )
    told = f"the delivered network changes the {what} of {count} of {n} requested records"
    told += f"; a gate opens at {int(acting.sum())} of {len(asked)}{asked.caveat}"
    if count <= BY_THE_WAY * n:
        outcome = Outcome.FAIL
    elif trifling:
        outcome = Outcome.INCONCLUSIVE
        told += f"; but by {trifling:.1%} of what another record of the label would, in the median"
    elif count >= LEAST_SHARE * n:
        outcome = Outcome.PASS
    else:
        outcome, told = Outcome.INCONCLUSIVE, f"{told}: see threats.lazy"
    return judged(outcome, told, **figures)


def detect_model(submission: UnlearnedSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Ask of an unlearned network whether anything changed, and changed for the requested records.

    Outputs that changed are no evidence: those of a network trained on changed as well. Labels
    that most requested records lost, and others did not, are. Of a network that is said never to
    have seen the records it is asked how much of them it knows.
    """
    asked = requested(submission, evidence)
    if asked is None:
        return judged.not_run(WITHHELD)
    if submission.unlearned_digest == submission.network_digest:
        return judged(Outcome.FAIL, "the delivered network is the original, weight by weight")
    seen = relabelled(submission, asked, evidence)
    if seen.unreadable:
        reason = f"{seen.unreadable} records are answered with nan or infinity"
        return judged(Outcome.INCONCLUSIVE, reason)
    figures = seen.figures() | {"threshold": LEAST_SHARE}
    told = seen.told + asked.caveat
    flat = one_layer(submission.network)
    if not seen.changed.any() and (not flat or not seen.effect.any()):
        return judged(Outcome.FAIL, f"other weights, but the same answers: {told}", **figures)
    n, lost = int(seen.right.sum()), int(seen.lost.sum())
    more, _ = seen.tails
    elsewhere = share_interval(seen.other_hits, seen.others)[1]  # 1 where there are no others
    meant = more <= SUPPORT and elsewhere <= LEAST_SHARE / 2  # and not merely broken
    if n and lost >= LEAST_SHARE * n and meant:
        return judged(Outcome.PASS, f"{told} (permutation p = {more:.2g})", **figures)
    moved = float(np.median(seen.effect))
    if submission.claim.method.name == "retrain" and moved < UNMOVED:
        told += f"; by {moved:.2g} of the logits' range in the median"
        theirs = [] if flat else _moved_by(submission, evidence, asked)
        if len(theirs) >= LEAST_REFERENCES and FAR_MORE * moved < min(theirs):
            told += f", {len(theirs)} networks retrained by the auditor by {min(theirs):.2g} or "
            told += "more"
            return judged(Outcome.FAIL, told, **figures)
        told += ": one layer is learned, and retraining it moves as little" if flat else ""
    left = remembered(submission, evidence, asked, seed) if exact(submission) else ""
    if not isinstance(left, str) and not left.doubt:
        return weighed_as_a_whole(judged, left, asked.caveat)
    why = left if isinstance(left, str) else left.doubt
    told += f"; {why or 'that says nothing of what was unlearned: see the attacks'}"
    return judged(Outcome.INCONCLUSIVE, told, **(figures | seen.decides_nothing()))


def _moved_by(submission: UnlearnedSubmission, evidence: Evidence, asked: Requested) -> list[float]:
    """Return by how much each readable reference moves the outputs at requested records."""
    effects = [
        _compared(submission.network, reference, asked.records)[1]
        for reference in evidence.references.networks
    ]
    return [float(np.median(e)) for e in effects if np.isfinite(e).all()]


def _trifling(submission: PatchSubmission, seen: Observation, unseen: Records | None) -> float:
    """Return how small the outputs' change is, if it is suspiciously so, else 0.

    In the median over records, relative to the change that the answer to a random unseen record
    of the same label would make. Small is no proof: a reference may happen to agree.
    """
    if unseen is None:
        return 0.0
    theirs = logits(submission.network, unseen.x.astype(submission.network.dtype))
    shares = []
    for row, label in enumerate(seen.y):
        answers = theirs[unseen.y == label][:COMPARED].astype(np.float64)
        if not len(answers):
            continue
        before = np.repeat(seen.before[row : row + 1], len(answers), axis=0)
        usual = Observation(before, answers, np.full(len(answers), label), False)
        own = Observation(seen.before[[row]], seen.after[[row]], seen.y[[row]], False)
        shares.append(float(own.effect[0]) / max(float(np.median(usual.effect)), 1e-12))
    share = float(np.median(shares)) if shares else 1.0
    return share if share < TRIFLING else 0.0


def _agree(
    submission: PatchSubmission, reference: Network, asked: Requested, unseen: Records | None
) -> bool:
    """Whether a network that never saw the records already says of them what the original says.

    Same labels, and outputs no further apart than on unseen records (Mann & Whitney 1947, one
    side, 5 %); without unseen records, outputs that differ by next to nothing.
    """
    labels, apart = _compared(submission.network, reference, asked.records)
    if not labels:
        return False
    if unseen is None:
        return bool((apart <= NEGLIGIBLE).all())
    _, elsewhere = _compared(submission.network, reference, unseen)
    return bool(mannwhitneyu(apart, elsewhere, alternative="greater").pvalue > 0.05)


def _compared(one: Network, other: Network, records: Records) -> tuple[bool, F64]:
    """Return whether two networks give the records the same labels, and how far apart they are."""
    a = logits(one, records.x.astype(np.float64))
    b = logits(other, records.x.reshape(len(records), *other.input_shape).astype(np.float64))
    seen = Observation(a, b, records.y, redirects=False)
    return bool((a.argmax(axis=1) == b.argmax(axis=1)).all()), seen.effect


BEHAVIOUR = Behaviour(
    "neglecting",
    1,
    judged.title,
    ("forgotten records",),
    VARIANTS,
    of_patches(simulate, simulate_model),
    detect,
    detect_model,
    MODEL_VARIANTS,
    strength="the share of the patch's gates that do nothing; below 1 the request is met in part, "
    "which threats.lazy finds record by record; of a network, the noise or the epochs of training",
    hiding="changing the answer at one requested record at least (then see threats.lazy), or at "
    "all of them without forgetting any (then see the attacks); of a network, naming an "
    "approximate method, learning one layer alone, or, without references, moving a little with "
    "few records requested",
    of_a_kind=(UnlearnedSubmission.KIND,),
)
