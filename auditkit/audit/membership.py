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
from attacks.decision.class_deletion import NO_REFERENCE
from attacks.decision.cohort import AttackScores, CohortPlan, CohortVerdict, decide_cohort
from attacks.decision.comparability import Comparability, compare_groups
from attacks.decision.planning import SMALL_REQUEST
from attacks.shadows import UnlearnedShadows
from attacks.signals import rescaled_logit
from attacks.statistics.auc import AucEstimate
from auditkit.audit import membership_charts, membership_control, membership_tables
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
    TELLS_REQUESTS,
    cohort_check,
    request_check,
    together_check,
    undecided_check,
    with_retention,
)
from auditkit.audit.membership_exposure import exposure_charts, exposure_tables
from auditkit.audit.membership_figures import all_figures
from auditkit.audit.membership_input import Judged, judged_records
from auditkit.audit.membership_said import Say, nothing_known, said_first, sizes, training, unknown
from auditkit.audit.reference_models import Model, References, doubts, gather_references
from auditkit.audit.shadow_cache import refuse_within
from auditkit.audit.shadow_masks import units
from auditkit.audit.shadow_run import (
    UNTRAINABLE,
    Recipe,
    ShadowRun,
    architecture_of,
    train_shadow_run,
)
from auditkit.audit.unlearned_run import train_unlearned_run, unlike_the_audited
from auditkit.certificate.submission import Submission, load_submission
from auditkit.certificate.verify import own_records
from auditkit.errors import callers_own
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.network.read import load_network
from auditkit.records import Records
from auditkit.results import CheckResult, Result, not_run
from auditkit.threats.observe import delivered

Progress = Callable[[int, int], None]

DEFAULT_SHADOWS = 64
DEFAULT_MARGIN = 0.05
DEFAULT_FPR = 0.01
MOST_CONTROL = 5000  # retained records
RADII = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # of the domain's width


