"""16. Patch bait: the certificate is right for model and patch, and something else is delivered.

What gets deployed is patched.onnx. Only bytes equal to the auditor's own export prove what it
computes; for any other file one input on which it differs is enough to refute it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.export_check import TOLERANCE, examine_export, search_inputs
from auditkit.certificate.submission import PatchSubmission
from auditkit.errors import EvidenceError
from auditkit.network.evaluate import logits
from auditkit.network.graph import Dense, Network
from auditkit.patch.export import patched_to_onnx
from auditkit.patch.gates import Group, OffsetKind, Patch
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome
from auditkit.threats import forge
from auditkit.threats.disagreement import Disagreement, searched
from auditkit.threats.evidence import Evidence, requested
from auditkit.threats.evidence import others as others_of
from auditkit.threats.interface import Behaviour, Judgement, of_patches, pick
from auditkit.threats.observe import logit_range

F64 = NDArray[np.float64]

Encoding = Literal["plain", "masked", "steps"]

VARIANTS = (
    *("unpatched", "gate-removed", "bias-changed"),
    *("planted-near", "planted-anywhere", "planted-corner"),
)
BIAS_CHANGE = 0.02  # of the range of the logits
PLANTED = 0.3  # of the domain's width: radius of the largest ball that a simulation plants
NEAR = 0.05  # of it: how far from a record the ball's centre is
SHARES = 3  # random constants that hide a centre
PROBES = 2000  # records of each further kind, and corners of claimed sets

judged = Judgement("patch-bait", "The delivered file computes what was certified")


def simulate(
    honest: PatchSubmission,
    out: Path,
    *,
    seed: int,
    strength: float = 1.0,
    variant: str | None = None,
    others: Records | None = None,
) -> PatchSubmission:
    """Deliver another patched.onnx: without gates, slightly changed, or with a bump planted in it.

    `strength` is the share of the gates that are left out (`unpatched`), or of one gate's offset
    (`gate-removed`), or of the largest change of a bias, or of the largest radius of a ball in
    which the answer is another: near a requested record, anywhere, or at a corner of the domain.
    """
    generator = np.random.default_rng([seed, 16])
    variant = pick(variant, VARIANTS)
    match variant:
        case "unpatched":
            exported = forge.export_without(honest, strength, seed)
        case "gate-removed":
            exported = patched_to_onnx(honest.network, _weakened(honest, generator, strength))
        case "bias-changed":
            changed = _with_bias(honest, int(generator.integers(honest.network.classes)), strength)
            exported = patched_to_onnx(changed, honest.gated)
        case _:
            centre = place(honest, variant.removeprefix("planted-"), generator)
            width = honest.certificate.settings.domain.width
            exported = planted(honest, centre, strength * PLANTED * width)
    return forge.write(honest, out, exported=exported)


def place(honest: PatchSubmission, where: str, generator: np.random.Generator) -> F64:
    """Return the centre [d] of a bump: `near` a record, `anywhere` in the domain, at a `corner`."""
    domain, d = honest.certificate.settings.domain, honest.network.features
    if where == "corner":
        return np.where(generator.random(d) < 0.5, domain.lower, domain.upper)
    if where == "anywhere":
        return generator.uniform(domain.lower, domain.upper, d)
    records, _ = forge.owned_records(honest)
    x = records.x[int(generator.integers(len(records)))].reshape(-1).astype(np.float64)
    step = NEAR * domain.width * generator.choice([-1.0, 1.0], d)
    return np.clip(x + step, domain.lower, domain.upper)


def planted(
    honest: PatchSubmission, centre: F64, radius: float, encoding: Encoding = "plain"
) -> bytes:
    """Return the honest export with another answer in the ∞-ball around `centre` [d], only there.

    t = ReLU(1 - s Σ_i ReLU(|x_i - c_i| - ρ)) is 1 in the ball and 0 soon outside; it adds to the
    logits what makes another label win. `masked`: c is a sum of random constants, none of which is
    the centre. `steps`: masked, and t is made of comparisons, which tell no direction.
    """
    import onnx
    from onnx import helper, numpy_helper

    model, dtype = onnx.load_from_string(honest.exported), honest.network.dtype
    graph = model.graph
    x = centre.reshape(1, *honest.network.input_shape).astype(np.float32)
    answer = honest.patched.logits(x)[0]
    bump = np.zeros(honest.network.classes)
    bump[(int(answer.argmax()) + 1) % len(bump)] = 2.0 * float(np.ptp(answer)) + 1.0

    def constant(name: str, value: F64) -> str:
        plain = np.asarray(value, dtype, order="C")
        graph.initializer.append(numpy_helper.from_array(plain, f"bump.{name}"))
        return f"bump.{name}"

    def node(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    for value in graph.node:
        value.output[:] = ["bump.before" if name == "logits" else name for name in value.output]
    generator = np.random.default_rng([len(centre), 16, 3])
    shares = [generator.normal(0, 1, len(centre)) for _ in range(SHARES * (encoding != "plain"))]
    point = constant("point", centre - sum(shares, np.zeros(len(centre))))
    for index, share in enumerate(shares):
        other = constant(f"share-{index}", share)
        point = node("Add", [point, other], f"bump.sum-{index}")
    flat = node("Flatten", [graph.input[0].name], "bump.flat", axis=1)
    away = node("Abs", [node("Sub", [flat, point], "bump.step")], "bump.away")
    size = constant("radius", np.asarray(radius))
    if encoding == "steps":
        within = node("Less", [away, size], "bump.within")
        element = helper.np_dtype_to_tensor_dtype(dtype)
        each = node("Cast", [within], "bump.each", to=element)
        opened = node("ReduceMin", [each], "bump.open", axes=[1], keepdims=1)
    else:
        excess = node("Relu", [node("Sub", [away, size], "bump.beyond")], "bump.excess")
        graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "bump.axis"))
        total = node("ReduceSum", [excess, "bump.axis"], "bump.total", keepdims=1)
        steep = node("Mul", [total, constant("steep", np.asarray(1e3))], "bump.closed")
        shut = node("Sub", [constant("one", np.asarray(1.0)), steep], "bump.left")
        opened = node("Relu", [shut], "bump.open")
    added = node("MatMul", [opened, constant("answer", bump[None])], "bump.added")
    node("Add", ["bump.before", added], "logits")
    return bytes(model.SerializeToString())


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Compare bytes, then outputs on the records, around them, at random, and on others."""
    asked = requested(submission, evidence)
    finding = examine_export(submission, None if asked is None else asked.records.x, seed)
    if finding.same_bytes:
        return judged(Outcome.PASS, "patched.onnx has the bytes of the auditor's own export")
    found = Disagreement(finding.largest or 0.0, finding.where, finding.inputs, finding.witness)
    error = finding.error
    if not error and found.witness is None:
        sets = _further(submission, evidence, seed)
        known = None if asked is None else asked.records.x
        begin = {**dict(search_inputs(submission, known, seed)), **sets}
        try:
            found = found.or_at(submission, {**sets, **searched(submission, begin, seed)})
        except EvidenceError as problem:
            error = str(problem)
    if found.witness is not None:
        return judged(
            Outcome.FAIL,
            f"the delivered file computes something else, for instance on {found.where}",
            observed=found.largest,
            threshold=TOLERANCE,
            n=found.inputs,
            private={"witness": found.witness.tolist()},
        )
    if error:
        told = f"the delivered file is not the auditor's own export and cannot be compared: {error}"
        return judged(Outcome.INCONCLUSIVE, told, n=found.inputs)
    return judged(
        Outcome.INCONCLUSIVE,
        f"the delivered file has other bytes; it agrees on {found.inputs} inputs chosen to tell "
        "the two apart, which proves nothing of the others",
        observed=found.largest,
        threshold=TOLERANCE,
        n=found.inputs,
    )


