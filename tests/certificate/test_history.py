"""Requests one after another: the patch depends on which are active, not on how it came to that."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.history import history_faults, request_id
from auditkit.certificate.make import make_submission
from auditkit.certificate.onto import add_request, earlier_history, withdraw_request
from auditkit.certificate.policy import Policy
from auditkit.certificate.statement import Certificate
from auditkit.certificate.submission import Submission, load_submission, read_submission
from auditkit.certificate.verify import verify_submission
from auditkit.errors import UsageError
from auditkit.network.evaluate import logits, pattern
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records
from auditkit.results import Outcome
from tests.certificate.conftest import KEY, World, small_world
from tests.certificate.test_verify import outcomes

BYTES = ("patch.safetensors", "patched.onnx")
WIDE = Policy(excess_reach=1.0)
KINDS: dict[str, dict] = {
    "redirect": {},
    "neutralise": {"spec": "neutralise"},
    "reference": {"spec": "reference"},
    "cluster": {"scope": "cluster", "clusters": 2},
    "whole region": {"radius": np.inf},
}


class Owner:
    """An owner who patches `world` for some of its records, under one key."""

    def __init__(self, world: World, folder: Path, spec: str = "redirect", **settings: object):
        self.world, self.folder = world, folder
        self.spec, self.settings = spec, settings
        self.steps = 0

    def _out(self) -> Path:
        self.steps += 1
        return self.folder / f"step-{self.steps}"

    @property
    def reference(self) -> dict:
        return {"reference_network": other_network()} if self.spec == "reference" else {}

    def first(self, records: Records) -> Submission:
        out = self._out()
        source = {"reference": self.world.others} if self.spec == "neutralise" else self.reference
        make_submission(
            self.world.network,
            records,
            resolve_settings(self.spec, **self.settings),  # type: ignore[arg-type]
            out,
            key=KEY,
            **source,
        )
        return load_submission(out)

    def add(self, earlier: Submission, records: Records) -> Submission:
        out = self._out()
        add_request(earlier_history(earlier, None), records, out, **self.reference)
        return load_submission(out)

    def withdraw(self, earlier: Submission, number: int) -> Submission:
        out = self._out()
        name = earlier.certificate.requests[number].id
        withdraw_request(earlier_history(earlier, None), name, out, **self.reference)
        return load_submission(out)

    def history(self, *requests: Records) -> Submission:
        submission = self.first(requests[0])
        for records in requests[1:]:
            submission = self.add(submission, records)
        return submission


def other_network():
    """A network that never saw anything of the world's."""
    return small_world(seed=99).network


def parts(submission: Submission) -> list[bytes]:
    return [(submission.directory / name).read_bytes() for name in BYTES]


def joined(*records: Records) -> Records:
    return Records(np.concatenate([r.x for r in records]), np.concatenate([r.y for r in records]))


def near(world: World, records: Records, row: int) -> Records:
    """Another record in the region of one of `records`."""
    bits = pattern(world.network, records.x[row : row + 1].astype(np.float64))
    rng = np.random.default_rng(row)
    steps = rng.normal(size=(2000, records.x.shape[1])) * np.geomspace(0.3, 1e-4, 2000)[:, None]
    tries = np.clip(records.x[row] + steps, 0, 1).astype(np.float32)
    same = (pattern(world.network, tries.astype(np.float64)) == bits).all(axis=1)
    same &= (tries != records.x[row]).any(axis=1)
    assert same.any()
    return Records(tries[same][:1], records.y[row : row + 1])


@pytest.fixture(scope="module")
def wide_world() -> World:
    return small_world(5, records=12)


@pytest.fixture(params=KINDS)
def owner(request: pytest.FixtureRequest, wide_world: World, tmp_path: Path) -> Owner:
    return Owner(wide_world, tmp_path, **KINDS[request.param])


def two_requests(world: World, how: str) -> tuple[Records, Records]:
    """Two lists of records that have nothing, a record, or a region in common."""
    a, b = world.forget.take(range(6)), world.forget.take(range(6, 12))
    match how:
        case "the same record in both":
            b = joined(b, a.take([2]))
        case "a region in common":
            b = joined(near(world, a, 3), b)
        case "one within the other":
            b = a.take([1, 4])
        case "all of it again":
            b = joined(near(world, a, 0), a)
    return a, b


