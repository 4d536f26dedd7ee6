"""Models trained for an audit: convolutional ones, records of any scale, large training sets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from attacks import Recipe, shadows
from attacks.shadows import UnlearnedShadows
from auditkit.audit.membership import AttackPlan, attack_submission
from auditkit.audit.record import architecture
from auditkit.audit.reference_models import gather_references
from auditkit.audit.shadow_masks import others
from auditkit.audit.shadow_network import architecture_of, as_network, read_for_training
from auditkit.audit.shadow_run import train_shadow_run
from auditkit.audit.unlearned_run import train_unlearned_run, unlike_the_audited
from auditkit.certificate.submission import Submission
from auditkit.network import graph
from auditkit.network.evaluate import logits
from auditkit.network.graph import Dense, Network, Node, Relu
from auditkit.network.read import load_network
from auditkit.patch.settings import Domain
from auditkit.records import Records, read_records
from auditkit.results import Outcome
from tests.certificate.conftest import World, small_world

pytest.importorskip("torch")

F32 = np.dtype(np.float32)
FORGOTTEN, UNSEEN = 30, 90
RECIPE = Recipe(epochs=40, batch_size=32, learning_rate=1e-2)


class Heard:
    """Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, done: int, total: int) -> None:
        pass

    def say(self, line: str) -> None:
        self.lines.append(line)


def pixels() -> Records:
    """Digits as images of one channel with pixels 0 to 255."""
    digits = read_records("digits")
    digits = digits.take(np.random.default_rng(7).permutation(len(digits))[:330])
    return Records(np.round(digits.x.reshape(330, 1, 8, 8) * 255).astype(np.float32), digits.y)


@pytest.fixture(scope="module")
def world() -> World:
    """A convolutional network with a layer before the first that learns, trained on pixels."""
    blank = Network(
        (1, 8, 8),
        tuple(
            Node(operator, (index,))
            for index, operator in enumerate(
                (
                    graph.Scale("add", np.full((1, 1, 1), -16.0, F32)),
                    graph.Convolution(np.zeros((6, 1, 3, 3), F32), np.zeros(6, F32)),
                    Relu(),
                    graph.MaxPool((2, 2), (2, 2)),
                    graph.Reshape((54,)),
                    Dense(np.zeros((10, 54), F32), np.zeros(10, F32)),
                )
            )
        ),
        F32,
    )
    records = pixels()
    forget, rest = records.take(range(FORGOTTEN)), records.take(range(FORGOTTEN, 330))
    train = joined(forget, rest.take(range(80)))
    kind = architecture_of(blank)
    assert kind is not None
    x, reading = read_for_training(blank, (train.x,))
    layers = shadows.train_one(kind, x, train.y, RECIPE, 1)
    return World(as_network(kind, layers, F32, reading), forget, rest)


@pytest.fixture(scope="module")
def redirected(world: World, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    folder = tmp_path_factory.mktemp("redirected") / "submission"
    return world.submit(folder, domain=Domain(0.0, 255.0))


def joined(*parts: Records) -> Records:
    return Records(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))


def groups(world: World) -> tuple[Records, Records]:
    return (
        joined(world.forget, world.others.take(range(80))),
        world.others.take(range(80, 80 + UNSEEN)),
    )


def test_a_trained_model_becomes_a_network_of_the_same_records(world: World):
    kind = architecture_of(world.network)
    assert kind is not None and len(kind.layers) == 5
    train, unseen = groups(world)
    x, reading = read_for_training(world.network, (train.x[:30], train.x[30:]))
    assert 0.9 < np.abs(x).max() <= 1.0 and reading.largest == 239.0
    np.testing.assert_array_equal(reading(train.x), x)
    layers = shadows.train_one(kind, x, train.y, Recipe(3), 0)
    network = as_network(kind, layers, F32, reading)
    assert network.input_shape == (1, 8, 8)
    found = logits(network, unseen.x)
    np.testing.assert_allclose(
        found, shadows.forward(layers, reading(unseen.x), kind), rtol=1e-3, atol=1e-3
    )
    right = (logits(world.network, train.x).argmax(axis=1) == train.y).mean()
    assert right > 0.95  # the audited network of these tests has learned


def test_references_of_a_convolutional_network_learn_from_pixels(world: World):
    train, unseen = groups(world)
    heard = Heard()
    found = gather_references(
        world.network, (), retrain=2, train=train, forget=world.forget, recipe=RECIPE,
        progress=heard,
    )  # fmt: skip
    assert found.retrained == 2 and found.why_none == ""
    assert heard.lines == ["2 references (convolutional): 40 epochs on 80 of 80 records each"]
    retained = train.take(range(FORGOTTEN, len(train)))
    for model in found.models:
        assert (model(retained.x).argmax(axis=1) == retained.y).mean() > 0.95
        flat = model(unseen.x.reshape(len(unseen), -1))
        np.testing.assert_array_equal(flat, model(unseen.x))


