"""The network in a file or folder, whichever of the accepted formats it is in."""

from __future__ import annotations

from pathlib import Path

from auditkit import limits
from auditkit.files import read_bytes, refuse
from auditkit.network.graph import Network
from auditkit.network.native import network_from_native
from auditkit.network.read_onnx import network_from_onnx
from auditkit.network.simplify import simplify

_ACCEPTED = "a .onnx file, or .safetensors with model.json beside it"


def load_network(path: Path | str, *, submitted: bool = False, isolated: bool = True) -> Network:
    """Return the network at `path`.

    `path` is a .onnx file, a .safetensors file or its .json, or a folder that holds model.onnx or
    model.safetensors with model.json. `submitted` refuses hard links too; `isolated=False` parses
    ONNX in this process. EvidenceError on anything that is not a plain piecewise-linear network.
    """
    path = Path(path)
    if path.is_dir():
        path = _in_folder(path)
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        data = read_bytes(path, limit=limits.MODEL_BYTES, what="model", submitted=submitted)
        return network_from_onnx(data, path.name, isolated=isolated)
    if suffix not in (".safetensors", ".json"):
        # Refused formats get their own message before this general one.
        read_bytes(path, limit=limits.MODEL_BYTES, what="model", submitted=submitted)
        refuse(
            f"model {path.name}", _ACCEPTED, f"the suffix {suffix!r}", "export it to one of these"
        )
    document, tensors = path.with_suffix(".json"), path.with_suffix(".safetensors")
    if suffix == ".safetensors" and not document.exists():
        document = path.with_name("model.json")
    parts = [
        read_bytes(document, limit=limits.JSON_BYTES, what="model", submitted=submitted),
        read_bytes(tensors, limit=limits.MODEL_BYTES, what="model", submitted=submitted),
    ]
    return simplify(network_from_native(parts[0], parts[1], path.stem))


def _in_folder(folder: Path) -> Path:
    found = [name for name in ("model.onnx", "model.safetensors") if (folder / name).exists()]
    if len(found) != 1:
        what = " and ".join(found) or "neither"
        expected = "model.onnx, or model.safetensors with model.json"
        refuse(f"folder {folder.name}", expected, what, "leave exactly one network in it")
    return folder / found[0]
