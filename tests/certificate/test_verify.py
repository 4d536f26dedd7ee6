"""Honest submissions pass; each hole named in the threat to certificates is closed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.policy import CHECKS, Policy, read_policy
from auditkit.certificate.submission import Submission, read_submission, write_submission
from auditkit.certificate.verify import JUDGES, TITLES, verify_directory, verify_submission
from auditkit.errors import EvidenceError, UsageError
from auditkit.network.evaluate import logits
from auditkit.network.graph import Convolution, Dense, MaxPool, Network, Node, Reshape
from auditkit.patch.gates import Group, OffsetKind, Patch
from auditkit.records import Records, write_records
from auditkit.results import Outcome, Result
from auditkit.threats.forge import proofs_that_fit
from tests.certificate.conftest import World, small_world


def outcomes(result: Result) -> dict[str, str]:
    return {check.id: check.outcome.value for check in result.checks}


def rewrite(honest: Submission, out: Path, **changes) -> Submission:
    """Write the honest submission with another patch or certificate, digests made to agree."""
    files = {n: (honest.directory / n).read_bytes() for n in ("model.json", "model.safetensors")}
    write_submission(
        out,
        honest.network,
        changes.get("patch", honest.patch),
        changes.get("certificate", honest.certificate),
        changes.get("forget", honest.forget),
        model_files=files,
        proofs=changes["proofs"]
        if "proofs" in changes
        else proofs_that_fit(honest, changes.get("patch"), changes.get("certificate")),
    )
    return read_submission(out)


def regroup(patch: Patch, **changes) -> Patch:
    groups = tuple(dataclasses.replace(group, **changes) for group in patch.groups)
    return Patch(groups, patch.classes, patch.units)


def restate(honest: Submission, **changes) -> dict:
    claims = tuple(dataclasses.replace(claim, **changes) for claim in honest.certificate.claims)
    return {"certificate": dataclasses.replace(honest.certificate, claims=claims)}


def resettle(honest: Submission, **changes) -> dict:
    settings = dataclasses.replace(honest.certificate.settings, **changes)
    return {"certificate": dataclasses.replace(honest.certificate, settings=settings)}


def test_every_check_has_a_judge_and_a_title_in_order():
    assert tuple(JUDGES) == tuple(TITLES) == CHECKS


@pytest.mark.parametrize("spec", ["redirect", "neutralise", "reference"])
@pytest.mark.parametrize("native", [True, False])
def test_an_honest_submission_passes(world: World, tmp_path: Path, spec: str, native: bool):
    submission = world.submit(tmp_path / "s", spec, native=native)
    result = verify_submission(submission, forget=world.forget, retain=world.others)
    assert result.outcome is Outcome.PASS, outcomes(result)
    assert result.exit_code == 0
    assert len(submission.certificate.claims) == len(world.forget)


def test_flat_images_under_a_max_pool_pass_by_exact_arithmetic(tmp_path: Path):
    rng = np.random.default_rng(0)
    layers = (
        Convolution(rng.normal(size=(4, 1, 3, 3)).astype(np.float32), np.full(4, 0.3, np.float32)),
        MaxPool((2, 2), (2, 2)),
        Reshape((100,)),
        Dense(rng.normal(size=(4, 100)).astype(np.float32), np.zeros(4, np.float32)),
    )
    nodes = tuple(Node(layer, (i,)) for i, layer in enumerate(layers))
    network = Network((1, 12, 12), nodes, np.dtype(np.float32))
    x = np.zeros((40, 1, 12, 12), np.float32)
    x[:, :, 3:7, 3:7] = rng.random((40, 1, 4, 4))
    records = Records(x, logits(network, x).argmax(axis=1).astype(np.int64))
    world = World(network, records.take(range(5)), records.take(range(5, 40)))
    submission = world.submit(tmp_path / "s", native=False, radius=0.01)
    result = verify_submission(submission, forget=world.forget)
    check = result.check("certificate.region")
    assert check.outcome is result.check("patch.support").outcome is Outcome.PASS, check.reason
    assert check.evidence["by_exact_arithmetic"] == 5
    assert check.evidence["too_wide_for_exact_arithmetic"] == 0


def test_what_exact_arithmetic_does_not_reach_is_said(
    honest: Submission, monkeypatch: pytest.MonkeyPatch
):
    exactly = verify_submission(honest, exact=True).check("certificate.region")
    assert exactly.evidence["by_exact_arithmetic"] == exactly.n
    monkeypatch.setattr("auditkit.network.integers.MOST_BITS", 60)
    check = verify_submission(honest, exact=True).check("certificate.region")
    assert check.outcome is Outcome.PASS  # float64 proves it too
    assert check.evidence["by_exact_arithmetic"] == 0
    assert check.evidence["too_wide_for_exact_arithmetic"] == check.n
    assert "too wide for exact arithmetic" in check.reason


def test_cluster_and_class_scope_pass(tmp_path: Path):
    world = small_world(3, records=40)
    cluster = world.submit(tmp_path / "cluster", scope="cluster", clusters=6)
    policy = Policy(excess_reach=0.2)
    assert verify_submission(cluster, retain=world.others, policy=policy).outcome is Outcome.PASS
    assert any(not g.stacked and len(g.patterns) > 1 for g in cluster.patch.groups)

    label = int(np.bincount(world.forget.y).argmax())
    ours = dataclasses.replace(world, forget=world.forget.take(world.forget.y == label))
    removed = ours.submit(tmp_path / "class", scope="class", target_class=label)
    same = world.others.take(world.others.y == label)
    alone = verify_submission(removed, retain=same).check("certificate.locality")
    assert "excess_reach_retained" not in alone.evidence  # records of the class are meant
    assert verify_submission(removed, retain=ours.others, policy=policy).outcome is Outcome.PASS
    assert (removed.patched.logits(ours.forget.x).argmax(axis=1) != label).all()


def test_a_suppressed_class_is_never_predicted_and_nothing_else_changes(tmp_path: Path):
    world = small_world(3, records=40)
    label = int(np.bincount(world.forget.y).argmax())
    ours = dataclasses.replace(world, forget=world.forget.take(world.forget.y == label))
    submission = ours.submit(tmp_path / "s", scope="class", method="suppress", target_class=label)
    assert verify_submission(submission).outcome is Outcome.PASS
    x = np.random.default_rng(0).random((5000, 12)).astype(np.float32)
    before, after = submission.network, submission.patched
    from auditkit.network.evaluate import logits

    was, now = logits(before, x).argmax(axis=1), after.logits(x).argmax(axis=1)
    assert (now != label).all()
    assert (now[was != label] == was[was != label]).all()


def test_too_small_a_shift_does_not_pass_as_suppression(tmp_path: Path):
    world = small_world(3, records=40)
    label = int(np.bincount(world.forget.y).argmax())
    ours = dataclasses.replace(world, forget=world.forget.take(world.forget.y == label))
    submission = ours.submit(tmp_path / "s", scope="class", method="suppress", target_class=label)
    [group] = submission.patch.groups
    weak = dataclasses.replace(group, offset=group.offset / 100, bound=group.bound)
    made = rewrite(submission, tmp_path / "weak", patch=Patch((weak,), 4, submission.patch.units))
    assert verify_submission(made).check("certificate.region").outcome is not Outcome.PASS


MALICIOUS = {
    # name: (what to change, the check that must not pass)
    "tiny sharpness": (
        lambda h: {
            "patch": regroup(h.patch, sharpness=1e-6),
            **resettle(h, sharpness=float(np.float32(1e-6))),
        },
        "certificate.locality",
    ),
    "other sharpness than declared": (
        lambda h: {"patch": regroup(h.patch, sharpness=2048.0)},
        "certificate.canonical",
    ),
    "too small K": (
        lambda h: {"patch": regroup(h.patch, bound=1e-3)},
        "certificate.point",
    ),
    "huge dead zone": (
        lambda h: {"patch": regroup(h.patch, dead_zone=50.0)},
        "certificate.locality",
    ),
    "flipped patterns": (
        lambda h: {
            "patch": Patch(
                tuple(dataclasses.replace(g, patterns=~g.patterns) for g in h.patch.groups),
                h.patch.classes,
                h.patch.units,
            )
        },
        "patch.support",
    ),
    "offsets swapped between records": (
        lambda h: {
            "patch": Patch(
                tuple(dataclasses.replace(g, offset=-g.offset) for g in h.patch.groups),
                h.patch.classes,
                h.patch.units,
            )
        },
        "certificate.point",
    ),
    "twice the offset": (
        lambda h: {
            "patch": Patch(
                tuple(
                    dataclasses.replace(g, offset=2 * g.offset, bound=2 * g.bound)
                    for g in h.patch.groups
                ),
                h.patch.classes,
                h.patch.units,
            )
        },
        "certificate.canonical",
    ),
    "tiny radius": (lambda h: restate(h, radius=1e-9), "certificate.region"),
    "radius beyond the settings": (lambda h: restate(h, radius=0.5), "certificate.region"),
    "tiny margin": (
        lambda h: {
            "certificate": dataclasses.replace(
                h.certificate,
                settings=dataclasses.replace(h.certificate.settings, margin=1e-6),
                claims=tuple(dataclasses.replace(c, margin=1e-6) for c in h.certificate.claims),
            )
        },
        "certificate.region",
    ),
    "negative margin": (lambda h: restate(h, margin=-1.0), "certificate.region"),
    "target beyond the classes": (lambda h: restate(h, target=99), "certificate.region"),
    "no target": (lambda h: restate(h, target=None), "certificate.region"),
    "another gate's claim": (lambda h: restate(h, member=0), "patch.support"),
    "a gate that is not there": (lambda h: restate(h, member=10_000), "certificate.region"),
    "no claims": (
        lambda h: {"certificate": dataclasses.replace(h.certificate, claims=())},
        "certificate.region",
    ),
    "half of the claims": (
        lambda h: {
            "certificate": dataclasses.replace(h.certificate, claims=h.certificate.claims[::2])
        },
        "certificate.region",
    ),
    "the same claim twice": (
        lambda h: {
            "certificate": dataclasses.replace(h.certificate, claims=h.certificate.claims * 2)
        },
        "certificate.region",
    ),
    "asserted far beyond what is claimed": (
        lambda h: {"certificate": dataclasses.replace(h.certificate, assertion_radius=50.0)},
        "certificate.region",
    ),
    "asserted without a radius": (
        lambda h: {"certificate": dataclasses.replace(h.certificate, assertion_radius=None)},
        "certificate.region",
    ),
    "request withdrawn, gates kept": (
        lambda h: {
            "certificate": dataclasses.replace(
                h.certificate,
                requests=tuple(
                    dataclasses.replace(r, status="withdrawn") for r in h.certificate.requests
                ),
            )
        },
        "patch.scope",
    ),
    "redirect settings over output offsets": (
        lambda h: {
            "patch": regroup(h.patch, kind=OffsetKind.OUTPUT),
        },
        "certificate.region",
    ),
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_a_malicious_submission_does_not_pass(
    honest: Submission, world: World, tmp_path: Path, name: str
):
    change, check = MALICIOUS[name]
    made = rewrite(honest, tmp_path / "s", **change(honest))
    result = verify_submission(made, forget=world.forget, retain=world.others)
    assert result.check(check).outcome is not Outcome.PASS, result.check(check).reason
    assert result.outcome is not Outcome.PASS


def test_a_target_that_is_the_members_own_label_fails(honest: Submission, tmp_path: Path):
    label = int(honest.forget.y[0])
    made = rewrite(honest, tmp_path / "s", **restate(honest, target=label))
    result = verify_submission(made)
    assert result.check("certificate.region").outcome is Outcome.FAIL
    assert "own label" in result.check("certificate.region").reason


def test_a_smuggled_gate_fails_scope(honest: Submission, world: World, tmp_path: Path):
    from auditkit.network.evaluate import pattern

    bits = pattern(world.network, world.others.x[:1].astype(np.float64))
    extra = Group(
        "extra", OffsetKind.CONSTANT, bits, np.array([9, 0, 0, 0], np.float32), 9.0,
        float(honest.certificate.settings.sharpness or 1), 0.0,
    )  # fmt: skip
    request = honest.certificate.requests[0]
    listed = dataclasses.replace(request, groups=(*request.groups, "extra"))
    made = rewrite(
        honest,
        tmp_path / "s",
        patch=Patch((*honest.patch.groups, extra), 4, honest.patch.units),
        certificate=dataclasses.replace(honest.certificate, requests=(listed,)),
    )
    assert verify_submission(made).check("patch.scope").outcome is Outcome.FAIL


def test_a_gate_that_acts_everywhere_fails_scope(honest: Submission, tmp_path: Path):
    always = Group(
        "always", OffsetKind.ALWAYS, np.zeros((0, honest.patch.units), bool),
        np.array([0.01, 0, 0, 0], np.float32), 1.0, 1.0, 0.0,
    )  # fmt: skip
    request = honest.certificate.requests[0]
    listed = dataclasses.replace(request, groups=(*request.groups, "always"))
    made = rewrite(
        honest,
        tmp_path / "s",
        patch=Patch((*honest.patch.groups, always), 4, honest.patch.units),
        certificate=dataclasses.replace(honest.certificate, requests=(listed,)),
    )
    assert verify_submission(made).check("patch.scope").outcome is Outcome.FAIL


def test_the_auditors_list_counts(honest: Submission, world: World, tmp_path: Path):
    fewer = world.forget.take(range(3))
    result = verify_submission(honest, forget=fewer)
    assert result.check("submission.binding").outcome is Outcome.FAIL
    more = world.others.take(range(2))
    assert (
        verify_submission(honest, forget=more).check("submission.binding").outcome is Outcome.FAIL
    )
    without = verify_submission(honest)
    assert "owner's word" in without.check("submission.binding").reason


def test_withheld_records_leave_claims_not_run(honest: Submission, world: World, tmp_path: Path):
    made = rewrite(honest, tmp_path / "s", forget=None)
    result = verify_submission(made)
    assert result.check("certificate.region").outcome is Outcome.NOT_RUN
    assert result.exit_code == 3
    listed = dataclasses.replace(world.forget, key=b"k" * 32)
    assert verify_submission(made, forget=listed).outcome is Outcome.PASS
    write_records(tmp_path / "list.npz", listed)
    assert verify_directory(tmp_path / "s", forget=tmp_path / "list.npz").outcome is Outcome.PASS


def test_a_single_record_is_a_request(tmp_path: Path):
    world = small_world(5, records=1)
    submission = world.submit(tmp_path / "s")
    assert verify_submission(submission, retain=world.others).outcome is Outcome.PASS


def test_duplicate_records_are_one_request(world: World, tmp_path: Path):
    twice = dataclasses.replace(world, forget=world.forget.take([0, 1, 1, 2]))
    submission = twice.submit(tmp_path / "s")
    assert len(submission.certificate.claims) == 3
    assert verify_submission(submission).outcome is Outcome.PASS


def test_a_crowded_patch_fails_on_excess_reach(honest: Submission, world: World):
    near = world.forget.x[:1] + np.float32(1e-6)
    neighbours = dataclasses.replace(
        world.others, x=np.repeat(near, len(world.others), axis=0).clip(0, 1)
    )
    check = verify_submission(honest, retain=neighbours).check("certificate.locality")
    assert check.outcome is Outcome.FAIL
    assert check.observed == 1.0


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_target_that_is_the_original_output_does_not_pass(
    world: World, tmp_path: Path, share: float
):
    from auditkit.network.evaluate import logits

    honest = world.submit(tmp_path / "honest", "reference")
    [group] = honest.patch.groups
    idle = logits(world.network, world.forget.x)
    count = round(share * len(idle))
    offset = np.concatenate([idle[:count], group.offset[count:]]).astype(np.float32)
    nothing = dataclasses.replace(group, offset=offset)
    patch = Patch((nothing,), honest.patch.classes, honest.patch.units)
    result = verify_submission(rewrite(honest, tmp_path / "s", patch=patch))
    wanted = Outcome.FAIL if share == 1.0 else Outcome.INCONCLUSIVE
    assert result.check("certificate.canonical").outcome is wanted
    assert result.outcome is not Outcome.PASS


def test_a_suppression_that_is_not_claimed_fails(tmp_path: Path):
    world = small_world(3, records=40)
    label = int(np.bincount(world.forget.y).argmax())
    ours = dataclasses.replace(world, forget=world.forget.take(world.forget.y == label))
    made = ours.submit(tmp_path / "s", scope="class", method="suppress", target_class=label)
    silent = dataclasses.replace(made.certificate, claims=())
    result = verify_submission(rewrite(made, tmp_path / "silent", certificate=silent))
    assert result.check("certificate.region").outcome is Outcome.FAIL


def test_a_wrong_export_never_passes(honest: Submission, tmp_path: Path):
    from auditkit.network.write_onnx import network_to_onnx

    files = {n: (honest.directory / n).read_bytes() for n in ("model.json", "model.safetensors")}
    write_submission(
        tmp_path / "s", honest.network, honest.patch, honest.certificate, honest.forget,
        model_files=files, exported=network_to_onnx(honest.network),
    )  # fmt: skip
    check = verify_submission(read_submission(tmp_path / "s")).check("patch.export")
    assert check.outcome is Outcome.FAIL
    assert "witness" in check.private
    assert "witness" not in check.to_json()["evidence"]


def test_policy_floors_are_read_and_applied(honest: Submission, tmp_path: Path):
    path = tmp_path / "policy.toml"
    path.write_text('least_radius = 0.5\nspecifications = ["reference"]\n')
    check = verify_submission(honest, policy=read_policy(path)).check("certificate.region")
    assert check.outcome is Outcome.FAIL
    assert "specification redirect is not allowed" in check.reason
    for bad in ("nonsense = 1", "least_radius = 'x'", "required = ['no.such']", "= broken"):
        path.write_text(bad)
        with pytest.raises(UsageError, match=r"policy\.toml"):
            read_policy(path)


def test_a_domain_that_leaves_the_policys_out_fails(world: World, tmp_path: Path):
    from auditkit.patch.settings import Domain

    inside = dataclasses.replace(world, forget=world.forget)
    submission = inside.submit(tmp_path / "s", domain=Domain(0.0, 1.0))
    narrow = rewrite(
        submission,
        tmp_path / "narrow",
        certificate=dataclasses.replace(
            submission.certificate,
            settings=dataclasses.replace(
                submission.certificate.settings,
                domain=Domain(0.0, float(world.forget.x.max())),
            ),
        ),
    )
    result = verify_submission(narrow)
    assert result.check("certificate.region").outcome is Outcome.FAIL
    assert result.check("submission.binding").outcome is Outcome.FAIL  # the network's digest


def test_missing_files_are_named(honest: Submission, tmp_path: Path):
    rewrite(honest, tmp_path / "s")
    (tmp_path / "s" / "patch.safetensors").unlink()
    with pytest.raises(EvidenceError, match=r"patch\.safetensors"):
        verify_directory(tmp_path / "s")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EvidenceError, match=r"certificate\.json"):
        verify_directory(tmp_path / "empty")
