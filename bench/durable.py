"""`python -m bench.durable`: what it costs the node to keep messages for clients that are away.

D3: many sessions that are away, some messages for each: the time to queue them and, when all are back, to
deliver them, and bytes on the disk for each. Write amplification: bytes written for a message that is queued
for 1, 10 and 1,000 sessions. Backlog: what a client that comes back to a long queue does to others' latency.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.queues import SimpleQueue
from typing import Final

import numpy as np

from . import flows, probe, wire
from .actors import Publisher, Subscriber
from .flows import Flow, subscribe
from .links import close_links, open_links
from .loop import Loop
from .peers import Peer, running
from .verify import Corrupt

PAYLOAD: Final = 64  # bytes
WINDOW: Final = 200  # unacknowledged publishes
DEADLINE: Final = 180.0  # seconds for each step
FAN_OUTS: Final = ((1, 2000), (10, 1000), (1000, 100))  # sessions, messages
OTHERS: Final = Flow("others", "20 pairs at 50 msgs/s each", 20, 250, 1, 20, rate=50)


def layout(topic: str) -> wire.Layout:
    return wire.Layout(1, len(topic), PAYLOAD)


def away(peer: Peer, names: Sequence[str], filters: Sequence[str]) -> None:
    """Sessions that are subscribed to a filter each, and not connected."""
    links = open_links(peer.tcp, names, clean=False)
    for link, filter in zip(links, filters, strict=True):
        subscribe(link, [filter], 1)
    close_links(links)


def publish(peer: Peer, topics: Sequence[str], each: int) -> float:
    """`each` messages to each topic in turn at QoS 1; the seconds until the last was acknowledged."""
    form = layout(topics[0])
    rows = np.vstack([form.rows(topic, number, each) for number, topic in enumerate(topics)])
    rows = rows.reshape(len(topics), each, -1).swapaxes(0, 1).reshape(len(topics) * each, -1).copy()
    rows[:, form.id_at : form.id_at + 2] = wire.packet_ids(len(rows))
    links = open_links(peer.tcp, ["bench-writer"])
    publisher = Publisher(links[0], rows.tobytes(), form.size, WINDOW)
    began = time.perf_counter()
    loop = Loop([publisher], time.monotonic() + DEADLINE)
    try:
        loop.drive()
    finally:
        loop.close()
        close_links(links)
    if faults := publisher.check():
        raise Corrupt(f"not all was acknowledged: {faults}")
    return time.perf_counter() - began


def fetch(peer: Peer, names: Sequence[str], topic: str, each: int) -> float:
    """All come back and take what waits for them; the seconds until the last has it."""
    began = time.perf_counter()
    links = open_links(peer.tcp, names, clean=False)
    takers = [Subscriber(link, layout(topic), each) for link in links]
    loop = Loop(takers, time.monotonic() + DEADLINE)
    try:
        loop.drive()
    finally:
        loop.close()
    took = time.perf_counter() - began
    time.sleep(0.5)  # the last acknowledgements are stored
    close_links(links)
    return took


def forget(peer: Peer, names: Sequence[str]) -> None:
    close_links(open_links(peer.tcp, names))


def fan_in(peer: Peer, sessions: int, each: int) -> str:
    names = [f"away-{number}" for number in range(sessions)]
    topics = [f"bench/q/{number:06d}" for number in range(sessions)]
    away(peer, names, topics)
    before, memory = peer.stored(), probe.pss_bytes(peer.pid)
    queued = publish(peer, topics, each)
    size, held = peer.stored() - before, probe.pss_bytes(peer.pid) - memory
    drained = fetch(peer, names, topics[0], each)
    forget(peer, names)
    count = sessions * each
    return "; ".join(
        (
            f"D3: {sessions:,} sessions x {each} messages of {PAYLOAD} bytes",
            f"queued in {queued:.1f} s ({count / queued:,.0f}/s)",
            f"back and drained in {drained:.1f} s ({count / drained:,.0f}/s)",
            f"for each {size / count:.0f} bytes on the disk and {held / count:.0f} of memory",
        )
    )


def amplification(peer: Peer, sessions: int, messages: int) -> str:
    names = [f"many-{number}" for number in range(sessions)]
    topic = f"bench/w/{sessions}"
    away(peer, names, [topic] * sessions)
    before = probe.written_bytes(peer.pid)
    publish(peer, [topic], messages)
    time.sleep(0.5)
    written = probe.written_bytes(peer.pid) - before
    forget(peer, names)
    return (
        f"{sessions:5} sessions: {written / messages:9,.0f} bytes written for a message, "
        f"{written / messages / sessions:6,.0f} for each session"
    )


def _drain(peer: Peer, messages: int, done: SimpleQueue[float]) -> None:
    done.put(fetch(peer, ["backlog"], "bench/backlog", messages))


def backlog(peer: Peer, messages: int, queued: Callable[[], None] = lambda: None) -> str:
    """`queued` waits until what was acknowledged is in the queue, too."""
    away(peer, ["backlog"], ["bench/backlog"])
    publish(peer, ["bench/backlog"], messages)
    queued()
    quiet = flows.run(OTHERS, peer)
    done: SimpleQueue[float] = multiprocessing.SimpleQueue()
    reader = multiprocessing.Process(target=_drain, args=(peer, messages, done))
    memory = probe.pss_bytes(peer.pid)
    reader.start()
    busy = flows.run(OTHERS, peer)
    held = probe.pss_bytes(peer.pid) - memory
    reader.join(DEADLINE)
    if reader.exitcode:
        raise Corrupt("the backlog did not arrive")
    took = done.get()
    forget(peer, ["backlog"])
    if quiet.faults or busy.faults:
        raise Corrupt(f"others: {quiet.faults} {busy.faults}")
    return "; ".join(
        (
            f"backlog: {messages:,} messages delivered in {took:.1f} s",
            f"others' p50, p99 before {quiet.p50_ms:.2f}, {quiet.p99_ms:.2f} ms",
            f"meanwhile {busy.p50_ms:.2f}, {busy.p99_ms:.2f} ms",
            f"{held / 1e6:+.0f} MB of memory",
        )
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.durable", description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=10, help="for each session")
    parser.add_argument("--backlog", type=int, default=100_000)
    options = parser.parse_args(arguments)
    probe.pin(probe.GENERATOR_CPU)
    probe.raise_file_limit()
    with running(["node"]) as (peer,):
        print(fan_in(peer, options.sessions, options.messages), flush=True)
        for sessions, messages in FAN_OUTS:
            print(amplification(peer, sessions, messages), flush=True)
        print(backlog(peer, options.backlog), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
