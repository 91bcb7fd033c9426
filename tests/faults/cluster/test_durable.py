"""SIGKILL at random of a node, a bridge (a Celery worker), Redis and Kafka: persistent sessions lose nothing.

Two publishers at each of QoS 1 and 2, with persistent sessions; subscribers that stay, are away, or move from
node to node all the time. In the end each has every acknowledged message, in order, and those of QoS 2
once; and of two that share a subscription one has it. `pytest -s` prints what was killed, and how long
messages took.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.apps.cluster.support.device import PUBACK, Device
from tests.faults.cluster.traffic import TIMEOUT, Peer, Publisher, wait
from tests.services import present
from tests.wire import raw
from tools.cluster import Cluster

# paho leaves the sockets of connections that broke to the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

KILLS = int(os.environ.get("FAULT_KILLS", "4"))
SEED = int(os.environ.get("FAULT_SEED", "6"))
SUBSCRIBERS = max(300, 20 * KILLS)  # one after the other
VICTIMS = ("node-a", "bridge", "redis", "node-b", "kafka")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="gmqtt-") as short, present():
        lines: list[str] = []
        started = Cluster(
            Path(short),
            say=lambda name, line: lines.append(f"{name}: {line}"),
            LIMITS__MAX_QUEUED_MESSAGES="1000000",
        )
        try:
            with started:
                yield started
        except RuntimeError as error:
            pytest.fail(f"{error}\n" + "\n".join(lines[-60:]))
        finally:
            print("\n".join(lines[-300:]))


def _kill(cluster: Cluster, victim: str, away: float) -> None:
    """And start it again, as a supervisor would."""
    server = {"kafka": cluster.kafka, "redis": cluster.redis}.get(victim)
    if server is not None:
        server.kill()
        time.sleep(away)
        server.start()
        return
    process = {"bridge": cluster.bridge, "node-a": cluster.nodes[0], "node-b": cluster.nodes[1]}[victim]
    process.kill()
    time.sleep(away)
    process.start()
    assert process.ready.wait(TIMEOUT), victim


def _lack(cluster: Cluster, peer: Peer, wanted: set[str]) -> str:
    missing = sorted(wanted - set(peer.got))
    with Redis.from_url(cluster.redis_url) as redis:
        session: Any = redis.hgetall(f"gmqtt:session:{peer.name}")
        queued, flying = redis.xlen(f"gmqtt:queue:{peer.name}"), redis.hgetall(f"gmqtt:inflight:{peer.name}")
    return (
        f"{peer.name} lacks {len(missing)}: {missing[:10]} ...; online: {peer.online.is_set()},"
        f" in Redis: {session}, {queued} queued, in flight: {flying}"
    )


def _together(members: list[Peer]) -> set[str]:
    return {each for peer in members for each in peer.got}


def _lacks(cluster: Cluster, members: list[Peer], wanted: set[str]) -> str:
    return "; ".join(_lack(cluster, peer, wanted - _together(members)) for peer in members)


def _expected(publishers: list[Publisher], qos: int) -> dict[str, list[str]]:
    return {
        each.topic: [f"{each.topic}/{number}" for number in range(each.sent)]
        for each in publishers
        if each.qos == qos
    }


def test_nothing_after_a_suback_is_missed_while_bridges_restart(cluster: Cluster) -> None:
    """As soon as a subscription on one node is acknowledged, the other node has a message for it."""
    a, b = cluster.nodes
    over = threading.Event()

    def restart() -> None:
        while not over.wait(1.0):
            _kill(cluster, "bridge", 0.0)

    restarting = threading.Thread(target=restart)
    restarting.start()
    try:
        with Device(b, "subscribed-writer") as writer:
            for number in range(SUBSCRIBERS):
                with Device(a, f"subscribed-{number}") as device:
                    device.subscribe(raw.V311, f"subscribed/{number}", qos=1)
                    writer.publish(f"subscribed/{number}", b"%d" % number, 1, number + 1)
                    writer.expect(PUBACK, number + 1)
                    device.leave()
    finally:
        over.set()
        restarting.join()
    for number in range(SUBSCRIBERS):
        with Device((a, b)[number % 2], f"subscribed-{number}") as device:
            assert device.take(1) == [b"%d" % number], number


def test_redis_out_of_memory(cluster: Cluster) -> None:
    """Publishers to persistent sessions are refused, and nothing that was acknowledged is lost."""
    a, b = cluster.nodes
    acknowledged = refused = number = 0
    with raw.Raw(b.mqtt, timeout=TIMEOUT) as reader:
        reader.connect(raw.V311, "oom-reader", clean=False)
        reader.subscribe(raw.V311, "oom", qos=1)
        reader.send(b"\xe0\0")
    with Redis.from_url(cluster.redis_url) as redis, raw.Raw(a.mqtt, timeout=TIMEOUT) as writer:
        writer.connect(raw.V5, "oom-writer")

        def publish() -> int:
            nonlocal number
            number += 1
            writer.send(raw.publish(raw.V5, "oom", b"%d" % number + b"x" * 1000, 1, number))
            first, body = writer.packet()
            assert first == 0x40
            return body[2] if len(body) > 2 else 0

        assert publish() == 0
        redis.config_set("maxmemory", redis.info("memory")["used_memory"])
        end = time.monotonic() + TIMEOUT
        try:
            while refused < 10:
                assert time.monotonic() < end, f"{number} were taken"
                reason = publish()
                refused += reason == 0x97
                time.sleep(0.02)
                if refused == 1 and reason:
                    with urllib.request.urlopen(f"http://127.0.0.1:{a.http}/healthz") as answer:
                        assert "sessions" in json.load(answer)["failing"]
        finally:
            redis.config_set("maxmemory", 0)
        acknowledged = number - refused
        wait(lambda: publish() == 0, lambda: "publishers are still refused")
        acknowledged += 1
        number_of_last = number
    with raw.Raw(a.mqtt, timeout=TIMEOUT) as reader:
        until = time.monotonic() + TIMEOUT
        while True:  # a node that was without Redis lets nobody in who has a session
            try:
                assert reader.connect(raw.V311, "oom-reader", clean=False)[0]
                break
            except AssertionError:
                assert time.monotonic() < until
                time.sleep(0.2)
        found: list[int] = []
        while number_of_last not in found:
            first, body = reader.packet()
            if first & 0xF0 == 0x30:
                found.append(int(raw.split_publish(raw.V311, first, body)[1].rstrip(b"x")))
                reader.send(raw.packet(0x40, body[5:7]))
    assert len(set(found)) >= acknowledged and found == sorted(set(found))


def test_nothing_acknowledged_is_lost(cluster: Cluster) -> None:
    rng = random.Random(SEED)
    ports = [node.mqtt for node in cluster.nodes]
    readers = {
        f"{kind}-{qos}": Peer(f"{kind}-{qos}", ports) for kind in ("stays", "moves", "away") for qos in (1, 2)
    }
    shared = {qos: [Peer(f"shared-{qos}-{number}", ports) for number in (0, 1)] for qos in (1, 2)}
    writers = [Publisher(number, qos, ports) for qos in (1, 2) for number in (0, 1)]
    killed: list[tuple[str, float]] = []
    try:
        for place, (name, peer) in enumerate(readers.items()):
            peer.start(place)
            peer.subscribe(f"durable/{name[-1]}/#", int(name[-1]))
            if name.startswith("away"):
                peer.stop()
        for qos, members in shared.items():
            for place, peer in enumerate(members):
                peer.start(place)
                peer.subscribe(f"$share/group/durable/{qos}/#", qos)
        for place, writer in enumerate(writers):
            writer.start(place)
        victims: list[str] = []
        for turn in range(KILLS):
            time.sleep(rng.uniform(0.5, 2.0))
            readers["moves-1"].move(turn)
            readers["moves-2"].move(turn + 1)
            time.sleep(rng.uniform(0.0, 0.5))
            victims = victims or rng.sample(VICTIMS, len(VICTIMS))
            victim = victims.pop()
            killed.append((victim, time.time()))
            _kill(cluster, victim, rng.uniform(0.0, 1.0))
        time.sleep(2.0)
        for writer in writers:
            writer.finish()
        for name, peer in readers.items():
            if name.startswith("away"):
                peer.start(rng.randrange(2))
        doubles: dict[str, int] = {}
        wrong: list[str] = []  # invented, or out of order
        for name, peer in readers.items():
            expected = _expected(writers, int(name[-1]))
            every = {each for some in expected.values() for each in some}
            wait(lambda p=peer, e=every: set(p.got) >= e, lambda p=peer, e=every: _lack(cluster, p, e))
            assert not peer.lost_session, f"{name}: no session where there was one"
            for topic, wanted in expected.items():
                mine = list(dict.fromkeys(each for each in peer.got if each.startswith(topic)))
                if mine != wanted:
                    at = next(
                        place
                        for place, both in enumerate(zip(mine, wanted, strict=False))
                        if len(set(both)) > 1
                    )
                    wrong.append(f"{name}, from {at} on: {mine[max(at - 2, 0) : at + 10]}")
            doubles[name] = len(peer.got) - len(every)
        for qos, members in shared.items():
            every = {each for some in _expected(writers, qos).values() for each in some}
            wait(
                lambda m=members, e=every: _together(m) >= e, lambda m=members, e=every: _lacks(cluster, m, e)
            )
            assert all(len(peer.got) > len(every) // 10 for peer in members), "one member had next to nothing"
            doubles[f"shared-{qos}"] = sum(len(peer.got) for peer in members) - len(every)
        _report(readers, writers, killed, doubles)
        assert not wrong, "\n".join(wrong)
        exactly = {name: count for name, count in doubles.items() if name.endswith("2") and count}
        assert not exactly, f"QoS 2, twice: {exactly}"
    finally:
        for writer in writers:
            writer._stopping.set()
        for each in (*writers, *readers.values(), *shared[1], *shared[2]):
            each.stop()


def _report(
    readers: dict[str, Peer],
    writers: list[Publisher],
    killed: list[tuple[str, float]],
    doubles: dict[str, int],
) -> None:
    print(f"\n{KILLS} kills, seed {SEED}: {[each.sent for each in writers]} messages; twice: {doubles}")
    took = sorted(each for name, peer in readers.items() if name.startswith("stays") for each in peer.took)
    for place, (victim, at) in enumerate(killed):
        end = killed[place + 1][1] if place + 1 < len(killed) else float("inf")
        some = sorted(seconds for when, seconds in took if at <= when < end)
        if some:
            print(f"  {victim:8} p50 {some[len(some) // 2]:7.3f} s, slowest {some[-1]:7.3f} s of {len(some)}")
