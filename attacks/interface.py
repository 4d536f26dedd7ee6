"""What an attack is: a name, what it needs to see, and one score per record.

Every attack has its own module with a plain function of arrays, and an `Attack` that calls it with
the fields of an `Evidence`. So that one loop runs them all, one table tests them all, and a report
can say which attacks the access given did not allow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from numpy.typing import ArrayLike, NDArray

from attacks.arrays import FloatArray, vector
from attacks.signals import rescaled_logit

Predict = Callable[[NDArray[Any]], ArrayLike]  # records [B, ...] -> logits [B, C]


class CannotJudge(ValueError):
    """The evidence is sound and holds too little for this attack: it is skipped, with the reason.

    Every other ValueError means that the evidence itself is wrong.
    """


class Tier(StrEnum):
    """The access an attack needs."""

    OUTPUTS = "A"  # scores or outputs only
    MODEL = "B"  # the model, forgotten records, unseen records
    TRAINING = "C"  # also the training set and the recipe: shadow models, references


@dataclass(frozen=True)
class Evidence:
    """What an attack may look at; what is not available stays None.

    logits: [N, C], the audited model on the records judged. labels: int [N], their classes.
    target: [N], φ of the audited model; taken from logits and labels when None.
    population_logits, population_labels: [M, C], [M], the same for unseen records.
    population_target: [M], φ of the audited model on them; from the former when None.
    population_records: [M, ...], the unseen records themselves.
    population_rows: int [M], where each unseen record stands among the records judged, -1 where it
    does not: what is fitted on unseen records must not judge the very same ones.
    known_logits, known_labels: [R, C], [R], the same for records known to be members and not
    judged.
    earlier_logits, earlier_population_logits: [N, C], [M, C], of the model before the unlearning.
    shadows, member_mask: [K, N], φ of each shadow model, and whether it trained on the record.
    population_shadows: [K, M], φ of the same shadow models on the unseen records, which none of
    them trained on.
    records, predict: [N, ...] and the audited model as a function, for attacks that query it.
    radius, domain, copies, seed: of the perturbed copies.
    gates: [N], how far the gates of a patch open on each record, in [0, 1].
    unlearned_shadows: [K, N], φ of shadow models after unlearning. unlearned_role: int8 [K, N],
    what record n was to shadow k: 0 never seen, 1 trained on and unlearned, 2 trained on and kept.
    """

    logits: ArrayLike | None = None
    labels: ArrayLike | None = None
    target: ArrayLike | None = None
    population_logits: ArrayLike | None = None
    population_labels: ArrayLike | None = None
    population_target: ArrayLike | None = None
    population_records: NDArray[Any] | None = None
    population_rows: ArrayLike | None = None
    known_logits: ArrayLike | None = None
    known_labels: ArrayLike | None = None
    earlier_logits: ArrayLike | None = None
    earlier_population_logits: ArrayLike | None = None
    shadows: ArrayLike | None = None
    member_mask: ArrayLike | None = None
    population_shadows: ArrayLike | None = None
    records: NDArray[Any] | None = None
    predict: Predict | None = None
    radius: float = 0.05
    domain: tuple[float, float] = (0.0, 1.0)
    copies: int = 16
    seed: int = 0
    gates: ArrayLike | None = None
    unlearned_shadows: ArrayLike | None = None
    unlearned_role: ArrayLike | None = None

    def lacks(self, needs: tuple[str, ...]) -> tuple[str, ...]:
        """Return which of the named fields are not available."""
        return tuple(name for name in needs if not self._has(name))

    def _has(self, name: str) -> bool:
        if getattr(self, name) is not None:
            return True
        if name == "target":
            return self.logits is not None and self.labels is not None
        if name == "population_target":
            return self.population_logits is not None and self.population_labels is not None
        return False

    def phi(self) -> ArrayLike:
        """Return the target φ [N], from the logits when it was not given.

        Raises ValueError when neither is there.
        """
        return _phi(self.target, self.logits, self.labels, "target")

    def population_phi(self) -> ArrayLike:
        """Return φ of the unseen records [M], from their logits when it was not given.

        Raises ValueError when neither is there.
        """
        return _phi(
            self.population_target,
            self.population_logits,
            self.population_labels,
            "population_target",
        )


def _phi(
    given: ArrayLike | None, logits: ArrayLike | None, labels: ArrayLike | None, name: str
) -> ArrayLike:
    if given is not None:
        return given
    if logits is None or labels is None:
        raise ValueError(f"{name} is not given, nor the logits and labels it would come from")
    return rescaled_logit(logits, labels)


@dataclass(frozen=True)
class Attack:
    """One attack: how it is called, what it needs, and what its success would show.

    name: in kebab case. needs: fields of `Evidence`. population: whether it compares a record with
    other records alone, so that forgotten and unseen records must be alike for it to mean
    anything. directed: whether a high score speaks for membership, and not for any difference.
    claim: one sentence. source: paper and section.
    """

    name: str
    title: str
    tier: Tier
    needs: tuple[str, ...]
    claim: str
    source: str
    function: Callable[[Evidence], FloatArray]
    population: bool = True
    directed: bool = True

    def score(self, evidence: Evidence) -> FloatArray:
        """Return the attack's score per record, float64 [N], higher meaning member.

        Raises ValueError when the evidence lacks what the attack needs, or holds arrays that do not
        fit each other.
        """
        missing = evidence.lacks(self.needs)
        if missing:
            raise ValueError(f"attack {self.name} needs {', '.join(missing)}")
        return vector(self.function(evidence), f"scores of {self.name}")
