"""The owner's method on shadow models: the same patch again, what it shows, and when it cannot."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from attacks import shadows, signals
from attacks.shadows import architecture as kinds
from auditkit.audit import unlearned_run
from auditkit.audit.membership import AttackPlan, Membership, attack_submission
from auditkit.audit.shadow_network import as_network
from auditkit.audit.unlearned_run import patch_again, train_unlearned_run
from auditkit.certificate.submission import Submission
from auditkit.network.evaluate import logits
from auditkit.patch.settings import Scope
from auditkit.records import Records, read_records
from auditkit.results import Outcome
from tests.certificate.conftest import World

torch = pytest.importorskip("torch")

FORGOTTEN, UNSEEN = 30, 90
WIDTHS = (64, 48, 32, 10)
RECIPE = shadows.Recipe(epochs=60, batch_size=32, learning_rate=5e-3)
NAMES = ("u-lira", "ruli")


@pytest.fixture(scope="module")
def world() -> World:
    """A network that was trained: the regions of one at random are wide, gates there reach far."""
    digits = read_records("digits")
    digits = digits.take(np.random.default_rng(7).permutation(len(digits))[:330])
    digits = Records(digits.x.reshape(330, 64), digits.y)
    forget, others = digits.take(range(FORGOTTEN)), digits.take(range(FORGOTTEN, 330))
    train = joined(forget, others.take(range(80)))
    kind = shadows.Architecture.fully_connected(WIDTHS)
    layers = shadows.train_one(kind, train.x, train.y, RECIPE, 1)
    return World(as_network(kind, layers, np.dtype(np.float32)), forget, others)


@pytest.fixture(scope="module")
def redirected(world: World, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    return world.submit(tmp_path_factory.mktemp("redirected") / "submission")


def joined(*parts: Records) -> Records:
    return Records(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))


def groups(world: World) -> tuple[Records, Records]:
    """Training records with the forgotten ones, and unseen ones."""
    retain, unseen = world.others.take(range(80)), world.others.take(range(80, 80 + UNSEEN))
    return joined(world.forget, retain), unseen


def attacked(submission: Submission, world: World, **changes: object) -> Membership:
    train, unseen = groups(world)
    options = {"forget": world.forget, "holdout": unseen, "train": train} | changes
    return attack_submission(submission, AttackPlan(NAMES, shadows=8, recipe=RECIPE), **options)


def run(submission: Submission, world: World, **changes: object) -> tuple[object, str]:
    train, unseen = groups(world)
    options = {"train": train, "forget": world.forget, "holdout": unseen, "shadows": 8} | changes
    return train_unlearned_run(submission, recipe=RECIPE, seed=0, progress=None, **options)


def test_a_redirection_is_found_as_one(redirected: Submission, world: World):
    found = attacked(redirected, world)
    assert found.samples["unlearned_shadows"] == 16 and found.samples["tier"] == "C"
    for check in found.checks[:2]:
        assert check.outcome is Outcome.FAIL and check.observed > 0.9, check
        assert "answer as unlearned ones do" in check.reason
    again = attacked(redirected, world)
    assert [c.observed for c in again.checks[:2]] == [c.observed for c in found.checks[:2]]


def trained_pair(world: World) -> tuple[shadows.Trained, Records, Records]:
    """A shadow model of half of the world's other records, with the model of the other half."""
    mine, other = world.others.take(range(100)), world.others.take(range(100, 200))
    layers, complement = (shadows.train_one(WIDTHS, r.x, r.y, RECIPE, 3) for r in (mine, other))
    kind = shadows.Architecture.fully_connected(WIDTHS)
    return shadows.Trained(kind, layers, complement, RECIPE, 0, 0), mine, other


def labelled(records: Records) -> shadows.Labelled:
    return shadows.Labelled(records.x, records.y)


@pytest.mark.parametrize("spec", ["redirect", "neutralise", "reference"])
def test_the_patch_is_made_as_the_submission_says(world: World, tmp_path: Path, spec: str):
    submission = world.submit(tmp_path / "submission", spec)
    trained, mine, other = trained_pair(world)
    forgotten, retained, unseen = mine.take(range(10)), mine.take(range(10, 100)), other
    predict = patch_again(submission)(trained, *map(labelled, (forgotten, retained, unseen)))
    before = shadows.forward(trained.layers, forgotten.x)
    after = np.asarray(predict(forgotten.x))
    kept = np.isclose(predict(retained.x), shadows.forward(trained.layers, retained.x), atol=1e-3)
    assert kept.all(axis=1).mean() > 0.9  # a gate may reach a neighbour
    if spec == "redirect":
        right = before.argmax(axis=1) == forgotten.y
        assert right.any() and (after.argmax(axis=1) != forgotten.y)[right].all()
    elif spec == "neutralise":
        mean = shadows.forward(trained.layers, unseen.x).mean(axis=0)
        np.testing.assert_allclose(after, np.tile(mean, (10, 1)), atol=0.02)
    else:
        np.testing.assert_allclose(
            after, shadows.forward(trained.complement, forgotten.x), atol=0.02
        )


def test_an_explicit_patch_is_made_again_at_the_same_records(world: World, tmp_path: Path):
    from auditkit.certificate.make import make_submission
    from auditkit.certificate.submission import load_submission
    from auditkit.patch.settings import resolve_settings

    settings = resolve_settings("redirect")
    make_submission(world.network, world.forget, settings, tmp_path / "submission", form="explicit")
    made, why = run(load_submission(tmp_path / "submission"), world)
    assert why == "" and made is not None and np.isfinite(made.signals).all()


