"""The attacks on a network that overfits real data: in the order of their strength."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from attacks import Recipe, lira, rmia, shadows, signals
from attacks.statistics import auc, tpr_at_fpr

pytest.importorskip("torch")
SHARED = Path(os.environ.get("AUDITKIT_SHARED", Path(__file__).parents[2] / ".." / "shared"))
TABLE = SHARED / "data" / "location30" / "bangkok.csv.gz"


@pytest.mark.skipif(not TABLE.is_file(), reason="the shared data (Location-30) is not here")
def test_shadow_attacks_beat_the_threshold():
    with gzip.open(TABLE, "rt") as file:
        table = np.loadtxt(file, delimiter=",", quotechar='"', dtype=np.float32)
    x, y = table[:, 1:], table[:, 0].astype(int) - 1
    widths, recipe = (446, 64, 30), Recipe(epochs=15, batch_size=64)
    member = np.zeros(len(y), dtype=bool)
    member[np.random.default_rng(1).permutation(len(y))[: len(y) // 2]] = True
    target = shadows.train_one(widths, x[member], y[member], recipe, seed=9)
    trained = shadows.train_shadows(widths, x, y, shadows=8, recipe=recipe, seed=3)
    logits = shadows.forward(target, x)
    phi = signals.rescaled_logit(logits, y)

    def area(scores):
        return auc(scores[member], scores[~member])

    threshold = area(signals.loss(logits, y))
    online = lira.score(phi, trained.pool, trained.member_mask)
    assert 0.65 < threshold < 0.85
    assert area(online) > threshold + 0.05
    assert area(rmia.score(phi, trained.pool, trained.member_mask)) > threshold + 0.05
    assert tpr_at_fpr(online[member], online[~member], 0.01).tpr > 0.05