@dataclass(frozen=True)
class AttackPlan:
    """What the auditor fixed before looking: which attacks, margins and shadow models."""

    names: tuple[str, ...] = ()
    margin: float = DEFAULT_MARGIN
    alpha: float = 0.05
    fpr: float = DEFAULT_FPR
    shadows: int = DEFAULT_SHADOWS
    recipe: Recipe | None = None
    shadow_cache: Path | None = None  # where scores of shadow models are kept; changes no result
    retrain: int = 0


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
    fpr: float = DEFAULT_FPR,
    recipe: Recipe | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    references: tuple[Path, ...] = (),
    forget: Path | None = None,
    shadow_cache: Path | None = None,
    retrain: int = 0,
    say: Say | None = None,
) -> Result:
    """Attack a submission in a directory; see `attack_submission`."""
    submission = load_submission(Path(path))
    unseen = own_records(holdout, submission)
    asked = own_records(forget, submission)
    assert unseen is not None
    plan = AttackPlan(
        tuple(attacks or ()),
        margin,
        fpr=fpr,
        shadows=DEFAULT_SHADOWS if shadows is None else shadows,
        recipe=recipe,
        shadow_cache=shadow_cache,
        retrain=retrain,
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
        say=say,
    )
    details = {
        "tier": found.samples.get("tier"),
        "unknown": found.samples.get("unknown"),
        "sample_sizes": found.samples,
        "power": list(found.power),
    }
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
    say: Say | None = None,
) -> Membership:
    """Run the planned attacks on the original and the delivered network.

    `references` are models that never saw the forgotten records; `plan.retrain` more are trained
    here. Without any the reference is an AUC of 0.5 against unseen records of the same kind. Shadow
    models and retraining need `train`. `say` is told, before anything long starts, what these
    samples can decide. Raises UsageError when unseen records are among those trained on, or a
    reference is of another task.
    """
    names = plan.names or tuple(attacks.REGISTRY)
    if forget is None:
        reason = "the forgotten records are withheld and none were given"
        missing = tuple(_absent(name, reason) for name in names)
        return Membership(missing, (), (), nothing_known(reason), ())
    judged = judged_records(submission, forget, holdout, retain, train)
    if judged.problem:
        missing = tuple(_absent(name, judged.problem) for name in names)
        found = {**sizes(judged), **nothing_known(judged.problem)}
        return Membership(missing, (), (), found, ())
    forget, holdout, retain = judged.forget, judged.holdout, judged.retain
    power = said_first(plan, names, judged, train, bool(references), say)
    referred = gather_references(
        submission.network, references, retrain=plan.retrain, train=train, forget=forget,
        recipe=plan.recipe, seed=seed, progress=progress,
    )  # fmt: skip
    groups = Groups(submission, forget, holdout, retain, referred.models)
    curve, broken = groups.neighbourhood(seed)
    if curve is None:
        missing = tuple(_absent(name, broken) for name in names)
        return Membership(missing, (), (), {**sizes(judged), **nothing_known(broken)}, power)
    small = len(forget) <= SMALL_REQUEST
    shadow_run: ShadowRun | None = None
    unlearned: UnlearnedShadows | None = None
    no_shadows = no_unlearned = OTHERS_OF_CLASS
    if not judged.classes:
        shadow_run, no_shadows = _shadows(groups, plan, names, train, small, seed, progress)
        unlearned, no_unlearned = _unlearned(groups, plan, names, train, small, seed, progress)
    evidence = {
        phase: groups.evidence(phase, shadow_run, unlearned, seed) for phase in groups.phases
    }
    absent = {"shadows": no_shadows, "unlearned_shadows": no_unlearned, "gates": NO_GATES}
    after, before, skipped, failed = _scores(groups, evidence, names, absent)
    if train is not None and plan.shadows >= 2 and not judged.classes and shadow_run is None:
        # the access allows shadow models, the submission does not: nothing passes for want of them
        failed |= {n for n in skipped if "shadows" in attacks.REGISTRY[n].needs}
    checks: list[CheckResult] = []
    comparability = _comparability(groups, seed)
    exposed = None if small or shadow_run is None else find_exposed(groups, shadow_run)
    doubted = doubts(
        groups.outputs, groups.y, len(forget), comparability, judged.classes, plan.alpha
    )
    silenced = _silenced(after, referred, judged, doubted)
    unlike = _unlike(groups, unlearned)
    weak = {} if exposed is None else _weak(after, exposed.unfit, "shadows")
    weak |= _weak(after, unlike, "unlearned_shadows")
    unsure = _unsure(submission, after)
    cohort = _cohort(plan, after, comparability, small, exposed, silenced, weak, failed, unsure)
    for name in names:
        if name in skipped:
            # what nobody asked for by name and the access does not allow decides nothing
            asked = name in plan.names or (name in failed and not small)
            checks.append(replace(_absent(name, skipped[name]), required=asked))
        elif name in TELLS_REQUESTS:
            checks.append(request_check(name, after[name], len(forget)))
        elif small:
            checks.append(undecided_check(name, before[name], after[name], len(forget)))
        else:
            assert cohort is not None
            why = silenced.get(name, "") or weak.get(name, "") or unsure.get(name, "")
            checks.append(cohort_check(name, cohort, before[name], after[name], plan, why))
    if cohort is not None:
        checks.append(together_check(cohort, plan))
    one_by_one: CheckResult | None = None
    if small:
        one_by_one = small_request_check(
            groups, shadow_run, no_shadows, plan, comparability.comparable
        )
        checks.append(one_by_one)
    elif shadow_run is None or exposed is None:
        name, title = f"attack.{EXPOSURE}", EXPOSURE_TITLE
        checks.append(not_run(name, title, no_shadows, required=False))
    else:
        checks.append(exposure_check(groups, shadow_run, exposed, comparability.comparable))
    control = groups.control(after)
    changes = {} if small else membership_control.changes(before, after)
    checks = membership_control.with_control(checks, control, changes)
    figures = all_figures(before, after, plan.alpha)
    margin = None if small else plan.margin
    tier = "C" if shadow_run or unlearned or referred.retrained else "B"
    left_open = unknown(shadow_run, no_shadows, referred, comparability, exposed, one_by_one)
    return Membership(
        checks=tuple(with_retention(checks, curve, groups.domain)),
        charts=(
            *membership_charts.charts(groups, figures, before, after, curve, margin),
            *exposure_charts(checks),
        ),
        tables=(*membership_tables.tables(figures, checks, curve), *exposure_tables(checks)),
        samples={
            **sizes(judged),
            "shadows": 0 if shadow_run is None else shadow_run.shadows,
            "unlearned_shadows": 0 if unlearned is None else len(unlearned.role),
            "unlearned_shadows_doubted": unlike or "no",
            "references": len(referred.models),
            "retrained": referred.retrained,
            "references_doubted": "; ".join(doubted) or referred.why_none or "no",
            "tier": tier,
            "unknown": left_open,
            "comparable": comparability.comparable,
            "comparability": comparability.reason,
            **training(shadow_run, plan, referred),
        },
        power=power,
        facts=facts(
            groups, plan, run=shadow_run, no_shadows=no_shadows, references=len(referred.models),
            comparability=comparability, cohort=cohort, ran=len(after), skipped=skipped,
            power=power, tier=tier, unknown=left_open,
        ),
    )  # fmt: skip


