"""Scores of shadow models in a folder: the same bytes, or a refusal that says what differs."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attacks import Recipe, shadows
from attacks.shadows import fingerprint, groups, score_matrix
from attacks.shadows.architecture import Architecture, Conv, Dense, Flatten, Pool, Relu
from attacks.shadows.score_matrix import MANIFEST, MEMBERS, POOL, QUERY, ScoreMatrixError

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(8)
X = RNG.random((37, 5)).astype(np.float32)
Y = RNG.integers(0, 3, 37)
RECIPE = Recipe(epochs=2, batch_size=10, learning_rate=0.01)
RUN = {
    "architecture": (5, 8, 3),
    "x": X,
    "y": Y,
    "shadows": 6,
    "recipe": RECIPE,
    "seed": 3,
    "query": (X[:4], Y[:4]),
}
FILES = (MANIFEST, POOL, QUERY, MEMBERS)


def groups_of(count, patch):
    network = Architecture.fully_connected(RUN["architecture"])
    patch.setattr(groups, "GROUP_BYTES", count * groups.network_bytes(network, RECIPE))


@pytest.fixture(autouse=True)
def groups_of_two(monkeypatch):
    groups_of(2, monkeypatch)


def train(folder=None, **changes):
    return shadows.train_shadows(**{**RUN, "cache": folder, **changes})


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        groups_of(2, patch)
        folder = tmp_path_factory.mktemp("kept") / "scores"
        train(folder)
    return folder


@pytest.fixture
def copy(kept, tmp_path):
    return Path(shutil.copytree(kept, tmp_path / "copy"))


def trained_groups_in(monkeypatch):
    """Return a list that gets the rows of every group that is trained."""
    rows = []
    original = shadows.training.trained_groups

    def noted(*arguments, groups, **options):
        rows.extend((g.start, g.stop) for g in groups)
        return original(*arguments, groups=groups, **options)

    monkeypatch.setattr(shadows.training, "trained_groups", noted)
    return rows


def test_the_same_scores_as_without_a_folder(kept, monkeypatch):
    trained = trained_groups_in(monkeypatch)
    said, before = [], contents(kept)
    found = train(kept, say=said.append)
    assert trained == [] and contents(kept) == before
    assert said == [
        "6 shadow models (5-8-3): 2 epochs on 18 of 37 records each; "
        f"6 of 6 found in {kept}, 0 to train"
    ]
    plain = train(say=said.append)
    assert said[1] == "6 shadow models (5-8-3): 2 epochs on 18 of 37 records each"
    for mapped, array in ((found.pool, plain.pool), (found.query, plain.query)):
        np.testing.assert_array_equal(mapped, array)
        assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
        assert not isinstance(array, np.memmap)
    assert (kept.stat().st_mode & 0o077, (kept / POOL).stat().st_mode & 0o077) == (0, 0)


def test_files_are_what_they_are_said_to_be(kept):
    plain = train()
    pool = np.fromfile(kept / POOL, dtype="<f4").reshape(6, 37)
    np.testing.assert_array_equal(pool, plain.pool)
    packed = np.fromfile(kept / MEMBERS, dtype=np.uint8).reshape(6, -1)
    np.testing.assert_array_equal(packed, np.packbits(plain.member_mask, axis=1))
    read = shadows.read_scores(kept)
    np.testing.assert_array_equal(read.pool, plain.pool)
    np.testing.assert_array_equal(read.query, plain.query)
    np.testing.assert_array_equal(read.member_mask, plain.member_mask)
    assert read.member_mask.dtype == np.bool_ and read.made_with["recipe"]["epochs"] == 2


def test_records_that_only_train_take_no_room(kept, tmp_path, monkeypatch):
    folder = tmp_path / "scores"

    def interrupt(done, total):
        if done == total - 1:  # the groups train side by side
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(folder, scored=12, progress=interrupt)
    trained = trained_groups_in(monkeypatch)
    found = train(folder, scored=12)
    assert 1 <= len(trained) < 3
    everything, again = shadows.read_scores(kept), train(scored=12)
    for scores in (found, shadows.read_scores(folder), again):
        np.testing.assert_array_equal(scores.pool, again.pool)
        # other records in a block may turn a rounding
        np.testing.assert_allclose(scores.pool, everything.pool[:, :12], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(scores.member_mask, everything.member_mask[:, :12])
        np.testing.assert_array_equal(scores.query, everything.query)
    assert (folder / POOL).stat().st_size == 4 * 6 * 12
    for wrong in (0, 38):
        with pytest.raises(ValueError, match=f"scored must lie in 1..37, found {wrong}"):
            train(scored=wrong)


def test_convolutional_networks_too(tmp_path, monkeypatch):
    image = Architecture((1, 6, 6), (Conv(3), Relu(), Pool("max"), Flatten(), Dense(3)))
    run = {"architecture": image, "x": RNG.random((37, 1, 6, 6)), "query": None, "shadows": 4}
    plain, trained, said = train(**run), trained_groups_in(monkeypatch), []

    def interrupt(done, total):
        if done == total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "scores", progress=interrupt, **run)
    found = train(tmp_path / "scores", say=said.append, **run)
    np.testing.assert_array_equal(found.pool, plain.pool)
    assert trained[:4] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert trained[4:] == trained[:4][-len(trained[4:]) :]  # what was done is not done again
    assert found.query is None and not (tmp_path / "scores" / QUERY).exists()
    assert said[0].startswith("4 shadow models (convolutional): 2 epochs on 18 of 37 records")
    with pytest.raises(ScoreMatrixError, match=r"architecture Architecture\(input_shape=\(1, 6, 6"):
        train(
            tmp_path / "scores", **{**run, "architecture": replace(image, layers=image.layers[2:])}
        )


def test_scores_do_not_depend_on_the_blocks_they_are_written_in(monkeypatch, tmp_path):
    monkeypatch.setattr(shadows.training, "SIGNAL_FLOATS", 20)
    np.testing.assert_array_equal(train(tmp_path / "a").pool, train().pool)


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.attacks.killed_runs", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["events"] > 80
    outcomes = report["results"]
    assert all(last == 0 and same for _, _, last, same in outcomes), outcomes
    first = Counter(statuses[0] for statuses, *_ in outcomes)
    assert first[-9] > 0.8 * len(outcomes)  # a kill from outside may come too late
    groups = Counter(kept for statuses, kept, *_ in outcomes if statuses[0] == -9)
    assert set(groups) == {0, 1, 2, 3}  # kills came before, between and after the groups


def test_a_row_is_on_the_disk_before_the_manifest_says_so(monkeypatch, tmp_path):
    folder, durable = tmp_path / "scores", {}
    flush, replace = np.memmap.flush, os.replace
    claims = []

    def flushed(self):
        flush(self)
        durable[Path(self.filename).name] = np.array(self)

    def replaced(source, target):
        if Path(target).name == MANIFEST:
            for a, b, pool, query in json.loads(Path(source).read_bytes())["done"]:
                claims.append((a, b))
                for name, digest in ((POOL, pool), (QUERY, query)):
                    assert hashlib.sha256(durable[name][a:b].tobytes()).hexdigest() == digest
        replace(source, target)

    monkeypatch.setattr(np.memmap, "flush", flushed)
    monkeypatch.setattr(os, "replace", replaced)
    train(folder)
    assert claims == [(0, 2), (0, 2), (2, 4), (0, 2), (2, 4), (4, 6)]


def test_an_interrupt_leaves_what_was_done(tmp_path, monkeypatch, kept):
    folder = tmp_path / "scores"

    def interrupt(done, total):
        if done == total - 1:  # in the last group, which begins when the first is kept
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(folder, progress=interrupt)
    done = json.loads((folder / MANIFEST).read_bytes())["done"]
    rows = [(0, 2), (2, 4), (4, 6)][len(done) :]
    assert 1 <= len(done) < 3
    trained, steps = trained_groups_in(monkeypatch), []
    said = []
    train(folder, say=said.append, progress=lambda done, total: steps.append((done, total)))
    assert trained == rows
    assert steps[0][0] == 1 and steps[-1] == (len(steps), len(steps))
    assert said[0].endswith(f"{2 * len(done)} of 6 found in {folder}, {2 * len(rows)} to train")
    assert contents(folder) == contents(kept)


OTHER = np.where(np.arange(37)[:, None] == 36, np.float32(0.5), X)
MASK = shadows.paired_masks(6, 37, 11)
MISMATCHES = {
    "architecture": ({"architecture": (5, 9, 3)}, ["architecture 5-9-3", "architecture 5-8-3"]),
    "recipe": ({"recipe": Recipe(3, 0.01, 10)}, ["recipe.epochs 3", "found recipe.epochs 2"]),
    "rate": ({"recipe": Recipe(2, 0.02, 10)}, ["recipe.learning_rate 0.02"]),
    "seed": ({"seed": 4}, ["seed 4", "found seed 3"]),
    "records": ({"x": OTHER}, ["expected scores made with records.sha256 "]),
    "labels": ({"y": np.roll(Y, 1)}, ["records.sha256 "]),
    "order": ({"x": X[::-1], "y": Y[::-1]}, ["records.sha256 "]),
    "fewer records": ({"x": X[:30], "y": Y[:30]}, ["records.count 30", "records.count 37"]),
    "query": ({"query": (X[1:5], Y[1:5])}, ["query.sha256 "]),
    "no query": ({"query": None}, ["query.count none", "found query.count 4"]),
    "scored": ({"scored": 30}, ["scored 30", "found scored 37"]),
    "masks": ({"member_mask": MASK}, ["the same masks of the first 6", "found other masks"]),
    "fewer shadows": ({"shadows": 4}, ["at most 4 shadow models", "scores of 6"]),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_another_run_is_refused_by_name(name, kept):
    changes, said = MISMATCHES[name]
    before = contents(kept)
    with pytest.raises(ScoreMatrixError) as refused:
        train(kept, **changes)
    for part in (str(kept), *said, "delete this one"):
        assert part in str(refused.value)
    assert contents(kept) == before


def test_other_code_versions_and_machines_are_refused(kept, monkeypatch):
    changes = [
        (fingerprint, "_versions", lambda: {"torch": "1.0"}, "versions.torch 1.0"),
        (fingerprint, "_code", lambda: "f" * 64, "code ffffffffffff…"),
        (fingerprint, "_machine", lambda *given: {"device": "abacus"}, "machine.device abacus"),
        (fingerprint, "FORMAT", 0, "format 0"),
        (groups, "GROUP_BYTES", groups.GROUP_BYTES * 3 // 2, "scores of 6 trained 3 at a time"),
    ]
    for module, name, value, said in changes:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            with pytest.raises(ScoreMatrixError) as refused:
                train(kept)
        assert said in str(refused.value)


def test_threads_count_where_a_group_has_several(kept, tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    groups_of(100, monkeypatch)
    train(tmp_path / "one group")
    try:
        torch.set_num_threads(threads + 1)
        with pytest.raises(ScoreMatrixError, match=f"machine.threads {threads + 1}, found"):
            train(tmp_path / "one group")
        groups_of(2, monkeypatch)
        before = contents(kept)
        (kept / POOL).unlink()
        train(kept)
        assert contents(kept) == before
    finally:
        torch.set_num_threads(threads)


def test_the_code_digest_covers_what_makes_a_score():
    """A change of any module that training goes through changes the digest."""
    used = {
        Path(module.__file__)
        for name, module in list(sys.modules.items())
        if name.startswith("attacks.shadows.") and module.__file__
    }
    folder = Path(fingerprint.__file__).parent
    assert used <= set(folder.glob("*.py")) and folder / "ensemble.py" in used
    assert fingerprint._code() == fingerprint._code() and len(fingerprint._code()) == 64


def test_many_differences_are_cut_short():
    a = {"recipe": dict.fromkeys("abcdefg", 1), "seed": 1}
    b = {"recipe": dict.fromkeys("abcdefg", 2), "seed": 1}
    wanted, found = fingerprint.differences(a, b)
    assert wanted == "recipe.a 1, recipe.b 1, recipe.c 1, recipe.d 1 and 3 more"
    assert found.startswith("recipe.a 2")
    assert fingerprint.differences(a, a) is None


def test_more_shadow_models_go_on_from_there(copy, tmp_path, monkeypatch):
    trained = trained_groups_in(monkeypatch)
    more = train(copy, shadows=10)
    assert trained == [(6, 8), (8, 10)]
    np.testing.assert_array_equal(more.pool, train(shadows=10).pool)
    train(tmp_path / "at once", shadows=10)
    assert contents(copy) == contents(tmp_path / "at once")


def test_a_group_cut_short_is_trained_again(tmp_path, monkeypatch):
    fixed = lambda kind, recipe, k, device: [slice(a, min(k, a + 4)) for a in range(0, k, 4)]  # noqa: E731
    monkeypatch.setattr(shadows.training, "group_slices", fixed)
    folder, trained = tmp_path / "scores", trained_groups_in(monkeypatch)
    train(folder)
    assert trained == [(0, 4), (4, 6)]
    more = train(folder, shadows=8)
    assert trained[2:] == [(4, 8)]
    np.testing.assert_array_equal(more.pool, train(shadows=8).pool)


@pytest.mark.parametrize("size", [4, 100])
def test_other_groups_are_refused_as_nothing_could_be_kept(size, tmp_path, monkeypatch):
    groups_of(size, monkeypatch)
    train(tmp_path / "scores")
    before = contents(tmp_path / "scores")
    said = {4: "8 trained 4 at a time, found scores of 6 trained 3", 100: "8 trained 8 at a time"}
    with pytest.raises(ScoreMatrixError, match=f"scores of {said[size]}"):
        train(tmp_path / "scores", shadows=8)
    assert contents(tmp_path / "scores") == before


def test_changed_masks_are_not_read(copy):
    data = bytearray((copy / MEMBERS).read_bytes())
    data[2] ^= 1
    (copy / MEMBERS).write_bytes(data)
    with pytest.raises(ScoreMatrixError, match=r"members\.bits it was made with"):
        shadows.read_scores(copy)


def test_a_changed_byte_is_noticed_and_its_group_trained_again(copy, kept, monkeypatch):
    data = bytearray((copy / POOL).read_bytes())
    data[3 * 37 * 4 + 17] ^= 1  # of row 3, in the group of rows 2 and 3
    (copy / POOL).write_bytes(data)
    with pytest.raises(ScoreMatrixError, match="2 of 6 rows missing or damaged"):
        shadows.read_scores(copy)
    trained, said = trained_groups_in(monkeypatch), []
    train(copy, say=said.append)
    assert trained == [(2, 4)]
    assert "4 of 6 found" in said[0] and "2 damaged there and trained again, 2 to" in said[0]
    assert contents(copy) == contents(kept)


@pytest.mark.parametrize("name", [POOL, QUERY, MEMBERS])
@pytest.mark.parametrize("size", [None, 0, 60, 10_000])
def test_lost_short_and_long_files_are_made_whole(name, size, copy, kept):
    if size is None:
        (copy / name).unlink()
    else:
        os.truncate(copy / name, size)
    if size != 10_000 or name == MEMBERS:
        with pytest.raises(ScoreMatrixError, match="run the training again"):
            shadows.read_scores(copy)
    train(copy)
    assert contents(copy) == contents(kept)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-20],
        lambda data: data + b"\n",
        lambda data: b"",
        lambda data: b"[" * 100_000,
        lambda data: b"\xff" + data,
        lambda data: data.replace(b'"seed": 3', b'"seed": 4'),
        lambda data: data.replace(b'"done": [', b'"done": [[0,2,"",""],'),
        lambda data: b"{}",
    ],
)
def test_a_manifest_that_was_changed_is_refused(change, copy):
    data = (copy / MANIFEST).read_bytes()
    (copy / MANIFEST).write_bytes(change(data))
    for use in (train, shadows.read_scores):
        with pytest.raises(ScoreMatrixError, match=r"manifest\.json as this program wrote it"):
            use(copy)
    assert (copy / MANIFEST).read_bytes() == change(data)


@pytest.mark.parametrize(
    "made_with",
    [
        {"shadows": {"count": 6}},
        {"shadows": {"count": 6, "masks": "", "groups": 7}, "another part": 1},
        {"shadows": {"count": -1, "masks": "", "groups": []}, "records": None, "query": None},
        {"shadows": {"count": 10**30, "masks": 0, "groups": []}, "records": {"count": 10**30}},
    ],
)
def test_a_manifest_of_somebody_else_whose_digests_match_is_refused(made_with, copy):
    parts = {"made_with": made_with, "done": []}
    digests = {"fingerprint": made_with, "done_sha256": []}
    document = parts | {name: fingerprint.digest_of(part) for name, part in digests.items()}
    (copy / MANIFEST).write_bytes(fingerprint.encode(document))
    for use in (train, shadows.read_scores):
        with pytest.raises(ScoreMatrixError):
            use(copy)


def test_whatever_is_changed_never_gives_other_scores(kept, tmp_path):
    rng, expected, plain = np.random.default_rng(1), contents(kept), train().pool
    seen = Counter()
    for number in range(60):
        folder = tmp_path / str(number)
        shutil.copytree(kept, folder)
        path = folder / FILES[rng.integers(len(FILES))]
        data = bytearray(path.read_bytes())
        for _ in range(rng.integers(1, 4)):
            match rng.integers(4):
                case 0 if data:
                    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
                case 1:
                    del data[rng.integers(len(data) + 1) :]
                case 2:
                    data += rng.bytes(rng.integers(1, 50))
                case _ if data:
                    at = rng.integers(len(data))
                    data[at : at + 9] = rng.bytes(9)
        path.write_bytes(data)
        try:
            found = train(folder)
        except ScoreMatrixError:
            seen["refused"] += 1
            assert path.name == MANIFEST
        else:
            seen["used"] += 1
            np.testing.assert_array_equal(found.pool, plain)
            assert contents(folder) == expected
    assert seen["refused"] > 5 and seen["used"] > 5


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ScoreMatrixError, match=r"'thesis.tex' and no manifest\.json"):
        train(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]
    (tmp_path / MANIFEST).write_text('{"name": "a web page"}')
    with pytest.raises(ScoreMatrixError, match="damaged or not its own"):
        train(tmp_path)
    with pytest.raises(ScoreMatrixError, match="no manifest"):
        shadows.read_scores(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/auditkit")):
        with pytest.raises(ScoreMatrixError, match="a folder that can be written"):
            train(place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_only_be_read(copy):
    copy.chmod(0o500)
    (copy / "lock").chmod(0o400)
    with pytest.raises(ScoreMatrixError, match="Permission denied"):
        train(copy)


def test_a_full_disk_is_said_before_anything_is_trained(tmp_path, monkeypatch):
    def full(handle, start, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    trained = trained_groups_in(monkeypatch)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ScoreMatrixError, match="No space left") as refused:
        train(tmp_path / "scores")
    assert refused.value.no_room and trained == []
    monkeypatch.undo()


def test_a_link_is_not_followed(copy, tmp_path):
    (copy / POOL).unlink()
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (copy / POOL).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ScoreMatrixError):
        train(copy)
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"


def test_one_process_at_a_time(copy):
    code = (
        "import sys, time; from pathlib import Path; from attacks.shadows import score_matrix\n"
        "score_matrix._locked(Path(sys.argv[1])); print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(copy)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        for use in (train, shadows.read_scores):
            with pytest.raises(ScoreMatrixError, match="another process at work") as refused:
                use(copy)
            assert "\n" not in str(refused.value)
        other.kill()
    train(copy)  # the lock of a killed process is gone with it
    assert score_matrix.LOCK in os.listdir(copy)


def test_one_run_at_a_time_within_a_process(copy):
    def again(done, total):
        with pytest.raises(ScoreMatrixError, match="another process at work"):
            train(copy)
        raise StopIteration

    (copy / POOL).unlink()
    with pytest.raises((StopIteration, RuntimeError)):
        train(copy, progress=again)
    train(copy)
