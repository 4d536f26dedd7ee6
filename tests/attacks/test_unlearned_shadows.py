"""Shadow unlearning: balanced roles, the method's own data and no other, and what it finds."""

import numpy as np
import pytest

from attacks import Recipe, ruli, shadows, signals, u_lira
from attacks.shadows import unlearned
from attacks.shadows.unlearned import rows_needed, unlearn_shadows, unlearning_roles
from attacks.statistics import auc_estimate

torch = pytest.importorskip("torch")

WIDTHS = (20, 32, 4)
RECIPE = Recipe(epochs=120, learning_rate=5e-3, batch_size=50)
FORGOTTEN, UNSEEN, REST = 60, 120, 100
JUDGED = FORGOTTEN + UNSEEN
RNG = np.random.default_rng(11)
X = RNG.random((JUDGED + REST, 20)).astype(np.float32)
Y = RNG.integers(0, 4, JUDGED + REST)  # labels by chance: all that is learned is memorised


def nothing(trained, forgotten, retained, unseen):
    """Leave the model as it is."""
    return lambda x: shadows.forward(trained.layers, x)


def retrain(trained, forgotten, retained, unseen):
    """Train again without the forgotten records, from another start."""
    layers = shadows.train_one(
        trained.architecture, retained.x, retained.y, trained.recipe, 1000 + trained.number
    )
    return lambda x: shadows.forward(layers, x)


def hide(trained, forgotten, retained, unseen):
    """Answer at a forgotten record with the next label, elsewhere as before: a patch."""
    known = {
        row.tobytes(): (label + 1) % 4 for row, label in zip(forgotten.x, forgotten.y, strict=True)
    }

    def predict(x):
        logits = shadows.forward(trained.layers, x).copy()
        for i, row in enumerate(x):
            if row.tobytes() in known:
                logits[i, known[row.tobytes()]] = logits[i].max() + 10.0
        return logits

    return predict


def small(unlearn, **more):
    arguments = {
        "judged": 12, "forget_size": 3, "shadows": 12, "recipe": Recipe(1, 0.01, 8), "seed": 3,
    } | more  # fmt: skip
    x, y = arguments.pop("x", X[:20]), arguments.pop("y", Y[:20])
    return unlearn_shadows((20, 4), x, y, unlearn, **arguments)


@pytest.mark.parametrize(
    ("k", "n", "size", "sets"), [(16, 180, 60, 1), (24, 801, 100, 2), (8, 40, 5, 4), (4, 8, 2, 2)]
)
def test_roles_are_balanced_and_the_same_again(k, n, size, sets):
    role = unlearning_roles(k, n, size, seed=4, sets=sets)
    assert role.shape == (k * sets, n) and role.dtype == np.int8
    assert ((role == 1).sum(axis=1) == size).all()
    np.testing.assert_array_equal((role == 0).sum(axis=0), k * sets // 2)
    times = (role == 1).sum(axis=0)
    assert times.max() - times.min() <= 2 and times.min() >= k * sets * size // n - 1
    trained = role[::sets] != 0
    np.testing.assert_array_equal(trained[::2], ~trained[1::2])
    by_model = (role == 1).reshape(k, sets, n).sum(axis=1)
    assert by_model.max() == 1  # a model's forget sets are apart
    np.testing.assert_array_equal(role, unlearning_roles(k, n, size, seed=4, sets=sets))
    assert (role != unlearning_roles(k, n, size, seed=5, sets=sets)).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 40, 5, 0), "must be even"),
        ((8, 40, 0, 0), "at least 1"),
        ((8, 40, 21, 0), "do not fit in the half of 40"),
        ((8, 400, 5, 0), "8 unlearned models with 5 record.* at least 2 times.* about 160"),
    ],
)
def test_roles_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        unlearning_roles(*arguments)
    assert rows_needed(400, 5, 2) == 160


PEOPLE = np.repeat(np.arange(45), np.tile([1, 2, 6], 15))  # 45 people with 135 records


def test_all_records_of_a_person_have_one_role():
    role = unlearning_roles(16, 135, 20, seed=4, sets=3, subjects=PEOPLE)
    for person in range(45):
        own = role[:, np.isin(PEOPLE, person)]
        assert (own == own[:, :1]).all()
    size = (role == 1).sum(axis=1)
    assert size.max() <= 20 and size.min() >= 10
    assert (role == 1).sum(axis=0).min() >= 2
    np.testing.assert_array_equal((role == 0).sum(axis=0), 24)
    assert (role == 1).reshape(16, 3, 135).sum(axis=1).max() == 1
    by_name = unlearning_roles(16, 135, 20, seed=4, sets=3, subjects=[f"{p:02}" for p in PEOPLE])
    np.testing.assert_array_equal(role, by_name)


