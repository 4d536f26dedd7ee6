"""What every attack with shadow models must keep to, whatever its formula."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks import base, bavaria, blocks, lira, reference, rmia

# every variant by a readable name, as a function of target, shadows and mask
VARIANTS = {
    **{
        f"lira {variant} {variance} {centre}": (
            lambda *a, v=variant, s=variance, c=centre: lira.score(
                *a, variant=v, variance=s, centre=c
            )
        )
        for variant in ("online", "offline-one-sided", "offline-density")
        for variance in ("pooled", "per-record", "shared", "global", "global-in")
        for centre in ("mean", "median")
        if variant == "online" or variance != "global-in"
    },
    **{
        f"rmia {v} {g}": lambda *a, v=v, g=g: rmia.score(*a, variant=v, gamma=g)
        for v in ("online", "offline")
        for g in (1.0, 2.0)
    },
    **{
        f"reference {v}": lambda *a, v=v: reference.score(*a, variant=v)
        for v in ("rank", "linear", "logit", "mean", "cautious")
    },
    **{
        f"base {v}": lambda *a, v=v: base.score(*a, variant=v)
        for v in ("online", "balanced", "offline")
    },
    **{
        f"bavaria {v} {p}": lambda *a, v=v, p=p: bavaria.score(*a, variant=v, predictive=p)
        for v in ("online", "offline")
        for p in ("student-t", "normal")
    },
}
# a higher φ of the target never lowers these
MONOTONE = [n for n in VARIANTS if n.split()[0] in ("rmia", "reference", "base")] + [
    n for n in VARIANTS if "one-sided" in n
]
# adding the same to every φ changes nothing in these
SHIFTED = [n for n in VARIANTS if n.split()[0] in ("lira", "bavaria")] + [
    "reference rank",
    "reference logit",
]


def _case(seed: int, k: int, n: int, spread: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every record has at least two shadow models on each side."""
    rng = np.random.default_rng(seed)
    mask = rng.random((k, n)) < 0.5
    mask[:2], mask[2:4] = True, False
    return rng.normal(1, spread, n), rng.normal(0, spread, (k, n)), mask


cases = st.builds(
    _case,
    st.integers(0, 2**32),
    st.integers(4, 9),
    st.integers(1, 12),
    st.sampled_from([0.5, 3.0, 30.0]),
)


def test_all_variants_are_there():
    assert len(VARIANTS) == 10 + 8 + 8 + 4 + 5 + 3 + 4


@pytest.mark.parametrize("name", MONOTONE)
@settings(max_examples=25, deadline=None)
@given(case=cases, step=st.floats(0.0, 20.0))
def test_a_higher_target_is_no_less_a_member(name, case, step):
    target, shadows, mask = case
    before = VARIANTS[name](target, shadows, mask)
    target = target.copy()
    target[0] += step
    assert VARIANTS[name](target, shadows, mask)[0] >= before[0] - 1e-15


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=25, deadline=None)
@given(case=cases, seed=st.integers(0, 2**32))
def test_the_order_of_shadow_models_does_not_matter(name, case, seed):
    target, shadows, mask = case
    order = np.random.default_rng(seed).permutation(len(shadows))
    expected = VARIANTS[name](target, shadows, mask)
    found = VARIANTS[name](target, shadows[order], mask[order])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", VARIANTS)
@settings(max_examples=15, deadline=None)
@given(case=cases, seed=st.integers(0, 2**32))
def test_the_order_of_records_does_not_matter(name, case, seed):
    target, shadows, mask = case
    order = np.random.default_rng(seed).permutation(target.size)
    expected = VARIANTS[name](target, shadows, mask)[order]
    found = VARIANTS[name](target[order], shadows[:, order], mask[:, order])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SHIFTED)
@settings(max_examples=25, deadline=None)
@given(case=cases, shift=st.floats(-50.0, 50.0))
def test_a_common_shift_does_not_matter(name, case, shift):
    target, shadows, mask = case
    expected = VARIANTS[name](target, shadows, mask)
    found = VARIANTS[name](target + shift, shadows + shift, mask)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", VARIANTS)
def test_results_do_not_depend_on_the_blocks(name, monkeypatch):
    target, shadows, mask = _case(6, 9, 1000, 3.0)
    shadows = shadows.astype(np.float32)
    found = []
    for width in (2, 7, 64, 333, 1000):
        monkeypatch.setattr(blocks, "BLOCK_VALUES", width * 9)
        found.append(VARIANTS[name](target, shadows, mask))
    for scores in found[1:]:
        np.testing.assert_array_equal(scores, found[0])


