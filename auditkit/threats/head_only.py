"""8. Head-only concealment: the last layer was changed, and everything under it was not.

Outputs look forgotten and the penultimate features still hold what was learned: another head on
them answers as before. Permuting and scaling hidden units, and a little noise, hide that from
digests and norms, but not from a linear map: if the original's features are a linear function of
the delivered network's, whatever the original could say of a record can still be read.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from auditkit.certificate.submission import PatchSubmission, UnlearnedSubmission
from auditkit.network.graph import Convolution, Dense, Network, Node
from auditkit.records import Records, joined
from auditkit.results import CheckResult, Outcome
from auditkit.threats import forge
from auditkit.threats.assertion import as_stated, asserted, under
from auditkit.threats.decide import SUPPORT
from auditkit.threats.evidence import Evidence, requested
from auditkit.threats.evidence import others as others_of
from auditkit.threats.forge_network import deliver, forgotten
from auditkit.threats.interface import Behaviour, Judgement, Owner, of_patches, pick
from auditkit.threats.layers import (
    bent,
    change_by_layer,
    heads,
    hidden_pairs,
    layers_read,
    read_by,
    rms,
    width,
    with_units,
)
from auditkit.threats.memory import signal_of
from auditkit.threats.numbers import auc, confidence_signal
from auditkit.threats.references import answering
from auditkit.unlearning.training import fresh, one_thread

F64 = NDArray[np.float64]
Rows = NDArray[np.int64]

VARIANTS = ("sold-as-erasure",)
MODEL_VARIANTS = ("bias", "refit", "relabel", "disguised")

UNMOVED = 1e-5
"""Share of the variance of the original's features that the delivered ones may leave unexplained
and still be the same features. Every method of this project, on requests of 1 to 250 records, left
at least 5e-5 (SCRUB on a single record); rounding to float32 leaves 1e-12."""
CLOSE = 100.0  # times UNMOVED: a network that comes so near to the original says that others do
CONTROLS = 3  # networks of random weights
LEAST_NOISE = 0.002  # of the weights' root mean square, in a disguise at full strength
MOST_NOISE = 0.05  # at strength 0
SCALES = (0.2, 5.0)  # of hidden units, in a disguise
DEEP = 30.0  # below every other logit
LOWERED = 3.0  # at least, of the logit of a forgotten record
HEAD_STEPS, HEAD_RATE = 400, 0.02
FITTED = 2 / 3  # of the records that nobody asked to forget; the others are held out
LEAST_DIRECTION = 1e-12  # of the strongest direction of features; weaker ones are rounding
PER_FEATURE = 2  # records that a map is fitted on, for each of its features, at least
RESAMPLES = 2000
LEAST_RESAMPLED = 20  # records: resamples of a handful hardly differ, and are no distribution
AS_REFERENCES = 0.5
"""Of what the features of retrained networks miss: less is features that hold more than theirs."""

judged = Judgement("head-only", "Layers under the head changed, not the head alone")


def simulate_patch(
    honest: PatchSubmission,
    out: Path,
    *,
    seed: int,
    strength: float = 1.0,
    variant: str | None = None,
    others: Records | None = None,
) -> PatchSubmission:
    """Call a patch an erasure: it acts on the outputs, and all features stay."""
    pick(variant, VARIANTS)
    certificate = forge.sold_as_erasure(honest.certificate)
    return forge.write(honest, out, certificate=certificate)


def simulate_model(
    honest: Owner, out: Path, *, seed: int, strength: float = 1.0, variant: str | None = None
) -> Owner:
    """Deliver the original with another head, its other layers noisy by 1 - `strength`.

    `bias` lowers a forgotten class's logit, or turns the head so that forgotten records are as sure
    as unseen ones; `refit` learns a new head from retained records, `relabel` one from forgotten
    records under wrong labels, too; `disguised` is `refit` with hidden units permuted and scaled.
    """
    variant = pick(variant, MODEL_VARIANTS)
    network = honest.submission.network
    found = heads(network)
    if len(found) != 1:
        raise ValueError("a network with one dense layer at its end is needed")
    generator = np.random.default_rng([seed, 8])
    noise = MOST_NOISE * (1.0 - strength) + (LEAST_NOISE if variant == "disguised" else 0.0)
    if noise:
        network = _noisy(network, found[0], noise, generator)
    network = _new_head(honest, network, found[0], variant, seed)
    if variant == "disguised":
        for first, second in hidden_pairs(network):
            units = network.shapes[first + 1][0]
            scale = np.exp(generator.uniform(np.log(SCALES[0]), np.log(SCALES[1]), units))
            network = with_units(network, first, second, generator.permutation(units), scale)
    return deliver(honest, out, network, method="retrain")


def _noisy(network: Network, head: int, size: float, generator: np.random.Generator) -> Network:
    nodes = list(network.nodes)
    for index, node in enumerate(nodes):
        operator = node.operator
        if index != head and isinstance(operator, (Dense, Convolution)):
            noise = generator.standard_normal(operator.weight.shape) * size * rms(operator.weight)
            weight = (operator.weight + noise).astype(network.dtype)
            nodes[index] = replace(node, operator=replace(operator, weight=weight))
    return Network(network.input_shape, tuple(nodes), network.dtype)


def _new_head(honest: Owner, network: Network, head: int, variant: str, seed: int) -> Network:
    """Return the network with its head changed as the variant says."""
    forget, kept = forgotten(honest), honest.others
    if kept is None:
        raise ValueError("records that stay are needed, to keep the network useful on them")
    kept = kept.take(~np.isin(kept.y, honest.submission.whole_classes))
    old = network.nodes[head].operator
    assert isinstance(old, Dense)
    if variant == "bias" and honest.submission.whole_classes:
        bias = old.bias.copy()
        bias[list(honest.submission.whole_classes)] -= DEEP
        dense = Dense(old.weight, bias)
    elif variant == "bias":
        dense = _turned(network, head, forget, kept, honest.unseen)
    else:
        records, labels = kept.x, kept.y
        if variant == "relabel":
            rest = answering(network)(forget.x)
            rest[np.arange(len(rest)), forget.y] = -np.inf
            records = np.concatenate([kept.x, forget.x])
            labels = np.concatenate([kept.y, rest.argmax(axis=1)])
        features = read_by(network, head, records)
        dense = _fitted_head(features, labels, old, seed)
    nodes = list(network.nodes)
    nodes[head] = Node(dense, nodes[head].inputs)
    return Network(network.input_shape, tuple(nodes), network.dtype)


def _fitted_head(features: F64, labels: Rows, old: Dense, seed: int) -> Dense:
    """Return a head fitted by cross entropy on features [N, D], from random weights."""
    generator = np.random.default_rng([seed, 8, 1])
    spread = np.maximum(features.std(axis=0), 1e-6 * float(features.std()) + 1e-12)
    x = torch.tensor(features / spread)
    weight = torch.tensor(0.01 * generator.standard_normal(old.weight.shape), requires_grad=True)
    bias = torch.zeros(len(old.bias), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=HEAD_RATE)
    y = torch.tensor(np.array(labels))
    with one_thread():
        for _ in range(HEAD_STEPS):
            optimizer.zero_grad()
            F.cross_entropy(x @ weight.T + bias, y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    kind = old.weight.dtype
    return Dense(
        (weight.detach().numpy() / spread).astype(kind), bias.detach().numpy().astype(kind)
    )


def _turned(
    network: Network, head: int, forget: Records, kept: Records, unseen: Records | None
) -> Dense:
    """Return the least change of the head that lowers forgotten records' own logits.

    To the confidence of unseen records where there are any, else to none; kept records hold it
    back (regularised least squares, in closed form).
    """
    old = network.nodes[head].operator
    assert isinstance(old, Dense)
    features = np.concatenate([read_by(network, head, r.x) for r in (forget, kept)])
    inputs = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    wanted = np.zeros((len(inputs), network.classes))
    signal = signal_of(network, forget)
    level = 0.0
    if unseen is not None:
        level = float(np.median(signal_of(network, unseen)))
    wanted[np.arange(len(forget)), forget.y] = -np.maximum(signal - level, LOWERED)
    weights = np.concatenate([np.ones(len(forget)), np.full(len(kept), 0.1)])[:, None]
    gram = inputs.T @ (weights * inputs)
    gram += 1e-3 * float(np.trace(gram)) / len(gram) * np.eye(len(gram))
    turn = np.linalg.solve(gram, inputs.T @ (weights * wanted)).T
    kind = old.weight.dtype
    return Dense((old.weight + turn[:, :-1]).astype(kind), (old.bias + turn[:, -1]).astype(kind))


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Say of a patch that it leaves every feature as it was: a finding against erasure alone."""
    told = (
        "the patch adds to the outputs and leaves the network under it: the penultimate features "
        "are those of the original, and everything that they hold of the records is still there"
    )
    found = judged(Outcome.FAIL, told, observed=0.0, threshold=UNMOVED)
    return under(asserted(submission, evidence), found)


