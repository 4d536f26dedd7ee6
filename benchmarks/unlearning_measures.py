"""What is measured of an unlearned model, always beside a model retrained without the records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch.nn import functional as F
from unlearning_cases import Case

import attacks
from attacks.shadows import Recipe as ShadowRecipe
from attacks.shadows import train_shadows
from attacks.statistics.auc import auc_estimate
from auditkit.audit.shadow_network import architecture_of
from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.unlearning.backdoor import challenge, success
from auditkit.unlearning.interface import Scenario
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import largest_of, optimizer_of, step, tensors
from auditkit.unlearning.two_sample import energy_test

Predict = Callable[[NDArray[Any]], NDArray[Any]]

FIELDS = {
    *("logits", "labels", "target", "population_logits", "population_labels"),
    *("population_target", "population_rows", "shadows", "member_mask"),
}
"""What the attacks of the comparison may see: outputs and shadow models, no queries."""
MOST_STEPS = 300  # of relearning
RELEARNED = (1.1, 0.01)  # times the original's loss on the forgotten records, and on top of it


@dataclass(frozen=True, eq=False)
class Judge:
    """One case with what its measurements share: shadow models, the unseen records to compare."""

    case: Case
    shadows: tuple[NDArray[np.float32], NDArray[np.bool_]] | None

    @cached_property
    def asked(self) -> Records | None:
        """Unseen records with the trigger, of those that no method was given."""
        trigger = self.case.request.trigger
        return None if trigger is None else challenge(self.case.judge, trigger)

    @cached_property
    def like_forgotten(self) -> Records:
        """Unseen records that the forgotten ones are compared with by attacks."""
        request, judge = self.case.request, self.case.judge
        if self.asked is not None:
            return self.asked
        if request.scenario is Scenario.CLASS:
            return judge.take(np.isin(judge.y, request.forget.y))
        return judge

    @cached_property
    def of_kept_classes(self) -> Records:
        """Unseen records of classes that stay."""
        request, judge = self.case.request, self.case.judge
        if request.scenario is not Scenario.CLASS:
            return judge
        return judge.take(~np.isin(judge.y, request.forget.y))

    def figures(self, predict: Predict) -> dict[str, Any]:
        """Return accuracies, trigger success, membership inference and the two-sample test."""
        request = self.case.request
        forget = request.forget
        found: dict[str, Any] = {
            "forgotten": accuracy(predict, forget),
            "retained": accuracy(predict, request.retain),
            "unseen": accuracy(predict, self.of_kept_classes),
        }
        if request.scenario is Scenario.CLASS:
            found["unseen_of_class"] = accuracy(predict, self.like_forgotten)
        if self.asked is not None:
            found["trigger"] = success(predict, self.asked)
        found["membership"] = self.membership(predict)
        found["two_sample_p"] = self.two_sample(predict)
        return found

    def membership(self, predict: Predict) -> dict[str, Any] | None:
        """Return the attack with the greatest AUC, its interval at 95 % over all that were tried.

        Of a single forgotten record, its rank among shadow models that never saw it.
        """
        forget, unseen = self.case.request.forget, self.like_forgotten
        if len(forget) < 2:
            return self._rank(predict)
        x = np.concatenate([forget.x, unseen.x])
        y = np.concatenate([forget.y, unseen.y])
        n = len(forget)
        logits = np.asarray(predict(x), dtype=np.float64)
        evidence = attacks.Evidence(
            logits=logits, labels=y, population_logits=logits[n:], population_labels=y[n:],
            population_rows=np.arange(n, len(y)),
            **self._shadow_fields(n, len(unseen)),
        )  # fmt: skip
        scores = {}
        for name, attack in attacks.REGISTRY.items():
            if set(attack.needs) - FIELDS or evidence.lacks(attack.needs):
                continue
            if not attack.directed or (self.case.request.kind == "cluster" and attack.population):
                continue  # any difference, or that of one cluster from all other records
            try:
                scores[name] = attack.score(evidence)
            except ValueError:  # too few records for this attack
                continue
        confidence = 1.0 - 0.05 / len(scores)
        estimates = {k: auc_estimate(s[:n], s[n:], confidence) for k, s in scores.items()}
        name = max(estimates, key=lambda k: estimates[k].auc)
        best = estimates[name]
        return {
            "attack": name,
            "auc": best.auc,
            "interval": [best.lower, best.upper],
            "tried": len(scores),
        }

    def two_sample(self, predict: Predict) -> float | None:
        """Return the p-value of the energy test on logits of forgotten and unseen records.

        For a subset within each label; for a class or a backdoor against unseen records of all
        other labels.
        """
        forget = self.case.request.forget
        if len(forget) < 2:
            return None
        judge = self.case.judge
        if self.case.request.scenario is Scenario.SUBSET:
            return energy_test(predict(forget.x), predict(judge.x), (forget.y, judge.y)).p_value
        rest = judge.take(~np.isin(judge.y, forget.y))
        return energy_test(predict(forget.x), predict(rest.x)).p_value

    def _rank(self, predict: Predict) -> dict[str, Any] | None:
        if self.shadows is None:
            return None
        signals, mask = self.shadows
        row = int(np.flatnonzero(self.case.request.chosen)[0])
        forget = self.case.request.forget
        phi = float(attacks.signals.rescaled_logit(predict(forget.x), forget.y)[0])
        out = signals[~mask[:, row], row]
        return {"rank_p": float((1 + (out >= phi).sum()) / (len(out) + 1)), "out": len(out)}

    def _shadow_fields(self, n: int, unseen: int) -> dict[str, Any]:
        if self.shadows is None:
            return {}
        signals, mask = self.shadows
        trained = len(self.case.request.train)
        rows = np.concatenate(
            [np.flatnonzero(self.case.request.chosen), np.arange(trained, trained + unseen)]
        )
        assert len(rows) == n + unseen
        return {"shadows": signals[:, rows], "member_mask": mask[:, rows]}


def shadow_scores(case: Case) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return φ [K, N] of shadow models on training and then judged records, and who trained."""
    setting, train = case.setting, case.request.train
    x = np.concatenate([train.x, case.judge.x])
    y = np.concatenate([train.y, case.judge.y])
    generator = np.random.default_rng([case.seed, 71])
    count = setting.shadows
    # as many records as the original had, each in half of the models as nearly as can be
    share = len(train) / len(y)
    ranks = generator.permuted(np.tile(np.arange(count), (len(y), 1)), axis=1).T
    mask = ranks < round(count * share)
    recipe = ShadowRecipe(**vars(setting.recipe))
    kind = architecture_of(setting.architecture)
    assert kind is not None
    run = train_shadows(kind, x, y, shadows=count, recipe=recipe, seed=case.seed, member_mask=mask)
    return run.pool, run.member_mask


