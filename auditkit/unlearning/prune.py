"""PRUNE: a patch that changes what the network answers on the forgotten records' linear regions.

No weight is changed, so that nothing is unlearned where the patch is taken off: what it promises is
redirected outputs, and that can be proved. A submission of it is a patch with its certificate.

Source: Li, Wang, Yuan, Zhang (arXiv 2505.06520; Neural Networks 201, 2026). The gated form and the
specification `reference` are this project's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from auditkit.certificate.make import reference_targets
from auditkit.network.scale import typical_activation
from auditkit.parallel import single_products
from auditkit.patch.generate import Request, make_patch
from auditkit.patch.settings import Domain, Scope, Settings, Spec, resolve_settings
from auditkit.unlearning.interface import Method, Refused, Scenario, Task, Unlearned


@dataclass(frozen=True)
class PruneSettings:
    """Settings as of `auditkit patch`: 0 for clusters, radius and margin stands for the default.

    `scope` point, cluster or class, `method` prune or suppress (of a class). `radius` is in the
    ∞-norm, in input units; `lower` and `upper` are the domain of every feature.
    """

    spec: str = "redirect"
    scope: str = "point"
    method: str = "prune"
    clusters: int = 0
    radius: float = 0.0
    margin: float = 0.0
    lower: float = 0.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        if self.clusters < 0 or self.radius < 0 or not 0 <= self.margin < math.inf:
            raise ValueError("clusters, radius and margin must not be negative")


def patch_settings(task: Task, settings: PruneSettings) -> Settings:
    """Return the settings as a patch has them; Refused where they cannot be had together."""
    by_class = settings.scope == Scope.CLASS
    if by_class and len(task.classes) != 1:
        raise Refused(f"class scope is for one class, and the records have {len(task.classes)}")
    try:
        return resolve_settings(
            settings.spec,
            settings.scope,
            method=settings.method,
            domain=Domain(settings.lower, settings.upper),
            radius=settings.radius or None,
            margin=settings.margin or None,
            clusters=settings.clusters or None,
            target_class=task.classes[0] if by_class else None,
            seed=task.seed,
        )
    except ValueError as error:
        raise Refused(f"settings of prune: {error}") from None


def run(task: Task, settings: PruneSettings) -> Unlearned:
    """Make the patch; what it still answers as before is its shortfall."""
    network, forget = task.network, task.forget
    chosen = patch_settings(task, settings)
    if chosen.spec is not Spec.REDIRECT:
        _ = task.unseen  # what the outputs shall be is taken from unseen records
    resolved = chosen.resolved(typical_activation(network, settings.lower, settings.upper))
    try:
        targets = reference_targets(network, forget, resolved, task.holdout, None)
        with single_products():
            request = Request(forget.x.astype(network.dtype), forget.y)
            made = make_patch(network, request, resolved, targets=targets)
    except ValueError as error:
        raise Refused(f"prune: {error}") from None
    left = int((made.assignment.member < 0).sum()) if chosen.scope is not Scope.CLASS else 0
    shortfall = f"{left} of {len(forget)} records share a region and got no gate" if left else ""
    gates = {"gates": made.patch.gates, "groups": len(made.patch.groups)}
    return Unlearned(None, patch=made, shortfall=shortfall, notes=gates)


METHOD = Method(
    name="prune",
    title="PRUNE: patches on the linear regions of the forgotten records",
    source="Li, Wang, Yuan, Zhang: PRUNE. arXiv 2505.06520; Neural Networks 201 (2026) 108897",
    scenarios=(Scenario.SUBSET, Scenario.CLASS),
    needs=(),
    uses=("holdout",),
    defaults=PruneSettings(),
    run=run,
    refuses={
        Scenario.BACKDOOR: "a patch acts in the linear regions of the records alone, and a trigger "
        "on every input that bears it"
    },
    by_scenario={Scenario.CLASS: {"scope": "class", "method": "suppress"}},
)