def test_reference_patches_answer_as_models_that_never_saw(world: World, tmp_path: Path):
    made, _ = run(world.submit(tmp_path / "submission", "reference"), world)
    assert made is not None
    phi = [made.signals[made.role == role] for role in (0, 1, 2)]
    assert abs(np.median(phi[0]) - np.median(phi[1])) < 0.3 * abs(
        np.median(phi[2]) - np.median(phi[0])
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shadows": 2}, "with 2 shadow models 120 records .* ask for at least 8"),
        ({"forget": None, "holdout": 20}, "give at least as many unseen records"),
        ({"train": 50}, "not all forgotten records are among the training records"),
    ],
)
def test_says_why_not(redirected: Submission, world: World, changes: dict, message: str):
    train, unseen = groups(world)
    given: dict[str, object] = {}
    for name, value in changes.items():
        source = {"holdout": unseen, "train": world.others}.get(name)
        given[name] = source.take(range(value)) if source is not None else value or world.forget
    made, why = run(redirected, world, **given)
    assert made is None
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(why)


def test_too_much_work_is_refused_with_its_amount(
    redirected: Submission, world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(unlearned_run, "MOST_UNLEARNED", 15)
    made, why = run(redirected, world)
    assert made is None and "16 unlearned models, more than 15" in why


def test_a_class_request_has_no_random_forget_sets(redirected: Submission, world: World):
    settings = dataclasses.replace(
        redirected.certificate.settings,
        scope=Scope.CLASS,
        target_class=0,
    )
    certificate = dataclasses.replace(redirected.certificate, settings=settings)
    made, why = run(dataclasses.replace(redirected, certificate=certificate), world)
    assert made is None and "whole class" in why


def test_a_method_that_fails_is_a_reason(
    redirected: Submission, world: World, monkeypatch: pytest.MonkeyPatch
):
    def broken(submission: Submission, reading: object):
        def unlearn(trained, forgotten, retained, unseen):
            raise FloatingPointError("diverged")

        return unlearn

    monkeypatch.setattr(unlearned_run, "METHODS", {"patch": broken})
    found = attacked(redirected, world)
    by_id = {check.id: check for check in found.checks}
    for check in (by_id["attack.u-lira"], by_id["attack.ruli"]):
        assert check.outcome is Outcome.NOT_RUN and check.required
        assert "unlearning shadow model 0 failed: FloatingPointError: diverged" in check.reason


def test_without_what_it_takes_they_are_not_run(redirected: Submission, world: World):
    for changes, message in (
        ({"train": None}, "--train"),
        ({"forget": world.forget.take(range(10))}, "record by record"),
    ):
        found = attacked(redirected, world, **changes)
        checks = {check.id: check for check in found.checks}
        for name in NAMES:
            assert checks[f"attack.{name}"].outcome is Outcome.NOT_RUN
            assert message in checks[f"attack.{name}"].reason


def test_a_convolutional_shadow_model_becomes_the_same_network():
    generator = np.random.default_rng(0)
    kind = kinds.Architecture(
        (2, 9, 8),
        (
            kinds.Conv(3, (3, 2), (2, 1), (1, 0)), kinds.Relu(), kinds.Pool("max", (2, 2), (1, 2)),
            kinds.Conv(4, (2, 2)), kinds.Pool("average", (2, 2), (1, 1)), kinds.Flatten(),
            kinds.Dense(5),
        ),
    )  # fmt: skip
    sizes = [(3, 2, 3, 2), (4, 3, 2, 2), (5, kind.shapes[-2][0])]
    layers = [
        (
            generator.normal(size=s).astype(np.float32),
            generator.normal(size=s[0]).astype(np.float32),
        )
        for s in sizes
    ]
    x = generator.random((6, 2, 9, 8)).astype(np.float32)
    (w, b), (v, c), (u, d) = ([torch.from_numpy(part) for part in layer] for layer in layers)
    f = torch.nn.functional
    h = f.relu(f.conv2d(torch.from_numpy(x), w, b, (2, 1), (1, 0)))
    h = f.avg_pool2d(f.conv2d(f.max_pool2d(h, (2, 2), (1, 2)), v, c), (2, 2), (1, 1))
    expected = f.linear(h.flatten(1), u, d).numpy()
    found = logits(as_network(kind, layers, np.dtype(np.float32)), x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_signal_is_that_of_the_judged_records(redirected: Submission, world: World):
    """Forgotten, then unseen: φ of a kept record is that of the shadow model itself."""
    kept: dict[int, np.ndarray] = {}
    plain = patch_again(redirected)

    def spy(submission: Submission, reading: object):
        def unlearn(trained, forgotten, retained, unseen):
            kept.setdefault(trained.number, trained.layers)
            return plain(trained, forgotten, retained, unseen)

        return unlearn

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unlearned_run, "METHODS", {"patch": spy})
        made, _ = run(redirected, world)
    assert made is not None
    everyone = joined(world.forget, groups(world)[1])
    sets = len(made.role) // len(kept)
    for number, layers in kept.items():
        phi = signals.rescaled_logit(shadows.forward(layers, everyone.x), everyone.y)
        same = made.role[number * sets] != 1
        close = np.isclose(made.signals[number * sets][same], phi[same], atol=1e-3)
        assert close.mean() > 0.5  # a gate may reach a neighbour
