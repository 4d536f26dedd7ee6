"""No ONNX file of the corpus is read, and none ends in a traceback, a crash or a hang."""

from __future__ import annotations

import random

import numpy as np
import pytest

from auditkit import limits
from auditkit.errors import EvidenceError
from auditkit.network.evaluate import logits
from auditkit.network.read_onnx import network_from_onnx
from tests.hostile.corpus_onnx import corpus, valid

CORPUS = corpus()


@pytest.mark.parametrize("name", CORPUS)
def test_corpus_is_refused_in_one_line(name: str) -> None:
    data, fragment = CORPUS[name]
    with pytest.raises(EvidenceError) as caught:
        network_from_onnx(data, "model.onnx", isolated=False)
    message = str(caught.value)
    assert fragment in message
    assert message.isprintable()
    assert len(message) < 600


def test_the_valid_file_is_read() -> None:
    assert network_from_onnx(valid().SerializeToString(), isolated=False).classes == 3


@pytest.mark.parametrize("name", ["NaN weight", "softmax", "cut short"])
def test_the_child_refuses_with_the_same_words(name: str) -> None:
    data, _ = CORPUS[name]
    messages = []
    for isolated in (False, True):
        with pytest.raises(EvidenceError) as caught:
            network_from_onnx(data, "model.onnx", isolated=isolated)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_every_truncation_is_refused() -> None:
    data = valid().SerializeToString()
    for length in range(len(data)):
        with pytest.raises(EvidenceError):
            network_from_onnx(data[:length], isolated=False)


def test_byte_flips_are_refused_or_read() -> None:
    data = valid().SerializeToString()
    chooser = random.Random(0)
    x = np.zeros((1, 1, 4, 4), np.float32)
    for _ in range(1500):
        flipped = bytearray(data)
        for _ in range(chooser.choice([1, 1, 2, 5])):
            flipped[chooser.randrange(len(data))] = chooser.randrange(256)
        try:
            network = network_from_onnx(bytes(flipped), isolated=False)
        except EvidenceError:
            continue
        if network.features == x.size:
            logits(network, x.reshape(1, *network.input_shape))


def test_too_many_fields_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PROTOBUF_FIELDS", 20)
    with pytest.raises(EvidenceError, match="at most 20 fields"):
        network_from_onnx(valid().SerializeToString(), isolated=False)
