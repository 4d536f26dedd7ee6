"""A patch in gated form as named tensors: `groups/g/patterns`, `offset`, `bound`, …

Patterns are packed eight to a byte, most significant bit first, spare bits 0.
Bands, where a group has them, are `groups/g/band_unit` int32, `band_center` and `band_width`
float32 [P, B].
"""

from __future__ import annotations

import re

import numpy as np

from auditkit.network.graph import Network
from auditkit.network.units import unit_layout
from auditkit.patch.gates import Bands, Group, OffsetKind, Patch
from auditkit.refusal import refuse
from auditkit.tensors import Tensors, read_safetensors, write_safetensors

SCHEMA = "auditkit/patch/v1"
GROUP_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_BANDS = ("band_unit", "band_center", "band_width")
_FIELDS = {"patterns", "offset", "bound", "sharpness", "dead_zone"}
_NAMES = {*_FIELDS, *_BANDS}
_REMEDY = "have the patch written again in gated form"


def patch_to_bytes(patch: Patch) -> bytes:
    """Return patch.safetensors, the same bytes for the same patch."""
    tensors: Tensors = {}
    metadata = {"schema": SCHEMA}
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


def patch_from_bytes(data: bytes, network: Network, what: str = "patch.safetensors") -> Patch:
    """Read a patch for `network`; EvidenceError when it is malformed or does not fit."""
    tensors, metadata = read_safetensors(data, what)
    if metadata.get("schema") != SCHEMA:
        refuse(what, f"schema {SCHEMA}", repr(metadata.get("schema"))[:60], _REMEDY)
    parts: dict[str, Tensors] = {}
    for name, tensor in tensors.items():
        match name.split("/"):
            case ["groups", group, field] if GROUP_NAME.fullmatch(group) and field in _NAMES:
                parts.setdefault(group, {})[field] = tensor
            case _:
                refuse(what, "tensors groups/NAME/FIELD", repr(name[:80]), _REMEDY)
    if not parts:
        refuse(what, "at least one group", "none", _REMEDY)
    if set(metadata) != {"schema", *(f"kind/{name}" for name in parts)}:
        refuse(what, "a kind for each group", f"metadata {sorted(metadata)}"[:120], _REMEDY)
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
