"""U-LiRA, RULI and IAM against scipy's densities on arrays small enough to check by hand."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import gumbel_r, norm

from attacks import Evidence, attack, iam, ruli, u_lira
from attacks.statistics import auc

TARGET = np.array([3.0, 0.5])
SIGNALS = np.array([[4.0, 0.0], [2.0, 1.0], [1.0, 3.0], [-1.0, 2.0], [9.0, 9.0]])
ROLE = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [2, 2]])
# record 0: unlearned 4, 2 (mean 3, sd 1), never 1, -1 (mean 0, sd 1); kept 9 counts for nothing
# record 1: unlearned 3, 2 (mean 2.5, sd 0.5), never 0, 1 (mean 0.5, sd 0.5)
SD = {
    "per-record": (np.array([1.0, 0.5]), np.array([1.0, 0.5])),
    "pooled": (np.sqrt(2.5 / 4), np.sqrt(2.5 / 4)),
    "shared": (np.sqrt(5 / 8), np.sqrt(5 / 8)),
    "global": (np.std([4, 2, 3, 2]), np.std([1, -1, 0, 1])),
}


@pytest.mark.parametrize("variance", SD)
def test_u_lira(variance):
    s_u, s_n = SD[variance]
    expected = norm.logpdf(TARGET, [3.0, 2.5], s_u) - norm.logpdf(TARGET, [0.0, 0.5], s_n)
    np.testing.assert_allclose(u_lira.score(TARGET, SIGNALS, ROLE, variance=variance), expected)


def test_shared_variance_weighs_both_roles_by_their_signals():
    role = np.array([[1, 1], [0, 0], [0, 0], [2, 2], [2, 2]])
    # deviations: unlearned none (2 signals); never 2, 1 about 1.5 and 1, 3 about 2
    sigma = np.sqrt((0.5 + 2.0) / 6)
    expected = norm.logpdf(TARGET, [4.0, 0.0], sigma) - norm.logpdf(TARGET, [1.5, 2.0], sigma)
    np.testing.assert_allclose(u_lira.score(TARGET, SIGNALS, role, variance="shared"), expected)


WIDTH = {
    "unit": (1.0, 1.0),
    "scott": (np.sqrt(2.5 / 4) * 2**-0.2, np.sqrt(2.5 / 4) * 2**-0.2),
    "per-record": (1.0 * 2**-0.2, 0.5 * 2**-0.2),
}


@pytest.mark.parametrize("bandwidth", WIDTH)
def test_ruli(bandwidth):
    heaps = [(([4.0, 2.0]), [1.0, -1.0]), ([3.0, 2.0], [0.0, 1.0])]
    expected = [
        np.log(norm.pdf(x, unlearned, h).mean()) - np.log(norm.pdf(x, never, h).mean())
        for x, (unlearned, never), h in zip(TARGET, heaps, WIDTH[bandwidth], strict=True)
    ]
    np.testing.assert_allclose(ruli.score(TARGET, SIGNALS, ROLE, bandwidth=bandwidth), expected)


def test_ruli_stays_finite_far_away_and_orders_there():
    far = np.array([[500.0, 700.0], [0.0, 0.0]])
    scores = np.stack([ruli.score(x, SIGNALS, ROLE) for x in far.T])
    assert np.isfinite(scores).all() and scores[1, 0] > scores[0, 0] > 100


def test_ruli_sees_two_heaps_where_a_normal_sees_one():
    """Half of the models reset the record to -6, half leave it at 6; never seen: about 0."""
    rng = np.random.default_rng(2)
    n, k = 300, 40
    role = np.tile(np.repeat([[0], [1]], k // 2, axis=0), (1, n))
    heaps = rng.choice([-6.0, 6.0], size=(k, n))
    signals = np.where(role == 1, heaps, 0.0) + rng.normal(size=(k, n))
    member = np.arange(n) < n // 2
    target = np.where(member, rng.choice([-3.0, 3.0], size=n), 0.0) + rng.normal(size=n) * 0.5
    scores = ruli.score(target, signals, role)
    assert auc(scores[member], scores[~member]) > 0.95


def _loss(phi):
    return np.log1p(np.exp(-np.asarray(phi)))


MASK = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=bool)


@pytest.mark.parametrize("family", ["gumbel", "normal"])
def test_iam_online(family):
    s, others = -np.log(_loss(TARGET)), -np.log(_loss(SIGNALS[:4]))
    out = np.array([others[2:, 0], others[:2, 1]])
    fit = np.array([others[:2, 0].mean(), others[2:, 1].mean()])
    sigma = np.sqrt((out.var(axis=1).sum()) / 2)
    expected = []
    for i in range(2):
        parts = []
        for alpha in (0.0, 0.5):  # three steps: 0, 0.5 and 1, the last without a spread
            mean, sd = (1 - alpha) * out[i].mean() + alpha * fit[i], (1 - alpha) * sigma
            beta = sd * np.sqrt(6) / np.pi
            parts.append(
                norm.cdf(s[i], mean, sd)
                if family == "normal"
                else gumbel_r.cdf(s[i], mean - np.euler_gamma * beta, beta)
            )
        expected.append((0.5 * parts[0] + 1.0 * parts[1]) / 1.5)
    found = iam.score(TARGET, SIGNALS[:4], MASK, family=family, steps=3)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_iam_offline_takes_one_shadow_model_and_no_member():
    shadows = np.array([[0.0, 2.0]])
    s, out = -np.log(0.01 + _loss(TARGET)), -np.log(0.01 + _loss(shadows[0]))
    expected = norm.cdf(s, out, out.std())  # two steps: no interpolation
    found = iam.score(
        TARGET, shadows, np.zeros((1, 2), bool), variant="offline", variance="global",
        family="normal", steps=2,
    )  # fmt: skip
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("family", ["gumbel", "normal"])
def test_iam_distributions_have_the_moments_they_are_given(family):
    mean = quad(lambda z: 1 - iam._cdf(np.array([z]), family)[0], 0, 60)[0]
    mean -= quad(lambda z: iam._cdf(np.array([z]), family)[0], -60, 0)[0]
    square = 2 * quad(lambda z: z * (1 - iam._cdf(np.array([z]), family)[0]), 0, 60)[0]
    square -= 2 * quad(lambda z: z * iam._cdf(np.array([z]), family)[0], -60, 0)[0]
    assert mean == pytest.approx(0, abs=1e-6) and square == pytest.approx(1, rel=1e-6)


def test_iam_is_between_0_and_1_and_rises_with_the_fit():
    grid = np.linspace(-900, 900, 400)
    shadows = np.array([[0.0], [1.0], [5.0], [6.0]]).repeat(len(grid), axis=1)
    mask = np.array([[0], [0], [1], [1]], dtype=bool).repeat(len(grid), axis=1)
    for variant in ("online", "offline"):
        found = iam.score(grid, shadows, mask, variant=variant)
        assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1
        assert (np.diff(found) >= 0).all() and found[-1] > 0.9 > 0.1 > found[0]


def test_what_unlearning_leaves_is_found_and_nothing_is_not():
    """φ: never d, kept d + 4, unlearned d + left; d the record's own difficulty."""
    rng = np.random.default_rng(0)
    n, k = 600, 24
    role = rng.permuted(np.tile(np.repeat([[0], [1], [2]], 8, axis=0), (1, n)), axis=0)
    difficulty, member = rng.normal(0, 5, n), np.arange(n) < n // 2
    for left, low, high in ((2.0, 0.85, 1.0), (-2.0, 0.85, 1.0), (0.0, 0.43, 0.57)):
        signals = difficulty + np.choose(role, [0.0, left, 4.0]) + rng.normal(size=(k, n))
        target = difficulty + left * member + rng.normal(size=n)
        for module in (u_lira, ruli):
            scores = module.score(target, signals, role)
            assert low < auc(scores[member], scores[~member]) <= high, (module, left)


