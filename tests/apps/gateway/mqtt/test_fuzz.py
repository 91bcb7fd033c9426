"""Bytes that are nearly packets: `MqttError` or a packet that can be written again, nothing else."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.gateway.mqtt import codec, framing
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt.errors import MqttError
from tests.apps.gateway.support import mutations
from tests.apps.gateway.support.reader import Reader

LEVELS = (3, 4, 5)


@settings(deadline=None, max_examples=1500)
@given(st.sampled_from(LEVELS).flatmap(lambda level: st.tuples(st.just(level), mutations.packets(level))))
def test_mutated_packets(sample: tuple[int, bytes]) -> None:
    """What decodes says the same after it was encoded."""
    level, data = sample
    try:
        found = Reader(level).feed(data)
    except MqttError as error:
        assert 0x80 <= error.reason <= 0xA2 and error.text
        return
    for packet in found:
        if isinstance(packet, p.Connect):
            level = packet.level
        assert Reader(level).feed(codec.encode(packet, level)) == [packet]


@settings(deadline=None, max_examples=500)
@given(st.binary(min_size=1, max_size=200), st.sampled_from(LEVELS))
def test_any_bytes_as_the_body_of_any_packet(body: bytes, level: int) -> None:
    for first in range(256):
        try:
            codec.decode(first, body, 0, len(body), level)
        except MqttError as error:
            assert error.reason >= 0x80


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=8), st.integers(2, 1 << 28))
def test_framing(data: bytes, max_size: int) -> None:
    """Positions lie in order, within the limit."""
    try:
        start, end = framing.frame(data, 0, max_size)
    except MqttError as error:
        assert error.reason in (0x81, 0x95)
        return
    assert (start, end) == (0, 0) or (2 <= start <= 5 and start <= end <= max_size)
