"""Every packet vector, decoded three ways, encoded, and there and back."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import codec, framing
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt.errors import MqttError
from tests.apps.gateway.support.reader import Reader
from tests.vectors import BAD, GOOD
from tests.vectors.table import Vector

PING = b"\xc0\x00"


def pieces(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


@pytest.mark.parametrize("vector", GOOD, ids=str)
def test_decoded(vector: Vector) -> None:
    """Whole, one byte at a time, and followed by the next packet."""
    assert Reader(vector.level).feed(vector.bytes) == [vector.packet]
    reader = Reader(vector.level)
    found = [reader.feed(piece) for piece in pieces(vector.bytes)]
    assert found[-1] == [vector.packet]
    assert not any(found[:-1])
    found = Reader(vector.level).feed(vector.bytes + PING + vector.bytes)
    assert found == [vector.packet, p.Ping(12), vector.packet]


@pytest.mark.parametrize("vector", GOOD, ids=str)
def test_encoded(vector: Vector) -> None:
    """To the very bytes where there is one way to write it, and back to the packet."""
    assert vector.packet is not None
    data = codec.encode(vector.packet, vector.level)
    if vector.canonical:
        assert data == vector.bytes
    assert Reader(vector.level).feed(data) == [vector.packet]


@pytest.mark.parametrize("vector", BAD, ids=str)
def test_refused(vector: Vector) -> None:
    """With the reason code that the specification names, whole, in pieces and before another packet."""
    for feed in ([vector.bytes], pieces(vector.bytes), [vector.bytes + PING]):
        reader = Reader(vector.level)
        with pytest.raises(MqttError) as caught:
            for piece in feed:
                assert reader.feed(piece) == []
        assert caught.value.reason == vector.reason, caught.value.text


def test_cut_short() -> None:
    """With the length of what is left: refused, or a packet; never anything but `MqttError`."""
    for vector in GOOD:
        start, end = framing.frame(vector.bytes, 0, 1 << 30)
        for cut in range(start, min(end, start + 100)):
            try:
                codec.decode(vector.bytes[0], vector.bytes, start, cut, vector.level)
            except MqttError as error:
                assert error.reason in (0x81, 0x82, 0x84, 0x94), (str(vector), cut)


def test_every_packet_type_is_there() -> None:
    for level in (3, 4, 5):
        kinds = {vector.bytes[0] >> 4 for vector in GOOD if vector.level == level}
        assert kinds == set(range(1, 16 if level == 5 else 15))


def test_names_are_unique() -> None:
    names = [str(vector) for vector in (*GOOD, *BAD)]
    assert len(names) == len(set(names))
