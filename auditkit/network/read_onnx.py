"""ONNX in, in a child process: the parent never parses protobuf nor imports the onnx library.

The child walks the wire format, checks the graph as a whole, translates its operators and answers
in the native format, which the parent reads as strictly as if the owner had written it.
"""

from __future__ import annotations

from functools import lru_cache

from auditkit import limits
from auditkit.isolation import run_isolated
from auditkit.network.graph import Network
from auditkit.network.native import network_from_native, network_to_native
from auditkit.refusal import refuse

_MODULE = "auditkit.network.read_onnx"


def network_from_onnx(data: bytes, what: str = "model.onnx", *, isolated: bool = True) -> Network:
    """Return the network in the bytes of an ONNX file.

    `what` names the file in messages; `isolated=False` parses in this process. EvidenceError,
    naming node and operator, on whatever is not a plain piecewise-linear classifier.
    """
    if not isolated:
        return _translate(data, what)
    if len(data) <= REMEMBERED_BYTES:
        return _remembered(data, what)
    return _parsed(data, what)


REMEMBERED_BYTES = 8 * limits.MIB
"""Of a file whose network is kept: one audit reads the same model a few times, a study hundreds."""


@lru_cache(maxsize=4)
def _remembered(data: bytes, what: str) -> Network:
    """Return the network of the same bytes as it was parsed before; a refusal is not kept."""
    return _parsed(data, what)


def _parsed(data: bytes, what: str) -> Network:
    """Return the network as a child process reads it."""
    name = what.encode("utf-8", "replace")
    payload = len(name).to_bytes(8, "little") + name + data
    reply = run_isolated(_MODULE, payload, what=what)
    length = int.from_bytes(reply[:8], "little")
    return network_from_native(reply[8 : 8 + length], reply[8 + length :], what)


def answer(payload: bytes) -> bytes:
    """Return the network as model.json and model.safetensors; run in the child."""
    length = int.from_bytes(payload[:8], "little")
    what = payload[8 : 8 + length].decode("utf-8", "replace")
    document, tensors = network_to_native(_translate(payload[8 + length :], what))
    return len(document).to_bytes(8, "little") + document + tensors


def _translate(data: bytes, what: str) -> Network:
    if len(data) > limits.MODEL_BYTES:
        refuse(what, f"at most {limits.MODEL_BYTES} bytes", f"{len(data)}", "shrink it")
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    from auditkit.network.onnx_operators import OPERATORS
    from auditkit.network.onnx_structure import frame_of
    from auditkit.network.onnx_translate import Translation
    from auditkit.network.onnx_wire import check_wire

    check_wire(data, onnx.ModelProto.DESCRIPTOR, what)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RecursionError) as error:
        refuse(what, "an ONNX file", f"something else ({type(error).__name__})", "export it again")
    network = Translation(frame_of(model, what), what).network(OPERATORS)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        found = str(error).strip().splitlines()[0][:200]
        refuse(what, "a file that onnx's own checker accepts", found, "export it again")
    return network