@pytest.mark.parametrize("name", VARIANTS)
def test_a_matrix_on_disk_is_read_as_it_is(name, tmp_path, monkeypatch):
    """Same scores as from memory, and no copy of the matrix in memory at any time."""
    k, n = 16, 20_000
    target, shadows, mask = _case(7, k, n, 3.0)
    shadows = shadows.astype(np.float32)
    np.save(tmp_path / "signals.npy", shadows)
    np.save(tmp_path / "mask.npy", mask)
    expected = VARIANTS[name](target, shadows, mask)
    monkeypatch.setattr(blocks, "BLOCK_VALUES", 1 << 12)
    monkeypatch.setattr(blocks, "CORES", 2)
    on_disk = np.load(tmp_path / "signals.npy", mmap_mode="r")
    inside = np.load(tmp_path / "mask.npy", mmap_mode="r")
    tracemalloc.start()
    found = VARIANTS[name](target, on_disk, inside)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found, expected)
    # a dozen arrays [N] in float64 and the blocks; the matrix alone would be [16 N]
    assert peak < 14 * 8 * n + 2 * 12 * 8 * 2 * blocks.BLOCK_VALUES


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int64])
def test_other_types_of_number(name, kind):
    target, shadows, mask = _case(8, 6, 20, 3.0)
    shadows = shadows.astype(kind)
    expected = VARIANTS[name](target, shadows.astype(np.float64), mask)
    np.testing.assert_array_equal(VARIANTS[name](target, shadows, mask), expected)
    np.testing.assert_array_equal(
        VARIANTS[name](target.tolist(), shadows.tolist(), mask.tolist()), expected
    )


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.float64])
def test_masks_of_zeros_and_ones(name, kind):
    target, shadows, mask = _case(9, 6, 20, 3.0)
    expected = VARIANTS[name](target, shadows, mask)
    np.testing.assert_array_equal(VARIANTS[name](target, shadows, mask.astype(kind)), expected)
    bad = mask.astype(kind)
    bad[5, 19] = 2
    with pytest.raises(ValueError, match="member_mask must hold booleans"):
        VARIANTS[name](target, shadows, bad)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_bad_cell_of_a_matrix_on_disk_is_refused(name, value, tmp_path):
    target, shadows, mask = _case(10, 6, 500, 3.0)
    shadows = shadows.astype(np.float32)
    shadows[4, 321] = value
    np.save(tmp_path / "signals.npy", shadows)
    with pytest.raises(ValueError, match=r"shadows holds 1 value"):
        VARIANTS[name](target, np.load(tmp_path / "signals.npy", mmap_mode="r"), mask)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shadows": [[1.0, 2.0], [1.0]]}, "shadows must be an array of numbers"),
        ({"shadows": np.array([["a", "b"]] * 4)}, "shadows must be an array of numbers"),
        ({"shadows": np.zeros(2)}, "shadows must have 2 dimension"),
        ({"shadows": np.zeros((0, 2))}, "shadows is empty"),
        ({"shadows": np.zeros((4, 3))}, r"shadows must be \[K, 2\]"),
        ({"member_mask": [[True, False], [True]]}, "member_mask must be an array"),
        ({"member_mask": np.array([["no", "yes"]] * 4)}, "member_mask must hold booleans"),
        ({"member_mask": np.full((4, 2), np.nan)}, "member_mask must hold booleans"),
        ({"member_mask": np.zeros((2, 4), bool)}, r"member_mask must be \(4, 2\)"),
        ({"target": []}, "target is empty"),
        ({"target": np.zeros((2, 1))}, "target must have 1 dimension"),
    ],
)
@pytest.mark.parametrize("name", VARIANTS)
def test_arrays_that_are_none(name, change, message):
    arguments = {
        "target": np.zeros(2),
        "shadows": np.zeros((4, 2)),
        "member_mask": np.array([[True, True], [True, True], [False, False], [False, False]]),
    } | change
    with pytest.raises(ValueError, match=message):
        VARIANTS[name](*arguments.values())


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("size", [80.0, 1e4, 1e30])
def test_extreme_signals_stay_finite(name, size):
    rng = np.random.default_rng(11)
    target = rng.choice([-size, -1.0, 0.0, size], 60)
    shadows = rng.choice([-size, 0.0, 1.0, size], (8, 60))
    mask = np.arange(8)[:, None] % 2 == (np.arange(60) % 2)[None]
    assert np.isfinite(VARIANTS[name](target, shadows, mask)).all()


@pytest.mark.parametrize("name", VARIANTS)
def test_constant_signals_stay_finite(name):
    mask = np.arange(8)[:, None] % 2 == (np.arange(20) % 2)[None]
    for value in (0.0, 0.1, 80.0, -80.0):
        scores = VARIANTS[name](np.full(20, value), np.full((8, 20), value), mask)
        assert np.isfinite(scores).all()
        assert np.ptp(scores) < 1e-9  # equal records score alike


def _works(name: str, shadows: int, inside: int) -> bool:
    """Whether a record with so many shadow models, so many of them IN, can be scored."""
    two = "per-record" in name or name in (
        "reference logit",
        "reference mean",
        "reference cautious",
    )
    least = 2 if two else 1
    needs_in = "offline" not in name and not name.startswith("reference")
    if name.startswith("bavaria") and not inside:
        return False  # its prior for IN comes from some record's IN models
    return shadows - inside >= least and (inside >= least or not needs_in)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize(("shadows", "inside"), [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (4, 2)])
def test_few_shadow_models_are_enough_or_refused(name, shadows, inside):
    rng = np.random.default_rng(12)
    target, signals = rng.normal(size=10), rng.normal(size=(shadows, 10))
    mask = np.zeros((shadows, 10), bool)
    mask[:inside] = True
    if _works(name, shadows, inside):
        assert np.isfinite(VARIANTS[name](target, signals, mask)).all()
    else:
        with pytest.raises(ValueError, match="shadow model"):
            VARIANTS[name](target, signals, mask)


@pytest.mark.parametrize("name", VARIANTS)
def test_one_record_that_all_shadow_models_saw_is_named(name):
    target, shadows, mask = _case(13, 6, 20, 1.0)
    mask[:, 7] = True
    with pytest.raises(ValueError, match=r"1 record\(s\) have too few OUT .* record 7 has 0"):
        VARIANTS[name](target, shadows, mask)