@pytest.mark.parametrize("module", [u_lira, ruli])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unlearned_role": np.where(ROLE == 1, 2, ROLE)}, "too few shadow models that unlearned"),
        ({"unlearned_role": np.where(ROLE == 0, 2, ROLE)}, "too few shadow models that never saw"),
        ({"unlearned_role": ROLE[:2]}, "unlearned_role must be"),
        ({"unlearned_role": ROLE + 1}, "must hold 0, 1 or 2"),
        ({"unlearned_role": ROLE * 0.5}, "must hold 0, 1 or 2"),
        ({"unlearned_shadows": SIGNALS[:, :1]}, "unlearned_shadows must be"),
        ({"unlearned_shadows": SIGNALS * np.nan}, "unlearned_shadows holds 10"),
        ({"target": np.array([np.nan, 0.0])}, "target holds 1"),
    ],
)
def test_refuses(module, change, message):
    arguments = {"target": TARGET, "unlearned_shadows": SIGNALS, "unlearned_role": ROLE} | change
    with pytest.raises(ValueError, match=message):
        module.score(**arguments)


def test_per_record_spreads_want_two_of_each_role():
    role = ROLE.copy()
    role[0, 0] = 2
    for call in (
        lambda: u_lira.score(TARGET, SIGNALS, role, variance="per-record"),
        lambda: ruli.score(TARGET, SIGNALS, role, bandwidth="per-record"),
    ):
        with pytest.raises(ValueError, match="record 0 has 1, at least 2 needed"):
            call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "both"}, "variant must be one of"),
        ({"family": "beta"}, "family must be one of"),
        ({"variance": "shared"}, "variance must be one of"),
        ({"steps": 1}, "steps must be at least 2"),
        ({"member_mask": np.zeros_like(MASK)}, "too few IN shadow models"),
        ({"member_mask": np.array([[1, 0], [1, 0], [1, 1], [0, 1]])}, "record 0 has 1, at least 2"),
        ({"target": np.array([np.inf, 0.0])}, "target holds 1"),
    ],
)
def test_iam_refuses(change, message):
    arguments = {"target": TARGET, "shadows": SIGNALS[:4], "member_mask": MASK} | change
    with pytest.raises(ValueError, match=message):
        iam.score(**arguments)


@pytest.mark.parametrize("module", [u_lira, ruli])
def test_equal_signals_stay_finite(module):
    scores = module.score(TARGET, np.zeros((5, 2)), ROLE)
    assert np.isfinite(scores).all()


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="variance must be one of"):
        u_lira.score(TARGET, SIGNALS, ROLE, variance="fixed")
    with pytest.raises(ValueError, match="bandwidth must be one of"):
        ruli.score(TARGET, SIGNALS, ROLE, bandwidth="silverman")


@pytest.mark.parametrize("name", ["u-lira", "ruli"])
def test_the_attack_is_its_function(name):
    evidence = Evidence(target=TARGET, unlearned_shadows=SIGNALS, unlearned_role=ROLE)
    module = {"u-lira": u_lira, "ruli": ruli}[name]
    np.testing.assert_array_equal(attack(name).score(evidence), module.score(TARGET, SIGNALS, ROLE))
    with pytest.raises(ValueError, match=f"attack {name} needs unlearned_role"):
        attack(name).score(Evidence(target=TARGET, unlearned_shadows=SIGNALS))
