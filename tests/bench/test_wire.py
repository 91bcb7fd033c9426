from __future__ import annotations

import pytest

from bench import wire


@pytest.mark.parametrize(("value", "encoded"), [(0, "00"), (127, "7f"), (128, "8001"), (16384, "808001")])
def test_remaining_length(value: int, encoded: str) -> None:
    assert wire.remaining_length(value).hex() == encoded


def test_publish_qos1_is_what_the_specification_says() -> None:
    layout = wire.Layout(qos=1, topic_length=3, payload=10)
    rows = layout.rows("a/b", sender=258, count=2)
    assert rows[0].tobytes() == b"\x32\x11\x00\x03a/b\x00\x01" + b"\x00\x00\x01\x02\x00\x00\x00\x00" + b"01"
    assert rows[1].tobytes() == b"\x32\x11\x00\x03a/b\x00\x02" + b"\x00\x00\x01\x02\x00\x00\x00\x01" + b"01"


def test_publish_qos0_has_no_packet_id_and_retain_is_its_lowest_bit() -> None:
    row = wire.Layout(qos=0, topic_length=1, payload=8, retain=True).rows("t", 0, 1)[0].tobytes()
    assert row == b"\x31\x0b\x00\x01t" + bytes(8)


def test_large_payload_has_a_longer_length() -> None:
    layout = wire.Layout(qos=1, topic_length=3, payload=65536)
    row = layout.rows("a/b", 1, 1)[0].tobytes()
    assert row[1:4] == wire.remaining_length(len(row) - 4)
    assert len(row) == layout.size


def test_packet_ids_wrap_without_zero() -> None:
    rows = wire.packet_ids(65537)
    assert [rows[at].tobytes().hex() for at in (0, 65534, 65535, 65536)] == ["0001", "ffff", "0001", "0002"]


@pytest.mark.parametrize(
    ("topic", "payload", "message"), [("long", 8, "not 1 bytes"), ("t", 7, "cannot hold")]
)
def test_a_shape_that_does_not_fit_is_refused(topic: str, payload: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wire.Layout(0, 1, payload).rows(topic, 0, 1)


def test_acknowledgements_batch() -> None:
    encode = wire.AckEncoder(wire.PUBACK, websocket=False)
    assert encode(b"\x00\x01", b"\x07\x02").hex() == "4002000740020102"


def test_more_acknowledgements_than_the_template_holds() -> None:
    count = wire.AckEncoder.BATCH + 1
    assert len(wire.AckEncoder(wire.PUBACK, websocket=False)(bytes(count), bytes(count))) == 4 * count


def unmasked(frames: bytes) -> list[bytes]:
    out = []
    while frames:
        assert frames[0] == 0x82 and frames[1] & 0x80
        length, start = frames[1] & 0x7F, 2
        if length == 126:
            length, start = int.from_bytes(frames[2:4], "big"), 4
        key, body = frames[start : start + 4], frames[start + 4 : start + 4 + length]
        out.append(bytes(byte ^ key[at % 4] for at, byte in enumerate(body)))
        frames = frames[start + 4 + length :]
    return out


def test_websocket_acknowledgements_are_masked_frames_of_their_own() -> None:
    frames = wire.AckEncoder(wire.PUBREC, websocket=True)(b"\x00\x01", b"\x07\x02")
    assert unmasked(bytes(frames)) == [b"\x50\x02\x00\x07", b"\x50\x02\x01\x02"]


@pytest.mark.parametrize("payload", [64, 400])
def test_websocket_rows_unmask_to_the_packets(payload: int) -> None:
    rows = wire.Layout(1, 3, payload).rows("a/b", 5, 3)
    assert unmasked(wire.ws_rows(rows).tobytes()) == [row.tobytes() for row in rows]


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_server_frames_may_be_cut_anywhere(step: int) -> None:
    big = bytes(300)
    data = (
        b"\x82\x03abc"
        + b"\x82\x7e\x01\x2c"
        + big
        + b"\x82\x7f"
        + (300).to_bytes(8, "big")
        + big
        + b"\x82\x00"
    )
    reader = wire.FrameReader()
    got = b"".join(reader.feed(data[at : at + step]) for at in range(0, len(data), step))
    assert got == b"abc" + big + big


@pytest.mark.parametrize("frame", [b"\x88\x00", b"\x82\x83abc"])
def test_close_and_masked_server_frames_are_faults(frame: bytes) -> None:
    with pytest.raises(ValueError, match="unexpected WebSocket frame"):
        wire.FrameReader().feed(frame)
