"""What an owner hands over to support "this network was trained without those records".

A log says which records went into every step, and has the weights and the optimiser's state every
so many steps, so that an auditor who holds the records can go each stretch again. It is a
statement of the owner's, as hostile as any other file.

Records are named by keyed digests (HMAC under the submission's record key), so that the file alone
tells nobody who guesses a record whether it was trained on. Requester and auditor hold the key and
could tell; and whoever holds the log and has some of the records learns of others from the steps
between two checkpoints, because a step is a gradient. A log is for the auditor alone.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.certificate.identity import record_digests
from auditkit.errors import EvidenceError
from auditkit.files import canonical_json, parse_json, read_bytes, refuse, write_atomic
from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.tensors import Tensors, expect, read_safetensors, write_safetensors
from auditkit.unlearning.history import recipe_from
from auditkit.unlearning.training import Recipe, batches
from auditkit.unlearning.weights import weights_of

SCHEMA = "auditkit/training-log/v1"
DIGEST_BYTES = 32
NOBODY = -1
"""In the table of batches, where a batch has fewer records than the largest."""
_SEED = re.compile(r"[0-9]{1,19}")
_REMEDY = "ask the owner for the log that training of this network wrote"


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """A training from random weights, step by step.

    records: uint8 [N, 32], keyed digests; batches: int32 [T, B], rows of `records` in each step,
    -1 where there is none; steps: int64 [K], how many steps had been taken at each checkpoint;
    weights: [K, P] as the optimiser saw them (`Trainable` scales the layers that read records),
    in the network's dtype; moments: [K, M, P], the optimiser's state: M is 0 for SGD without
    momentum, 1 with it, 2 for Adam (mean, and mean of squares). seed: of the first weights;
    largest: the greatest absolute number of the records.
    """

    recipe: Recipe
    seed: int
    largest: float
    records: NDArray[np.uint8]
    batches: NDArray[np.int32]
    steps: NDArray[np.int64]
    weights: NDArray[Any]
    moments: NDArray[Any]

    def rows(self, step: int) -> NDArray[np.int64]:
        """Return the rows of `records` that went into a step (from 0)."""
        row = self.batches[step]
        return row[row != NOBODY].astype(np.int64)


def moments_of(recipe: Recipe) -> int:
    """Return how many numbers a weight the recipe's optimiser remembers."""
    if recipe.optimizer == "adam":
        return 2
    return 1 if recipe.momentum else 0


def digest_table(records: Records, key: bytes) -> NDArray[np.uint8]:
    """Return keyed digests [N, 32] of records, as a log names them."""
    joined = b"".join(bytes.fromhex(digest) for digest in record_digests(records, key))
    return np.frombuffer(joined, np.uint8).reshape(len(records), DIGEST_BYTES)


def as_names(table: NDArray[np.uint8]) -> NDArray[Any]:
    """Return the rows of a table of digests as one value each, to compare and sort by."""
    return np.ascontiguousarray(table).view(np.dtype((np.void, DIGEST_BYTES))).reshape(-1)


def batch_table(count: int, recipe: Recipe, seed: int) -> NDArray[np.int32]:
    """Return the batches [T, B] of a training of `count` records by the recipe and seed."""
    generator = np.random.default_rng([seed, 11])
    parts = [
        rows for _ in range(recipe.epochs) for rows in batches(count, recipe.batch_size, generator)
    ]
    table = np.full((len(parts), max(map(len, parts))), NOBODY, np.int32)
    for step, rows in enumerate(parts):
        table[step, : len(rows)] = rows
    return table


def write_training_log(path: Path, log: TrainingLog) -> None:
    """Write a log as safetensors, the same bytes for the same log."""
    how = {"seed": str(log.seed), "largest": log.largest, "recipe": asdict(log.recipe)}
    tensors: Tensors = {name: getattr(log, name) for name in _TENSORS}
    words = {"schema": SCHEMA, "how": canonical_json(how).decode()}
    write_atomic(Path(path), write_safetensors(tensors, words))


_TENSORS = ("records", "batches", "steps", "weights", "moments")


