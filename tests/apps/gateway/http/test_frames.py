from __future__ import annotations

import pytest

from apps.gateway.http.frames import framed


def publish(payload: int) -> bytes:
    body = b"\0\1t" + b"x" * payload
    length, head = len(body), bytearray(b"\x30")
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes(head) + bytes([length]) + body


@pytest.mark.parametrize("payload", [0, 100, 119, 120, 122, 200, 20_000, 65_527, 65_528, 70_000, 3_000_000])
def test_a_frame_for_each_packet(payload: int) -> None:
    first, last = publish(payload), b"\xd0\x00"
    frames = framed(first + last)
    size = len(first)
    if size < 126:
        head = bytes((0x82, size))
    elif size < 65_536:
        head = b"\x82\x7e" + size.to_bytes(2, "big")
    else:
        head = b"\x82\x7f" + size.to_bytes(8, "big")
    assert frames == head + first + b"\x82\x02" + last


def test_what_is_no_whole_packet_is_sent_all_the_same() -> None:
    assert framed(b"\x30\x05ab") == b"\x82\x04\x30\x05ab"
    assert framed(b"\xd0\x00\x30") == b"\x82\x02\xd0\x00\x82\x01\x30"
    assert framed(b"") == b""
