"""Records are checked before they exist, and refused without quoting what they hold."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from auditkit import limits
from auditkit.errors import EvidenceError, UsageError, callers_own
from auditkit.records import Records, checked, read_records, write_records
from auditkit.records_files import npz_bytes, read_npz

SHARED = Path(os.environ.get("AUDITKIT_SHARED", Path(__file__).parents[2] / "shared"))

X = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
Y = np.asarray([0, 1, 2, 1])


def test_round_trip_is_exact_and_repeatable(tmp_path: Path) -> None:
    records = checked(
        {"x": X, "y": Y, "id": ["a", "b", "ç", "d"], "subject": [7, 7, 8, 9], "key": _key()}, "r"
    )
    write_records(tmp_path / "a.npz", records)
    write_records(tmp_path / "b.npz", read_records(tmp_path / "a.npz"))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = read_records(tmp_path / "b.npz", (2, 3), 3)
    assert again.x.shape == (4, 2, 3)
    assert (again.id, again.subject, again.key) == (("a", "b", "ç", "d"), (7, 7, 8, 9), bytes(32))
    assert again.describe() == {"records": 4, "shape": [2, 3], "classes": 3, "subjects": 3}
    assert not again.x.flags.writeable
    with np.load(tmp_path / "a.npz") as theirs:
        np.testing.assert_array_equal(theirs["x"], X)


def _key() -> Any:
    return np.zeros(32, np.uint8)


def test_take() -> None:
    records = checked({"x": X, "y": Y, "id": np.arange(4)}, "r")
    assert records.take([2, 0]).id == (2, 0)
    assert len(records.take([])) == 0
    assert records.take(Y == 1).id == (1, 3)
    with pytest.raises(IndexError):
        records.take([4])


def wrong(**change: Any) -> dict[str, Any]:
    return {"x": X, "y": Y, **change}


def bad(value: float) -> Any:
    x = X.copy()
    x[2, 3] = value
    return x


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (wrong(x=None), "an array x"),
        (wrong(y=None), "an array y"),
        (wrong(x=X[:0], y=Y[:0]), "at least one record"),
        (wrong(x=X[:, 0]), "1 axes"),
        (wrong(x=X.astype(complex)), "complex"),
        (wrong(x=X.astype(np.longdouble)), "longdouble|float128"),
        (wrong(x=X.astype(str)), "str"),
        (wrong(x=bad(float("nan"))), "infinity in 1 of 4 records, the first at 2"),
        (wrong(x=bad(float("inf"))), "infinity in 1 of 4 records, the first at 2"),
        (wrong(x=bad(1.5)), r"the domain \[0, 1\], found others in 1 of 4 records, the first at 2"),
        (wrong(x=bad(0).astype(float) + 1e300), "within float32"),
        (wrong(x=np.full((4, 6), 1 << 30)), "float32 holds exactly"),
        (wrong(x=np.zeros((4, 0))), "features"),
        (wrong(y=Y[:3]), "4 labels"),
        (wrong(y=Y - 1), "labels from 0 to 2, found others in 1 of 4 records, the first at 0"),
        (wrong(y=Y + 1), "labels from 0 to 2, found others in 1 of 4"),
        (wrong(y=Y + 0.5), "whole numbers"),
        (wrong(y=Y * float("nan")), "whole numbers"),
        (wrong(y=Y.astype(str)), "whole numbers"),
        (wrong(y=np.full(4, 1 << 63, np.uint64)), "labels from 0 to 2"),
        (wrong(id=["a", "b", "a", "c"]), "one of them 2 times"),
        (wrong(id=["a", "b", "", "c"]), "names of 1 to"),
        (wrong(id=["a", "b"]), "4 strings or integers"),
        (wrong(subject=[0.5, 1, 2, 3]), "4 strings or integers"),
        (wrong(key=np.zeros(0, np.uint8)), "bytes"),
        (wrong(key=np.zeros(32)), "bytes"),
    ],
)
def test_refusals(raw: dict[str, Any], text: str) -> None:
    with pytest.raises(EvidenceError, match=text) as caught:
        checked(raw, "forget.npz", classes=3)
    assert "1.5" not in str(caught.value)


def test_numbers_are_rounded_to_the_nearest_float32() -> None:
    x = np.asarray([[0.1, 1.0]])
    assert checked({"x": x, "y": [0]}, "r").x.tolist() == [[float(np.float32(0.1)), 1.0]]
    assert checked({"x": np.asarray([[True, False]]), "y": [0.0]}, "r").x.dtype == np.float32


def test_domain_by_feature() -> None:
    low, high = np.zeros(6), np.arange(1, 7) / 2
    checked(wrong(x=np.tile(high, (4, 1))), "r", domain=(low, high))
    with pytest.raises(EvidenceError, match="the first at 0"):
        checked(wrong(x=np.tile(high, (4, 1)) + 0.1), "r", domain=(low, high))
    with pytest.raises(EvidenceError, match="a domain of shape"):
        checked(wrong(), "r", domain=(low[:5], high[:5]))


@pytest.mark.parametrize(
    ("given", "wanted", "fits"),
    [
        ((28, 28), (784, 1), True),
        ((28, 28), (1, 28, 28), True),
        ((784,), (1, 28, 28), True),
        ((28, 28, 1), (1, 28, 28), True),
        ((8, 4, 3), (3, 8, 4), False),
        ((4, 8), (8, 4), False),
        ((5, 5), (24,), False),
    ],
)
def test_shapes_that_keep_the_order(given: Any, wanted: Any, fits: bool) -> None:
    raw = {"x": np.zeros((1, *given)), "y": [0]}
    if fits:
        assert checked(raw, "r", wanted).x.shape == (1, *wanted)
    else:
        with pytest.raises(EvidenceError, match="records of shape"):
            checked(raw, "r", wanted)


def archive(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, body in members.items():
            file.writestr(name.replace("__", "."), body)
    return buffer.getvalue()


def npy(array: Any, **more: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **more)
    return buffer.getvalue()


def header(shape: str, descr: str = "<f4") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


OBJECTS = npy(np.asarray([{}], dtype=object), allow_pickle=True)
GOOD = {"x__npy": npy(X), "y__npy": npy(Y)}


def _twice() -> bytes:
    # zipfile warns of a name given twice; the second is written under another of equal length.
    return archive(x__npy=npy(X), z__npy=npy(X)).replace(b"z.npy", b"x.npy")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"PK\x03\x04 no more", "a broken one"),
        (archive(x__npy=OBJECTS), "without objects"),
        (archive(**GOOD, code__py=b"import os"), "'code.py'"),
        (archive(**GOOD, z__npy=npy(X)), "the arrays x, y"),
        (archive(x__npy=header("(1000000000000, 1000000)")), "as many bytes"),
        (archive(x__npy=header("(-1, 4)")), "a numpy header"),
        (archive(x__npy=header("(2,)", "|O")), "without objects"),
        (archive(x__npy=header("(2,)", "<M8[s]")), "a numpy header"),
        (archive(x__npy=header("__import__('os')")), "a numpy header"),
        (archive(x__npy=header("(" * 3000)), "a numpy header"),
        (archive(x__npy=b"\x93NUMPY\x03\x00" + bytes(20)), "numpy format"),
        (archive(x__npy=b"text"), "numpy format"),
        (archive(zipfile.ZIP_DEFLATED, x__npy=npy(np.zeros((1, 1 << 20)))), "times its compressed"),
        (archive(zipfile.ZIP_BZIP2, x__npy=npy(X)), "compression method"),
        (archive(**GOOD)[:-30], "a broken one"),
        (archive(**GOOD).replace(npy(X)[-8:], bytes(8)), "a broken one"),
    ],
)
def test_archives_are_refused(data: bytes, text: str) -> None:
    with pytest.raises(EvidenceError, match=text):
        read_npz(data, "forget.npz")


def test_an_array_given_twice_is_refused() -> None:
    with pytest.raises(EvidenceError, match="each array once"):
        read_npz(_twice(), "forget.npz")


def test_flipped_archives_are_refused_or_read() -> None:
    data = npz_bytes({"x": X, "y": Y})
    for position in range(len(data)):
        for value in (0, 0xFF, data[position] ^ 1):
            flipped = data[:position] + bytes([value]) + data[position + 1 :]
            with contextlib.suppress(EvidenceError):
                checked(read_npz(flipped, "r"), "r")


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"label": [1, 0], "a": [0.1, 0.5], "b": [1, 0], **columns})


@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz", "r.parquet"])
def test_tables(tmp_path: Path, name: str) -> None:
    frame = table(id=["007", "NA"], subject=["p", "p"])
    write = frame.to_parquet if name.endswith("parquet") else frame.to_csv
    write(tmp_path / name, index=False)
    records = read_records(tmp_path / name, (1, 2), 2)
    assert records.x.tolist() == [[[float(np.float32(0.1)), 1]], [[0.5, 0]]]
    assert (records.y.tolist(), records.id, records.subject) == ([1, 0], ("007", "NA"), ("p", "p"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\ufefflabel,a\n1,2\n", "the domain"),
        ("a,b\n1,2\n", "a column label"),
        ("label,a\n1,red\n", "column 'a'.*numbers"),
        ("label,a\n1,\n0,1\n", "column 'a'.*numbers"),
        ("label,a\nx,1\n", "column 'label'.*numbers"),
        ("label,a,a\n1,2,3\n", "different names"),
        ("label\n1\n", "columns of features"),
        ("label,a\n1,0.5,0.3\n0,1,0.2\n", "a table with a header"),
        ("label,a\n1,0.5\n0,1,0.2\n", "a table with a header"),
        ("label,a,b\n1,0.5\n0,1,0.2\n", "column 'b'|finite"),
        ("label,id,a\n1,,0.5\n", "names of 1 to"),
        ("label,a\n", "numbers|at least one"),
        ("", "a column label"),
        ("label,a\n\0\0", "binary data"),
        ("label,a\n1,nan\n", "numbers|finite"),
        ("label,a\n1,2\n", "the domain"),
    ],
)
def test_csv_refusals(tmp_path: Path, text: str, message: str) -> None:
    from auditkit import records_tables

    data = text.encode()
    payload = b"csv\n" + (1).to_bytes(8, "little") + b"r" + data
    with pytest.raises(EvidenceError, match=message):
        checked(read_npz(records_tables.answer(payload), "r"), "r")


def test_refusals_reach_the_caller_from_the_child(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"records r.csv: expected a column label"), callers_own():
        read_records(tmp_path / "r.csv")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"a": [1.0]}), "a column label"),
        (table(c=[[1, 2], [3, 4]]), "column 'c'.*one number"),
        (table(c=[{"k": 1}, {"k": 2}]), "column 'c'.*one number"),
        (table(c=["x", "y"]), "column 'c'.*one number"),
        (table(c=pd.to_datetime(["2020", "2021"])), "column 'c'.*one number"),
        (table(c=[None, 1.0]).convert_dtypes(), "1 empty cells"),
        (table(id=["x", None]), "1 empty cells"),
    ],
)
def test_parquet_refusals(frame: pd.DataFrame, message: str) -> None:
    from auditkit import records_tables

    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    payload = b"parquet\n" + (1).to_bytes(8, "little") + b"r" + buffer.getvalue()
    with pytest.raises(EvidenceError, match=message):
        records_tables.answer(payload)
    with pytest.raises(EvidenceError, match="broken one"):
        records_tables.answer(payload[:-10])


def idx(values: Any) -> bytes:
    values = np.asarray(values, np.uint8)
    return (
        bytes([0, 0, 8, values.ndim])
        + struct.pack(f">{values.ndim}I", *values.shape)
        + values.tobytes()
    )


def pair(folder: Path, images: bytes, labels: bytes, end: str = "") -> Path:
    (folder / f"t-images-idx3-ubyte{end}").write_bytes(images)
    (folder / f"t-labels-idx1-ubyte{end}").write_bytes(labels)
    return folder / f"t-images-idx3-ubyte{end}"


PIXELS = np.asarray([[[0, 128], [255, 1]]])


@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx(tmp_path: Path, end: str) -> None:
    squeeze = gzip.compress if end else bytes
    path = pair(tmp_path, squeeze(idx(PIXELS)), squeeze(idx([3])), end)
    for given in (path, tmp_path):
        records = read_records(given, (4, 1), 10)
        np.testing.assert_array_equal(records.x.ravel(), (PIXELS.ravel() / 255).astype(np.float32))
    assert read_records(path, domain=(0, 255)).x.ravel().tolist() == [0, 128, 255, 1]
    assert read_records(path, domain=(-1, 1)).x.ravel()[[0, 2]].tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("images", "labels", "text"),
    [
        (idx([3]), idx([3]), "IDX bytes of 3 axes"),
        (idx(PIXELS), idx(PIXELS), "IDX bytes of 1 axes"),
        (idx(PIXELS), idx([3, 4]), "1 labels beside it, found 2"),
        (idx(PIXELS)[:-1], idx([3]), "4 bytes of values"),
        (idx(PIXELS) + b"x", idx([3]), "4 bytes of values"),
        (b"", idx([3]), "IDX bytes"),
        (b"\0\0\x08\x03" + b"\xff" * 12, idx([3]), "bytes of values"),
    ],
)
def test_idx_refusals(tmp_path: Path, images: bytes, labels: bytes, text: str) -> None:
    with pytest.raises(EvidenceError, match=text):
        read_records(pair(tmp_path, images, labels))


def test_gzip_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pair(tmp_path, gzip.compress(bytes(1 << 22)), gzip.compress(idx([3])), ".gz")
    monkeypatch.setattr(limits, "DECOMPRESSION_RATIO", 100)
    with pytest.raises(EvidenceError, match="bytes inflated"):
        read_records(path)
    path.write_bytes(gzip.compress(idx(PIXELS))[:-4])
    with pytest.raises(EvidenceError, match="whole gzip data"):
        read_records(path)
    path.write_bytes(b"not gzip at all")
    with pytest.raises(EvidenceError, match="whole gzip data"):
        read_records(path)


def test_names_and_folders(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"an? file|one file"):
        read_records(tmp_path)
    with pytest.raises(EvidenceError, match="nothing there"):
        read_records(tmp_path / "absent.npz")
    with pytest.raises(EvidenceError, match="refused unread"):
        read_records(tmp_path / "forget.pkl")
    (tmp_path / "forget.txt").write_text("hello")
    with pytest.raises(EvidenceError, match="an IDX pair, digits"):
        read_records(tmp_path / "forget.txt")
    pair(tmp_path, idx(PIXELS), idx([3]))
    (tmp_path / "t-labels-idx1-ubyte").unlink()
    with pytest.raises(EvidenceError, match=r"t-labels-idx1-ubyte.*nothing there"):
        read_records(tmp_path)


@pytest.mark.parametrize(("name", "shape"), [("digits", (1, 8, 8)), ("breast-cancer", (30,))])
def test_embedded(name: str, shape: tuple[int, ...]) -> None:
    records = read_records(name, shape)
    assert isinstance(records, Records)
    assert (float(records.x.min()), float(records.x.max())) == (0, 1)
    assert read_records(name, shape, domain=(-1, 1)).x.min() == -1


def test_mnist() -> None:
    path = SHARED / "data" / "mnist" / "t10k-images-idx3-ubyte.gz"
    if not path.exists():
        pytest.skip("the shared data are absent: set AUDITKIT_SHARED")
    records = read_records(path, (784, 1), 10)
    assert records.describe()["records"] == 10_000
