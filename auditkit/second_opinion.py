"""A delivered ONNX file run by onnxruntime, in the limited child process: a second opinion.

What an owner deploys is this file and not our reading of it, so where its bytes are not our own
export the only thing to do is to run it. Its outputs are evidence, never proof.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.isolation import run_isolated
from auditkit.refusal import refuse
from auditkit.tensors import read_safetensors, write_safetensors

BATCH = 256


def run_onnx(data: bytes, x: NDArray[np.floating], what: str) -> NDArray[np.float64]:
    """Return the outputs [N, C] of the ONNX file `data` at `x` [N, *input_shape].

    EvidenceError when it does not load, does not run, or gives something else than numbers.
    """
    payload = write_safetensors(
        {"model": np.frombuffer(data, np.uint8), "x": x}, {"what": what[:200]}
    )
    answer = run_isolated("auditkit.second_opinion", payload, what=what)
    tensors, _ = read_safetensors(answer, what)
    output = tensors["y"]
    if output.ndim != 2 or len(output) != len(x):
        refuse(what, "one row of logits for each record", f"{list(output.shape)}", "ask the owner")
    return output.astype(np.float64)


def session_of(data: bytes) -> Any:
    """Return a session of onnxruntime for a file, of one thread; only ever in the child."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def answer(payload: bytes) -> bytes:
    """Run in the child: take `model` and `x`, give `y`."""
    tensors, metadata = read_safetensors(payload, "request")
    what = metadata["what"]
    try:
        session = session_of(tensors["model"].tobytes())
        inputs, outputs = session.get_inputs(), session.get_outputs()
        x = tensors["x"]
        parts = [
            session.run(None, {inputs[0].name: x[start : start + BATCH]})[0]
            for start in range(0, len(x), BATCH)
        ]
        y = np.concatenate(parts).astype(np.float64)
    except Exception as error:  # noqa: BLE001 - the runtime has a dozen kinds of its own
        found = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        refuse(what, "a network that onnxruntime can run", found, "ask the owner for another")
    if len(inputs) != 1 or len(outputs) != 1:
        found = f"{len(inputs)} and {len(outputs)}"
        refuse(what, "one input and one output", found, "ask the owner for another")
    if not np.isfinite(y).all():
        refuse(what, "finite outputs", "NaN or infinity", "ask the owner for another")
    return write_safetensors({"y": y})
