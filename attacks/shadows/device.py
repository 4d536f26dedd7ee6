"""Where shadow models are trained: on a GPU when there is one, else on the processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

DEVICES = ("cpu", "cuda")


def chosen_device(device: str | None = None) -> str:
    """Return "cpu" or "cuda": what is asked for, or with None a GPU when there is one.

    Raises ValueError on another name, or when a GPU is asked for and there is none.
    """
    if device not in (None, *DEVICES):
        raise ValueError(f"device must be one of {DEVICES}, found {device!r}")
    if device == "cpu":
        return "cpu"
    import torch

    available = bool(torch.cuda.is_available())
    if device == "cuda" and not available:
        raise ValueError("device is 'cuda', but torch finds no GPU on this machine")
    return "cuda" if available else "cpu"


def device_memory() -> int:
    """Return how many bytes the GPU has, used or not."""
    import torch

    return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)


@contextmanager
def float32_products(device: str) -> Iterator[None]:
    """Keep products on a GPU in full float32, whatever the caller allowed for other work.

    TF32 keeps 10 bits of the mantissa; shadow models would differ from those of a processor.
    """
    if device == "cpu":
        yield
        return
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
