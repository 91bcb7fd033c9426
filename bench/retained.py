"""R1: a tree of retained messages, and a SUBSCRIBE that matches a hundredth of it."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np

from . import wire
from .actors import Inbox, Publisher, clock
from .links import Link, close_links, open_links
from .loop import DeadlineExceeded, Loop
from .measure import Meter, Sample
from .peers import Peer
from .probe import pss_bytes
from .verify import Corrupt, Faults, check_order, stamps

QUERIES = 5  # per round; the times are their medians
WINDOW = 20
DEADLINE = 60.0  # seconds for the publishing, and for one query


@dataclass(frozen=True)
class Retained:
    """``devices`` x ``metrics`` retained messages; the filter asks every device for one metric."""

    name: str
    title: str
    devices: int = 1000
    metrics: int = 100
    payload: int = 64

    def topic(self, device: int, metric: int) -> str:
        return f"bench/r/d{device:04d}/m{metric:02d}"

    def layout(self, qos: int) -> wire.Layout:
        return wire.Layout(qos, len(self.topic(0, 0)), self.payload, retain=True)

    def scaled(self, fraction: float) -> Retained:
        return Retained(
            self.name, self.title, max(1, int(self.devices * fraction)), self.metrics, self.payload
        )


def prepare(retained: Retained, peer: Peer) -> None:
    """Publish the tree at QoS 1, each device its metrics."""
    layout = retained.layout(1)
    parts = [
        layout.rows(retained.topic(device, metric), device, 1)
        for metric in range(retained.metrics)
        for device in range(retained.devices)
    ]
    rows = np.vstack(parts)
    rows[:, layout.id_at : layout.id_at + 2] = wire.packet_ids(len(rows))
    links = open_links(peer.tcp, ["bench-retained"])
    publisher = Publisher(links[0], rows.tobytes(), layout.size, WINDOW)
    loop = Loop([publisher], time.monotonic() + DEADLINE)
    try:
        loop.drive()
        if faults := publisher.check():
            raise Corrupt(f"retained messages were not all acknowledged: {faults}")
    finally:
        loop.close()
        close_links(links)


class _Query:
    """SUBSCRIBE, then SUBACK and the retained messages, in whichever order."""

    def __init__(self, link: Link, filter: str, count: int, size: int) -> None:
        self.link = link
        self.inbox = Inbox(count * size + 5, 5 * size)
        self._filter = filter

    def start(self) -> None:
        self.link.send(wire.subscribe(1, [self._filter], 0))

    def writable(self) -> None:
        self.link.flush()

    def readable(self) -> bool:
        self.inbox.take(self.link.receive(), clock())
        return self.inbox.complete()


def run(retained: Retained, peer: Peer) -> Sample:
    firsts, lasts, cpu = [], [], []
    faults = Faults()
    for number in range(QUERIES):
        first, last, sample = _ask(retained, peer, metric=number % retained.metrics)
        firsts.append(first)
        lasts.append(last)
        cpu.append(sample.cpu_us)
        faults += sample.faults
    sample.cpu_us = statistics.median(cpu)
    sample.rate = retained.devices / statistics.median(lasts) * 1e3
    sample.faults = faults
    sample.extra = {"first_ms": statistics.median(firsts), "last_ms": statistics.median(lasts)}
    return sample


def _ask(retained: Retained, peer: Peer, metric: int) -> tuple[float, float, Sample]:
    """Milliseconds to the first and to the last message."""
    layout = retained.layout(0)
    links = open_links(peer.tcp, [f"bench-q{metric}"])
    query = _Query(links[0], f"bench/r/+/m{metric:02d}", retained.devices, layout.size)
    loop = Loop([query], time.monotonic() + DEADLINE)
    try:
        with Meter(peer.pid) as meter:
            start = clock()
            complete = loop.drive()
            meter.stop()
    except DeadlineExceeded as error:
        raise DeadlineExceeded(f"retained messages: {error}") from None
    finally:
        loop.close()
        close_links(links)
    sample = meter.sample(retained.devices, pss_bytes(peer.pid))
    content = bytes(query.inbox.content())
    at = next((at for at in range(0, len(content), layout.size) if content[at] == 0x90), len(content))
    messages = content[:at] + content[at + 5 :]
    whole = messages[: len(messages) // layout.size * layout.size]
    topics = [retained.topic(device, metric) for device in range(retained.devices)]
    senders, sequence = stamps(whole, layout, topics)
    sample.faults = check_order(senders, sequence, range(retained.devices), 1)
    if not complete:
        return float("inf"), float("inf"), sample
    ends = np.array([layout.size + (5 if at == 0 else 0), query.inbox.expected])
    first, last = (query.inbox.timeline.at(ends) - start) / 1e6
    return float(first), float(last), sample
