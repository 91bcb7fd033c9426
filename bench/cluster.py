"""B1 to B4, D2, D3, W: what a cluster costs, on real Kafka and Redis.

    python -m bench.cluster [--scenario B1,B2,B3,B4,D2,D3,W] [--messages 2000]

B1: 50 publishers on one node, 50 subscribers on another, QoS 1, flat out. B2: the same at 2,000 messages/s.
B3: four nodes with subscriptions that differ in the first level, then in the second: records that the
bridges read for each that somebody wanted. B4: publishers and subscribers on one node, in a cluster and
alone. D2: 100 publishers on one node, 100 persistent sessions online on another, QoS 1, flat out and at
1,000/s. D3: ten messages for each of 10,000 sessions that are away, until all are back and have them, and a
client that comes back to 100,000. W: what Redis writes for a message that waits for 1, 10 and 1,000
sessions. Exit code 1 when a message was lost, repeated or out of order, or a rate or latency missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
from redis import Redis

from tools.cluster import Cluster, Process
from tools.servers import Server

from . import durable
from .actors import Publisher
from .flows import Flow, make_publisher, make_subscriber, streams, subscribe
from .links import Endpoint, Link, close_links, open_links
from .loop import Loop
from .probe import cpu_seconds, machine_seconds, raise_file_limit
from .verify import Faults, check_order, stamps

WANTED: Final = 15_289  # messages/s of B1
WANTED_DURABLE: Final = 8_000  # of D2
SLOW: Final = 250.0  # ms, of which D2's 99th percentile at 1,000/s stays below
QUEUES: Final[dict[str, Any]] = {
    "LIMITS__MAX_QUEUED_MESSAGES": "1000000",
    "LIMITS__MAX_QUEUED_BYTES": "1000000000",
}
LEVELS: Final = ("l0", "l1", "l2", "l3")  # first levels with a Kafka topic of their own


@dataclass
class Result:
    title: str
    rate: float  # messages/s, end to end
    cpu: dict[str, float]  # us per message, by process
    others: float  # cores that anything else took
    faults: Faults
    end_to_end: tuple[float, float]  # ms: median, 99th percentile
    puback: tuple[float, float]  # ms: median, 95th percentile

    def row(self) -> str:
        cost = "  ".join(f"{name} {us:.1f}" for name, us in self.cpu.items())
        middle, slow = self.end_to_end
        return (
            f"{self.title:<28} {self.rate:>9,.0f}/s  p50 {middle:.1f} p99 {slow:.1f} ms"
            f"  PUBACK p50 {self.puback[0]:.1f} p95 {self.puback[1]:.1f} ms\n"
            f"{'':<28} us/message: {cost}; other load {self.others:.2f} cores;"
            f" lost {self.faults.lost}, repeated {self.faults.duplicated}, reordered {self.faults.reordered}"
        )


def endpoint(node: Process) -> Endpoint:
    return Endpoint(node.mqtt, "bench", lambda client_id: "")


def pids(cluster: Cluster) -> dict[str, int]:
    servers: dict[str, Server | None] = {"Kafka": cluster.kafka, "Redis": cluster.redis}
    found = {node.name: node.pid for node in cluster.nodes}
    found |= {"bridge": cluster.bridge.pid}
    return found | {name: server.pid for name, server in servers.items() if server is not None}


def run(title: str, flow: Flow, processes: dict[str, int], source: Process, target: Process) -> Result:
    """Publishers on one node, each with its subscriber on the other; raises as `flows.run`."""
    links: list[Link] = []
    names = [f"{flow.name}-{number}" for number in range(flow.subscribers)]
    try:
        listening = open_links(endpoint(target), names, clean=not flow.durable)
        links += listening
        for number, link in enumerate(listening):
            subscribe(link, [flow.topics[number]], flow.qos)
        sending = open_links(endpoint(source), [f"p{number}" for number in range(flow.publishers)])
        links += sending
        subscribers = [make_subscriber(flow, link, number) for number, link in enumerate(listening)]
        publishers = [
            make_publisher(flow, link, stream, None)
            for link, stream in zip(sending, streams(flow), strict=True)
        ]
        loop = Loop([*subscribers, *publishers], time.monotonic() + flow.deadline)
        before = {name: cpu_seconds(pid) for name, pid in processes.items()}
        machine, own, begin = machine_seconds(), time.process_time(), time.perf_counter()
        if flow.rate:
            loop.pace(
                [each for each in publishers if isinstance(each, Publisher)], flow.rate * flow.publishers
            )
        else:
            loop.drive()
        seconds = time.perf_counter() - begin
        spent = {name: cpu_seconds(pid) - before[name] for name, pid in processes.items()}
        rest = machine_seconds() - machine - (time.process_time() - own) - sum(spent.values())
        loop.linger(0.3)
        loop.close()
    finally:
        close_links(links)
        if flow.durable:  # their sessions would queue what the next run publishes
            close_links(open_links(endpoint(target), names))
    layout, faults = flow.layout, Faults()
    size = len(streams(flow)[0]) // flow.messages
    ends = np.arange(1, flow.messages + 1)
    for publisher in publishers:
        faults += publisher.check()
    latencies, answers = [np.zeros(1)], [np.zeros(1)]
    if not faults:
        left = np.array([publisher.sent.at(ends * size) for publisher in publishers])
        for number, subscriber in enumerate(subscribers):
            content = subscriber.content()
            whole = content[: len(content) // layout.size * layout.size]
            senders, sequence = stamps(whole, layout, flow.topics)
            faults += check_order(senders, sequence, [number], flow.messages)
            arrived = subscriber.arrived.at(np.arange(1, len(senders) + 1) * layout.size)
            latencies.append(arrived - left[senders, sequence])
        answers += [
            publisher.answered.at(ends * 4) - sent
            for publisher, sent in zip(publishers, left, strict=True)
            if isinstance(publisher, Publisher)
        ]
    p50, p99 = np.percentile(np.concatenate(latencies), [50, 99]) / 1e6
    a50, a95 = np.percentile(np.concatenate(answers), [50, 95]) / 1e6
    return Result(
        title,
        flow.sent / seconds,
        {name: used / flow.sent * 1e6 for name, used in spent.items()},
        max(rest, 0.0) / seconds,
        faults,
        (float(p50), float(p99)),
        (float(a50), float(a95)),
    )


def bridge_status(cluster: Cluster) -> dict[str, Any]:
    """By node."""
    command = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "gmqtt_platform",
        "control",
        "--json",
        "bridge",
        "status",
    ]
    done = subprocess.run(command, env=cluster.environ(0), capture_output=True, text=True, check=True)
    (answer,) = json.loads(done.stdout)
    (found,) = answer.values()
    return dict(found["ok"])


def amplification(cluster: Cluster, filters: list[str], topics: list[str], messages: int) -> tuple[int, int]:
    """Records that the bridges read, and messages that clients got. A subscriber on each of the first nodes.

    Everything is published on the last node, which has no subscriptions.
    """
    before = {node: status["read"] for node, status in bridge_status(cluster).items()}
    got = 0
    links: list[Link] = []
    try:
        listening = []
        for number, filter in enumerate(filters):
            listening += open_links(endpoint(cluster.nodes[number]), [f"r{number}"])
            subscribe(listening[-1], [filter], 0)
        links += listening
        flow = Flow("B3", "", len(topics), messages, 1, window=20)
        sending = open_links(endpoint(cluster.nodes[-1]), [f"w{number}" for number in range(len(topics))])
        links += sending
        publishers = []
        for number, (link, topic) in enumerate(zip(sending, topics, strict=True)):
            layout = type(flow.layout)(1, len(topic), flow.payload)
            rows = layout.rows(topic, number, messages)
            publishers.append(Publisher(link, rows.tobytes(), layout.size, flow.window))
        Loop(publishers, time.monotonic() + 120).drive()
        expected = len(filters) * messages
        size = len(topics[0]) + flow.payload + 4  # QoS 0
        end = time.monotonic() + 30
        while got < expected * size and time.monotonic() < end:
            for link in listening:
                got += len(link.receive())
            time.sleep(0.01)
    finally:
        close_links(links)
    time.sleep(1.0)
    after = bridge_status(cluster)
    read = sum(status["read"] - before.get(node, 0) for node, status in after.items())
    return read, got // size


def pairs(messages: int, rate: float = 0.0) -> Flow:
    return Flow("B1", "", 50, messages, 1, subscribers=50, rate=rate, window=100)


def amplified(cluster: Cluster, count: int, messages: int) -> float:
    """Bytes that Redis writes to its append-only file for a message that waits for `count` sessions."""
    names = [f"W-{count}-{number}" for number in range(count)]
    topic = f"bench/w{count:05d}"
    a, b = (SimpleNamespace(tcp=endpoint(node)) for node in cluster.nodes[:2])
    with Redis.from_url(cluster.redis_url) as redis:

        def size() -> int:
            return int(redis.info("persistence")["aof_current_size"])

        redis.config_set("auto-aof-rewrite-percentage", 0)
        durable.away(b, names, [topic] * count)  # type: ignore[arg-type]
        time.sleep(2.0)
        before = size()
        durable.publish(a, [topic], messages)  # type: ignore[arg-type]
        wait_for_queues(redis, [names[0], names[-1]], messages)
        time.sleep(0.5)
        written = (size() - before) / messages
    close_links(open_links(a.tcp, names))
    time.sleep(1.0)
    return written


def fan_in(cluster: Cluster, count: int, each: int) -> str:
    """Messages for sessions that are away, from one node; their clients come back to the other."""
    names = [f"D3-{number}" for number in range(count)]
    topics = [f"bench/q/{number:06d}" for number in range(count)]
    a, b = (SimpleNamespace(tcp=endpoint(node)) for node in cluster.nodes[:2])
    durable.away(b, names, topics)  # type: ignore[arg-type]
    with Redis.from_url(cluster.redis_url) as redis:
        before = redis.info("memory")["used_memory"]
        began = time.monotonic()
        durable.publish(a, topics, each)  # type: ignore[arg-type]
        wait_for_queues(redis, names, each)
        queued = time.monotonic() - began
        held = redis.info("memory")["used_memory"] - before
    drained = durable.fetch(a, names, topics[0], each)  # type: ignore[arg-type]
    durable.forget(a, names)  # type: ignore[arg-type]
    total = count * each
    return (
        f"D3 {count:,} sessions x {each} messages of {durable.PAYLOAD} bytes: queued in {queued:.1f} s "
        f"({total / queued:,.0f}/s), back and drained in {drained:.1f} s ({total / drained:,.0f}/s), "
        f"{held / total:.0f} bytes of Redis each"
    )


def backlog(cluster: Cluster, messages: int) -> str:
    node = cluster.nodes[0]
    peer = SimpleNamespace(tcp=endpoint(node), pid=node.pid)
    with Redis.from_url(cluster.redis_url) as redis:
        return "D3 " + durable.backlog(
            peer,  # type: ignore[arg-type]
            messages,
            lambda: wait_for_queues(redis, ["backlog"], messages),
        )


def wait_for_queues(redis: Redis, names: list[str], each: int) -> None:
    """Until every queue has as many messages."""
    end = time.monotonic() + durable.DEADLINE
    while True:
        with redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.xlen(f"gmqtt:queue:{name}")
            if min(pipeline.execute()) >= each:
                return
        if time.monotonic() > end:
            raise TimeoutError("not all of it was queued")
        time.sleep(0.1)


def sessions(messages: int, rate: float = 0.0) -> Flow:
    return Flow("D2", "", 100, messages, 1, subscribers=100, rate=rate, window=50, durable=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.cluster", description=__doc__)
    parser.add_argument("--scenario", default="B1,B2,B3,B4,D2,D3,W")
    parser.add_argument("--messages", type=int, default=4000, help="of each of B1's 50 publishers")
    options = parser.parse_args()
    wanted = set(options.scenario.split(","))
    raise_file_limit()
    bad: list[str] = []

    def show(result: Result) -> None:
        print(result.row(), flush=True)
        if result.faults:
            bad.append(f"{result.title}: messages lost, repeated or out of order")

    with tempfile.TemporaryDirectory(prefix="gmqtt-bench-") as directory:
        if wanted & {"B1", "B2", "B4", "D2", "D3", "W"}:
            two(Path(directory), wanted, options.messages, show, bad)
        if "B3" in wanted:
            four(Path(directory) / "four")
    for text in bad:
        print(f"bench.cluster: {text}", file=sys.stderr)
    raise SystemExit(bool(bad))


def two(
    directory: Path, wanted: set[str], messages: int, show: Callable[[Result], None], bad: list[str]
) -> None:
    with Cluster(directory / "two", **QUEUES) as cluster:
        a, b = cluster.nodes
        run("warm-up", pairs(200), pids(cluster), a, b)
        if "B1" in wanted:
            best = max(
                (run("B1 A -> B", pairs(messages), pids(cluster), a, b) for _ in range(3)),
                key=lambda r: r.rate,
            )
            show(best)
            if best.rate < WANTED:
                bad.append(f"B1: {best.rate:,.0f} messages/s, {WANTED:,} wanted")
        if "B2" in wanted:
            show(run("B2 at 2,000/s", pairs(400, 40.0), pids(cluster), a, b))
        if "D2" in wanted:
            time.sleep(3.0)  # what went before is passed over
            run("warm-up", sessions(50), pids(cluster), a, b)
            best = max(
                (run("D2 A -> B", sessions(messages // 4), pids(cluster), a, b) for _ in range(3)),
                key=lambda r: r.rate,
            )
            show(best)
            if best.rate < WANTED_DURABLE:
                bad.append(f"D2: {best.rate:,.0f} messages/s, {WANTED_DURABLE:,} wanted")
            paced = run("D2 at 1,000/s", sessions(100, 10.0), pids(cluster), a, b)
            show(paced)
            if paced.end_to_end[1] > SLOW:
                bad.append(f"D2: p99 {paced.end_to_end[1]:.0f} ms, {SLOW:.0f} wanted")
        if "D3" in wanted:
            print(fan_in(cluster, 10_000, 10), flush=True)
            print(backlog(cluster, 100_000), flush=True)
        if "W" in wanted:
            for count, number in durable.FAN_OUTS:
                found = amplified(cluster, count, number)
                print(
                    f"W  for {count:>5} sessions: Redis writes {found:,.0f} bytes for a message of 64",
                    flush=True,
                )
        if "B4" in wanted:
            time.sleep(3.0)  # the ends of the sessions before are written
            show(run("B4 A -> A, in a cluster", pairs(messages), pids(cluster), a, a))
    if "B4" in wanted:
        alone: dict[str, Any] = {
            "BROKER__PROVIDER": "mock",
            "CLUSTER__ENABLED": "false",
            "SESSIONS__PROVIDER": "mock",
        }
        with Cluster(directory / "one", 1, alone=True, **alone) as single:
            node = single.nodes[0]
            show(run("B4 alone", pairs(messages), {node.name: node.pid}, node, node))


def four(directory: Path) -> None:
    with Cluster(directory, 4, BROKER__KAFKA__TOPICS=",".join(LEVELS)) as cluster:
        for title, filters, topics in (
            ("first level", [f"{level}/#" for level in LEVELS[:3]], [f"{level}/x" for level in LEVELS[:3]]),
            ("second level", [f"l0/{n}/#" for n in range(3)], [f"l0/{n}/x" for n in range(3)]),
        ):
            read, got = amplification(cluster, filters, topics, 2000)
            idle = bridge_status(cluster)[cluster.nodes[-1].name]["read"]
            print(
                f"B3 they differ in the {title}: {read:,} records read, {got:,} wanted: "
                f"{read / max(got, 1):.2f}; by a node without subscriptions: {idle}",
                flush=True,
            )


if __name__ == "__main__":
    main()
