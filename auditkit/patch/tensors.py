"""A patch as named tensors: `groups/g/patterns`, `offset`, `bound`, … in gated form.

Patterns are packed eight to a byte, most significant bit first, spare bits 0. Bands, where a group
has them, are `groups/g/band_unit` int32, `band_center` and `band_width` float32 [P, B]. In explicit
form: `groups/g/A`, `b`, `members`, `C`, `d`, `bound`, `sharpness`. A patch has one form.
"""

from __future__ import annotations

import re

import numpy as np

from auditkit import limits
from auditkit.network.graph import Network
from auditkit.network.units import unit_layout
from auditkit.patch.explicit import AffineKind, AnyPatch, ExplicitGroup, ExplicitPatch
from auditkit.patch.gates import Bands, Group, OffsetKind, Patch
from auditkit.refusal import refuse
from auditkit.tensors import Tensors, read_safetensors, write_safetensors

SCHEMA = "auditkit/patch/v1"
GROUP_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_BANDS = ("band_unit", "band_center", "band_width")
_FIELDS = {"patterns", "offset", "bound", "sharpness", "dead_zone"}
_NAMES = {*_FIELDS, *_BANDS}
_EXPLICIT = {"A", "b", "members", "C", "d", "bound", "sharpness"}
_AFFINE = AffineKind.AFFINE.value
_REMEDY = "have the patch written again in gated form"


def patch_to_bytes(patch: AnyPatch) -> bytes:
    """Return patch.safetensors, the same bytes for the same patch."""
    tensors: Tensors = {}
    metadata = {"schema": SCHEMA}
    if isinstance(patch, ExplicitPatch):
        return _explicit_to_bytes(patch)
    for group in patch.groups:
        stem = f"groups/{group.name}"
        tensors[f"{stem}/patterns"] = np.packbits(group.patterns, axis=1)
        tensors[f"{stem}/offset"] = group.offset.astype(np.float32)
        for field in ("bound", "sharpness", "dead_zone"):
            tensors[f"{stem}/{field}"] = np.asarray(getattr(group, field), dtype=np.float32)
        if group.bands is not None:
            tensors[f"{stem}/band_unit"] = group.bands.unit.astype(np.int32)
            tensors[f"{stem}/band_center"] = group.bands.center.astype(np.float32)
            tensors[f"{stem}/band_width"] = group.bands.width.astype(np.float32)
        metadata[f"kind/{group.name}"] = group.kind.value
    return write_safetensors(tensors, metadata)


def patch_from_bytes(data: bytes, network: Network, what: str = "patch.safetensors") -> AnyPatch:
    """Read a patch for `network`; EvidenceError when it is malformed or does not fit."""
    tensors, metadata = read_safetensors(data, what)
    if metadata.get("schema") != SCHEMA:
        refuse(what, f"schema {SCHEMA}", repr(metadata.get("schema"))[:60], _REMEDY)
    parts: dict[str, Tensors] = {}
    for name, tensor in tensors.items():
        match name.split("/"):
            case ["groups", group, field] if (
                GROUP_NAME.fullmatch(group) and field in _NAMES | _EXPLICIT
            ):
                parts.setdefault(group, {})[field] = tensor
            case _:
                refuse(what, "tensors groups/NAME/FIELD", repr(name[:80]), _REMEDY)
    if not parts:
        refuse(what, "at least one group", "none", _REMEDY)
    if set(metadata) != {"schema", *(f"kind/{name}" for name in parts)}:
        refuse(what, "a kind for each group", f"metadata {sorted(metadata)}"[:120], _REMEDY)
    if _AFFINE in metadata.values():
        return _explicit_from(parts, metadata, network, what)
    units = unit_layout(network).count
    groups = [
        _group(name, part, metadata[f"kind/{name}"], units, what)
        for name, part in sorted(parts.items())
    ]
    try:
        return Patch(tuple(groups), network.classes, units)
    except ValueError as error:
        refuse(what, "a patch that fits the network", str(error), _REMEDY)


