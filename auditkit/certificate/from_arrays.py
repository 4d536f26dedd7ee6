"""A submission for a patch that was made elsewhere, from its arrays."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.history import new_request
from auditkit.certificate.identity import random_key, record_digests
from auditkit.certificate.statement import Certificate, Claim
from auditkit.certificate.submission import (
    PatchSubmission,
    read_patched,
    write_submission,
)
from auditkit.errors import UsageError
from auditkit.network.digest import semantic_digest
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.network.read import load_network
from auditkit.patch.explicit import ExplicitGroup, ExplicitPatch, violations
from auditkit.patch.settings import Settings, Spec
from auditkit.patch.tensors import GROUP_NAME
from auditkit.records import Records, read_records

FIELDS = ("A", "b", "members", "C", "d", "bound", "sharpness")


def submission_from_arrays(
    model: Network | str | os.PathLike[str],
    groups: Mapping[str, Mapping[str, Any]],
    forget: Records | str | os.PathLike[str],
    settings: Settings,
    out: str | os.PathLike[str],
    *,
    replace: bool = False,
) -> PatchSubmission:
    """Write a submission for an explicit patch made elsewhere, and read it back.

    `model` is a network or its file, `forget` records or their file. `groups` maps a name to
    arrays `A` [m, d] and `b` [m] (rows A x ≤ b, members stacked; length 1 each is expected),
    `members` [P + 1] (row offsets; without it one member), `C` [C, d] and `d` [C] (the offset
    C x + d; without C a constant), `bound` (K) and `sharpness` (n); real numbers are rounded to
    float32. The claims say what such a patch is for: each record is claimed of the gate that is
    open there, or nearest to open, within the settings' radius and by their margin. None of it is
    believed or even tried here; `verify` does that. Raises UsageError when arrays do not fit.
    """
    network = model if isinstance(model, Network) else load_network(Path(model))
    domain = settings.domain
    if not isinstance(forget, Records):
        forget = read_records(
            Path(forget), network.input_shape, network.classes, (domain.lower, domain.upper)
        )
    patch = patch_from_arrays(network, groups)
    if settings.sharpness is None:
        settings = dataclasses.replace(settings, sharpness=patch.groups[0].sharpness)
    key = forget.key or random_key()
    digests = record_digests(forget, key)
    claims = supposed_claims(network, patch, forget, digests, settings)
    names = tuple(group.name for group in patch.groups)
    request = dataclasses.replace(new_request(digests, None), groups=names)
    certificate = Certificate(
        assertion="redirected",
        assertion_radius=settings.radius,
        network=semantic_digest(network, (domain.lower, domain.upper)),
        floats=network.dtype.name,
        settings=settings,
        requests=(request,),
        claims=claims,
        unclaimed={},
        files={},
    )
    keyed = dataclasses.replace(forget, key=key)
    write_submission(Path(out), network, patch, certificate, keyed, replace=replace)
    return read_patched(Path(out))


def patch_from_arrays(network: Network, groups: Mapping[str, Mapping[str, Any]]) -> ExplicitPatch:
    """Return the explicit patch in `groups`, or a UsageError that names what does not fit."""
    made = []
    for name, arrays in groups.items():
        if not GROUP_NAME.fullmatch(name):
            raise _bad(f"group {name!r}"[:80], "a short name of a-z, 0-9, . _ -", "another")
        unknown = sorted(set(arrays) - set(FIELDS))
        missing = sorted({"A", "b", "d", "bound", "sharpness"} - set(arrays))
        if unknown or missing:
            found = (
                f"{', '.join(unknown) or 'none'} unknown, {', '.join(missing) or 'none'} missing"
            )
            raise _bad(f"group {name}", f"arrays {', '.join(FIELDS)}", found)
        try:
            rows, shift = _floats(arrays["A"]), _floats(arrays["d"])
            slope = arrays.get("C")
            members = arrays.get("members", [0, len(rows)])
            made.append(
                ExplicitGroup(
                    name=name,
                    rows=rows,
                    limits=_floats(arrays["b"]),
                    members=np.asarray(members).astype(np.int64, casting="safe"),
                    slope=np.zeros((len(shift), network.features), np.float32)
                    if slope is None
                    else _floats(slope),
                    shift=shift,
                    bound=_float(arrays["bound"]),
                    sharpness=_float(arrays["sharpness"]),
                )
            )
        except (TypeError, ValueError, IndexError) as error:
            raise _bad(f"group {name}", "arrays that fit each other", str(error)) from error
    try:
        return ExplicitPatch(tuple(made), network.classes, network.features)
    except ValueError as error:
        raise _bad("groups", "a patch that fits the network", str(error)) from error


def supposed_claims(
    network: Network,
    patch: ExplicitPatch,
    forget: Records,
    digests: tuple[str, ...],
    settings: Settings,
) -> tuple[Claim, ...]:
    """Return what the arrays are supposed to do for each record, whether they do or not."""
    flat = forget.x.reshape(len(forget), -1).astype(np.float64)
    table = patch.table
    closed = np.concatenate([violations(group, flat) for group in patch.groups], axis=1)
    gate = (closed * table.sharpness[table.group]).argmin(axis=1)
    target: NDArray[np.int64] | None = None
    if settings.spec is Spec.REDIRECT:
        patched = logits(network, forget.x.astype(np.float64))
        patched = patched + table.offsets(table.group[gate], flat)
        target = patched.argmax(axis=1)
    claims = {}
    for index, digest in enumerate(digests):
        claims[digest] = Claim(
            kind="region",
            record=digest,
            group=patch.groups[int(table.group[gate[index]])].name,
            member=int(table.member[gate[index]]),
            radius=settings.radius,
            margin=settings.margin,
            target=None if target is None else int(target[index]),
        )
    return tuple(claims.values())


def _floats(values: Any) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what is beyond float32 is refused as not finite
        return np.asarray(values, dtype=np.float64).astype(np.float32)


def _float(value: Any) -> float:
    return float(_floats(np.asarray(value, dtype=np.float64).reshape(())))


def _bad(subject: str, expected: str, found: str) -> UsageError:
    return UsageError(
        subject, expected=expected, found=found[:300], remedy="correct the arrays of the patch"
    )
