from __future__ import annotations

import numpy as np
import pytest

from bench import verify, wire

TOPICS = ["bench/0", "bench/1"]
LAYOUT = wire.Layout(qos=1, topic_length=7, payload=64)
COUNT = 10


def packets() -> list[bytes]:
    """Two senders' ten messages each, taking turns."""
    streams = [LAYOUT.rows(topic, sender, COUNT) for sender, topic in enumerate(TOPICS)]
    return [streams[number % 2][number // 2].tobytes() for number in range(2 * COUNT)]


def faults_of(received: list[bytes]) -> verify.Faults:
    senders, sequence = verify.stamps(b"".join(received), LAYOUT, TOPICS)
    return verify.check_order(senders, sequence, [0, 1], COUNT)


def test_complete_and_in_order() -> None:
    assert faults_of(packets()) == verify.Faults()


def test_senders_may_overtake_each_other() -> None:
    received = packets()
    assert not faults_of(received[::2] + received[1::2])


def test_a_lost_message_is_counted() -> None:
    assert faults_of(packets()[:7] + packets()[8:]) == verify.Faults(lost=1)


def test_a_lost_last_message_is_counted() -> None:
    assert faults_of(packets()[:-2]) == verify.Faults(lost=2)


def test_a_whole_missing_sender_is_counted() -> None:
    assert faults_of(packets()[::2]) == verify.Faults(lost=COUNT)


def test_a_repetition_is_counted_once_even_late_and_with_dup() -> None:
    again = bytearray(packets()[3])
    again[0] |= verify.DUP
    assert faults_of([*packets(), bytes(again)]) == verify.Faults(duplicated=1)


def test_two_messages_of_one_sender_swapped() -> None:
    received = packets()
    received[4], received[6] = received[6], received[4]
    assert faults_of(received) == verify.Faults(reordered=1)


@pytest.mark.parametrize("offset", [0, 1, 3, LAYOUT.topic_at, LAYOUT.payload_at, LAYOUT.size - 1])
def test_a_changed_byte_is_corrupt(offset: int) -> None:
    received = packets()
    changed = bytearray(received[5])
    changed[offset] ^= 0x41
    received[5] = bytes(changed)
    with pytest.raises(verify.Corrupt, match="packet 5 is not what was published"):
        faults_of(received)


def test_the_packet_id_is_the_brokers_choice() -> None:
    received = packets()
    changed = bytearray(received[5])
    changed[LAYOUT.id_at] ^= 0x41
    received[5] = bytes(changed)
    assert not faults_of(received)


def test_half_a_packet_at_the_end_is_corrupt() -> None:
    with pytest.raises(verify.Corrupt, match="unfinished"):
        verify.stamps(packets()[0][:-1], LAYOUT, TOPICS)


def test_anothers_message_is_corrupt() -> None:
    senders, sequence = verify.stamps(b"".join(packets()), LAYOUT, TOPICS)
    with pytest.raises(verify.Corrupt, match="never sent to this subscriber"):
        verify.check_order(senders, sequence, [0], COUNT)


def test_nothing_received() -> None:
    nothing = np.array([], np.int64)
    assert verify.check_order(nothing, nothing, [0], COUNT) == verify.Faults(lost=COUNT)


def test_acknowledgements_in_order() -> None:
    assert not verify.check_acknowledgements(wire.acknowledgements(wire.PUBACK, 70000), wire.PUBACK, 70000)


@pytest.mark.parametrize(
    ("received", "faults"),
    [
        ("40020001 40020003", verify.Faults(lost=1)),
        ("40020001 40020002 40020002 40020003", verify.Faults(duplicated=1)),
        ("40020001 40020003 40020002", verify.Faults(reordered=2)),
    ],
)
def test_wrong_acknowledgements(received: str, faults: verify.Faults) -> None:
    assert verify.check_acknowledgements(bytes.fromhex(received), wire.PUBACK, 3) == faults


def test_an_acknowledgement_of_another_kind_is_corrupt() -> None:
    with pytest.raises(verify.Corrupt, match="type 0x40"):
        verify.check_acknowledgements(bytes.fromhex("50020001"), wire.PUBACK, 1)


def test_exactly_once_exchange() -> None:
    whole = bytes.fromhex("50020001 50020002 70020001 50020003 70020002 70020003")
    assert not verify.check_exchange(whole, 3)
    assert verify.check_exchange(whole[:-4], 3) == verify.Faults(lost=1)
