"""Membership inference on a submission: forgotten records against unseen ones, before and after.

The attacks and their statistics are the `attacks` package's; here a submission becomes the arrays
they take, and their verdicts become checks. More than 20 forgotten records are judged as a cohort,
fewer one by one against shadow models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import attacks
from attacks.decision.cohort import AttackScores, CohortPlan, CohortVerdict, decide_cohort
from attacks.decision.comparability import Comparability, compare_groups
from attacks.decision.planning import SMALL_REQUEST, what_can_be_decided
from auditkit.audit import membership_charts, membership_tables
from auditkit.audit.exposure_checks import (
    EXPOSURE,
    EXPOSURE_TITLE,
    Exposed,
    exposure_check,
    find_exposed,
    small_request_check,
)
from auditkit.audit.membership_chapter import facts
from auditkit.audit.membership_checks import (
    cohort_check,
    support_check,
    together_check,
    undecided_check,
    with_retention,
)
from auditkit.audit.membership_exposure import exposure_charts, exposure_tables
from auditkit.audit.membership_figures import all_figures
from auditkit.audit.shadow_run import Recipe, ShadowRun, dense_widths, train_shadow_run
from auditkit.certificate.submission import Submission, load_submission
from auditkit.certificate.verify import own_records
from auditkit.errors import UsageError, callers_own
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.network.read import load_network
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome, Result, not_run
from auditkit.threats.observe import delivered

Progress = Callable[[int, int], None]

DEFAULT_SHADOWS = 64
DEFAULT_MARGIN = 0.05
RADII = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # of the domain's width


@dataclass(frozen=True)
class AttackPlan:
    """What the auditor fixed before looking: which attacks, margins and shadow models."""

    names: tuple[str, ...] = ()
    margin: float = DEFAULT_MARGIN
    alpha: float = 0.05
    fpr: float = 0.01
    shadows: int = DEFAULT_SHADOWS
    recipe: Recipe | None = None


@dataclass(frozen=True, eq=False)
class Membership:
    """Checks, with what a report shows beside them."""

    checks: tuple[CheckResult, ...]
    charts: tuple[dict[str, Any], ...]
    tables: tuple[dict[str, Any], ...]
    samples: dict[str, Any]
    power: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)  # of the chapter, see membership_chapter


def attack_directory(
    path: Path,
    *,
    holdout: Path,
    retain: Path | None = None,
    train: Path | None = None,
    attacks: list[str] | None = None,
    shadows: int | None = None,
    margin: float = DEFAULT_MARGIN,
    seed: int = 0,
    progress: Progress | None = None,
    references: tuple[Path, ...] = (),
    forget: Path | None = None,
) -> Result:
    """Attack a submission in a directory; see `attack_submission`."""
    submission = load_submission(Path(path))
    unseen = own_records(holdout, submission)
    asked = own_records(forget, submission)
    assert unseen is not None
    plan = AttackPlan(
        tuple(attacks or ()), margin, shadows=DEFAULT_SHADOWS if shadows is None else shadows
    )
    with callers_own():
        models = tuple(load_network(model) for model in references)
    found = attack_submission(
        submission,
        plan,
        forget=submission.forget if asked is None else asked,
        holdout=unseen,
        retain=own_records(retain, submission),
        train=own_records(train, submission),
        references=models,
        seed=seed,
        progress=progress,
    )
    details = {"sample_sizes": found.samples, "power": list(found.power)}
    return Result(found.checks, details)


def attack_submission(
    submission: Submission,
    plan: AttackPlan,
    *,
    forget: Records | None,
    holdout: Records,
    retain: Records | None = None,
    train: Records | None = None,
    references: tuple[Network, ...] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> Membership:
    """Run the planned attacks on the original and the patched network.

    `references` are models that never saw the forgotten records; without them the reference is an
    AUC of 0.5 against unseen records of the same kind. Shadow models need `train`.
    """
    names = plan.names or tuple(attacks.REGISTRY)
    if forget is None:
        reason = "the forgotten records are withheld and none were given"
        return Membership(tuple(_absent(name, reason) for name in names), (), (), {}, ())
    groups = Groups(submission, forget, holdout, retain, references)
    small = len(forget) <= SMALL_REQUEST
    shadow_run, no_shadows = _shadows(groups, plan, names, train, small, seed, progress)
    decidable = what_can_be_decided(
        len(forget), len(holdout), plan.margin, alpha=plan.alpha, fpr=plan.fpr,
        independent_reference=bool(references),
    )  # fmt: skip
    evidence = {phase: groups.evidence(phase, shadow_run, seed) for phase in groups.phases}
    after, before, skipped = _scores(groups, evidence, names)
    checks: list[CheckResult] = []
    comparability = _comparability(groups, seed)
    exposed = None if small or shadow_run is None else find_exposed(groups, shadow_run)
    cohort = _cohort(plan, after, comparability, small, exposed)
    for name in names:
        if name in skipped:
            reason = no_shadows if "shadows" in skipped[name] and no_shadows else skipped[name]
            # what nobody asked for by name and the access does not allow decides nothing
            checks.append(replace(_absent(name, reason), required=name in plan.names))
        elif name == attacks.patch_support.PATCH_SUPPORT.name:
            checks.append(support_check(after[name], len(forget)))
        elif small:
            checks.append(undecided_check(name, before[name], after[name], len(forget)))
        else:
            assert cohort is not None
            checks.append(cohort_check(name, cohort, before[name], after[name], plan))
    if cohort is not None:
        checks.append(together_check(cohort, plan))
    if small:
        checks.append(small_request_check(groups, shadow_run, no_shadows, plan))
    elif shadow_run is None or exposed is None:
        name, title = f"attack.{EXPOSURE}", EXPOSURE_TITLE
        checks.append(not_run(name, title, no_shadows, required=False))
    else:
        checks.append(exposure_check(groups, shadow_run, exposed))
    curve = groups.neighbourhood(seed)
    figures = all_figures(before, after, plan.alpha)
    margin = None if small else plan.margin
    return Membership(
        checks=tuple(with_retention(checks, curve, groups.domain)),
        charts=(
            *membership_charts.charts(groups, figures, before, after, curve, margin),
            *exposure_charts(checks),
        ),
        tables=(*membership_tables.tables(figures, checks, curve), *exposure_tables(checks)),
        samples={
            "forgotten": len(forget),
            "unseen": len(holdout),
            "retained": 0 if retain is None else len(retain),
            "shadows": 0 if shadow_run is None else shadow_run.shadows,
            "references": len(references),
            "tier": "C" if shadow_run is not None else "B",
            "comparable": comparability.comparable,
            "comparability": comparability.reason,
        },
        power=decidable.lines(),
        facts=facts(
            groups, plan, run=shadow_run, no_shadows=no_shadows, references=len(references),
            comparability=comparability, cohort=cohort, ran=len(after), skipped=skipped,
            power=decidable.lines(),
        ),
    )  # fmt: skip


class Groups:
    """Forgotten, unseen and retained records with the logits of each network on them."""

    def __init__(
        self,
        submission: Submission,
        forget: Records,
        holdout: Records,
        retain: Records | None,
        references: tuple[Network, ...],
    ) -> None:
        self.submission, self.forget, self.holdout = submission, forget, holdout
        self.retain = retain
        self.x: NDArray[np.float32] = np.concatenate([forget.x, holdout.x])
        self.y: NDArray[np.int64] = np.concatenate([forget.y, holdout.y])
        domain = submission.certificate.settings.domain
        self.domain = (domain.lower, domain.upper)
        self.models: dict[str, Callable[[Any], Any]] = {
            "before": lambda x: logits(submission.network, x.astype(submission.network.dtype)),
            # what was delivered, should it be another network than the patched one
            "after": lambda x: delivered(submission, x),
        }
        for index, model in enumerate(references):
            self.models[f"reference {index + 1}"] = _reference(model)
        self.outputs = {phase: model(self.x) for phase, model in self.models.items()}

    @property
    def key(self) -> bytes | None:
        """The key of the records' digests: the owner's list has it, or else the auditor's."""
        submitted = self.submission.forget
        return (submitted.key if submitted is not None else None) or self.forget.key

    @property
    def phases(self) -> tuple[str, ...]:
        return tuple(self.models)

    def split(self, scores: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the scores of forgotten and of unseen records."""
        return scores[: len(self.forget)], scores[len(self.forget) :]

    def evidence(self, phase: str, run: ShadowRun | None, seed: int) -> attacks.Evidence:
        """Return what an attack may see of one network on forgotten and unseen records."""
        outputs, n = self.outputs[phase], len(self.forget)
        found = attacks.Evidence(
            logits=outputs,
            labels=self.y,
            population_logits=outputs[n:],
            population_labels=self.y[n:],
            population_records=self.x[n:],
            population_rows=np.arange(n, len(self.y)),
            earlier_logits=self.outputs["before"],
            earlier_population_logits=self.outputs["before"][n:],
            records=self.x,
            predict=self.models[phase],
            domain=self.domain,
            radius=0.03 * (self.domain[1] - self.domain[0]),
            seed=seed,
        )
        if phase == "after":
            found = replace(found, gates=self.submission.patched.openness(self.x))
        if run is not None:
            found = replace(
                found,
                shadows=run.signals,
                member_mask=run.member_mask,
            )
        return found

    def neighbourhood(self, seed: int) -> attacks.neighbourhood.NeighbourhoodCurve:
        """Return retention and attack strength over the radius, around the forgotten records."""
        width = self.domain[1] - self.domain[0]
        generator = np.random.default_rng([seed, 7])
        chosen = np.sort(generator.permutation(len(self.forget))[:200])
        unseen = np.sort(generator.permutation(len(self.holdout))[:400])
        return attacks.neighbourhood.curve(
            self.models["after"],
            self.forget.x[chosen],
            self.forget.y[chosen],
            [r * width for r in RADII],
            before=self.models["before"],
            unseen=(self.holdout.x[unseen], self.holdout.y[unseen]),
            copies=16,
            seed=seed,
            domain=self.domain,
        )


def _reference(model: Network) -> Callable[[Any], Any]:
    return lambda x: logits(model, x.reshape(len(x), *model.input_shape).astype(model.dtype))


def _shadows(
    groups: Groups,
    plan: AttackPlan,
    names: tuple[str, ...],
    train: Records | None,
    small: bool,
    seed: int,
    progress: Progress | None,
) -> tuple[ShadowRun | None, str]:
    """Train shadow models if anything planned needs them; else say why not."""
    wanted = small or any("shadows" in attacks.REGISTRY[name].needs for name in names)
    if not wanted:
        return None, "no planned attack needs shadow models"
    if plan.shadows < 2:
        return None, "no shadow models were asked for"
    if train is None:
        return None, "shadow models need the training records (--train)"
    if dense_widths(groups.submission.network) is None:
        return None, "shadow models are trained for fully connected networks only"
    run = train_shadow_run(
        groups.submission.network, train, groups.forget, groups.holdout, plan.shadows,
        plan.recipe, seed, progress,
    )  # fmt: skip
    if run is None:
        return None, "not all forgotten records are among the training records (--train)"
    return run, ""


Scores = dict[str, dict[str, NDArray[Any]]]


def _scores(
    groups: Groups, evidence: dict[str, attacks.Evidence], names: tuple[str, ...]
) -> tuple[dict[str, AttackScores], dict[str, AttackScores | None], dict[str, str]]:
    """Return every attack's scores after and before, and why an attack has none."""
    after: dict[str, AttackScores] = {}
    before: dict[str, AttackScores | None] = {}
    skipped: dict[str, str] = {}
    for name in names:
        attack = attacks.REGISTRY[name]
        missing = evidence["after"].lacks(attack.needs)
        if missing:
            skipped[name] = f"it needs {', '.join(missing)}"
            continue
        by_phase: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {
            phase: groups.split(attack.score(found))
            for phase, found in evidence.items()
            if not found.lacks(attack.needs)
        }
        references = tuple(v for phase, v in by_phase.items() if phase.startswith("reference"))
        after[name] = AttackScores(name, *by_phase["after"], references, attack.population)
        before[name] = (
            AttackScores(name, *by_phase["before"], (), attack.population)
            if "before" in by_phase
            else None
        )
    return after, before, skipped


def _comparability(groups: Groups, seed: int) -> Comparability:
    return compare_groups(
        groups.forget.x,
        groups.holdout.x,
        forgotten_labels=groups.forget.y,
        unseen_labels=groups.holdout.y,
        seed=seed,
    )


def _cohort(
    plan: AttackPlan,
    after: dict[str, AttackScores],
    comparability: Comparability,
    small: bool,
    exposed: Exposed | None,
) -> CohortVerdict | None:
    judged = [s for name, s in after.items() if name != attacks.patch_support.PATCH_SUPPORT.name]
    if small or not judged:
        return None
    rule = CohortPlan(margin=plan.margin, alpha=plan.alpha, fpr=plan.fpr)
    p_values = None if exposed is None else exposed.p_values
    return decide_cohort(rule, judged, comparability=comparability, exposure_p_values=p_values)


def _absent(name: str, reason: str) -> CheckResult:
    return not_run(f"attack.{name}", attacks.REGISTRY[name].title, reason)


def attack_scores(
    path: Path, *, margin: float = DEFAULT_MARGIN, seed: int = 0, phase: str = "after"
) -> Result:
    """Judge scores of the caller's own: columns id, subject, group, phase, score (tier A).

    Raises UsageError when the file is not such a table.
    """
    from auditkit.audit.score_file import read_scores

    with callers_own():
        table = read_scores(path)
    scores = {p: table.of(p) for p in ("before", "after") if table.has(p)}
    if phase not in scores:
        raise UsageError(
            str(path),
            expected=f"scores of forgotten and unseen records in phase {phase!r}",
            found=", ".join(sorted(scores)) or "none",
            remedy="add them: group is forgotten, retained or unseen, phase before or after",
        )
    plan = AttackPlan(margin=margin)
    now = AttackScores("scores", *scores[phase])
    then = AttackScores("scores", *scores["before"]) if "before" in scores else None
    count = len(scores[phase][0])
    details: dict[str, Any] = {
        "tier": "A",
        "sample_sizes": {"forgotten": count, "unseen": len(scores[phase][1])},
        "power": list(what_can_be_decided(count, len(scores[phase][1]), margin).lines()),
        "unknown": "whether the groups are comparable, and every attack that needs the model",
    }
    if count <= SMALL_REQUEST:
        check = undecided_check("scores", then, now, count)
    else:
        rule = CohortPlan(margin=margin, alpha=plan.alpha, fpr=plan.fpr)
        check = cohort_check("scores", decide_cohort(rule, [now]), then, now, plan)
    assert check.outcome is not Outcome.NOT_RUN
    return Result((check,), details)
