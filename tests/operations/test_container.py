"""The file itself: what is not whole, or not ours, is refused."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pytest

from gmqtt_platform.backup import container
from gmqtt_platform.backup.container import BadFile, Writer, encoded, read

RECORDS: list[tuple[str, dict[str, Any]]] = [
    ("manifest", {"a": 1}),
    *(("row", {"n": n, "x": "y" * 50}) for n in range(2500)),
]
PASSPHRASE = b"pass phrase"


def made(passphrase: bytes = b"") -> bytes:
    file = io.BytesIO()
    writer = Writer(file, passphrase)
    for kind, values in RECORDS:
        writer.write(kind, values)
    writer.close()
    return file.getvalue()


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "LOG2_N", 4)
    monkeypatch.setattr(container, "PIECE", 1024)


@pytest.mark.parametrize("passphrase", [b"", PASSPHRASE])
def test_there_and_back(passphrase: bytes) -> None:
    assert list(read(io.BytesIO(made(passphrase)), passphrase)) == RECORDS


@pytest.mark.parametrize("passphrase", [b"", PASSPHRASE])
def test_truncated_anywhere(passphrase: bytes) -> None:
    whole = made(passphrase)
    cuts = {*range(40), *range(0, len(whole), 977), len(whole) - 1, len(whole) - 16, len(whole) - 1024 - 16}
    for cut in cuts:
        with pytest.raises(BadFile):
            list(read(io.BytesIO(whole[:cut]), passphrase))


@pytest.mark.parametrize("passphrase", [b"", PASSPHRASE])
def test_a_changed_octet_anywhere(passphrase: bytes) -> None:
    whole = bytearray(made(passphrase))
    for place in {*range(10), *range(20, len(whole), 499)}:
        if not passphrase and 10 <= place < 20:
            continue  # gzip's header says nothing of the content
        whole[place] ^= 1
        with pytest.raises(BadFile):
            list(read(io.BytesIO(bytes(whole)), passphrase))
        whole[place] ^= 1


def test_pieces_cannot_be_swapped_or_left_out() -> None:
    whole = made(PASSPHRASE)
    head, size = 8 + 2 + 3 + 16 + 7, 1024 + 16
    assert len(whole) > head + 3 * size
    first, second = whole[head : head + size], whole[head + size : head + 2 * size]
    for pieces in (second + first, first + first, second, first):
        with pytest.raises(BadFile):
            list(read(io.BytesIO(whole[:head] + pieces + whole[head + 2 * size :]), PASSPHRASE))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a backup"),
        (b"PK\x03\x04 something else", "not a backup"),
        (b"GMQTTBAK\x02\x00", "use a newer version"),
        (b"GMQTTBAK\x01\x00" + gzip.compress(encoded("row", {}), mtime=0), "does not begin with a manifest"),
        (b"GMQTTBAK\x01\x00" + gzip.compress(b"[1]\n", mtime=0), "cannot be read"),
        (b"GMQTTBAK\x01\x00" + gzip.compress(b"[" * 100_000, mtime=0), "cannot be read"),
        (b"GMQTTBAK\x01\x01\x3f\x08\x01" + b"0" * 50, "costs more"),
    ],
)
def test_foreign(data: bytes, why: str) -> None:
    with pytest.raises(BadFile, match=why):
        list(read(io.BytesIO(data), PASSPHRASE if data[9:10] == b"\x01" else b""))


def test_wrong_passphrase() -> None:
    with pytest.raises(BadFile, match="passphrase is another one"):
        list(read(io.BytesIO(made(PASSPHRASE)), b"other"))
    with pytest.raises(BadFile, match="it is encrypted"):
        list(read(io.BytesIO(made(PASSPHRASE))))
    with pytest.raises(BadFile, match="not encrypted"):
        list(read(io.BytesIO(made()), PASSPHRASE))


def test_memory_does_not_grow_with_it(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "large"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.write("manifest", {})
        for number in range(100_000):
            writer.write("row", {"n": number, "x": "z" * 200})
        writer.close()
    tracemalloc.start()
    with path.open("rb") as file:
        assert sum(1 for _ in read(file)) == 100_001
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()
