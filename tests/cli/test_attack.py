"""`auditkit attack` on submissions: what may be judged, by what reference, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from attacks.shadows import Recipe, train_one
from auditkit.audit.membership import AttackPlan, attack_submission
from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import Submission, load_submission
from auditkit.network.evaluate import logits
from auditkit.network.graph import Dense, Network, Node, Relu
from auditkit.network.write_onnx import network_to_onnx
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records, read_records, write_records
from tests.cli.conftest import Auditkit, Run

QUICK = ("--attack", "loss", "entropy")
RECIPE = Recipe(epochs=20, learning_rate=5e-3, batch_size=32)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A trained network, a submission about it, and the auditor's records as files."""

    folder: Path
    network: Network
    sets: dict[str, Records]

    def attack(self, auditkit: Auditkit, *options: object, submission: str = "submission") -> Run:
        holdout = () if "--holdout" in options else ("--holdout", self.folder / "holdout.npz")
        return auditkit("attack", self.folder / submission, *holdout, *options)

    def file(self, name: str, records: Records) -> Path:
        path = self.folder / f"{name}.npz"
        write_records(path, dataclasses.replace(records, key=None))
        return path


def trained(records: Records, seed: int, hidden: int = 24) -> Network:
    layers = train_one((64, hidden, 10), records.x.reshape(-1, 64), records.y, RECIPE, seed)
    (w, b), (v, c) = layers
    nodes = (Node(Dense(w, b), (0,)), Node(Relu(), (1,)), Node(Dense(v, c), (2,)))
    return Network((64,), nodes, np.dtype(np.float32))


def submit(network: Network, forget: Records, out: Path) -> Submission:
    make_submission(network, forget, resolve_settings("redirect"), out, key=b"k" * 32)
    return load_submission(out)


def joined(*groups: Records) -> Records:
    return Records(np.concatenate([g.x for g in groups]), np.concatenate([g.y for g in groups]))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("attack")
    digits = read_records("digits", input_shape=(64,))
    order = np.random.default_rng(5).permutation(len(digits))
    cuts = np.split(order[:1000], [40, 500])
    sets = dict(zip(("forget", "retain", "holdout"), map(digits.take, cuts), strict=True))
    sets["train"] = joined(sets["forget"], sets["retain"])
    network = trained(sets["train"], 1)
    submit(network, sets["forget"], folder / "submission")
    made = Case(folder, network, sets)
    for name, records in sets.items():
        made.file(name, records)
    return made


def result(run: Run) -> dict:
    return json.loads(run.out)


def check(run: Run, name: str) -> dict:
    [found] = [c for c in result(run)["checks"] if c["id"] == f"attack.{name}"]
    return found


def test_what_the_samples_decide_is_said_before_the_attacks(case: Case, auditkit: Auditkit):
    run = case.attack(auditkit, *QUICK, "--json")
    assert "attack: A PASS is impossible with 40 forgotten records" in run.err.splitlines()[0]
    assert result(run)["details"]["power"][0] in run.err
    assert "No shadow models are planned" in run.err
    quiet = case.attack(auditkit, *QUICK, "--quiet")
    assert "PASS is impossible" not in quiet.err


def test_tier_and_what_stays_unknown_are_said(case: Case, auditkit: Auditkit):
    details = result(case.attack(auditkit, *QUICK, "--json"))["details"]
    assert details["tier"] == "B" and "shadow models" in details["unknown"]
    assert "0.5 is assumed" in details["unknown"]


def test_unseen_records_that_were_trained_on_are_refused(case: Case, auditkit: Auditkit):
    part = case.sets["train"].take(range(100, 107))
    mixed = case.file("mixed", joined(case.sets["holdout"], part))
    for name, path in (("training", "train"), ("retained", "retain")):
        run = case.attack(auditkit, "--holdout", mixed, f"--{path}", case.folder / f"{path}.npz")
        assert run.code == 2, run.err
        assert f"7 of 507 among the {name} records" in run.err


def test_unseen_records_on_the_list(case: Case, auditkit: Auditkit):
    mixed = case.file("listed", joined(case.sets["holdout"], case.sets["forget"].take(range(3))))
    run = case.attack(auditkit, "--holdout", mixed, *QUICK)
    assert run.code == 3 and "3 of 503 unseen records are on the owner's list" in run.err
    case.attack(auditkit, "--holdout", mixed, *QUICK, "--forget", case.folder / "forget.npz")
    more = case.file("more", joined(case.sets["forget"], case.sets["holdout"].take(range(4))))
    run = case.attack(auditkit, *QUICK, "--forget", more)
    assert run.code == 2 and "4 of 500 among the forgotten records" in run.err


