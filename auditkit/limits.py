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
BATCH_RECORDS: Final = 1 << 16
"""Records in one batch of a logged training: all go through the network at once in a replay."""
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

# An endpoint, which is the owner's and may answer anything, slowly, or never.
ENDPOINT_CONNECT_SECONDS: Final = 10.0
"""To set up a connection; across the world it takes one."""
ENDPOINT_READ_SECONDS: Final = 30.0
"""Without a single byte; a small network answers a few inputs in milliseconds."""
ENDPOINT_REQUEST_SECONDS: Final = 60.0
"""For one request as a whole, so that one byte every few seconds does not last for ever."""
ENDPOINT_SESSION_SECONDS: Final = 4 * 3600.0
"""For all requests of a session, waits included but not the pauses between rounds."""
ENDPOINT_ANSWER_BYTES: Final = 8 * MIB
"""One answer to at most `ENDPOINT_BATCH` inputs: 40,000 classes each, with all digits."""
ENDPOINT_BATCH: Final = 8
"""Inputs in one request: few, as an ordinary user sends them."""
ENDPOINT_QUERIES: Final = 200_000
"""Inputs in one session; at a request a second that is more than a day."""
ENDPOINT_TRIES: Final = 4
"""Times that one request is sent before it counts as unanswered."""
ENDPOINT_BACKOFF_SECONDS: Final = 0.5
"""Before a request is sent again; twice as long each further time."""
ENDPOINT_RETRY_AFTER_SECONDS: Final = 120.0
"""The longest wait that an endpoint may ask for by Retry-After."""
ENDPOINT_FAILURES: Final = 25
"""Requests in a row without a usable answer after which the rest is not asked any more."""
TRANSCRIPT_BYTES: Final = 2 * GIB
"""All inputs and answers of a session as text: 200,000 of 784 features each are 1.5 GiB."""
TRANSCRIPT_LINE_BYTES: Final = 256 * MIB
"""One request with its inputs and its answer."""
