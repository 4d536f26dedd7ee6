"""The method that a claim names, carried out by the auditor on other networks.

An owner's word says which method, scenario and settings gave the delivered network. The auditor's
own implementation of that method makes networks whose history is known, for shadow models and for
comparison. Settings come from the owner: what would take the auditor's machine is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attacks.interface import Predict
from attacks.shadows import Labelled, Trained, Unlearn
from auditkit.audit.shadow_network import Reading, as_network
from auditkit.certificate.claim import StatedMethod
from auditkit.certificate.submission import Submission, UnlearnedSubmission
from auditkit.network.graph import Network
from auditkit.records import Records

if TYPE_CHECKING:
    from auditkit.unlearning.interface import UnlearnedModel

MOST_WORK = 20  # times that of the method's defaults


def cannot_unlearn_again(method: StatedMethod) -> str:
    """Return why a stated method cannot be carried out here, empty when it can."""
    from auditkit.unlearning.interface import Refused, Scenario
    from auditkit.unlearning.registry import method_named

    try:
        known = method_named(method.name)
        scenario = Scenario(method.scenario)
        if scenario not in known.scenarios:
            return f"the method {known.name} is not one for the scenario {scenario}"
        if "history" in known.needs:
            return f"the method {known.name} needs what training left behind, which is not given"
        chosen = known.settings(scenario, method.settings)
    except Refused as refusal:
        return f"the stated method cannot be carried out: {refusal}"
    return _too_much(asdict(chosen), asdict(known.settings(scenario)))


def _too_much(chosen: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """Say why settings are too much work: counts multiply, and small batches are many steps."""
    work, most = 1.0, ("", 1.0)
    for name, value in chosen.items():
        default = usual[name]
        if isinstance(value, bool) or not isinstance(value, int) or not isinstance(default, int):
            continue
        share = max(1, abs(value)) / max(1, abs(default))
        share = max(share, 1 / share) if name.endswith(("batch_size", "_batch")) else max(share, 1)
        work, most = work * share, max(most, (f"{name} of {value}", share), key=lambda m: m[1])
    if work <= MOST_WORK:
        return ""
    return (
        f"the stated settings ({most[0]}, for one) may take {work:.0f} times the work of the "
        f"method's own, more than {MOST_WORK} times: that is not carried out again"
    )


def unlearn_again(
    method: StatedMethod,
    network: Network,
    forget: Records,
    retain: Records | None,
    unseen: Records | None,
    seed: int,
    *,
    order_seed: int | None = None,
) -> UnlearnedModel:
    """Return what the stated method makes of a network; ValueError where it cannot be had.

    `order_seed` is the auditor's, for first weights and order of a retraining.
    """
    from auditkit.unlearning.interface import Logging
    from auditkit.unlearning.registry import unlearn

    why = cannot_unlearn_again(method)
    if why:
        raise ValueError(why)
    try:
        return unlearn(
            method.name, network, forget, retain, unseen,
            scenario=method.scenario, settings=dict(method.settings), seed=seed,
            logging=None if order_seed is None else Logging(b"", order_seed),
        )  # fmt: skip
    except (RuntimeError, ArithmeticError, MemoryError) as error:  # of numbers that the owner chose
        raise ValueError(f"the stated settings cannot be carried out: {error}") from error


def unusual_settings(method: StatedMethod) -> list[str]:
    """Return the stated settings that are not the method's own, each with that beside it.

    Retraining has none of its own: its recipe is that of the original.
    """
    from auditkit.unlearning.interface import Scenario
    from auditkit.unlearning.registry import method_named

    known, scenario = method_named(method.name), Scenario(method.scenario)
    if known.name == "retrain":
        return []
    chosen = asdict(known.settings(scenario, method.settings))
    usual = asdict(known.settings(scenario))
    return [f"{n} {v} ({usual[n]})" for n, v in chosen.items() if v != usual[n]]


def method_again(submission: Submission, reading: Reading | None = None) -> Unlearn:
    """Return the stated method of an unlearned network, as a method for any network.

    reading: how the shadow models read records, as they are when None. Raises ValueError for a
    submission of a patch; what the method returns raises it where the method cannot be had.
    """
    if not isinstance(submission, UnlearnedSubmission):
        raise ValueError("only an unlearned network states a method")
    method, dtype = submission.claim.method, submission.network.dtype

    def unlearn(
        trained: Trained, forgotten: Labelled, retained: Labelled, unseen: Labelled
    ) -> Predict:
        network = as_network(trained.architecture, trained.layers, dtype, reading)

        def records(given: Labelled) -> Records | None:
            x = given.x.reshape(len(given), *network.input_shape).astype(np.float32)
            return Records(x, given.y) if len(given) else None

        asked = records(forgotten)
        assert asked is not None
        seed = _seed(trained, forgotten.x)
        made = unlearn_again(method, network, asked, records(retained), records(unseen), seed)
        return made.predict

    return unlearn


def _seed(trained: Trained, forgotten: NDArray[Any]) -> int:
    """Return a seed of its own for each shadow model and forget set, the same every time."""
    digest = hashlib.sha256(np.ascontiguousarray(forgotten).tobytes()).digest()
    drawn = [trained.seed, trained.number, int.from_bytes(digest[:4], "little")]
    return int(np.random.default_rng(drawn).integers(1 << 31))