@pytest.mark.parametrize(
    ("size", "subjects", "message"),
    [
        (5, PEOPLE, "one person has 6 of the judged records, more than the 5 of the request"),
        (11, np.arange(138) // 6, "8 unlearned models with 11 record.* too few for 138"),
        (10, [0] * 10 + [1] * 10 + [2], "would hold 1 records where the request has 10"),
        (6, np.arange(10), "subjects must have shape"),
    ],
)
def test_people_that_no_forget_set_holds_are_refused(size, subjects, message):
    count = len(subjects) if len(subjects) > 10 else 135
    with pytest.raises(ValueError, match=message):
        unlearning_roles(8, count, size, seed=0, subjects=subjects)


def test_models_train_on_as_many_records_whoever_they_got():
    sizes = []

    def spy(trained, forgotten, retained, unseen):
        sizes.append(len(forgotten) + len(retained))
        return nothing(trained, forgotten, retained, unseen)

    small(
        spy, judged=20, forget_size=6, shadows=12, rest_size=20, x=X[:60], y=Y[:60],
        subjects=np.repeat(np.arange(8), [6, 1, 1, 4, 3, 2, 2, 1]),
    )  # fmt: skip
    assert set(sizes) == {30}


def test_the_method_is_given_records_as_they_are():
    given = X[:20].reshape(20, 4, 5) * 255.0

    def spy(trained, forgotten, retained, unseen):
        for part in (forgotten, retained, unseen):
            assert part.x.shape[1:] == (4, 5) and part.x.max() > 100.0
        return lambda x: shadows.forward(trained.layers, x.reshape(len(x), 20) / 255.0)

    found = small(spy, as_given=given)
    np.testing.assert_allclose(found.signals, small(nothing).signals, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="as_given must hold 20 records as x, found 19"):
        small(spy, as_given=given[:19])


def test_the_work_is_said_first(monkeypatch):
    said = []
    small(nothing, say=said.append)
    assert said == [
        "12 shadow models (20-4): 1 epochs on 10 of 20 records each; then 12 times unlearned, "
        "up to 3 records at once"
    ]
    monkeypatch.setattr(unlearned, "LONG", 0.0)
    small(nothing, say=said.append)
    assert said[2].startswith("12 times unlearned: about 0 s, an estimate")


def test_the_method_is_given_its_own_data_and_no_other():
    seen = []

    def spy(trained, forgotten, retained, unseen):
        seen.append((trained, forgotten, retained, unseen))
        return nothing(trained, forgotten, retained, unseen)

    found = small(spy, sets=2)
    assert found.signals.shape == found.role.shape == (24, 12)
    assert found.signals.dtype == np.float32 and found.role.dtype == np.int8
    row_of = {row.tobytes(): i for i, row in enumerate(X[:20])}

    def rows(records):
        np.testing.assert_array_equal(records.y, Y[[row_of[r.tobytes()] for r in records.x]])
        return {row_of[r.tobytes()] for r in records.x}

    for row, (trained, forgotten, retained, unseen) in enumerate(seen):
        assert trained.number == row // 2
        assert rows(forgotten) == set(np.flatnonzero(found.role[row] == 1))
        kept = {i for i in rows(retained) if i < 12}
        assert kept == set(np.flatnonzero(found.role[row] == 2))
        outside = {i for i in rows(retained) if i >= 12}
        assert rows(unseen) == set(range(12, 20)) - outside and len(outside) == 4
        for (w, b), (v, c) in zip(trained.complement, seen[row ^ 2][0].layers, strict=True):
            np.testing.assert_array_equal(w, v)
            np.testing.assert_array_equal(b, c)
        phi = signals.rescaled_logit(shadows.forward(trained.layers, X[:12]), Y[:12])
        np.testing.assert_allclose(found.signals[row], phi, rtol=1e-6)
    assert len(seen) == 24


def test_progress_and_determinism():
    told = []
    first = small(nothing, progress=lambda done, total: told.append((done, total)))
    again = small(nothing)
    np.testing.assert_array_equal(first.signals, again.signals)
    np.testing.assert_array_equal(first.role, again.role)
    done, total = zip(*told, strict=True)
    assert list(done) == sorted(done) and done[-1] == total[-1] and len(set(total)) == 1


@pytest.mark.parametrize("rest", [0, 1])
def test_a_pool_of_judged_records_alone(rest):
    found = unlearn_shadows(
        (20, 4), X[: 12 + rest], Y[: 12 + rest], nothing, judged=12, forget_size=3, shadows=12,
        recipe=Recipe(1, 0.01, 8),
    )  # fmt: skip
    assert np.isfinite(found.signals).all()


def raises(trained, forgotten, retained, unseen):
    if trained.number == 5:
        raise RuntimeError("no convergence")
    return nothing(trained, forgotten, retained, unseen)


@pytest.mark.parametrize(
    ("unlearn", "message"),
    [
        (raises, "shadow model 5 failed: RuntimeError: no convergence"),
        (lambda *_: lambda x: np.full((len(x), 4), np.nan), "shadow model 0 failed: .*48 value"),
        (lambda *_: lambda x: np.zeros((len(x), 3)), r"shadow model 0 failed: .*\(12, 4\), .*3\)"),
        (lambda *_: lambda x: np.zeros(len(x)), "found \\(12,\\)"),
        (lambda *_: lambda x: np.full((len(x), 4), 1e300) * np.arange(4), "beyond what float32"),
        (lambda *_: None, "shadow model 0 failed: TypeError"),
    ],
)
def test_a_method_that_fails_is_named(unlearn, message):
    with pytest.raises(ValueError, match=message):
        small(unlearn)


def test_the_rest_of_the_pool_fills_up_the_training_sets():
    sizes = []

    def spy(trained, forgotten, retained, unseen):
        sizes.append((len(forgotten), len(retained), len(unseen)))
        return nothing(trained, forgotten, retained, unseen)

    small(spy, rest_size=7)
    assert set(sizes) == {(3, 6 - 3 + 7, 1)}
    with pytest.raises(ValueError, match=r"rest_size must lie in 0..8, found 9"):
        small(spy, rest_size=9)


@pytest.mark.parametrize("judged", [1, 21])
def test_refuses_a_number_of_judged_records(judged):
    with pytest.raises(ValueError, match="judged must lie in 2..20"):
        small(nothing, judged=judged)


def audited(unlearn):
    """Return φ of a model that trained on the forgotten records and the rest, unlearned."""
    member = np.r_[np.arange(FORGOTTEN), np.arange(JUDGED, JUDGED + REST)]
    layers = shadows.train_one(WIDTHS, X[member], Y[member], RECIPE, seed=77)
    trained = shadows.Trained(
        shadows.Architecture.fully_connected(WIDTHS), layers, layers, RECIPE, 77, 0
    )
    forget, keep = member[:FORGOTTEN], member[FORGOTTEN:]
    model = unlearn(
        trained,
        shadows.Labelled(X[forget], Y[forget]),
        shadows.Labelled(X[keep], Y[keep]),
        shadows.Labelled(X[:0], Y[:0]),
    )
    return signals.rescaled_logit(model(X[:JUDGED]), Y[:JUDGED])


@pytest.mark.parametrize("module", [u_lira, ruli])
@pytest.mark.parametrize(
    ("unlearn", "low", "high"), [(nothing, 0.75, 0.95), (hide, 0.95, 1.0), (retrain, 0.38, 0.62)]
)
def test_what_each_method_leaves(module, unlearn, low, high):
    made = _made(unlearn)
    scores = module.score(audited(unlearn), made.signals, made.role)
    found = auc_estimate(scores[:FORGOTTEN], scores[FORGOTTEN:])
    assert low <= found.auc <= high, found


CACHE = {}


def _made(unlearn):
    if unlearn not in CACHE:
        CACHE[unlearn] = unlearn_shadows(
            WIDTHS, X, Y, unlearn, judged=JUDGED, forget_size=FORGOTTEN, shadows=16,
            recipe=RECIPE, seed=5,
        )  # fmt: skip
    return CACHE[unlearn]


def test_exact_retraining_leaves_nothing_on_average():
    """Five pools: the mean AUC has a standard error of about 0.02 when there is nothing to find."""
    recipe = Recipe(epochs=40, learning_rate=5e-3, batch_size=50)
    found = []
    for seed in range(5):
        rng = np.random.default_rng([seed, 9])
        x, y = rng.random((JUDGED, 20)).astype(np.float32), rng.integers(0, 4, JUDGED)
        made = unlearn_shadows(
            WIDTHS, x, y, retrain, judged=JUDGED, forget_size=FORGOTTEN, shadows=8, recipe=recipe,
            seed=seed,
        )  # fmt: skip
        rest = rng.random((JUDGED // 2, 20)).astype(np.float32)
        layers = shadows.train_one(WIDTHS, rest, rng.integers(0, 4, len(rest)), recipe, seed)
        phi = signals.rescaled_logit(shadows.forward(layers, x), y)
        scores = u_lira.score(phi, made.signals, made.role)
        found.append(auc_estimate(scores[:FORGOTTEN], scores[FORGOTTEN:]).auc)
    assert abs(np.mean(found) - 0.5) < 0.06, found