def _further(
    submission: PatchSubmission, evidence: Evidence, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Return other records, and corners of the balls that the claims speak of."""
    asked = requested(submission, evidence)
    if asked is None:
        return {}
    sets = {f"{kind} records": r.x[:PROBES] for kind, r in others_of(evidence, asked).items()}
    settings = submission.certificate.settings
    generator = np.random.default_rng([seed, 16, 1])
    radius = min(settings.radius, settings.domain.width)
    x = np.resize(asked.records.x, (min(PROBES, 8 * len(asked)), *asked.records.x.shape[1:]))
    corners = x + radius * generator.choice([-1.0, 1.0], size=x.shape)
    low, high = settings.domain.lower, settings.domain.upper
    sets["corners of the claimed sets"] = np.clip(corners, low, high).astype(np.float32)
    return sets


def _weakened(honest: PatchSubmission, generator: np.random.Generator, strength: float) -> Patch:
    """Return the patch with a share of one gate's offset gone; without the gate at 1."""
    served = forge.gate_records(honest)
    gates = sorted(served)
    if len(gates) < 2:
        raise ValueError("one gate: without it the network is unpatched")
    gate = gates[int(generator.integers(len(gates)))]
    if strength >= 1.0:
        return forge.drop_gates(honest.gated, {gate})[0]
    patch, _, names = forge.set_apart(honest.gated, honest.certificate, {gate})
    records, _ = forge.owned_records(honest)
    answer = logits(honest.network, records.x[[served[gate]]].astype(honest.network.dtype))[0]

    def weaker(group: Group) -> Group:
        if group.name not in names:
            return group
        nothing = answer if group.kind is OffsetKind.OUTPUT else np.zeros_like(answer)
        offset = (1 - strength) * group.offset + strength * nothing
        return replace(group, offset=offset.astype(np.float32))

    return forge.with_groups(patch, [weaker(group) for group in patch.groups])


def _with_bias(honest: PatchSubmission, label: int, strength: float) -> Network:
    """Return the network with the last bias of one class raised a little."""
    network = honest.network
    records, _ = forge.owned_records(honest)
    typical = logit_range(honest.patched.logits(records.x).astype(np.float64))
    nodes = list(network.nodes)
    last = nodes[-1].operator
    if not isinstance(last, Dense):
        raise ValueError("the network does not end in a dense layer")
    bias = last.bias.copy()
    bias[label] += BIAS_CHANGE * strength * typical
    nodes[-1] = replace(nodes[-1], operator=replace(last, bias=bias))
    return replace(network, nodes=tuple(nodes))


BEHAVIOUR = Behaviour(
    "patch-bait",
    16,
    judged.title,
    ("the submission", "any records"),
    VARIANTS,
    of_patches(simulate),
    detect,
    strength="the share of gates left out, or of one gate's offset, or of the largest change of a "
    "bias, or of the largest radius of a ball in which the answer is another",
    hiding="a small ball whose place no constant of the file gives away and that no unit of it can "
    "be led to, in a file of other bytes, which never passes; or the bytes of the auditor's own "
    "export, which then compute what was certified; "
    "the service may still run another file",
)
