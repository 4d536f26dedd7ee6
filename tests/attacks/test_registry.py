"""One table: every attack through the common signature."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

import attacks
from attacks import REGISTRY, Attack, Evidence, Tier
from attacks.statistics import auc

N, M, K, C = 120, 200, 8, 5
MEMBER = np.arange(N) < N // 2


def _evidence() -> Evidence:
    """Members get 3 on the logit of their label, in target and shadow models alike."""
    rng = np.random.default_rng(5)
    labels, z_labels = rng.integers(0, C, N), rng.integers(0, C, M)
    base = rng.normal(size=(N, C))
    boost = np.eye(C)[labels] * 3.0
    logits = base + boost * MEMBER[:, None]
    mask = attacks.shadows.paired_masks(K, N, seed=0)
    phi = attacks.signals.rescaled_logit
    noise = rng.normal(size=(K, N, C)) * 0.3
    shadows = np.stack([phi(base + noise[k] + boost * mask[k][:, None], labels) for k in range(K)])
    role = np.array([2, 1, 0, 0, 2, 1, 0, 0], dtype=np.int8)[:, None].repeat(N, axis=1)
    left = np.array([0.0, 2.0, 3.0])  # of the boost, after unlearning
    unlearned = np.stack(
        [
            phi(base + rng.normal(size=(N, C)) * 0.3 + np.eye(C)[labels] * left[r][:, None], labels)
            for r in role
        ]
    )
    z_base = rng.normal(size=(M, C))
    unseen = np.flatnonzero(~MEMBER)  # are among the population
    z_base[: unseen.size], z_labels[: unseen.size] = logits[unseen], labels[unseen]
    z_shadows = np.stack([phi(z_base + rng.normal(size=(M, C)) * 0.3, z_labels) for _ in range(K)])

    known = rng.normal(size=(M, C)) + 3.0 * np.eye(C)[z_labels]

    def predict(x: np.ndarray) -> np.ndarray:
        return x * 20.0

    return Evidence(
        logits=logits,
        labels=labels,
        population_logits=z_base,
        population_labels=z_labels,
        population_rows=np.concatenate([unseen, np.full(M - unseen.size, -1)]),
        known_logits=known,
        known_labels=z_labels,
        earlier_logits=logits + boost * MEMBER[:, None],
        shadows=shadows,
        member_mask=mask,
        population_shadows=z_shadows,
        records=np.clip(logits / 20.0, 0.0, 1.0),
        predict=predict,
        radius=0.01,
        gates=np.where(MEMBER, 0.9, 0.0),
        unlearned_shadows=unlearned,
        unlearned_role=role,
    )


EVIDENCE = _evidence()
EXPECTED = {
    "loss",
    "confidence",
    "entropy",
    "modified-entropy",
    "margin",
    "population",
    "lira-online",
    "lira-offline",
    "rmia",
    "reference-rank",
    "base",
    "bavaria",
    "neighbourhood",
    "patch-support",
    "u-lira",
    "ruli",
    "iam",
    "quantile",
    "learned",
    "learned-direct",
    "gap",
    "augmentation",
    "boundary",
    "difference",
}


def test_names():
    assert set(REGISTRY) == EXPECTED
    assert all(name == a.name for name, a in REGISTRY.items())
    with pytest.raises(ValueError, match="no attack is called 'lose'; there are loss"):
        attacks.attack("lose")


@pytest.mark.parametrize("name", REGISTRY)
def test_scores_members_higher(name):
    scores = REGISTRY[name].score(EVIDENCE)
    assert scores.shape == (N,) and scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert auc(scores[MEMBER], scores[~MEMBER]) > 0.7
    np.testing.assert_array_equal(scores, REGISTRY[name].score(EVIDENCE))


@pytest.mark.parametrize("name", REGISTRY)
def test_says_what_it_needs(name):
    with pytest.raises(ValueError, match=f"attack {name} needs "):
        REGISTRY[name].score(Evidence())


@pytest.mark.parametrize("name", REGISTRY)
def test_refuses_nan_in_what_it_reads(name):
    bad = {
        field: np.asarray(getattr(EVIDENCE, field), dtype=float) * np.nan
        for field in (
            "logits",
            "population_logits",
            "shadows",
            "population_shadows",
            "gates",
            "unlearned_shadows",
        )
    }
    evidence = dataclasses.replace(EVIDENCE, **bad, records=EVIDENCE.records * np.nan)
    with pytest.raises(ValueError):
        REGISTRY[name].score(evidence)


@pytest.mark.parametrize("name", REGISTRY)
def test_describes_itself(name):
    a = REGISTRY[name]
    assert isinstance(a, Attack) and isinstance(a.tier, Tier)
    assert a.claim.endswith(".") and a.source and a.title and a.needs
    known = {f.name for f in dataclasses.fields(Evidence)}
    assert set(a.needs) <= known


def test_population_shadows_need_their_target():
    evidence = dataclasses.replace(EVIDENCE, population_logits=None)
    with pytest.raises(ValueError, match="population_target is not given"):
        REGISTRY["rmia"].score(evidence)


def test_import_leaves_torch_alone():
    code = "import sys, attacks; sys.exit('torch' in sys.modules or 'auditkit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