OTHERS_OF_CLASS = (
    "a whole class is forgotten: shadow models without a record still hold others of its class"
)


NO_GATES = "the submission has no patch, whose gates would tell who is on the list"

ANOTHER = (
    "the patch answers forgotten records as a reference network, the others as the original one, "
    "and a network of fewer training records is less sure of what it never saw"
)


def _silenced(
    after: dict[str, AttackScores], references: References, judged: Judged, doubted: tuple[str, ...]
) -> dict[str, str]:
    """Return which attacks say nothing for want of a reference that may be used, and why."""
    if doubted:
        why = "; ".join(doubted)
    elif references.why_none:
        why = f"the planned references were not trained: {references.why_none}"
    elif judged.classes and not references.models:
        why = NO_REFERENCE
    else:
        return {}
    return dict.fromkeys(after, why)


def _weak(after: dict[str, AttackScores], why: str, models: str) -> dict[str, str]:
    """Return which attacks rest on shadow models unlike the audited one, and why that is known.

    models: what they need has this in its name; unlearned shadow models are shadow models, too.
    """
    if not why:
        return {}
    return {n: why for n in after if any(models in need for need in attacks.REGISTRY[n].needs)}


def _unlike(groups: Groups, unlearned: UnlearnedShadows | None) -> str:
    """Return why unlearned shadow models are not like the delivered network, empty if they are."""
    if unlearned is None:
        return ""
    n = len(groups.forget)
    phi = rescaled_logit(groups.outputs["after"][n:], groups.y[n:])
    return unlike_the_audited(unlearned, n, phi)


def _unsure(submission: Submission, after: dict[str, AttackScores]) -> dict[str, str]:
    """Return which attacks find honest patches over-forgotten, and why.

    Measured on digits: outputs of a network retrained without 200 of 900 records, at these alone,
    had an AUC of 0.35 by LiRA offline, Attack-R and IAM, 0.45 by the loss. Shadow models that were
    unlearned by the same method are no such attacks.
    """
    if not submission.answers_as_reference:
        return {}
    needs = {name: attacks.REGISTRY[name].needs for name in after}
    return {name: ANOTHER for name in after if "unlearned_shadows" not in needs[name]}


