"""What training left behind on the owner's side, for methods that use it.

Some methods cannot start from a finished network: amnesiac unlearning takes back the updates that
batches with forgotten records made, SISA goes back to the weights from before it saw them. Both
need what training wrote down. A history says by digest which records a network learned from, and
anyone who can guess a record could look it up: it stays with the owner and is no part of a
submission.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.errors import EvidenceError
from auditkit.files import canonical_json, parse_json, read_bytes, refuse, write_atomic
from auditkit.network.digest import semantic_digest
from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.tensors import Tensors, expect, read_safetensors, write_safetensors
from auditkit.unlearning.ensemble import branches_of, ensemble
from auditkit.unlearning.training import Recipe
from auditkit.unlearning.weights import weights_of, with_weights

SCHEMA = "auditkit/history/v1"
DIGEST_BYTES = 32
MOST_SHARDS = 1_000
_SEED = re.compile(r"[0-9]{1,19}")
_REMEDY = "give the history that training of this network wrote"
_OF_LOG = {"records", "batch", "updates"}
_OF_SHARDS = {"records", "count", "shard", "slice", "checkpoints"}


class History:
    """Base of the histories that training can write."""


@dataclass(frozen=True, eq=False)
class UpdateLog(History):
    """By how much every batch moved the weights, summed over the epochs.

    records: uint8 [N, 32] content digests; batch: int32 [N], the batch of each, the same in every
    epoch; updates: float32 [B, P], weights in the order of `weights_of`; network: the semantic
    digest of the network that training ended in.
    """

    network: str
    records: NDArray[np.uint8]
    batch: NDArray[np.int32]
    updates: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Plan:
    """Who is trained on what, where and how, when a network is trained in shards and slices.

    records: uint8 [U, 32] content digests, each once, ascending; count: int32 [U], how many
    records have that content; shard, slice: int32 [U], its place. largest: the greatest absolute
    number that records may hold, which scales the input (see `Trainable`).
    """

    shards: int
    slices: int
    recipe: Recipe
    seed: int
    largest: float
    records: NDArray[np.uint8]
    count: NDArray[np.int32]
    shard: NDArray[np.int32]
    slice: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class ShardCheckpoints(History):
    """The weights [S, R, P] of every shard's network after each slice, with their plan."""

    plan: Plan
    checkpoints: NDArray[Any]


def content_digests(records: Records) -> NDArray[np.uint8]:
    """Return the SHA-256 of each record's features (float32, -0 as 0) and label, uint8 [N, 32]."""
    x = np.ascontiguousarray(records.x.reshape(len(records), -1) + 0.0, dtype="<f4")
    y = np.ascontiguousarray(records.y, dtype="<i8")
    rows = [
        hashlib.sha256(row.tobytes() + label.tobytes()).digest()
        for row, label in zip(x, y, strict=True)
    ]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(records), DIGEST_BYTES)


def write_history(path: Path, history: UpdateLog | ShardCheckpoints) -> None:
    """Write a history as safetensors, the same bytes for the same history."""
    if isinstance(history, UpdateLog):
        tensors: Tensors = {name: getattr(history, name) for name in _OF_LOG}
        words = {"schema": SCHEMA, "kind": "updates", "network": history.network}
    else:
        plan = history.plan
        tensors = {name: getattr(plan, name) for name in _OF_SHARDS - {"checkpoints"}}
        tensors["checkpoints"] = history.checkpoints
        how = {
            "shards": plan.shards,
            "slices": plan.slices,
            "seed": str(plan.seed),  # may be larger than what JSON carries exactly
            "largest": plan.largest,
            "recipe": asdict(plan.recipe),
        }
        words = {"schema": SCHEMA, "kind": "shards", "how": canonical_json(how).decode()}
    write_atomic(Path(path), write_safetensors(tensors, words))


def read_history(path: Path, network: Network) -> UpdateLog | ShardCheckpoints:
    """Return the history of a network; EvidenceError when it is malformed or another network's."""
    what = f"history {Path(path).name}"
    data = read_bytes(Path(path), limit=limits.HISTORY_BYTES, what="history")
    tensors, words = read_safetensors(data, what)
    if words.get("schema") != SCHEMA:
        refuse(what, f"schema {SCHEMA}", repr(words.get("schema"))[:60], _REMEDY)
    if words.get("kind") == "updates" and set(words) == {"schema", "kind", "network"}:
        return _log_from(tensors, words["network"], network, what)
    if words.get("kind") == "shards" and set(words) == {"schema", "kind", "how"}:
        return _shards_from(tensors, words["how"], network, what)
    refuse(what, "the history of updates or of shards", f"{sorted(words)}"[:80], _REMEDY)