def _group(name: str, part: Tensors, kind: str, units: int, what: str) -> Group:
    subject = f"{what} group {name}"
    if set(part) not in (_FIELDS, _NAMES):
        expected = f"tensors {sorted(_FIELDS)}, and all of {sorted(_BANDS)} or none"
        refuse(subject, expected, f"{sorted(part)}", _REMEDY)
    if kind not in set(OffsetKind):
        refuse(subject, f"a kind among {[k.value for k in OffsetKind]}", repr(kind[:40]), _REMEDY)
    packed = part["patterns"]
    width = (units + 7) // 8
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != width:
        found = f"{packed.dtype} {list(packed.shape)}"
        refuse(subject, f"patterns uint8 [P, {width}] for {units} units", found, _REMEDY)
    bits = np.unpackbits(packed, axis=1).astype(bool)
    if bits[:, units:].any():
        refuse(subject, "spare bits of 0", "a spare bit set", _REMEDY)
    for field in _FIELDS - {"patterns"}:
        scalar = field != "offset"
        if part[field].dtype != np.float32 or (scalar and part[field].ndim != 0):
            found = f"{part[field].dtype} {list(part[field].shape)}"
            refuse(subject, f"{field} as float32" + " []" * scalar, found, _REMEDY)
    bands = None
    if "band_unit" in part:
        for field, dtype in zip(_BANDS, (np.int32, np.float32, np.float32), strict=True):
            tensor = part[field]
            if tensor.dtype != dtype or tensor.ndim != 2:
                found = f"{tensor.dtype} {list(tensor.shape)}"
                refuse(subject, f"{field} as {np.dtype(dtype).name} [P, B]", found, _REMEDY)
        unit = part["band_unit"].astype(np.int64)
        bands = Bands(unit, part["band_center"], part["band_width"])
    try:
        return Group(
            name=name,
            kind=OffsetKind(kind),
            patterns=bits[:, :units],
            offset=part["offset"],
            bound=float(part["bound"]),
            sharpness=float(part["sharpness"]),
            dead_zone=float(part["dead_zone"]),
            bands=bands,
        )
    except ValueError as error:
        refuse(subject, "a group that the formula of a gate can use", str(error), _REMEDY)


def _explicit_to_bytes(patch: ExplicitPatch) -> bytes:
    tensors: Tensors = {}
    for group in patch.groups:
        stem = f"groups/{group.name}"
        tensors[f"{stem}/A"], tensors[f"{stem}/b"] = group.rows, group.limits
        tensors[f"{stem}/C"], tensors[f"{stem}/d"] = group.slope, group.shift
        tensors[f"{stem}/members"] = group.members
        for field in ("bound", "sharpness"):
            tensors[f"{stem}/{field}"] = np.asarray(getattr(group, field), dtype=np.float32)
    kinds = {f"kind/{group.name}": _AFFINE for group in patch.groups}
    return write_safetensors(tensors, {"schema": SCHEMA, **kinds})


def _explicit_from(
    parts: dict[str, Tensors], metadata: dict[str, str], network: Network, what: str
) -> ExplicitPatch:
    groups = []
    for name, part in sorted(parts.items()):
        subject = f"{what} group {name}"
        if set(part) != _EXPLICIT or metadata[f"kind/{name}"] != _AFFINE:
            found = f"{metadata[f'kind/{name}'][:40]!r} with {sorted(part)}"
            expected = f"every group in explicit form: kind affine, tensors {sorted(_EXPLICIT)}"
            refuse(subject, expected, found, "write all groups in one form")
        for field in ("bound", "sharpness"):
            if part[field].dtype != np.float32 or part[field].ndim != 0:
                found = f"{part[field].dtype} {list(part[field].shape)}"
                refuse(subject, f"{field} as float32 []", found, "write it as one number")
        try:
            group = ExplicitGroup(
                name=name,
                rows=part["A"],
                limits=part["b"],
                members=part["members"],
                slope=part["C"],
                shift=part["d"],
                bound=float(part["bound"]),
                sharpness=float(part["sharpness"]),
            )
        except ValueError as error:
            refuse(subject, "polytopes that the formula of a gate can use", str(error), "repair it")
        longest = int(np.diff(group.members).max())
        if longest > limits.GATE_ROWS:
            refuse(subject, f"at most {limits.GATE_ROWS} rows a member", f"{longest}", "shrink it")
        groups.append(group)
    gates = sum(group.gates for group in groups)
    if gates > limits.EXPLICIT_GATES:
        refuse(what, f"at most {limits.EXPLICIT_GATES} gates", f"{gates}", "shrink it")
    try:
        return ExplicitPatch(tuple(groups), network.classes, network.features)
    except ValueError as error:
        refuse(what, "a patch that fits the network", str(error), "repair it")