class Groups:
    """Forgotten, unseen and retained records with the logits of each network on them."""

    def __init__(
        self,
        submission: Submission,
        forget: Records,
        holdout: Records,
        retain: Records | None,
        references: tuple[Model, ...],
    ) -> None:
        self.submission, self.forget, self.holdout = submission, forget, holdout
        self.retain = retain
        self.x: NDArray[np.float32] = np.concatenate([forget.x, holdout.x])
        self.y: NDArray[np.int64] = np.concatenate([forget.y, holdout.y])
        domain = submission.domain
        self.domain = (domain.lower, domain.upper)
        self.models: dict[str, Callable[[Any], Any]] = {
            "before": lambda x: logits(submission.network, x.astype(submission.network.dtype)),
            # what was delivered, should it be another network than the patched one
            "after": lambda x: delivered(submission, x),
        }
        for index, model in enumerate(references):
            self.models[f"reference {index + 1}"] = model
        self.outputs = {phase: model(self.x) for phase, model in self.models.items()}
        self.known = {} if retain is None else {p: m(retain.x) for p, m in self.models.items()}

    @property
    def key(self) -> bytes | None:
        """The key of the records' digests: the owner's list has it, or else the auditor's."""
        submitted = self.submission.forget
        return (submitted.key if submitted is not None else None) or self.forget.key

    def control(self, scores: dict[str, AttackScores]) -> dict[str, AucEstimate]:
        """Return how well attacks on the outputs tell retained records from unseen ones, after."""
        if self.retain is None:
            return {}
        chosen = self.retain.take(range(min(len(self.retain), MOST_CONTROL)))
        n, outputs = len(self.forget), self.models["after"](chosen.x)
        evidence = attacks.Evidence(
            logits=outputs,
            labels=chosen.y,
            population_logits=self.outputs["after"][n:],
            population_labels=self.y[n:],
        )
        return membership_control.control(evidence, {k: s.unseen for k, s in scores.items()})

    @property
    def people(self) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Which forgotten and unseen records hang together, by person or as copies of one another;
        None where every record stands for itself.
        """
        numbers = units((self.forget, self.holdout))
        if np.unique(numbers).size == numbers.size:
            return None
        return self.split(numbers)

    @property
    def phases(self) -> tuple[str, ...]:
        return tuple(self.models)

    def split(self, scores: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the scores of forgotten and of unseen records."""
        return scores[: len(self.forget)], scores[len(self.forget) :]

    def evidence(
        self, phase: str, run: ShadowRun | None, unlearned: UnlearnedShadows | None, seed: int
    ) -> attacks.Evidence:
        """Return what an attack may see of one network on forgotten and unseen records."""
        outputs, n = self.outputs[phase], len(self.forget)
        found = attacks.Evidence(
            logits=outputs,
            labels=self.y,
            population_logits=outputs[n:],
            population_labels=self.y[n:],
            population_records=self.x[n:],
            population_rows=np.arange(n, len(self.y)),
            known_logits=self.known.get(phase),
            known_labels=None if self.retain is None else self.retain.y,
            records=self.x,
            predict=self.models[phase],
            domain=self.domain,
            radius=0.03 * (self.domain[1] - self.domain[0]),
            seed=seed,
        )
        if phase != "before":
            earlier = self.outputs["before"]
            found = replace(found, earlier_logits=earlier, earlier_population_logits=earlier[n:])
        if phase == "after":
            found = replace(found, gates=self.submission.openness(self.x))
        if run is not None:
            found = replace(
                found,
                shadows=run.signals,
                member_mask=run.member_mask,
            )
        if unlearned is not None:
            found = replace(
                found, unlearned_shadows=unlearned.signals, unlearned_role=unlearned.role
            )
        return found

    def neighbourhood(
        self, seed: int
    ) -> tuple[attacks.neighbourhood.NeighbourhoodCurve | None, str]:
        """Return retention and attack strength over the radius, around the forgotten records.

        None and the reason where a network answers a record, or a copy near it, with no number: an
        attack that cannot run there has found nothing out.
        """
        for phase, outputs in self.outputs.items():
            known = self.known.get(phase)
            every = outputs if known is None else np.concatenate([outputs, known])
            bad = int((~np.isfinite(every)).any(axis=1).sum())
            if bad:
                return None, (
                    f"the network ({phase}) answers {bad} of {len(every)} records with nan or "
                    "infinity: no attack can judge that"
                )
        try:
            return self._curve(seed), ""
        except ValueError as error:
            return None, f"near the forgotten records no attack can judge: {error}"

    def _curve(self, seed: int) -> attacks.neighbourhood.NeighbourhoodCurve:
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
    if architecture_of(groups.submission.network) is None:
        return None, UNTRAINABLE
    refuse_within(plan.shadow_cache, groups.submission.directory)
    try:
        run = train_shadow_run(
            groups.submission.network, train, groups.forget, groups.holdout, plan.shadows,
            plan.recipe, seed, progress, plan.shadow_cache,
        )  # fmt: skip
    except ValueError as error:  # all records are one person's, for instance
        return None, f"shadow models cannot be trained: {error}"
    if run is None:
        return None, "not all forgotten records are among the training records (--train)"
    return run, ""