def belongs_to(history: History, network: Network) -> bool:
    """Whether the training that wrote a history ended in this network."""
    if isinstance(history, UpdateLog):
        return history.network == semantic_digest(network)
    if not isinstance(history, ShardCheckpoints):
        return False
    try:
        branch = branches_of(network, history.plan.shards)[0]
        return _ends_in(network, branch, history.checkpoints)
    except ValueError:
        return False


def _ends_in(network: Network, branch: Network, checkpoints: NDArray[Any]) -> bool:
    shipped = ensemble([with_weights(branch, weights) for weights in checkpoints[:, -1]])
    return semantic_digest(shipped) == semantic_digest(network)


def _log_from(tensors: Tensors, digest: str, network: Network, what: str) -> UpdateLog:
    _names(tensors, _OF_LOG, what)
    if digest != semantic_digest(network):
        refuse(what, "the history of this network", "that of another", _REMEDY)
    count, parameters = len(tensors["records"]), len(weights_of(network))
    expect(tensors, "records", np.uint8, (count, DIGEST_BYTES), what, _REMEDY)
    expect(tensors, "batch", np.int32, (count,), what, _REMEDY)
    expect(tensors, "updates", np.float32, (len(tensors["updates"]), parameters), what, _REMEDY)
    if count == 0 or not np.array_equal(
        np.unique(tensors["batch"]), np.arange(len(tensors["updates"]))
    ):
        refuse(what, "records in every batch", "a batch without, or none", _REMEDY)
    return UpdateLog(digest, tensors["records"], tensors["batch"], tensors["updates"])


def _shards_from(tensors: Tensors, how: str, network: Network, what: str) -> ShardCheckpoints:
    _names(tensors, _OF_SHARDS, what)
    count = len(tensors["records"])
    expect(tensors, "records", np.uint8, (count, DIGEST_BYTES), what, _REMEDY)
    for name in ("count", "shard", "slice"):
        expect(tensors, name, np.int32, (count,), what, _REMEDY)
    plan = _plan_from(tensors, how, what)
    rows = [row.tobytes() for row in plan.records]
    if rows != sorted(set(rows)) or (count and plan.count.min() < 1):
        refuse(what, "each content once, ascending, with its count", "otherwise", _REMEDY)
    for places, most in ((plan.shard, plan.shards), (plan.slice, plan.slices)):
        if not ((places >= 0) & (places < most)).all():
            refuse(what, "records in the shards and slices that there are", "others", _REMEDY)
    try:
        branch = branches_of(network, plan.shards)[0]
        size = len(weights_of(branch))
        shape = (plan.shards, plan.slices, size)
        expect(tensors, "checkpoints", network.dtype, shape, what, _REMEDY)
        if not _ends_in(network, branch, tensors["checkpoints"]):
            raise ValueError("its last checkpoints make another network")
    except ValueError as error:
        refuse(what, "the history of this network", str(error), _REMEDY)
    return ShardCheckpoints(plan, tensors["checkpoints"])


def _plan_from(tensors: Tensors, how: str, what: str) -> Plan:
    def no() -> NoReturn:
        refuse(what, "a description of shards, slices, seed and recipe", "another", _REMEDY)

    try:
        words = parse_json(how.encode("utf-8", "surrogatepass"), what, limit=limits.KIB * 16)
    except EvidenceError:
        no()
    names = {"shards", "slices", "seed", "largest", "recipe"}
    if not isinstance(words, dict) or set(words) != names or not isinstance(words["recipe"], dict):
        no()
    sizes, seed = (words["shards"], words["slices"]), words["seed"]
    largest, recipe = words["largest"], words["recipe"]
    if not all(type(n) is int and 1 <= n <= MOST_SHARDS for n in sizes):
        no()
    if type(largest) not in (int, float) or largest <= 0 or not _SEED.fullmatch(str(seed)):
        no()
    made = recipe_from(recipe)
    if made is None:
        no()
    parts = (tensors[name] for name in ("records", "count", "shard", "slice"))
    return Plan(*sizes, made, int(seed), float(largest), *parts)


def recipe_from(words: dict[str, Any]) -> Recipe | None:
    """Return the recipe that JSON values describe, all fields and no others; None otherwise."""
    if set(words) != {f.name for f in fields(Recipe)}:
        return None
    values = dict(words)
    for field in fields(Recipe):
        kind, value = type(getattr(Recipe(), field.name)), words[field.name]
        # canonical JSON writes 1.0 as 1
        if kind is float and type(value) is int:
            values[field.name] = float(value)
        elif type(value) is not kind:
            return None
    try:
        return Recipe(**values)
    except (ValueError, OverflowError):
        return None


def _names(tensors: Tensors, wanted: set[str], what: str) -> None:
    if set(tensors) != wanted:
        found = ", ".join(sorted(tensors))[:80]
        refuse(what, f"the tensors {', '.join(sorted(wanted))}", found or "none", _REMEDY)
    if any(tensor.ndim == 0 for tensor in tensors.values()):
        refuse(what, "tensors with a row a record or batch", "a single number", _REMEDY)