def test_a_copy_is_no_further_evidence(case: Case, auditkit: Auditkit):
    twice = case.file("twice", joined(case.sets["forget"], case.sets["forget"]))
    run = case.attack(auditkit, *QUICK, "--forget", twice, "--json")
    sizes = result(run)["details"]["sample_sizes"]
    assert sizes["forgotten"] == 40
    assert sizes["left_out"] == {"forgotten records given twice": 40}


def test_a_model_that_is_no_reference(case: Case, auditkit: Auditkit):
    own = case.folder / "submission" / "model.onnx"
    run = case.attack(auditkit, *QUICK, "--reference-model", own, "--json")
    assert run.code == 3
    assert "reference 1 is the same network as the original network" in check(run, "loss")["reason"]
    assert check(run, "cohort")["outcome"] == "inconclusive"
    other = case.folder / "other.onnx"
    other.write_bytes(network_to_onnx(_random_network((64, 8, 3))))
    run = case.attack(auditkit, *QUICK, "--reference-model", other)
    assert run.code == 2 and "64 inputs and 10 classes" in run.err and "64 and 3" in run.err


def test_a_reference_that_saw_the_records_decides_nothing(case: Case, auditkit: Auditkit):
    # it remembers: trained on the forgotten records alone
    saw = case.folder / "saw.onnx"
    saw.write_bytes(network_to_onnx(trained(case.sets["forget"], 9, hidden=64)))
    run = case.attack(auditkit, *QUICK, "--reference-model", saw, "--json")
    assert "has seen them" in check(run, "loss")["reason"]
    assert check(run, "cohort")["outcome"] == "inconclusive"


def test_references_are_retrained_without_the_forgotten_records(case: Case, auditkit: Auditkit):
    train = ("--train", case.folder / "train.npz")
    run = case.attack(auditkit, *QUICK, *train, "--retrain", 5, "--shadows", 0, "--json")
    details = result(run)["details"]
    assert details["sample_sizes"]["retrained"] == 5 and details["tier"] == "C"
    assert check(run, "cohort")["evidence"]["of_this_model_only"] is False
    assert "reference model's" in check(run, "loss")["threshold"]
    few = case.attack(auditkit, *QUICK, *train, "--retrain", 2, "--shadows", 0, "--json")
    assert check(few, "cohort")["evidence"]["of_this_model_only"] is True
    assert any("2 retrained" in note for note in check(few, "cohort")["evidence"]["notes"])
    without = case.attack(auditkit, *QUICK, "--retrain", 2)
    assert without.code == 2 and "--train" in without.err
    absent = case.file("absent", case.sets["retain"])
    run = case.attack(auditkit, *QUICK, "--train", absent, "--retrain", 2, "--json")
    assert "not all forgotten records are among" in check(run, "loss")["reason"]


def test_groups_that_differ_by_themselves_decide_nothing(case: Case, auditkit: Auditkit):
    shifted = dataclasses.replace(case.sets["holdout"], x=case.sets["holdout"].x * np.float32(0.5))
    run = case.attack(auditkit, "--holdout", case.file("shifted", shifted), *QUICK, "--json")
    assert run.code == 3
    assert check(run, "loss")["evidence"]["finding"] == "not comparable"
    assert result(run)["details"]["sample_sizes"]["comparable"] is False
    assert check(run, "cohort")["outcome"] == "inconclusive"


@pytest.fixture(scope="module")
def class_case(tmp_path_factory: pytest.TempPathFactory, case: Case) -> Case:
    """All training records of class 3 are to be forgotten."""
    folder = tmp_path_factory.mktemp("class")
    train = case.sets["train"]
    sets = {
        "forget": train.take(train.y == 3),
        "retain": train.take(train.y != 3),
        "holdout": case.sets["holdout"],
        "train": train,
    }
    submit(case.network, sets["forget"], folder / "submission")
    made = Case(folder, case.network, sets)
    for name, records in sets.items():
        made.file(name, records)
    return made


