"""Every limit on what is read, in one place, so that no file can exhaust the auditor's machine.

They are far above what the networks, patches and data sets in reach of an exact certificate need.
A file beyond one of them is refused by name and size; raise the number here if a real one is.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# Files, in bytes as they lie on disk. ONNX itself stops at 2 GiB, the size of one protobuf message.
MODEL_BYTES: Final = 512 * MIB
"""A network: model.onnx, model.safetensors, patched.onnx, unlearned.onnx."""
TENSORS_BYTES: Final = 512 * MIB
"""patch.safetensors and proofs.safetensors: patterns and multipliers, one set a record."""
HISTORY_BYTES: Final = GIB
"""What training left behind: a vector of all weights for each batch, or each shard and slice."""
TRAINING_LOG_BYTES: Final = GIB
"""A log of training: some vectors of all weights a checkpoint, a number a record and epoch."""
JSON_BYTES: Final = 64 * MIB
"""certificate.json, model.json and the other documents: a few kilobytes a record."""
RECORDS_BYTES: Final = GIB
"""A file of records; 60,000 MNIST images are 188 MB in float32."""
DIRECTORY_FILES: Final = 64
"""Files in one submission; the format names eight."""

# Structure of a document.
JSON_DEPTH: Final = 32
"""Nested brackets in JSON; a certificate needs eight. Python's own parser recurses."""
TENSOR_HEADER_BYTES: Final = 16 * MIB
"""The JSON header of a safetensors file, about 100 bytes a tensor."""
TENSORS: Final = 100_000
"""Tensors in one safetensors file: seven for each group of gates."""
TENSOR_RANK: Final = 16
"""Axes of one tensor; numpy stops at 64."""
ELEMENTS: Final = 1 << 28
"""Numbers in one tensor, and in one intermediate value of a network."""
NODES: Final = 10_000
"""Operators in one network; a ResNet-152 has about 500."""
EXPLICIT_GATES: Final = 20_000
"""Polytopes in a patch in explicit form; each is compared with every record."""
GATE_ROWS: Final = 1 << 16
"""Rows of one such polytope: one for each unit of the network, at most."""
NAME_CHARACTERS: Final = 1_000
"""Length of a name in a network or a table; names are quoted in messages."""
PROTOBUF_DEPTH: Final = 32
"""Nested messages in an ONNX file; one without subgraphs needs eight."""
PROTOBUF_FIELDS: Final = 20_000_000
"""Fields in an ONNX file, counting each number of an unpacked list as one."""

# Records.
RECORDS: Final = 5_000_000
"""Rows in one file of records."""
TRAINING_STEPS: Final = 1_000_000
"""Steps of a logged training; each may have to be replayed."""
CHECKPOINTS: Final = 10_000
"""Checkpoints of a logged training; twenty are usual."""
CANARIES: Final = 100_000
"""Records in a file of canaries; every one of them is asked about."""
REQUESTS: Final = 10_000
"""Deletion requests in one certificate; the patch of each is derived by itself."""
FEATURES: Final = 1 << 24
"""Numbers in one record; a 224 × 224 colour image has 150,528."""
CLASSES: Final = 1 << 20
"""One more than the largest label of a file of records, where no network says it."""
INFLATED_BYTES: Final = 4 * GIB
"""A compressed file of records, inflated."""
DECOMPRESSION_RATIO: Final = 1_000
"""Inflated over compressed size. Deflate cannot exceed 1,032; blank images reach some hundreds."""
DECOMPRESSION_FREE: Final = MIB
"""Inflated size below which the ratio is not looked at."""
KEY_BYTES: Final = 1 * KIB
"""The key with which records are committed to; 32 are usual."""

# The child process in which foreign formats are parsed.
PARSE_SECONDS: Final = 120
"""Processor time, and twice that by the clock, for one file."""
PARSE_MEMORY: Final = 8 * GIB
"""Address space, which libraries reserve generously: importing pandas alone takes 2 GiB."""
ANSWER_BYTES: Final = 5 * GIB
"""What the child may write back; it can write nothing else."""