CASES = (
    "apart",
    "the same record in both",
    "a region in common",
    "one within the other",
    "all of it again",
)


@pytest.mark.parametrize("how", CASES)
def test_order_does_not_matter_and_withdrawing_leaves_what_the_others_give(owner: Owner, how: str):
    a, b = two_requests(owner.world, how)
    only_a, only_b = owner.first(a), owner.first(b)
    forth, back = owner.add(only_a, b), owner.add(only_b, a)
    assert parts(forth) == parts(back)
    assert history_faults(forth.certificate) == history_faults(back.certificate) == []
    assert parts(owner.withdraw(forth, 0)) == parts(only_b)
    assert parts(owner.withdraw(forth, 1)) == parts(only_a)


def test_order_of_three_does_not_either(owner: Owner):
    world = owner.world
    a, b = two_requests(world, "a region in common")
    c = joined(near(world, a, 3), near(world, b, 2), world.others.take([0]))
    assert parts(owner.history(a, b, c)) == parts(owner.history(c, a, b))
    assert parts(owner.history(b, c, a)) == parts(owner.history(b, a, c))


def test_a_withdrawn_request_can_come_again(owner: Owner):
    a, b = two_requests(owner.world, "a region in common")
    both = owner.history(a, b)
    again = owner.add(owner.withdraw(both, 0), a)
    assert parts(again) == parts(both)
    assert [r.status for r in again.certificate.requests] == ["withdrawn", "active", "active"]
    assert len({r.id for r in again.certificate.requests}) == 3
    assert verify_submission(again, policy=WIDE).check("submission.binding").outcome is Outcome.PASS


@pytest.mark.parametrize("how", CASES)
def test_every_active_claim_is_proved_on_the_union(owner: Owner, how: str):
    world = owner.world
    a, b = two_requests(world, how)
    both = owner.history(a, b)
    result = verify_submission(both, forget=joined(a, b), retain=world.others, policy=WIDE)
    found = outcomes(result)
    if owner.spec == "reference" and how in ("a region in common", "all of it again"):
        # one region, one answer: the certificate says that one of the two has none
        assert found["certificate.region"] == "inconclusive"
        assert len(both.certificate.unclaimed) == 1
    else:
        assert result.outcome is Outcome.PASS, found
        assert result.check("certificate.region").n == len(
            set(both.certificate.requests[0].records) | set(both.certificate.requests[1].records)
        )
    counted = result.check("certificate.region").evidence["requests"]
    for request in both.certificate.requests:
        row, lost = counted[request.id], set(both.certificate.unclaimed) & set(request.records)
        assert (row["records"], row["proved"]) == (
            len(request.records),
            len(request.records) - len(lost),
        )
    rows = result.check("submission.binding").evidence["requests"]
    assert [row["status"] for row in rows] == ["active", "active"]
    assert [row["records"] for row in rows] == [len(a), len(b)]


def test_earlier_groups_stay_byte_for_byte_where_nothing_touches(owner: Owner):
    a, b = two_requests(owner.world, "apart")
    first, both = owner.first(a), owner.history(a, b)
    later = {group.name: group for group in both.patch.groups}
    for group in first.patch.groups:
        same = later[group.name]
        assert group.patterns.tobytes() == same.patterns.tobytes()
        assert group.offset.tobytes() == same.offset.tobytes()
        assert (group.bound, group.sharpness, group.dead_zone) == (
            same.bound, same.sharpness, same.dead_zone,
        )  # fmt: skip
    listed = both.certificate.requests
    assert set(listed[0].groups) == {g.name for g in first.patch.groups}
    assert not set(listed[0].groups) & set(listed[1].groups)


def test_records_that_touch_share_groups_and_no_members_label(wide_world: World, tmp_path: Path):
    owner = Owner(wide_world, tmp_path)
    a = wide_world.forget.take(range(6))
    b = near(wide_world, a, 3)
    b = Records(b.x, (b.y + 1) % 4)  # the same region under another label
    both = owner.history(a, b)
    first, second = both.certificate.requests
    [shared] = set(first.groups) & set(second.groups)
    targets = {c.target for c in both.certificate.claims if c.group == shared}
    assert targets and not targets & {int(a.y[3]), int(b.y[0])}
    only = {c.group for c in both.certificate.claims if c.record in first.records}
    assert shared in only and len(only) > 1  # the other records of a have groups of their own
    assert verify_submission(both, policy=WIDE).outcome is Outcome.PASS