def test_a_class_is_compared_with_unseen_records_of_it_alone(class_case: Case, auditkit: Auditkit):
    options = (*QUICK, "--retain", class_case.folder / "retain.npz", "--json")
    run = class_case.attack(auditkit, *options)
    sizes = result(run)["details"]["sample_sizes"]
    assert sizes["classes_forgotten"] == [3]
    assert sizes["unseen"] == int((class_case.sets["holdout"].y == 3).sum())
    assert run.code == 3 and "whole class" in check(run, "loss")["reason"]
    assert "whole class" in check(run, "exposure")["reason"]
    train = ("--train", class_case.folder / "train.npz", "--retrain", 3)
    run = class_case.attack(auditkit, *options, *train)
    assert check(run, "loss")["evidence"]["finding"] != "not comparable"
    assert "reference model's" in check(run, "loss")["threshold"]
    # a model that was trained with the class is no reference for one without it
    whole = class_case.folder / "whole.onnx"
    whole.write_bytes(network_to_onnx(trained(joined(*class_case.sets.values()), 11)))
    run = class_case.attack(auditkit, *options, "--reference-model", whole)
    assert "trained with the class" in check(run, "loss")["reason"]


def test_a_class_without_unseen_records_of_it(class_case: Case, auditkit: Auditkit):
    others = class_case.sets["holdout"]
    path = class_case.file("others", others.take(others.y != 3))
    train = ("--train", class_case.folder / "train.npz")
    run = class_case.attack(auditkit, *QUICK, *train, "--holdout", path)
    assert run.code == 3 and "at least 20 unseen records of class 3, found 0" in run.err


def test_exposure_in_a_cohort_and_shadow_models_that_are_not_like_the_network(case: Case):
    submission = load_submission(case.folder / "submission")
    plan = AttackPlan(("loss", "lira-online"), shadows=40, recipe=RECIPE)
    sets = {name: case.sets[name] for name in ("forget", "holdout", "retain", "train")}
    alike = {c.id: c for c in attack_submission(submission, plan, **sets).checks}
    evidence = alike["attack.exposure"].evidence
    assert evidence["calibration"]["before"]["calibrated"] is True, evidence["calibration"]
    assert len(evidence["records"]) == 40 and evidence["shadows"] == 40
    first = evidence["records"][0]
    assert {"record", "p", "q", "exposed", "power"} == set(first) and len(first["record"]) == 64
    assert first["p"] == min(row["p"] for row in evidence["records"])
    other = dataclasses.replace(plan, recipe=dataclasses.replace(RECIPE, epochs=2))
    unlike = {c.id: c for c in attack_submission(submission, other, **sets).checks}
    assert unlike["attack.exposure"].outcome == "inconclusive"
    assert "recipe" in unlike["attack.exposure"].reason
    assert unlike["attack.lira-online"].outcome != "pass"
    assert unlike["attack.cohort"].outcome != "pass"
    # as large a training set as the audited model's, though half of the judged records are out
    found = attack_submission(submission, plan, **sets)
    assert found.samples["records_per_shadow"] == found.samples["records_of_the_audited_model"]


def test_people_of_a_small_request_are_judged_together(case: Case):
    submission = load_submission(case.folder / "submission")
    forget = dataclasses.replace(
        case.sets["forget"].take(range(6)), subject=("a", "a", "a", "b", "b", "c")
    )
    plan = AttackPlan(("loss",), shadows=40, recipe=RECIPE)
    found = attack_submission(
        submission, plan, forget=forget, holdout=case.sets["holdout"], train=case.sets["train"]
    )
    [small] = [c for c in found.checks if c.id == "attack.small-request"]
    assert small.evidence["people_judged_together"] is True
    assert [row["records"] for row in small.evidence["subjects"]] == [3, 2, 1]
    assert not {"a", "b", "c"} & {row["subject"] for row in small.evidence["subjects"]}
    unlike = dataclasses.replace(plan, recipe=dataclasses.replace(RECIPE, epochs=2))
    found = attack_submission(
        submission, unlike, forget=forget, holdout=case.sets["holdout"], train=case.sets["train"]
    )
    [small] = [c for c in found.checks if c.id == "attack.small-request"]
    assert small.outcome == "inconclusive" and "recipe" in small.reason
    assert {row["after"] for row in small.evidence["records"]} == {"undecidable here"}
    assert small.evidence["before"] == small.evidence["not_concluded"] == small.reason
    assert "whether single records stand out" in found.samples["unknown"]
    assert "AUC" not in found.samples["unknown"]  # no area is judged


