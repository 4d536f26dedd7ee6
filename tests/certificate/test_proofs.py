"""proofs.safetensors: written when needed, read back, and refused by name when it is not right."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.proofs import DIGEST_BYTES, Proofs, proofs_to_bytes
from auditkit.certificate.statement import parse_statement, statement_bytes
from auditkit.certificate.submission import PROOFS, Submission, load_submission, read_submission
from auditkit.certificate.verify import verify_directory, verify_submission
from auditkit.errors import EvidenceError
from auditkit.files import sha256_hex
from auditkit.network.multipliers import Multipliers, Objective
from auditkit.results import Outcome
from auditkit.tensors import Tensors, read_safetensors, write_safetensors
from tests.certificate.conftest import World, small_world


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Submission:
    """A submission whose claims on whole regions need multipliers."""
    world = small_world(1, records=3)
    out = tmp_path_factory.mktemp("proved") / "submission"
    return world.submit(out, radius=np.inf)


def with_file(honest: Submission, out: Path, data: bytes | None) -> Path:
    """Copy a submission with another proofs.safetensors, or none, listed as it is."""
    shutil.copytree(honest.directory, out)
    certificate = parse_statement((out / "certificate.json").read_bytes())
    files = {n: d for n, d in certificate.files.items() if n != PROOFS}
    (out / PROOFS).unlink()
    if data is not None:
        (out / PROOFS).write_bytes(data)
        files[PROOFS] = sha256_hex(data)
    (out / "certificate.json").write_bytes(statement_bytes(certificate.with_files(files)))
    return out


def region(directory: Path) -> Outcome:
    return verify_submission(read_submission(directory)).check("certificate.region").outcome


def test_a_claim_on_a_whole_region_rests_on_its_proofs(proved: Submission, tmp_path: Path) -> None:
    assert proved.proofs is not None and len(proved.proofs) > 0
    assert {claim.radius for claim in proved.certificate.claims} == {np.inf}
    result = verify_submission(proved)
    assert result.outcome is Outcome.PASS, [c.reason for c in result.checks]
    assert region(with_file(proved, tmp_path / "none", None)) is Outcome.INCONCLUSIVE


def test_a_round_trip_gives_the_same_bytes(proved: Submission) -> None:
    data = (proved.directory / PROOFS).read_bytes()
    assert proved.proofs is not None
    assert proofs_to_bytes(proved.proofs) == data
    digests = tuple(claim.record or "" for claim in proved.certificate.claims)
    assert proofs_to_bytes(Proofs.of(digests, proved.proofs.about(digests))) == data


def test_nothing_is_shipped_where_the_box_is_enough(world: World, tmp_path: Path) -> None:
    submission = world.submit(tmp_path / "s", radius=1e-4)
    assert submission.proofs is None and PROOFS not in submission.files


def test_the_file_is_bound_like_every_other(proved: Submission, tmp_path: Path) -> None:
    copy = tmp_path / "s"
    shutil.copytree(proved.directory, copy)
    data = bytearray((copy / PROOFS).read_bytes())
    data[-1] ^= 1
    (copy / PROOFS).write_bytes(bytes(data))
    check = verify_directory(copy).check("submission.binding")
    assert check.outcome is Outcome.FAIL and PROOFS in check.reason


def useless(name: str) -> Callable[[Multipliers], Multipliers]:
    def change(m: Multipliers) -> Multipliers:
        rng = np.random.default_rng(0)
        if name == "no rows of use":
            return m.rows(np.arange(1), m.record[:1])
        values = {
            "zero": np.zeros(len(m.values)),
            "greatest": np.full(len(m.values), 3e38),
            "random": rng.exponential(size=len(m.values)) * 100,
            "those of another unit": np.roll(m.values, 1),
        }
        return dataclasses.replace(m, values=values[name])

    return change


@pytest.mark.parametrize(
    "name", ["zero", "greatest", "random", "those of another unit", "no rows of use"]
)
def test_proofs_that_prove_nothing_leave_claims_open(
    proved: Submission, tmp_path: Path, name: str
) -> None:
    assert proved.proofs is not None
    changed = useless(name)(proved.proofs.multipliers)
    named = tuple(np.array(proved.proofs.records)[np.unique(changed.record)])
    data = proofs_to_bytes(Proofs(named, changed))
    assert region(with_file(proved, tmp_path / "s", data)) is Outcome.INCONCLUSIVE


def test_proofs_of_another_record_prove_nothing(proved: Submission, tmp_path: Path) -> None:
    assert proved.proofs is not None
    m, names = proved.proofs.multipliers, proved.proofs.records
    count = len(names)
    swapped = Proofs.of([names[(i + 1) % count] for i in range(count)], m)
    try:
        outcome = region(with_file(proved, tmp_path / "s", proofs_to_bytes(swapped)))
    except EvidenceError as error:  # the lead of a target over itself
        assert PROOFS in str(error)
    else:
        assert outcome is Outcome.INCONCLUSIVE


def put(name: str, value: object) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[name] = np.asarray(value)

    return change


def at(name: str, place: int, value: float) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[name] = tensors[name].copy()
        tensors[name].flat[place] = value

    return change


BAD: dict[str, tuple[Callable[[Tensors], object], str]] = {
    "a tensor is missing": (lambda t: t.pop("values"), "tensors"),
    "a tensor too many": (put("more", np.zeros(1)), "tensors"),
    "half floats": (lambda t: t.update(values=t["values"].astype(np.float16)), "values"),
    "whole numbers": (lambda t: t.update(values=t["values"].astype(np.int64)), "values"),
    "two axes": (lambda t: t.update(values=t["values"][None]), "values"),
    "a negative multiplier": (at("values", 0, -1.0), "at least 0"),
    "a multiplier too few": (lambda t: t.update(values=t["values"][:-1]), "multipliers"),
    "an infinite multiplier": (at("values", 0, np.inf), "finite"),
    "a multiplier that is no number": (at("values", 0, np.nan), "finite"),
    "a unit that there is not": (at("units", -1, 10_000), "unit"),
    "a unit below 0": (at("units", 0, -1), "unit"),
    "a unit twice": (lambda t: at("units", 1, int(t["units"][0]))(t), "ascending"),
    "a class that there is not": (at("index", -1, 99), "classes"),
    "a class below 0": (at("index", 0, -1), "below 0"),
    "an objective that there is not": (at("objective", 0, 7), "objective"),
    "a bound from below on a lead": (at("objective", -1, Objective.LOWER), "lead"),
    "a record that is not listed": (at("record", -1, 99), "each record"),
    "a record below 0": (at("record", 0, -1), "below 0"),
    "a row twice": (lambda t: at("index", 1, int(t["index"][0]))(t), "twice"),
    "offsets beyond the end": (at("offsets", -1, 10_000), "row offsets"),
    "offsets that fall": (at("offsets", 1, -5), "row offsets"),
    "no offsets": (put("offsets", np.zeros(0, np.int64)), "rows"),
    "a digest of another record": (at("records", -1, 255), "claims"),
    "digests cut short": (lambda t: t.update(records=t["records"][:, :-1]), f"{DIGEST_BYTES}"),
    "the same record twice": (
        lambda t: t.update(records=np.repeat(t["records"][:1], len(t["records"]), axis=0)),
        "each record once",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_by_name(proved: Submission, tmp_path: Path, name: str) -> None:
    tensors, metadata = read_safetensors((proved.directory / PROOFS).read_bytes(), PROOFS)
    change, word = BAD[name]
    change(tensors)
    copy = with_file(proved, tmp_path / "s", write_safetensors(tensors, metadata))
    with pytest.raises(EvidenceError, match=PROOFS) as caught:
        verify_directory(copy)
    assert word in str(caught.value), caught.value


def test_rows_against_their_claim_are_refused(proved: Submission, tmp_path: Path) -> None:
    assert proved.proofs is not None
    claims = {claim.record: claim for claim in proved.certificate.claims}
    digest = proved.proofs.records[0]
    claim = claims[digest]
    one = np.ones((1, proved.patch.units))
    gate = proved.patch.find(claim.group, claim.member or 0)
    assert gate is not None and claim.target is not None
    for kind, index, word in (
        (Objective.GATE, gate, "gate of the claim itself"),
        (Objective.UPPER, claim.target, "target label over itself"),
    ):
        row = Multipliers.of(
            proved.patch.units,
            np.zeros(1, int),
            np.array([int(kind)]),
            np.array([index]),
            list(one),
        )
        copy = with_file(proved, tmp_path / kind.name, proofs_to_bytes(Proofs((digest,), row)))
        with pytest.raises(EvidenceError, match=word):
            read_submission(copy)


def test_what_is_not_safetensors_is_refused(proved: Submission, tmp_path: Path) -> None:
    for number, data in enumerate((b"", b"\x00" * 40, b"no proofs at all")):
        copy = with_file(proved, tmp_path / str(number), data)
        with pytest.raises(EvidenceError, match=PROOFS):
            load_submission(copy)