def test_a_withdrawn_record_gets_its_old_answer_back(owner: Owner):
    a, b = two_requests(owner.world, "the same record in both")
    left = owner.withdraw(owner.history(a, b), 0)
    gone, kept = a.take([0, 1, 3, 4, 5]), a.take([2])  # the third is still asked for in b
    network = owner.world.network
    assert np.array_equal(left.patched.logits(gone.x), logits(network, gone.x))
    assert (left.patched.logits(kept.x) != logits(network, kept.x)).any()
    assert left.forget is not None and len(left.forget) == len(b)
    first, second = left.certificate.requests
    assert (first.status, first.groups) == ("withdrawn", ())
    assert {c.record for c in left.certificate.claims} <= set(second.records)
    result = verify_submission(left, forget=b, retain=owner.world.others, policy=WIDE)
    assert result.outcome is Outcome.PASS, outcomes(result)
    # who still wants the withdrawn records forgotten says so with a list
    more = verify_submission(left, forget=joined(a, b), policy=WIDE)
    assert more.check("submission.binding").outcome is Outcome.FAIL


def test_suppression_is_one_shift_for_all_who_ask(tmp_path: Path):
    world = small_world(3, records=40)
    label = int(np.bincount(world.forget.y).argmax())
    mine = world.forget.take(world.forget.y == label)
    owner = Owner(world, tmp_path, scope="class", method="suppress", target_class=label)
    a, b = mine.take(range(3)), mine.take(range(3, len(mine)))
    both = owner.history(a, b)
    assert parts(both) == parts(owner.first(a))
    assert verify_submission(both).outcome is Outcome.PASS
    left = owner.withdraw(both, 0)
    assert parts(left) == parts(both)
    assert verify_submission(left).outcome is Outcome.PASS
    with pytest.raises(UsageError, match="another class"):
        owner.add(both, world.forget.take(world.forget.y != label))


def test_class_scope_takes_more_records_of_its_class(tmp_path: Path):
    world = small_world(3, records=40)
    label = int(np.bincount(world.forget.y).argmax())
    mine = world.forget.take(world.forget.y == label)
    owner = Owner(world, tmp_path, scope="class", target_class=label)
    a, b = mine.take(range(4)), mine.take(range(4, len(mine)))
    both = owner.history(a, b)
    assert parts(both) == parts(owner.history(b, a))
    assert verify_submission(both, policy=WIDE).outcome is Outcome.PASS
    assert (both.patched.logits(mine.x).argmax(axis=1) != label).all()
    with pytest.raises(UsageError, match="another class"):
        owner.add(both, world.forget.take(world.forget.y != label))


# What an owner may do to the list, every digest made to agree.