def test_what_cannot_be_attacked_leaves_everything_unknown(case: Case):
    submission = load_submission(case.folder / "submission")
    found = attack_submission(
        submission, AttackPlan(("loss",)), forget=None, holdout=case.sets["holdout"]
    )
    assert {c.outcome for c in found.checks} == {"not_run"}
    assert found.samples["tier"] == "B" and "withheld" in found.samples["unknown"]


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("unseen", [1, 5, 60])
def test_a_network_that_says_the_same_of_everything(
    tmp_path: Path, auditkit: Auditkit, count: int, unseen: int
):
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(count + unseen, 4)).astype(np.float32)
    records = Records(x, np.zeros(len(x), np.int64))  # one class only
    network = _random_network((4, 6, 3))
    silent = dataclasses.replace(
        network,
        nodes=(
            *network.nodes[:2],
            # lost in rounding, and not seen to be nothing
            Node(Dense(np.full((3, 6), 1e-12, np.float32), np.arange(3, dtype=np.float32)), (2,)),
        ),
    )
    submit(silent, records.take(range(count)), tmp_path / "submission")
    write_records(tmp_path / "holdout.npz", records.take(range(count, len(x))))
    run = auditkit(
        "attack", tmp_path / "submission", "--holdout", tmp_path / "holdout.npz", "--json"
    )
    assert run.code in (1, 3) and "Traceback" not in run.err
    assert "NaN" not in run.out and '"nan"' not in run.out
    assert result(run)["outcome"] != "pass"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--scores", "s.csv", "--holdout", "h.npz"), "--holdout"),
        (("--scores", "s.csv", "--retrain", "2"), "--retrain"),
        (("--scores", "s.csv", "--attack", "nothing"), "'nothing'"),
        (("--scores", "s.csv", "--recipe", "epochs=3"), "--recipe"),
        (("--scores", "missing.csv"), "missing.csv"),
        (("submission", "--holdout", "h.npz", "--fpr", "0"), "--fpr"),
        (("submission", "--holdout", "h.npz", "--recipe", "epochs=many"), "'epochs=many'"),
        (("submission", "--holdout", "h.npz", "--recipe", "epoch=3"), "some of epochs=NUMBER"),
        (("submission", "--holdout", "h.npz", "--recipe", "epochs=0"), "can be trained"),
        (("submission", "--holdout", "h.npz", "--recipe", "optimizer=lamb"), "can be trained"),
    ],
)
def test_options_that_do_not_go_together(auditkit: Auditkit, options, said: str):
    run = auditkit("attack", *options)
    assert run.code == 2 and said in run.err


def test_recipe_and_false_positive_rate_are_the_auditors(case: Case, auditkit: Auditkit):
    run = case.attack(
        auditkit, "--train", case.folder / "train.npz", "--attack", "lira-online",
        "--shadows", "4", "--fpr", "0.001",
        "--recipe", "epochs=2", "learning_rate=0.005", "batch_size=32", "optimizer=sgd", "--json",
    )  # fmt: skip
    sizes = result(run)["details"]["sample_sizes"]
    wanted = Recipe(epochs=2, learning_rate=0.005, batch_size=32, optimizer="sgd")
    assert sizes["recipe"] == dataclasses.asdict(wanted) and sizes["recipe_given"]
    assert "A false-positive rate of 0.001 needs 3000 unseen records" in run.err


def _random_network(widths: tuple[int, int, int]) -> Network:
    rng = np.random.default_rng(3)

    def dense(outputs: int, inputs: int) -> Dense:
        weight = rng.normal(size=(outputs, inputs)).astype(np.float32)
        return Dense(weight, rng.normal(size=outputs).astype(np.float32))

    inputs, hidden, classes = widths
    nodes = (
        Node(dense(hidden, inputs), (0,)),
        Node(Relu(), (1,)),
        Node(dense(classes, hidden), (2,)),
    )
    return Network((inputs,), nodes, np.dtype(np.float32))


def test_the_networks_of_this_file_learn(case: Case):
    right = logits(case.network, case.sets["holdout"].x).argmax(axis=1) == case.sets["holdout"].y
    assert right.mean() > 0.85