def read_training_log(path: Path, network: Network) -> TrainingLog:
    """Return the log of a training of this architecture; EvidenceError when it is malformed.

    What it says is not looked into: checkpoints and batches may be whatever the owner likes.
    """
    what = f"training log {Path(path).name}"
    data = read_bytes(Path(path), limit=limits.TRAINING_LOG_BYTES, what="training log")
    tensors, words = read_safetensors(data, what)
    if set(words) != {"schema", "how"} or words["schema"] != SCHEMA:
        refuse(what, f"schema {SCHEMA}", repr(words.get("schema"))[:60], _REMEDY)
    if set(tensors) != set(_TENSORS):
        found = ", ".join(sorted(tensors))[:80] or "none"
        refuse(what, f"the tensors {', '.join(_TENSORS)}", found, _REMEDY)
    recipe, seed, largest = _how(words["how"], what)
    _shapes(tensors, recipe, network, what)
    _values(tensors, what)
    return TrainingLog(recipe, seed, largest, **{name: tensors[name] for name in _TENSORS})


def _how(text: str, what: str) -> tuple[Recipe, int, float]:
    def no() -> NoReturn:
        refuse(what, "a description of recipe, seed and scale", "another", _REMEDY)

    try:
        words = parse_json(text.encode("utf-8", "surrogatepass"), what, limit=limits.KIB * 16)
    except EvidenceError:
        no()
    if not isinstance(words, dict) or set(words) != {"recipe", "seed", "largest"}:
        no()
    seed, largest = words["seed"], words["largest"]
    if not isinstance(seed, str) or not _SEED.fullmatch(seed):
        no()
    if type(largest) not in (int, float) or not 0 < largest <= float(np.finfo(np.float32).max):
        no()
    recipe = recipe_from(words["recipe"]) if isinstance(words["recipe"], dict) else None
    if recipe is None:
        no()
    return recipe, int(seed), float(largest)


def _shapes(tensors: Tensors, recipe: Recipe, network: Network, what: str) -> None:
    if any(tensors[name].ndim == 0 for name in _TENSORS) or tensors["batches"].ndim != 2:
        refuse(what, "tensors with a row a record, step or checkpoint", "others", _REMEDY)
    count, checkpoints = len(tensors["records"]), len(tensors["steps"])
    steps, widest = tensors["batches"].shape
    if widest > recipe.batch_size:
        expected = f"batches of at most {min(recipe.batch_size, limits.RECORDS)} records, as stated"
        refuse(what, expected, f"{widest}", _REMEDY)
    parameters = len(weights_of(network))
    wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
        "records": (np.uint8, (count, DIGEST_BYTES)),
        "batches": (np.int32, (steps, widest)),
        "steps": (np.int64, (checkpoints,)),
        "weights": (network.dtype, (checkpoints, parameters)),
        "moments": (network.dtype, (checkpoints, moments_of(recipe), parameters)),
    }
    for name, (dtype, shape) in wanted.items():
        expect(tensors, name, dtype, shape, what, _REMEDY)
    for name, size, most in (
        ("steps", steps, limits.TRAINING_STEPS),
        ("checkpoints", checkpoints, limits.CHECKPOINTS),
        ("records", count, limits.RECORDS),
        ("records a batch", widest, limits.BATCH_RECORDS),
    ):
        if not 1 <= size <= most:
            refuse(what, f"1 to {most} {name}", f"{size}", _REMEDY)


def _values(tensors: Tensors, what: str) -> None:
    table, steps = tensors["batches"], tensors["steps"]
    filled = table != NOBODY
    if not filled[:, 0].all() or (filled[:, 1:] & ~filled[:, :-1]).any():
        refuse(what, "a record in every batch, and -1 after the last", "otherwise", _REMEDY)
    if table.min() < NOBODY or table.max() >= len(tensors["records"]):
        refuse(what, "batches of the records that are listed", "others", _REMEDY)
    if steps[0] < 0 or steps[-1] > len(table) or (np.diff(steps) < 1).any():
        refuse(what, "checkpoints after ever more of the steps", "otherwise", _REMEDY)
