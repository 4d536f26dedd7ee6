"""Bad files of the caller's own: exit 2 and one line that names the file; nothing is written."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from .conftest import CLASSES, FEATURES, Auditkit, some_records

X, Y = some_records(3), np.array([0, 1, 2])


def _npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _with(value: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    x = X.copy()
    x[1, 2] = value
    return x


RECORDS: dict[str, tuple[str, bytes | None, str]] = {
    "missing": ("f.npz", None, "f.npz"),
    "wrong shape": ("f.npz", _npz(x=X[:, :3], y=Y), f"shape [{FEATURES}]"),
    "wrong dtype": ("f.npz", _npz(x=X.astype("U8"), y=Y), "float32 numbers"),
    "objects": ("f.npz", _npz(x=X.astype(object), y=Y), "f.npz"),
    "NaN": ("f.npz", _npz(x=_with(np.nan), y=Y), "finite numbers"),
    "infinity": ("f.npz", _npz(x=_with(np.inf), y=Y), "finite numbers"),
    "label too large": ("f.npz", _npz(x=X, y=np.array([0, 1, CLASSES])), "labels from 0 to 2"),
    "label negative": ("f.npz", _npz(x=X, y=np.array([0, 1, -1])), "labels from 0 to 2"),
    "label not whole": ("f.npz", _npz(x=X, y=np.array([0, 1, 0.5])), "whole numbers"),
    "too few labels": ("f.npz", _npz(x=X, y=Y[:2]), "3 labels"),
    "no labels": ("f.npz", _npz(x=X), "array y"),
    "empty": ("f.npz", _npz(x=X[:0], y=Y[:0]), "at least one record"),
    "outside the domain": ("f.npz", _npz(x=_with(1.5), y=Y), "within the domain [0, 1]"),
    "pickle": ("f.pkl", pickle.dumps((X, Y)), "f.pkl"),
    "pickle under another name": ("f.npz", pickle.dumps((X, Y)), "f.npz"),
    "truncated": ("f.npz", _npz(x=X, y=Y)[:-40], "f.npz"),
    "a text": ("f.csv", b"nothing here\n1\n", "f.csv"),
}


@pytest.mark.parametrize("case", RECORDS)
def test_bad_records(case: str, model: Path, tmp_path: Path, auditkit: Auditkit) -> None:
    name, data, said = RECORDS[case]
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    _refused(auditkit, model, path, tmp_path, said)


def _truncated(good: bytes) -> bytes:
    return good[: len(good) // 2]


def _unknown_operator(good: bytes) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Sin", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", FEATURES])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(made.SerializeToString())


def _with_nan(good: bytes) -> bytes:
    loaded = onnx.load_model_from_string(good)
    tensor = loaded.graph.initializer[0]
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] = np.nan
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return bytes(loaded.SerializeToString())


MODELS: dict[str, tuple[str, Callable[[bytes], bytes] | None, str]] = {
    "missing": ("m.onnx", None, "m.onnx"),
    "truncated": ("m.onnx", _truncated, "m.onnx"),
    "empty": ("m.onnx", lambda good: b"", "m.onnx"),
    "unknown operator": ("m.onnx", _unknown_operator, "Sin"),
    "NaN weights": ("m.onnx", _with_nan, "finite"),
    "pickle": ("m.pt", lambda good: pickle.dumps({"w": 1}), "m.pt"),
    "no such format": ("m.xyz", lambda good: good, "m.xyz"),
}


@pytest.mark.parametrize("case", MODELS)
def test_bad_models(
    case: str, model: Path, forget: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    name, make, said = MODELS[case]
    path = tmp_path / name
    if make is not None:
        path.write_bytes(make(model.read_bytes()))
    _refused(auditkit, path, forget, tmp_path, said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--radius", "0"], "radius"),
        (["--margin", "-1"], "margin"),
        (["--sharpness", "0"], "sharpness"),
        (["--domain", "1", "0"], "--domain"),
        (["--domain", "0", "inf"], "--domain"),
        (["--scope", "class"], "target class"),
        (["--target-class", "1"], "class scope"),
        (["--method", "suppress"], "class scope"),
        (["--scope", "cluster", "--clusters", "0"], "clusters"),
        (["--spec", "reference"], "--reference"),
        (["--spec", "wish"], "--spec"),
        (["--reference", "a", "--reference-model", "b"], "not allowed with"),
    ],
)
def test_impossible_settings(
    options: list[str],
    said: str,
    model: Path,
    forget: Path,
    tmp_path: Path,
    auditkit: Auditkit,
) -> None:
    _refused(auditkit, model, forget, tmp_path, said, *options)


def _refused(
    auditkit: Auditkit, model: Path, forget: Path, tmp_path: Path, said: str, *options: str
) -> None:
    out = tmp_path / "submission"
    done = auditkit("patch", "--model", model, "--forget", forget, "--out", out, *options)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("auditkit: ") and done.err.count("\n") == 1
    assert said in done.err
    assert not out.exists()
