"""The bytes of an ONNX file field by field, before any protobuf library reads them.

Protobuf readers keep unknown fields silently and let the last of two values win, so that two
readers can see two networks in one file. This walk over the wire format refuses what the schema
does not name, a second value where there can be one, and lengths that do not add up.
https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from typing import Any, NoReturn

from auditkit import limits
from auditkit.refusal import refuse

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Field types of google.protobuf.descriptor and how each is written.
_DOUBLE, _FLOAT, _INT64, _UINT64, _INT32, _STRING, _MESSAGE, _RAW, _ENUM = (
    1,
    2,
    3,
    4,
    5,
    9,
    11,
    12,
    14,
)
_WIRE = {
    _DOUBLE: _FIXED64,
    _FLOAT: _FIXED32,
    _INT64: _VARINT,
    _UINT64: _VARINT,
    _INT32: _VARINT,
    _ENUM: _VARINT,
    _STRING: _BYTES,
    _MESSAGE: _BYTES,
    _RAW: _BYTES,
}
_REMEDY = "export the network again with a current onnx library"


def check_wire(data: bytes, descriptor: Any, what: str) -> None:
    """Raise EvidenceError unless `data` is a plain encoding of the message `descriptor`."""
    _Walk(data, what).message(descriptor, 0, len(data), 0)


class _Walk:
    def __init__(self, data: bytes, what: str) -> None:
        self.data = data
        self.what = what
        self.fields = 0
        self.schemas: dict[str, dict[int, tuple[Any, ...]]] = {}

    def message(self, descriptor: Any, at: int, end: int, depth: int) -> None:
        if depth > limits.PROTOBUF_DEPTH:
            self.refuse(f"at most {limits.PROTOBUF_DEPTH} nested messages", "more")
        schema = self._schema(descriptor)
        seen: set[str] = set()
        while at < end:
            self._count()
            tag, at = self._varint(at, end)
            number, wire = tag >> 3, tag & 7
            if number not in schema:
                name = descriptor.name
                self.refuse(
                    "fields of the ONNX format only", f"an unknown field {number} in {name}"
                )
            name, kind, repeated, once, nested, known = schema[number]
            if not repeated:
                if once in seen:
                    self.refuse("one value where there is one", f"{descriptor.name}.{name} twice")
                seen.add(once)
            packed = repeated and wire == _BYTES and _WIRE[kind] != _BYTES
            if packed:
                stop = self._stop(at, end)
                _, at = self._varint(at, end)
                self._packed(kind, known, at, stop, f"{descriptor.name}.{name}")
                at = stop
                continue
            if wire != _WIRE[kind]:
                self.refuse(
                    "values as the format writes them", f"another in {descriptor.name}.{name}"
                )
            if wire == _BYTES:
                stop = self._stop(at, end)
                _, at = self._varint(at, end)
                if kind == _MESSAGE:
                    self.message(nested, at, stop, depth + 1)
                elif kind == _STRING:
                    self._text(at, stop, f"{descriptor.name}.{name}")
                at = stop
            elif wire == _VARINT:
                value, at = self._varint(at, end)
                self._range(kind, known, value, f"{descriptor.name}.{name}")
            else:
                at += 8 if wire == _FIXED64 else 4
                if at > end:
                    self.refuse("a whole file", "one cut short")

    def _schema(self, descriptor: Any) -> dict[int, tuple[Any, ...]]:
        """Return number → (name, type, repeated, unique as, message, enum values)."""
        if descriptor.full_name not in self.schemas:
            self.schemas[descriptor.full_name] = {
                f.number: (
                    f.name,
                    f.type,
                    f.is_repeated,
                    f.containing_oneof.name if f.containing_oneof else f.name,
                    f.message_type,
                    frozenset(f.enum_type.values_by_number) if f.enum_type else None,
                )
                for f in descriptor.fields
            }
        return self.schemas[descriptor.full_name]

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 70:
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= 1 << 64:
                    self.refuse("numbers of 64 bits", "a longer one")
                return value, at
            shift += 7
        self.refuse("a whole file", "one cut short" if at >= end else "a number that does not end")

    def _stop(self, at: int, end: int) -> int:
        length, at = self._varint(at, end)
        if at + length > end:
            self.refuse("a whole file", "one cut short or a length that points outside")
        return at + length

    def _packed(self, kind: int, known: Any, at: int, end: int, field: str) -> None:
        if _WIRE[kind] == _VARINT:
            while at < end:
                self._count()
                value, at = self._varint(at, end)
                self._range(kind, known, value, field)
        elif (end - at) % (8 if _WIRE[kind] == _FIXED64 else 4):
            self.refuse("whole numbers of bytes", f"part of one in {field}")

    def _range(self, kind: int, known: Any, value: int, field: str) -> None:
        signed = value - (1 << 64) if value >> 63 else value
        if kind in (_INT32, _ENUM) and not -(1 << 31) <= signed < 1 << 31:
            self.refuse("numbers of 32 bits", f"a longer one in {field}")
        if kind == _ENUM and signed not in known:
            self.refuse("values of the ONNX format only", f"{signed} in {field}")

    def _text(self, at: int, end: int, field: str) -> None:
        try:
            self.data[at:end].decode("utf-8")
        except UnicodeDecodeError:
            self.refuse("text in UTF-8", f"other bytes in {field}")

    def _count(self) -> None:
        self.fields += 1
        if self.fields > limits.PROTOBUF_FIELDS:
            self.refuse(f"at most {limits.PROTOBUF_FIELDS} fields", "more")

    def refuse(self, expected: str, found: str) -> NoReturn:
        refuse(self.what, expected, found, _REMEDY)