def accuracy(predict: Predict, records: Records) -> float:
    """Return the share of records answered with their label."""
    return float((np.asarray(predict(records.x)).argmax(axis=1) == records.y).mean())


def apart(one: Predict, other: Predict, records: Records) -> float:
    """Return the mean total-variation distance of two models' softmax answers."""
    p, q = (softmax(np.asarray(m(records.x), dtype=np.float64), axis=1) for m in (one, other))
    return float(0.5 * np.abs(p - q).sum(axis=1).mean())


def relearning(case: Case, network: Network) -> int:
    """Return the training steps on the forgotten records until they are as sure as before.

    Sure: a mean loss of 1.1 times the original's and 0.01 on top. Batches, optimiser and learning
    rate are the original's; MOST_STEPS where it takes as many or more.
    """
    forget, recipe = case.request.forget, case.setting.recipe
    goal = RELEARNED[0] * _loss(Trainable(case.network), forget) + RELEARNED[1]
    model = Trainable(network, largest=largest_of(forget))
    x, y = tensors(model, forget)
    optimizer = optimizer_of(model, recipe)
    generator = np.random.default_rng([case.seed, 72])
    done = 0
    while done < MOST_STEPS:
        order = generator.permutation(len(y))
        for start in range(0, len(y), recipe.batch_size):
            if _loss(model, forget) <= goal:
                return done
            rows = order[start : start + recipe.batch_size]
            step(optimizer, F.cross_entropy(model(x[rows]), y[rows]))
            done += 1
    return MOST_STEPS


def _loss(model: Trainable, records: Records) -> float:
    with torch.no_grad():
        x, y = tensors(model, records)
        return float(F.cross_entropy(model(x), y))