def test_a_patch_of_a_convolutional_network_is_made_again_on_pixels(
    redirected: Submission, world: World
):
    train, unseen = groups(world)
    heard = Heard()
    made, why = train_unlearned_run(redirected, train, world.forget, unseen, 8, RECIPE, 0, heard)
    assert why == "" and made is not None and made.sets == 2
    assert heard.lines[0].startswith("8 shadow models (convolutional): 40 epochs on ")
    assert "then 16 times unlearned, up to 30 records at once" in heard.lines[0]
    kept, hidden = (np.median(made.signals[made.role == role]) for role in (2, 1))
    assert kept > 2.0 and hidden < 0.0
    names = ("u-lira", "ruli")
    found = attack_submission(
        redirected, AttackPlan(names, shadows=8, recipe=RECIPE), forget=world.forget,
        holdout=unseen, train=train,
    )  # fmt: skip
    for check in found.checks[:2]:
        assert check.outcome is Outcome.FAIL and check.observed > 0.9, check
    assert found.samples["unlearned_shadows_doubted"] == "no"


def test_networks_made_by_others_have_references_too(shared: Path):
    network = load_network(shared / "models" / "Convnet_avgpool.onnx")
    folder = shared / "data" / "mnist"
    images = read_records(
        folder / "t10k-images-idx3-ubyte.gz", network.input_shape, 10, domain=(0.0, 255.0)
    )
    train = images.take(range(200))
    found = gather_references(
        network, (), retrain=1, train=train, forget=images.take(range(20)),
        recipe=Recipe(8, 0.01, 25),
    )  # fmt: skip
    [model] = found.models
    assert (model(train.x[20:]).argmax(axis=1) == train.y[20:]).mean() > 0.8
    assert (
        architecture(network) == "1×28×28: conv 32×2×2, ReLU, average pool 4×4, flatten, dense 10"
    )


def test_a_network_without_shadow_models_has_no_references():
    nodes = (
        Node(Dense(np.eye(6, dtype=F32), np.zeros(6, F32)), (0,)),
        Node(graph.Add(), (0, 1)),
    )
    records = Records(np.eye(6, dtype=F32), np.arange(6))
    found = gather_references(
        Network((6,), nodes, F32), (), retrain=1, train=records, forget=records.take([0])
    )
    assert found.models == () and found.why_none.startswith("references are trained for chains of")


def test_shadow_models_train_on_as_many_records_as_the_audited_model():
    world = small_world(3, records=30)
    generator = np.random.default_rng(0)
    x = generator.random((9000, 12)).astype(np.float32)
    train = joined(world.forget, Records(x, logits(world.network, x).argmax(axis=1)))
    unseen = world.others.take(range(40))
    run = train_shadow_run(
        world.network, train, world.forget, unseen, 4, Recipe(1, batch_size=512), 0, None
    )
    assert run is not None and run.pool == 9070 and run.as_many_as == len(train) == 9030
    assert run.trained_on == 9030
    assert run.signals.shape == run.member_mask.shape == (4, 70)  # of the judged alone


def test_a_person_is_unlearned_as_a_whole(redirected: Submission, world: World):
    train, unseen = groups(world)
    forget = dataclasses.replace(world.forget, subject=tuple(i // 3 for i in range(FORGOTTEN)))
    unseen = dataclasses.replace(unseen, subject=tuple(100 + i // 5 for i in range(UNSEEN)))
    recipe = Recipe(1)
    made, why = train_unlearned_run(redirected, train, forget, unseen, 8, recipe, 0, None)
    assert made is not None, why
    subjects = np.array([*forget.subject, *unseen.subject])
    for person in np.unique(subjects):
        own = made.role[:, np.isin(subjects, person)]
        assert (own == own[:, :1]).all()
    one = dataclasses.replace(unseen, subject=(100,) * 40 + tuple(range(200, 250)))
    made, why = train_unlearned_run(redirected, train, forget, one, 8, recipe, 0, None)
    assert made is None and "one person has 40 of the judged records, more than the 30" in why


@pytest.mark.parametrize("shift", [0.0, 6.0])
def test_unlearned_shadow_models_must_be_like_the_audited_network(shift: float):
    generator = np.random.default_rng(1)
    role = shadows.unlearning_roles(24, 90, 15, 0, sets=2)
    signals = generator.normal(size=(48, 90)).astype(np.float32)
    made = UnlearnedShadows(signals, role, 2)
    why = unlike_the_audited(made, 30, generator.normal(shift, 1.0, 60))
    assert why.startswith("unlearned shadow models: the shadow models are not like") == (shift > 0)
    assert bool(why) == (shift > 0)
    few = unlike_the_audited(made, 80, generator.normal(size=10))
    assert "cannot be told: 10 unseen record(s)" in few


def test_minus_zero_is_the_same_content():
    x = np.zeros((3, 2), F32)
    x[1:] = np.array([[0.5, 0.5], [1.0, 1.0]])
    train = Records(np.concatenate([x, x]), np.arange(6) % 2)
    found = others(train, Records(-x[:1], np.zeros(1, np.int64)))
    np.testing.assert_array_equal(found, [1, 2, 4, 5])
    assert others(train, Records(x[:1] + 3, np.zeros(1, np.int64))) is None
