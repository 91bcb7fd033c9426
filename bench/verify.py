"""Was every message delivered, once, unchanged and in order? Checked after the clock has stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .wire import PUBCOMP, PUBREC, STAMP, Layout, acknowledgements

Numbers = npt.NDArray[np.int64]
Received = bytes | bytearray | memoryview
DUP = 0x08


class Corrupt(Exception):
    """The broker sent bytes that no correct broker sends here."""


@dataclass
class Faults:
    """Counts of messages; all must be zero."""

    lost: int = 0
    duplicated: int = 0
    reordered: int = 0

    def __iadd__(self, other: Faults) -> Faults:
        self.lost += other.lost
        self.duplicated += other.duplicated
        self.reordered += other.reordered
        return self

    def __bool__(self) -> bool:
        return bool(self.lost or self.duplicated or self.reordered)


def stamps(received: Received, layout: Layout, topics: Sequence[str]) -> tuple[Numbers, Numbers]:
    """Senders and sequence numbers of the PUBLISH packets in ``received``, in order of arrival.

    ``topics[i]`` is what sender i publishes on. Raises Corrupt unless every byte is as it was sent;
    the packet id is the broker's own choice, and DUP may be set on a repetition.
    """
    if len(received) % layout.size:
        raise Corrupt(f"{len(received) % layout.size} bytes of an unfinished packet at the end")
    rows = np.frombuffer(received, np.uint8).reshape(-1, layout.size)
    template = np.frombuffer(layout.template(), np.uint8)
    at = layout.payload_at
    head_ok = (rows[:, 0] & ~np.uint8(DUP)) == layout.first_byte
    head_ok &= (rows[:, 1 : layout.topic_at] == template[1 : layout.topic_at]).all(axis=1)
    head_ok &= (rows[:, at + STAMP :] == template[at + STAMP :]).all(axis=1)
    stamp = np.ascontiguousarray(rows[:, at : at + STAMP]).view(">u4").astype(np.int64)
    senders, sequence = stamp[:, 0], stamp[:, 1]
    head_ok &= senders < len(topics)
    if head_ok.all():
        table = np.array([np.frombuffer(topic.encode(), np.uint8) for topic in topics])
        head_ok &= (rows[:, layout.topic_at : layout.id_at] == table[senders]).all(axis=1)
    if not head_ok.all():
        bad = int(np.argmin(head_ok))
        raise Corrupt(f"packet {bad} is not what was published: {rows[bad].tobytes()[:96].hex()}")
    return senders, sequence


def check_order(senders: Numbers, sequence: Numbers, expected: Sequence[int], count: int) -> Faults:
    """Faults of one subscriber that should see messages 0..count-1 of each sender in ``expected``.

    Order matters per sender [MQTT-4.6.0-6]; a repetition counts as duplicated, never as reordered too.
    """
    faults = Faults()
    wanted = np.asarray(expected, np.int64)
    strange = ~np.isin(senders, wanted) | (sequence >= count)
    if strange.any():
        bad = int(np.argmax(strange))
        raise Corrupt(f"message {sequence[bad]} of sender {senders[bad]} was never sent to this subscriber")
    keys = senders * count + sequence
    seen, first = np.unique(keys, return_index=True)
    faults.lost = len(wanted) * count - len(seen)
    faults.duplicated = len(keys) - len(seen)
    arrivals = np.sort(first)
    senders, sequence = senders[arrivals], sequence[arrivals]
    by_sender = np.argsort(senders, kind="stable")
    senders, sequence = senders[by_sender], sequence[by_sender]
    faults.reordered = int(((np.diff(sequence) < 0) & (np.diff(senders) == 0)).sum())
    return faults


def check_acknowledgements(received: Received, first: int, count: int) -> Faults:
    """Faults in the PUBACKs (or PUBRECs, or PUBCOMPs) that one publisher got [MQTT-4.6.0-2]."""
    want = acknowledgements(first, count)
    if received == want:
        return Faults()
    if len(received) % 4:
        raise Corrupt("an unfinished acknowledgement at the end")
    rows = np.frombuffer(received, np.uint8).reshape(-1, 4)
    if not ((rows[:, 0] == first) & (rows[:, 1] == 2)).all():
        raise Corrupt(f"expected packets of type 0x{first:02x} only")
    ids = np.ascontiguousarray(rows[:, 2:]).view(">u2").astype(np.int64).ravel()
    sent = np.frombuffer(want, np.uint8).reshape(-1, 4)[:, 2:].copy().view(">u2").astype(np.int64).ravel()
    have, need = np.bincount(ids, minlength=65536), np.bincount(sent, minlength=65536)
    lost = int(np.clip(need - have, 0, None).sum())
    duplicated = int(np.clip(have - need, 0, None).sum())
    shared = min(len(ids), len(sent))
    reordered = 0 if lost or duplicated else int((ids[:shared] != sent[:shared]).sum())
    return Faults(lost, duplicated, reordered)


def check_exchange(received: Received, count: int) -> Faults:
    """Faults in a QoS 2 publisher's PUBRECs and PUBCOMPs, each in order among themselves."""
    if len(received) % 4:
        raise Corrupt("an unfinished acknowledgement at the end")
    rows = np.frombuffer(received, np.uint8).reshape(-1, 4)
    is_rec = rows[:, 0] == PUBREC
    faults = check_acknowledgements(rows[is_rec].tobytes(), PUBREC, count)
    faults += check_acknowledgements(rows[~is_rec].tobytes(), PUBCOMP, count)
    return faults