@pytest.fixture(scope="module")
def two(wide_world: World, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    a, b = two_requests(wide_world, "a region in common")
    return Owner(wide_world, tmp_path_factory.mktemp("two")).history(a, b)


def forged(two: Submission, out: Path, **changes: object) -> Submission:
    from auditkit.certificate.submission import write_submission

    parts = {"patch": two.patch, "certificate": two.certificate, "forget": two.forget, **changes}
    write_submission(
        out, two.network, parts["patch"], parts["certificate"], parts["forget"],  # type: ignore[arg-type]
        model_files={"model.onnx": (two.directory / "model.onnx").read_bytes()},
    )  # fmt: skip
    return read_submission(out)


def relist(two: Submission, number: int, **changes: object) -> Certificate:
    requests = list(two.certificate.requests)
    requests[number] = dataclasses.replace(requests[number], **changes)  # type: ignore[arg-type]
    return dataclasses.replace(two.certificate, requests=tuple(requests))


def own_groups(two: Submission, number: int) -> tuple[str, ...]:
    other = two.certificate.requests[1 - number]
    return tuple(g for g in two.certificate.requests[number].groups if g not in other.groups)


def claims_of(certificate: Certificate, records: Sequence[str]) -> Certificate:
    kept = tuple(c for c in certificate.claims if c.record in set(records))
    return dataclasses.replace(certificate, claims=kept)


def _left_in(two: Submission) -> dict:
    """Withdrawn on paper: list, claims and records go, the gates stay."""
    first, second = two.certificate.requests
    certificate = claims_of(relist(two, 0, status="withdrawn", groups=()), second.records)
    assert two.forget is not None
    return {
        "certificate": certificate,
        "forget": two.forget.take(range(len(first.records), len(two.forget))),
    }


def _left_in_and_listed(two: Submission) -> dict:
    """The same, and the other request is made to answer for the gates."""
    change = _left_in(two)
    first, second = change["certificate"].requests
    every = tuple(g.name for g in two.patch.groups)
    second = dataclasses.replace(second, groups=every)
    return {
        **change,
        "certificate": dataclasses.replace(change["certificate"], requests=(first, second)),
    }


def _swapped(two: Submission) -> dict:
    """Each request lists the other's groups."""
    first, second = two.certificate.requests
    requests = (
        dataclasses.replace(first, groups=second.groups),
        dataclasses.replace(second, groups=first.groups),
    )
    return {"certificate": dataclasses.replace(two.certificate, requests=requests)}


def _without_gates(two: Submission) -> dict:
    """The gates of a request are taken out, its claims stay."""
    from auditkit.patch.gates import Patch

    gone = own_groups(two, 1)
    groups = tuple(g for g in two.patch.groups if g.name not in gone)
    return {"patch": Patch(groups, two.patch.classes, two.patch.units)}


def _moved(two: Submission) -> dict:
    """A record of the one request is said to be of the other, names and claims made to agree."""
    first, second = two.certificate.requests
    moved = next(c.record for c in two.certificate.claims if c.group in own_groups(two, 0))
    assert moved is not None
    kept, more = tuple(d for d in first.records if d != moved), (*second.records, moved)
    one = request_id(kept, None)
    requests = (
        dataclasses.replace(first, records=kept, id=one),
        dataclasses.replace(
            second,
            records=more,
            groups=tuple(sorted({*second.groups, *first.groups})),
            id=request_id(more, one),
            parent=one,
        ),
    )
    certificate = dataclasses.replace(two.certificate, requests=requests)
    assert not history_faults(certificate)
    return {"certificate": certificate}


FORGERIES: dict[str, tuple[Callable[[Submission], dict], str]] = {
    "status flipped": (
        lambda t: {"certificate": relist(t, 0, status="withdrawn")},
        "submission.binding",
    ),
    "status flipped, groups taken off the list": (
        lambda t: {"certificate": relist(t, 0, status="withdrawn", groups=())},
        "patch.scope",
    ),
    "withdrawn, gates left in": (_left_in, "patch.scope"),
    "withdrawn, gates left in and laid to the other": (_left_in_and_listed, "patch.scope"),
    "groups swapped": (_swapped, "patch.scope"),
    "gates of a request missing": (_without_gates, "patch.scope"),
    "a group listed by who has no record in it": (
        lambda t: {
            "certificate": relist(
                t, 1, groups=(*t.certificate.requests[1].groups, own_groups(t, 0)[0])
            )
        },
        "patch.scope",
    ),
    "a group that is not there": (
        lambda t: {
            "certificate": relist(t, 1, groups=(*t.certificate.requests[1].groups, "nowhere"))
        },
        "patch.scope",
    ),
    "a group listed twice": (
        lambda t: {"certificate": relist(t, 1, groups=t.certificate.requests[1].groups * 2)},
        "submission.binding",
    ),
    "a record less": (
        lambda t: {"certificate": relist(t, 1, records=t.certificate.requests[1].records[1:])},
        "submission.binding",
    ),
    "a record moved to the other request": (_moved, "patch.scope"),
    "another name": (lambda t: {"certificate": relist(t, 1, id="request-2")}, "submission.binding"),
    "one name twice": (
        lambda t: {"certificate": relist(t, 1, id=t.certificate.requests[0].id)},
        "submission.binding",
    ),
    "no parent": (lambda t: {"certificate": relist(t, 1, parent=None)}, "submission.binding"),
    "its own parent": (
        lambda t: {"certificate": relist(t, 1, parent=t.certificate.requests[1].id)},
        "submission.binding",
    ),
    "a child as parent": (
        lambda t: {"certificate": relist(t, 0, parent=t.certificate.requests[1].id)},
        "submission.binding",
    ),
    "the other way round": (
        lambda t: {
            "certificate": dataclasses.replace(t.certificate, requests=t.certificate.requests[::-1])
        },
        "submission.binding",
    ),
    "withdrawn and renamed, records gone from the list": (
        lambda t: {
            "certificate": dataclasses.replace(
                t.certificate,
                requests=(
                    dataclasses.replace(
                        t.certificate.requests[1],
                        parent=None,
                        id=request_id(t.certificate.requests[1].records, None),
                    ),
                ),
            )
        },
        "patch.scope",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_history_does_not_pass(two: Submission, tmp_path: Path, name: str):
    change, check = FORGERIES[name]
    made = forged(two, tmp_path / "s", **change(two))
    result = verify_submission(made, policy=WIDE)
    assert result.check(check).outcome is Outcome.FAIL, outcomes(result)
    assert result.outcome is Outcome.FAIL


def test_the_forgeries_are_of_a_submission_that_passes(two: Submission):
    assert verify_submission(two, policy=WIDE).outcome is Outcome.PASS


def test_a_gate_smuggled_in_with_the_second_request(
    two: Submission, wide_world: World, tmp_path: Path
):
    from auditkit.patch.gates import Patch

    name = own_groups(two, 1)[0]
    bits = pattern(wide_world.network, wide_world.others.x[7:8].astype(np.float64))
    groups = tuple(
        dataclasses.replace(g, patterns=np.concatenate([g.patterns, bits])) if g.name == name else g
        for g in two.patch.groups
    )
    made = forged(two, tmp_path / "s", patch=Patch(groups, two.patch.classes, two.patch.units))
    check = verify_submission(made, policy=WIDE).check("patch.scope")
    assert check.outcome is Outcome.FAIL and check.observed == 1


# What an owner may get wrong.


def test_what_cannot_be_added_or_withdrawn(two: Submission, wide_world: World, tmp_path: Path):
    earlier = earlier_history(two, None)
    a, _ = two_requests(wide_world, "a region in common")
    with pytest.raises(UsageError, match="asked for already"):
        add_request(earlier, a, tmp_path / "s")
    with pytest.raises(UsageError, match="an active request: request-"):
        withdraw_request(earlier, "request-1", tmp_path / "s")
    out = tmp_path / "one"
    withdraw_request(earlier, two.certificate.requests[0].id, out)
    one = load_submission(out)
    with pytest.raises(UsageError, match="another active request"):
        withdraw_request(earlier_history(one, None), one.certificate.requests[1].id, tmp_path / "s")
    with pytest.raises(UsageError, match="missing"):
        earlier_history(two, dataclasses.replace(a, key=KEY))
    with pytest.raises(UsageError, match="without the key"):
        earlier_history(two, a)


def test_a_patch_made_elsewhere_cannot_be_added_to(
    two: Submission, wide_world: World, tmp_path: Path
):
    from auditkit.patch.gates import Patch

    groups = tuple(dataclasses.replace(g, offset=g.offset * 2) for g in two.patch.groups)
    made = forged(two, tmp_path / "s", patch=Patch(groups, two.patch.classes, two.patch.units))
    with pytest.raises(UsageError, match="other groups, gates or offsets"):
        add_request(earlier_history(made, None), wide_world.others.take([0]), tmp_path / "t")


def test_withheld_records_stay_withheld(wide_world: World, tmp_path: Path):
    a, b = two_requests(wide_world, "apart")
    kept, later = tmp_path / "kept.npz", tmp_path / "later.npz"
    from auditkit.records import read_records

    make_submission(
        wide_world.network, a, resolve_settings(), tmp_path / "a", key=KEY, withhold_to=kept
    )
    first = load_submission(tmp_path / "a")
    with pytest.raises(UsageError, match="--onto-forget"):
        earlier_history(first, None)
    earlier = earlier_history(first, read_records(kept))
    with pytest.raises(UsageError, match="--withhold-to"):
        add_request(earlier, b, tmp_path / "b")
    add_request(earlier, b, tmp_path / "b", withhold_to=later)
    both = load_submission(tmp_path / "b")
    assert both.forget is None
    records = read_records(later)
    assert len(records) == len(a) + len(b) and records.key == KEY
    assert verify_submission(both, forget=records, policy=WIDE).outcome is Outcome.PASS


def test_vectors_that_are_not_in_the_patch_are_asked_for(wide_world: World, tmp_path: Path):
    owner = Owner(wide_world, tmp_path, "reference")
    a = wide_world.forget.take(range(6))
    b = joined(near(wide_world, a, 3), wide_world.forget.take([7]))
    both = owner.history(a, b)
    [lost] = both.certificate.unclaimed
    winner = 1 if lost in both.certificate.requests[0].records else 0
    name = both.certificate.requests[winner].id
    with pytest.raises(UsageError, match="target vectors for 1 record"):
        withdraw_request(earlier_history(both, None), name, tmp_path / "s")
    left = owner.withdraw(both, winner)
    assert not left.certificate.unclaimed


def test_drawn_references_do_not_depend_on_the_order(wide_world: World, tmp_path: Path):
    a, b = two_requests(wide_world, "the same record in both")
    made, alone = [], []
    for number, (one, two) in enumerate(((a, b), (b, a))):
        out = tmp_path / str(number)
        settings = resolve_settings("reference")
        make_submission(
            wide_world.network, one, settings, out, key=KEY, reference=wide_world.others
        )
        earlier = earlier_history(load_submission(out), None)
        add_request(earlier, two, tmp_path / f"{number}b", reference=wide_world.others)
        alone.append(parts(load_submission(out)))
        made.append(load_submission(tmp_path / f"{number}b"))
    assert parts(made[0]) == parts(made[1])
    # nor on what was there once, if the references that were drawn from are given again
    for number, request in enumerate(made[0].certificate.requests):
        earlier, out = earlier_history(made[0], None), tmp_path / f"left{number}"
        withdraw_request(earlier, request.id, out, reference=wide_world.others)
        assert parts(load_submission(out)) == alone[1 - number]
    # without them the vectors of the patch stay
    withdraw_request(earlier, request.id, tmp_path / "kept")
    left = load_submission(tmp_path / "kept")
    assert {g.name for g in left.patch.groups} <= {
        g.name for n in (0, 1) for g in load_submission(tmp_path / str(n)).patch.groups
    }
    with_other = tmp_path / "other"
    withdraw_request(
        earlier, request.id, with_other, reference=wide_world.others.take(range(100, 300))
    )
    assert parts(load_submission(with_other)) == parts(left)


def test_the_models_files_stay_as_they_were(wide_world: World, tmp_path: Path):
    first = wide_world.submit(tmp_path / "a", native=True)
    add_request(earlier_history(first, None), wide_world.others.take([0]), tmp_path / "b")
    both = load_submission(tmp_path / "b")
    for name in ("model.json", "model.safetensors"):
        assert (both.directory / name).read_bytes() == (first.directory / name).read_bytes()
    assert verify_submission(both, policy=WIDE).outcome is Outcome.PASS


def test_a_list_given_in_another_order_is_the_same_list(wide_world: World, tmp_path: Path):
    """Clusters depend on the order of records; the certificate's counts, not the auditor's."""
    owner = Owner(wide_world, tmp_path, scope="cluster", clusters=2)
    both = owner.history(*two_requests(wide_world, "apart"))
    assert both.forget is not None
    shuffled = both.forget.take(np.random.default_rng(0).permutation(len(both.forget)))
    result = verify_submission(both, forget=shuffled, policy=WIDE)
    assert result.outcome is Outcome.PASS, outcomes(result)


def test_ids_and_subjects_of_both_are_kept(wide_world: World, tmp_path: Path):
    owner = Owner(wide_world, tmp_path)
    a, b = two_requests(wide_world, "apart")
    a = dataclasses.replace(a, id=tuple(range(6)), subject=("ann", "ann", "bob", "c", "d", "e"))
    both = owner.history(a, b)
    assert both.forget is not None and both.forget.id is not None
    assert both.forget.subject is not None
    assert both.forget.subject[:3] == ("ann", "ann", "bob")
    assert both.forget.id[:2] == ("0", "1") and len(set(both.forget.id)) == 12
    clash = dataclasses.replace(b, id=tuple(range(6)))
    with pytest.raises(UsageError, match="another record's"):
        owner.add(owner.first(a), clash)


def test_the_prefix_of_a_group_does_not_tell_whom_it_serves(wide_world: World, tmp_path: Path):
    """The same request under another key: the same network, other names."""
    names, networks = [], []
    for number, key in enumerate((KEY, b"another key that nobody guesses!")):
        out = tmp_path / str(number)
        make_submission(wide_world.network, wide_world.forget, resolve_settings(), out, key=key)
        submission = load_submission(out)
        names.append({g.name for g in submission.patch.groups})
        networks.append(submission.exported)
    assert not names[0] & names[1]
    assert networks[0] == networks[1]