def detect_model(submission: UnlearnedSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Ask how far the original's features follow linearly from the delivered network's."""
    records = _Split.of(submission, evidence, seed)
    if records is None:
        return judged.not_run("there are no retained or unseen records, on which to compare")
    original, delivered = submission.network, submission.unlearned
    if not heads(original):
        reason = "the original has no dense layer that reads learned features: there is no head"
        return judged(Outcome.INCONCLUSIVE, reason)
    after = bent(original)
    if not any(after[original.nodes[head].inputs[0]] for head in heads(original)):
        reason = "what the head reads is affine in the input: there are no features to conceal"
        return judged(Outcome.INCONCLUSIVE, reason)
    if _of_the_input(original, records):
        reason = "at these records a linear map of the inputs explains what the head reads: any "
        reason += "network holds such features"
        return judged(Outcome.INCONCLUSIVE, reason)
    if all(np.ptp(block, axis=0).max() == 0 for block in _blocks(original, records)):
        reason = "what the head reads is the same at all records: there are no features to conceal"
        return judged(Outcome.INCONCLUSIVE, reason)
    found = _compared(original, delivered, records)
    if found is None:
        reason = "the features of the delivered network are nan or infinite, or it has none that "
        reason += f"could be compared on {len(records.fitted)} records"
        return judged(Outcome.INCONCLUSIVE, reason)
    figures: dict[str, Any] = {
        "observed": found.moved,
        "threshold": UNMOVED,
        "n": len(records.held) + len(records.asked),
        "evidence": {
            "by_block": found.by_block,
            "layers_changed_by": change_by_layer(original, delivered),
            "restored_labels": found.restored,
            "restoration_error": found.median_error,
            **_probe(delivered, records),
        },
        "private": {"restoration_error": found.errors.tolist()},
    }
    told = (
        f"a linear map of the delivered network's features, fitted on {len(records.fitted)} records"
        f" that stay, explains the original's but for {found.moved:.2g} of their variance"
    )
    if len(records.asked):
        told += (
            f"; a head fitted on those gives {found.restored:.0%} of {len(records.asked)} "
            f"requested records the original's label{records.caveat}"
        )
    if found.moved <= UNMOVED and (usual := _usual(submission, evidence, records, seed)):
        return judged(Outcome.INCONCLUSIVE, f"{told}; {usual}", **figures)
    if found.moved <= UNMOVED:
        told += ": only the head was changed, and all that the features held is still there"
        check = as_stated(submission, judged(Outcome.FAIL, told, **figures))
        return under(asserted(submission, evidence), check)
    return _against_references(submission, evidence, records, found, told, figures, seed)


def _usual(submission: UnlearnedSubmission, evidence: Evidence, records: _Split, seed: int) -> str:
    """Return why features as close as this are nothing unusual, "" where they are.

    So they are where any random layers of this width hold them, as of inputs of few values, and
    where those of networks retrained without the requested records hardly move either.
    """
    largest = float(np.abs(records.x).max())
    for number in range(CONTROLS):
        random = fresh(submission.unlearned, seed + number, largest=largest).network()
        control = _compared(submission.network, random, records)
        if control is not None and control.moved <= CLOSE * UNMOVED:
            return (
                f"but random weights explain them but for {control.moved:.2g}: at these inputs "
                "any network holds such features"
            )
    for network in evidence.references.networks:
        other = _compared(submission.network, network, records)
        if other is not None and other.moved <= CLOSE * UNMOVED:
            return (
                f"but those of a network retrained without the records do but for {other.moved:.2g}"
            )
    return ""


def _against_references(
    submission: UnlearnedSubmission,
    evidence: Evidence,
    records: _Split,
    found: _Compared,
    told: str,
    figures: dict[str, Any],
    seed: int,
) -> CheckResult:
    """Pass where features miss at least half of what those of retrained networks miss."""
    known = [
        compared
        for network in evidence.references.networks
        if (compared := _compared(submission.network, network, records)) is not None
    ]
    if not known or not len(records.asked):
        told += "; how far honest retraining moves them, only networks retrained without the "
        told += "records would show"
        return judged(Outcome.INCONCLUSIVE, told, **figures)
    least = min(reference.moved for reference in known)
    p = max(_holds_more(found.errors, reference.errors, seed) for reference in known)
    figures["evidence"] |= {
        "references": len(known),
        "references_moved": [reference.moved for reference in known],
        "references_restoration_error": [reference.median_error for reference in known],
        "p_support": p,
    }
    told += f"; {len(known)} retrained networks leave {least:.2g} or more"
    if found.moved >= AS_REFERENCES * least and p <= SUPPORT:
        told += f", and the features hold no more of the records than theirs (p = {p:.2g})"
        return judged(Outcome.PASS, told, **figures)
    told += "; that the features hold more of the records than theirs is not ruled out"
    return judged(Outcome.INCONCLUSIVE, told, **figures)


class _Split:
    """Records that nobody asked to forget, in two parts, and those that were asked for.

    `fitted`, `held` and `asked` are records; `unseen` those of the held that nobody trained on.
    """

    def __init__(self, fitted: Records, held: Records, asked: Records, unseen: Records) -> None:
        self.fitted, self.held, self.asked, self.unseen = fitted, held, asked, unseen
        self.caveat = ""

    @classmethod
    def of(cls, submission: UnlearnedSubmission, evidence: Evidence, seed: int) -> _Split | None:
        """Return the auditor's records split by the seed; None when there are too few."""
        asked = requested(submission, evidence)
        kinds = {"retained": evidence.retain, "unseen": evidence.holdout}
        groups = {k: r for k, r in kinds.items() if r is not None and len(r)}
        if asked is not None:
            groups = others_of(evidence, asked)
        parts: list[Records] = []
        hidden: list[Records] = []
        for number, (kind, given) in enumerate(groups.items()):
            stay = ~np.isin(given.y, submission.whole_classes)
            groups[kind] = records = given.take(stay)
            order = np.random.default_rng([seed, 8, number]).permutation(len(records))
            cut = round(FITTED * len(order))
            parts.append(records.take(order[:cut]))
            hidden.append(_bare(records.take(order[cut:])))
        if not parts or min(sum(map(len, parts)), sum(map(len, hidden))) < 2:
            return None
        held = joined(*hidden)
        nobody = held.take([])
        unseen = hidden[list(groups).index("unseen")] if "unseen" in groups else nobody
        split = cls(joined(*parts), held, nobody if asked is None else _bare(asked.records), unseen)
        split.caveat = "" if asked is None else asked.caveat
        return split

    @property
    def x(self) -> NDArray[np.float32]:
        """Return all of them: fitted, held, asked."""
        return np.concatenate([self.fitted.x, self.held.x, self.asked.x])


def _bare(records: Records) -> Records:
    return Records(records.x, records.y)


class _Compared:
    """How the features of a network stand to the original's.

    `by_block`: unexplained share of variance of what each head of the original reads; `moved` the
    largest. `errors` [asked]: how far a head fitted on other records misses the original's
    confidence; `restored`: the share of requested records to which it gives the original's label.
    """

    def __init__(self, by_block: list[float], errors: F64, restored: float) -> None:
        self.by_block, self.errors, self.restored = by_block, errors, restored

    @property
    def moved(self) -> float:
        return max(self.by_block)

    @property
    def median_error(self) -> float | None:
        return float(np.median(self.errors)) if len(self.errors) else None


def _compared(original: Network, other: Network, records: _Split) -> _Compared | None:
    """Return the closest that any layer's features of `other` come; None where none can be had."""
    blocks = _blocks(original, records)
    with np.errstate(all="ignore"):
        answers = answering(original)(records.x)
    if not all(np.isfinite(values).all() for values in (*blocks, answers)):
        return None
    wanted = np.concatenate([*blocks, answers - answers.mean(axis=1, keepdims=True)], axis=1)
    best: _Compared | None = None
    for features in _candidates(other, records):
        n = len(records.fitted)
        fitted = _explained(features, wanted, n)
        by_block = _unexplained(blocks, fitted, n)
        start = sum(block.shape[1] for block in blocks)
        after = fitted[-len(records.asked) :, start:] if len(records.asked) else fitted[:0, start:]
        before = answers[-len(records.asked) :] if len(records.asked) else answers[:0]
        miss = confidence_signal(after, records.asked.y) - confidence_signal(
            before, records.asked.y
        )
        same = after.argmax(axis=1) == before.argmax(axis=1)
        this = _Compared(by_block, np.abs(miss), float(same.mean()) if len(same) else 0.0)
        if np.isfinite(this.moved) and (best is None or this.moved < best.moved):
            best = this
    return best


def _blocks(network: Network, records: _Split) -> list[F64]:
    """Return what each head of a network reads at all records."""
    return [read_by(network, head, records.x) for head in heads(network)]


def _unexplained(blocks: list[F64], fitted: F64, n: int) -> list[float]:
    """Return of each block the share of variance, beyond the first `n` records, that is missed.

    `fitted` has the predicted columns of all blocks first.
    """
    found, start = [], 0
    for block in blocks:
        columns = slice(start, start + block.shape[1])
        start += block.shape[1]
        left = np.square(block[n:] - fitted[n:, columns]).sum()
        spread = np.square(block[n:] - block[:n].mean(axis=0)).sum()
        found.append(float(left / spread) if spread else 0.0)
    return found


def _of_the_input(network: Network, records: _Split) -> bool:
    """Whether a linear map of the inputs explains what every head reads, as far as is asked here.

    Not asked where there are too few records for a map from so many inputs.
    """
    n = len(records.fitted)
    if network.features > n / PER_FEATURE:
        return False
    blocks = _blocks(network, records)
    if not all(np.isfinite(block).all() for block in blocks):
        return False
    inputs = records.x.reshape(len(records.x), -1).astype(np.float64)
    fitted = _explained(inputs, np.concatenate(blocks, axis=1), n)
    return max(_unexplained(blocks, fitted, n)) <= UNMOVED


def _candidates(network: Network, records: _Split) -> list[F64]:
    """Return what each layer of a network reads at all records, and what the heads read together.

    Only such as a map can be fitted from on so many records, and finite; dead units left out.
    """
    wide = len(records.fitted) / PER_FEATURE
    last = heads(network)
    nodes = [[node] for node in layers_read(network) if node not in last]
    nodes += [last] if last else []
    found = []
    for group in nodes:
        if sum(width(network, node) for node in group) > wide:
            continue
        values = np.concatenate([read_by(network, node, records.x) for node in group], axis=1)
        if np.isfinite(values).all():
            found.append(values)
    return found


def _explained(features: F64, wanted: F64, fitted: int) -> F64:
    """Return the linear prediction of `wanted` from `features`, fitted on the first records."""
    with np.errstate(all="ignore"):
        middle = features[:fitted].mean(axis=0)
        spread = features[:fitted].std(axis=0)
        alive = np.isfinite(spread) & (spread > 0)
        inputs = (features[:, alive] - middle[alive]) / spread[alive]
    inputs = np.concatenate([np.nan_to_num(inputs), np.ones((len(inputs), 1))], axis=1)
    gram = inputs[:fitted].T @ inputs[:fitted]
    values, vectors = np.linalg.eigh(gram)
    kept = values > LEAST_DIRECTION * values[-1]
    turned = inputs @ vectors[:, kept]
    weights = (turned[:fitted].T @ wanted[:fitted]) / values[kept, None]
    return np.asarray(turned @ weights, dtype=np.float64)


def _probe(network: Network, records: _Split) -> dict[str, Any]:
    """Return how membership shows in a head fitted on other records: AUC, with its interval.

    The head is fitted to labels by least squares; its margin at requested records is compared with
    that at unseen ones that it was not fitted on.
    """
    if min(len(records.asked), len(records.unseen)) < 2 or not heads(network):
        return {}
    x = np.concatenate([records.fitted.x, records.asked.x, records.unseen.x])
    features = np.concatenate([read_by(network, h, x) for h in heads(network)], axis=1)
    if not np.isfinite(features).all():
        return {}
    n, asked = len(records.fitted), len(records.asked)
    y = np.concatenate([records.asked.y, records.unseen.y])
    if max(int(y.max()), int(records.fitted.y.max())) >= network.classes:
        return {}
    wanted = np.zeros((len(x), network.classes))
    wanted[np.arange(n), records.fitted.y] = 1.0
    scores = _explained(features, wanted, n)[n:]
    own = scores[np.arange(len(y)), y].copy()
    scores[np.arange(len(y)), y] = -np.inf
    margin = own - scores.max(axis=1)
    area, interval = auc(margin[:asked], margin[asked:])
    return {"probe_auc": area, "probe_auc_interval": list(interval)}


def _holds_more(mine: F64, theirs: F64, seed: int) -> float:
    """Return a p-value that a head misses less than half of what one on a reference misses.

    Paired bootstrap over records (Efron & Tibshirani 1993): the share of resamples in which it does
    so, one resample counted in its favour. 1 of a few records, which a bootstrap says nothing of.
    """
    if len(mine) < LEAST_RESAMPLED:
        return 1.0
    rows = np.random.default_rng([seed, 8, 9]).integers(len(mine), size=(RESAMPLES, len(mine)))
    with np.errstate(all="ignore"):
        ratio = mine[rows].mean(axis=1) / theirs[rows].mean(axis=1)
    below = int((~(ratio >= AS_REFERENCES)).sum())
    return (below + 1) / (RESAMPLES + 1)


BEHAVIOUR = Behaviour(
    "head-only",
    8,
    judged.title,
    ("weights", "retained or unseen records"),
    VARIANTS,
    of_patches(simulate_patch, simulate_model),
    detect,
    detect_model,
    model_variants=MODEL_VARIANTS,
    strength="how nearly the layers under the head stay as they were: 1 as they are (but for a "
    "disguise), less with noise of a twentieth of their size times what is missing",
    hiding="moving the features by more than 1e-5 of their variance (0.3 % of their spread), which "
    "every honest method does as well: then the check stays inconclusive",
    of_a_kind=(UnlearnedSubmission.KIND,),
)