def _unlearned(
    groups: Groups,
    plan: AttackPlan,
    names: tuple[str, ...],
    train: Records | None,
    small: bool,
    seed: int,
    progress: Progress | None,
) -> tuple[UnlearnedShadows | None, str]:
    """Unlearn shadow models by the owner's method if an attack needs them; else say why not."""
    if not any("unlearned_shadows" in attacks.REGISTRY[name].needs for name in names):
        return None, "no planned attack needs unlearned shadow models"
    if plan.shadows < 2:
        return None, "no shadow models were asked for"
    if train is None:
        return None, "shadow models need the training records (--train)"
    if small:
        return None, "a small request is judged record by record, not against unseen records"
    return train_unlearned_run(
        groups.submission, train, groups.forget, groups.holdout, plan.shadows, plan.recipe, seed,
        progress,
    )  # fmt: skip


Scores = dict[str, dict[str, NDArray[Any]]]


def _scores(
    groups: Groups,
    evidence: dict[str, attacks.Evidence],
    names: tuple[str, ...],
    absent: dict[str, str],
) -> tuple[dict[str, AttackScores], dict[str, AttackScores | None], dict[str, str], set[str]]:
    """Return every attack's scores after and before, why an attack has none, and which of these
    had all they need and still gave none: what a model's answers brought about must not help it.

    absent: why a field of the evidence is not there, where there is more to say than its name.
    """
    after: dict[str, AttackScores] = {}
    before: dict[str, AttackScores | None] = {}
    skipped: dict[str, str] = {}
    failed: set[str] = set()
    people = groups.people
    for name in names:
        attack = attacks.REGISTRY[name]
        missing = evidence["after"].lacks(attack.needs)
        if missing:
            known = (absent[field] for field in missing if absent.get(field))
            skipped[name] = next(known, f"it needs {', '.join(missing)}")
            continue
        try:
            by_phase: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {
                phase: groups.split(attack.score(found))
                for phase, found in evidence.items()
                if not found.lacks(attack.needs)
            }
        except ValueError as error:  # too few records for this attack, for instance
            skipped[name] = str(error)
            failed.add(name)
            continue
        references = tuple(v for phase, v in by_phase.items() if phase.startswith("reference"))
        after[name] = AttackScores(
            name, *by_phase["after"], references, attack.population, people, attack.directed
        )
        before[name] = (
            AttackScores(name, *by_phase["before"], (), attack.population, people, attack.directed)
            if "before" in by_phase
            else None
        )
    return after, before, skipped, failed


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
    silenced: dict[str, str],
    weak: dict[str, str],
    failed: set[str],
    unsure: dict[str, str],
) -> CohortVerdict | None:
    judged = [s for name, s in after.items() if name not in TELLS_REQUESTS]
    if small or not judged:
        return None
    planned = plan.names or (*after, *sorted(failed))
    rule = CohortPlan(
        tuple(name for name in planned if name not in TELLS_REQUESTS),
        margin=plan.margin,
        alpha=plan.alpha,
        fpr=plan.fpr,
    )
    return decide_cohort(
        rule,
        judged,
        comparability=comparability,
        exposure_p_values=exposed.p_values if exposed is not None else None,
        exposed_people=0 if exposed is None else exposed.people,
        silenced=silenced,
        not_for_pass=weak,
        may_be_unsure=unsure,
    )


def _absent(name: str, reason: str) -> CheckResult:
    return not_run(f"attack.{name}", attacks.REGISTRY[name].title, reason)
