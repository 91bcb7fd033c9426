"""Scenarios in which messages flow: publishers, perhaps subscribers, and every message checked."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import wire
from .actors import ExactPublisher, ExactSubscriber, Flood, Gate, Publisher, Subscriber
from .links import Endpoint, Link, close_links, open_links
from .loop import Loop
from .measure import Meter, Sample
from .peers import Peer
from .probe import pss_bytes
from .verify import Faults, check_order, stamps

LINGER = 0.1  # seconds after the last message, in which a repetition would show
IDLE_PER_CLIENT = 1000  # idle subscriptions of one client
FILTERS_PER_PACKET = 200

_run_numbers = itertools.count()


@dataclass(frozen=True)
class Flow:
    """What is sent. Publisher i publishes on ``bench/<i>/t``; all packets of a flow have one size.

    ``window``: messages of one publisher waiting for their acknowledgement; QoS 0 has no window.
    ``filter``: what every subscriber subscribes to; "" = subscriber i to the topic of publisher i.
    ``rate``: messages per second of each publisher; 0 = flat out.
    ``lead``: messages that may be on their way to the slowest subscriber; 0 = no bound.
    ``idle_subscriptions``: others' subscriptions in the tree, which no message matches.
    """

    name: str
    title: str
    publishers: int
    messages: int  # per publisher
    qos: int
    subscribers: int = 0
    filter: str = ""
    window: int = 20
    payload: int = 64  # bytes
    rate: float = 0
    websocket: bool = False
    idle_subscriptions: int = 0
    lead: int = 0
    durable: bool = False  # the subscribers' sessions are persistent, and kept where they outlive the broker
    deadline: float = 180  # seconds for one run

    @property
    def topics(self) -> list[str]:
        return [f"bench/{number:05d}/t" for number in range(self.publishers)]

    @property
    def layout(self) -> wire.Layout:
        return wire.Layout(self.qos, len(self.topics[0]), self.payload)

    @property
    def sent(self) -> int:
        return self.publishers * self.messages

    @property
    def received(self) -> int:
        return self.sent * self.subscribers if self.filter else self.messages * self.subscribers

    def senders(self, subscriber: int) -> Sequence[int]:
        """Whose messages this subscriber gets."""
        return range(self.publishers) if self.filter else [subscriber]

    def scaled(self, fraction: float) -> Flow:
        return replace(self, messages=max(1, int(self.messages * fraction)))


@functools.lru_cache(maxsize=2)
def streams(flow: Flow) -> list[bytes]:
    """What each publisher sends, encoded once for all rounds."""
    out: list[bytes] = []
    for sender, topic in enumerate(flow.topics):
        rows = flow.layout.rows(topic, sender, flow.messages)
        out.append((wire.ws_rows(rows) if flow.websocket else rows).tobytes())
    return out


def run(flow: Flow, peer: Peer) -> Sample:
    """One run; raises Corrupt, Closed or DeadlineExceeded where there is nothing to measure."""
    endpoint = peer.websocket if flow.websocket else peer.tcp
    deadline = time.monotonic() + flow.deadline
    label = f"bench-{next(_run_numbers)}"
    links: list[Link] = []
    names = [f"{label}-s{number}" for number in range(flow.subscribers)]
    try:
        links += idle_subscribers(flow.idle_subscriptions, endpoint, f"{label}-i")
        listening = open_links(endpoint, names, clean=not flow.durable)
        links += listening
        for number, link in enumerate(listening):
            subscribe(link, [flow.filter or flow.topics[number]], flow.qos)
        sending = open_links(endpoint, [f"{label}-p{number}" for number in range(flow.publishers)])
        links += sending
        subscribers = [make_subscriber(flow, link, number) for number, link in enumerate(listening)]
        pairs = zip(sending, streams(flow), strict=True)
        gate = Gate(flow.lead, subscribers) if flow.lead else None
        publishers = [make_publisher(flow, link, stream, gate) for link, stream in pairs]
        return _measure(
            flow, peer, publishers, subscribers, Loop([*subscribers, *publishers], deadline, gate)
        )
    finally:
        close_links(links)
        if flow.durable:
            close_links(open_links(endpoint, names))  # which ends their sessions


def _measure(
    flow: Flow,
    peer: Peer,
    publishers: Sequence[Flood | Publisher],
    subscribers: list[Subscriber],
    loop: Loop,
) -> Sample:
    late: list[int] = []
    try:
        with Meter(peer.pid) as meter:
            if flow.rate:
                paced = [publisher for publisher in publishers if isinstance(publisher, Publisher)]
                late = loop.pace(paced, flow.rate * flow.publishers)
            else:
                loop.drive()
            meter.stop()
        loop.linger(LINGER)
    finally:
        loop.close()
    sample = meter.sample(flow.sent + flow.received, pss_bytes(peer.pid))
    if late:
        sample.extra["late_p99_ms"] = float(np.percentile(late, 99)) / 1e6
    _verify(flow, sample, publishers, subscribers)
    return sample


def _verify(
    flow: Flow, sample: Sample, publishers: Sequence[Flood | Publisher], subscribers: list[Subscriber]
) -> None:
    """Fill in faults and latency; the latter to the PUBACK where nobody subscribes."""
    layout, latencies = flow.layout, []
    size = len(streams(flow)[0]) // flow.messages
    ends = np.arange(1, flow.messages + 1)
    faults = Faults()
    for publisher in publishers:
        faults += publisher.check()
    # A flood that stalled never sent its last messages: no times, and no latency
    left = np.array([publisher.sent.at(ends * size) for publisher in publishers]) if not faults else ends
    for number, subscriber in enumerate(subscribers):
        content = subscriber.content()
        whole = content[: len(content) // layout.size * layout.size]
        senders, sequence = stamps(whole, layout, flow.topics)
        faults += check_order(senders, sequence, flow.senders(number), flow.messages)
        if not faults:
            arrived = subscriber.arrived.at(np.arange(1, len(senders) + 1) * layout.size)
            latencies.append(arrived - left[senders, sequence])
    if not subscribers and flow.qos and not faults:
        latencies = [
            publisher.answered.at(ends * 4) - sent
            for publisher, sent in zip(publishers, left, strict=True)
            if isinstance(publisher, Publisher)
        ]
    sample.faults = faults
    if latencies and not faults:
        p50, p99 = np.percentile(np.concatenate(latencies), [50, 99]) / 1e6
        sample.p50_ms, sample.p99_ms = float(p50), float(p99)


def make_publisher(flow: Flow, link: Link, stream: bytes, gate: Gate | None) -> Flood | Publisher:
    if flow.qos == 0:
        return Flood(link, stream)
    kind = Publisher if flow.qos == 1 else ExactPublisher
    return kind(link, stream, len(stream) // flow.messages, 0 if flow.rate else flow.window, gate)


def make_subscriber(flow: Flow, link: Link, number: int) -> Subscriber:
    kind = ExactSubscriber if flow.qos == 2 else Subscriber
    return kind(link, flow.layout, len(flow.senders(number)) * flow.messages)


def subscribe(link: Link, filters: list[str], qos: int) -> None:
    """SUBSCRIBE and wait for the SUBACK; raises Closed when a filter is refused."""
    head = len(wire.packet(0x90, bytes(2 + len(filters)))) - len(filters)
    answer = link.request(wire.subscribe(1, filters, qos), head + len(filters))
    if answer[head:] != bytes([qos]) * len(filters):
        raise ValueError(f"SUBSCRIBE refused: {answer[:32].hex()}")


def idle_subscribers(count: int, endpoint: Endpoint, label: str) -> list[Link]:
    """Clients holding ``count`` subscriptions around the topics in use, ``+`` and ``#`` among them."""
    shapes = ["bench/+/x{}", "fleet/{}/+/state", "fleet/+/{}/#"]
    filters = [shapes[number % len(shapes)].format(number) for number in range(count)]
    links = open_links(endpoint, [f"{label}{number}" for number in range(-(-count // IDLE_PER_CLIENT))])
    for number, link in enumerate(links):
        own = filters[number * IDLE_PER_CLIENT : (number + 1) * IDLE_PER_CLIENT]
        for start in range(0, len(own), FILTERS_PER_PACKET):
            subscribe(link, own[start : start + FILTERS_PER_PACKET], 1)
    return links
