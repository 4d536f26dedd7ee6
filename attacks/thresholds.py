"""Signal thresholds: the record is called a member when one signal of one output is high.

The weakest attacks and the cheapest; what they find, anyone with the model finds.
"""

from __future__ import annotations

from attacks.arrays import FloatArray
from attacks.interface import Attack, Evidence, Tier
from attacks.signals import Signal, confidence, entropy, loss, margin, modified_entropy

_NEEDS = ("logits", "labels")


def _attack(name: str, title: str, signal: Signal, claim: str, source: str) -> Attack:
    def function(evidence: Evidence) -> FloatArray:
        assert evidence.logits is not None and evidence.labels is not None
        return signal(evidence.logits, evidence.labels)

    return Attack(name, title, Tier.MODEL, _NEEDS, claim, source, function)


LOSS = _attack(
    "loss",
    "Loss threshold",
    loss,
    "The model's loss is lower on forgotten records than on unseen ones.",
    "Yeom et al. 2018",
)
CONFIDENCE = _attack(
    "confidence",
    "Confidence threshold",
    confidence,
    "The model is surer of its answer on forgotten records than on unseen ones.",
    "Salem et al. 2019, adversary 3",
)
ENTROPY = _attack(
    "entropy",
    "Entropy threshold",
    entropy,
    "The model's answer is less spread over the classes on forgotten records than on unseen ones.",
    "Shokri et al. 2017; Song and Mittal 2021, equation 7",
)
MODIFIED_ENTROPY = _attack(
    "modified-entropy",
    "Modified entropy threshold",
    modified_entropy,
    "The model's answer is less spread, and right, more often on forgotten records than on unseen.",
    "Song and Mittal 2021, equation 8",
)
MARGIN = _attack(
    "margin",
    "Margin threshold",
    margin,
    "The label's logit leads the next one by more on forgotten records than on unseen ones.",
    "Carlini et al. 2022, section VI-A",
)
