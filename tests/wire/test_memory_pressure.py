"""A node that runs short of memory refuses in order, says so, recovers, and loses nothing it acknowledged."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.wire.conftest import Start
from tests.wire.nodes import Node, until
from tests.wire.raw import V5, V311, Closed, Raw, connect, packet, publish, split_publish, subscribe

AN_HOUR = b"\x11\0\0\x0e\x10"  # session expiry interval
QUOTA_EXCEEDED = 0x97
ROOM = 40_000_000  # bytes that the limit leaves beside the node itself


def occupied(template_node: Node) -> int:
    until(lambda: template_node.rss() > 0)
    return template_node.rss()


def ready(node: Node) -> dict[str, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{node.ws}/readyz", timeout=10) as answer:
            return dict(json.load(answer)["reasons"])
    except urllib.error.HTTPError as error:
        return dict(json.load(error)["reasons"])


class Echo(threading.Thread):
    """A client that was there before, and pings all the while."""

    def __init__(self, node: Node) -> None:
        super().__init__(daemon=True)
        self.client = Raw(node.tcp, timeout=30.0)
        self.client.connect(V311, "echo")
        self.count = 0
        self.worst = 0.0
        self.failed = ""
        self.going = True
        self.start()

    def run(self) -> None:
        try:
            while self.going:
                began = time.monotonic()
                self.client.ping()
                self.worst = max(self.worst, time.monotonic() - began)
                self.count += 1
                time.sleep(0.01)
        except (Closed, OSError, AssertionError) as error:
            self.failed = repr(error)


def answers(publisher: Raw, count: int) -> list[bool]:
    """Of so many publishes at QoS 1, in their order: True where it was taken, False where it was 0x97."""
    taken = []
    for _ in range(count):
        first, body = publisher.packet()
        assert first == 0x40
        reason = body[2] if len(body) > 2 else 0
        assert reason < 0x80 or reason == QUOTA_EXCEEDED
        taken.append(reason < 0x80)
    return taken


def flood(node: Node) -> tuple[list[str], list[str]]:
    """Retained messages, each on its own topic, until 500 were refused: (acknowledged, refused)."""
    taken: list[str] = []
    refused: list[str] = []
    with Raw(node.tcp, timeout=30.0) as publisher:
        publisher.connect(V5, "flood")
        for start in range(1, 60_000, 50):
            topics = [f"flood/{start + each}" for each in range(50)]
            for packet_id, topic in enumerate(topics, 1):
                publisher.send(publish(V5, topic, b"x" * 4000, 1, packet_id, retain=True))
            for topic, acknowledged in zip(topics, answers(publisher, 50), strict=True):
                (taken if acknowledged else refused).append(topic)
            if len(refused) >= 500:
                return taken, refused
    raise AssertionError("it took everything")


def refused(node: Node, version: int) -> int:
    """The reason in CONNACK; 0: let in; -1: closed without one."""
    with Raw(node.tcp, timeout=30.0) as client, contextlib.suppress(Closed, OSError):
        client.send(connect(version, "late"))
        return client.packet()[1][1]
    return -1


def test_it_refuses_and_recovers(start: Start) -> None:
    """`limits.memory`; retained messages are what fills it, and go when they are cleared."""
    plain = start()
    limit = occupied(plain) + ROOM
    plain.stop()
    node = start(LIMITS__MEMORY=str(limit), CONSOLE__METRICS_TOKEN="t" * 32)
    with Raw(node.tcp, timeout=30.0) as away:
        away.connect(V5, "away", properties=AN_HOUR)
        away.subscribe(V5, "queue/#", qos=1)
    witness, reader = Raw(node.tcp, timeout=30.0), Raw(node.tcp, timeout=30.0)
    reader.connect(V5, "reader")
    reader.subscribe(V5, "live")
    witness.connect(V5, "witness")
    echo = Echo(node)
    deaf = Raw(node.tcp, receive_buffer=4096, timeout=30.0)
    deaf.connect(V5, "deaf")
    deaf.subscribe(V5, "fill/+", qos=1)
    queued: list[str] = []  # acknowledged, in their order, for the session that is away
    filled: list[str] = []  # the same, for the client that does not read

    def publish_some(topics: list[str], payload: bytes) -> list[str]:
        """Those of them that were acknowledged."""
        for number, topic in enumerate(topics, 1):
            witness.send(publish(V5, topic, payload, 1, number))
        taken = zip(topics, answers(witness, len(topics)), strict=True)
        return [topic for topic, acknowledged in taken if acknowledged]

    for hundred in range(10):
        queued += publish_some([f"queue/before-{hundred}/{each}" for each in range(100)], b"q" * 500)
    assert len(queued) == 1000
    taken, not_taken = flood(node)
    assert len(taken) > 1000
    refused_of_queue = 0
    for turn in range(1000):
        filled += publish_some([f"fill/{turn}-{each}" for each in range(20)], b"f" * 4000)
        some = [f"queue/meanwhile-{turn}/{each}" for each in range(3)]
        done = publish_some(some, b"q" * 500)
        queued += done
        refused_of_queue += len(some) - len(done)
        if refused_of_queue >= 20:
            break
    assert refused_of_queue >= 20
    until(lambda: "memory" in ready(node), 10)
    assert ready(node)["memory"].startswith("short of memory: new connections")
    assert refused(node, V5) in (QUOTA_EXCEEDED, -1)
    witness.send(publish(V5, "live", b"dropped", 0))
    witness.ping()
    metrics = scraped(node)
    assert metrics['gmqtt_dropped_messages_total{reason="memory"}'] >= 1
    assert metrics[f'gmqtt_refused_connects_total{{reason_code="{QUOTA_EXCEEDED}"}}'] >= 1

    cleared = len(taken) * 3 // 5
    for number, topic in enumerate(taken[:cleared]):  # clearing is always allowed
        witness.send(publish(V5, topic, b"", 0, retain=True))
        if number % 500 == 0:
            witness.ping()
    witness.ping()
    until(lambda: "memory" not in ready(node), 30, node.log())
    assert refused(node, V5) == 0
    witness.send(publish(V5, "live", b"again", 0))
    first, body = reader.packet()
    assert split_publish(V5, first, body) == ("live", b"again")
    queued += publish_some([f"queue/after/{each}" for each in range(100)], b"q" * 500)
    assert queued[-1] == "queue/after/99"
    for topic in filled:  # all that was acknowledged, and nothing that was refused
        first, body = deaf.packet()
        assert split_publish(V5, first, body) == (topic, b"f" * 4000)
        deaf.send(packet(0x40, body[2 + len(topic) :][:2]))
    deaf.ping()
    with Raw(node.tcp, timeout=30.0) as back:
        back.send(connect(V5, "away", clean=False, properties=AN_HOUR))
        assert back.packet()[1][0] == 1  # its session is there
        for topic in queued:
            first, body = back.packet()
            assert split_publish(V5, first, body) == (topic, b"q" * 500)
            back.send(packet(0x40, body[2 + len(topic) :][:2]))
        back.ping()
    with Raw(node.tcp, timeout=30.0) as late:
        late.connect(V5, "late")
        late.subscribe(V5, "flood/#", "end")
        kept = [split_publish(V5, *late.packet()) for _ in taken[cleared:]]
        assert sorted(kept) == sorted((topic, b"x" * 4000) for topic in taken[cleared:])
        assert not {topic for topic, _ in kept} & set(not_taken)
        late.ping()  # there is no other one
    echo.going = False
    echo.join(30)
    assert not echo.failed and echo.worst < 5.0, (echo.failed, echo.worst)
    said = re.findall(r"WARNING .*memory: (\d+ MB of \d+ MB in use: .*)", node.log())
    assert 2 <= len(said) <= 10, said  # each step once, not each second
    node.quiet = False
    for client in (witness, reader, deaf, echo.client):
        client.close()


def scraped(node: Node) -> dict[str, float]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{node.ws}/metrics", headers={"Authorization": f"Bearer {'t' * 32}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")
    }


def test_under_a_limit_of_the_system(start: Start) -> None:
    """RLIMIT_AS, and a flood for a reader that does not read: the node lives, and others' echo."""
    plain = start()
    found = re.search(r"VmSize:\s+(\d+) kB", Path(f"/proc/{plain.process.pid}/status").read_text())
    assert found is not None
    limit = int(found[1]) * 1024 + 200_000_000
    plain.stop()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))  # the node inherits it
    try:
        node = start(LIMITS__MAX_QUEUED_BYTES="1000000000", LIMITS__MAX_QUEUED_MESSAGES="1000000")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    echo = Echo(node)
    deaf = [Raw(node.tcp, receive_buffer=4096, timeout=30.0) for _ in range(4)]
    for number, client in enumerate(deaf):
        client.connect(V5, f"deaf-{number}")
        client.send(subscribe(V5, "flood", qos=number % 2))
        client.packet()
    answers: list[int] = []
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(Closed, OSError), Raw(node.tcp, timeout=30.0) as publisher:
            publisher.send(connect(V5, "flood"))
            publisher.packet()
            while time.monotonic() < deadline:
                for packet_id in range(1, 21):
                    publisher.send(publish(V5, "flood", b"x" * 50_000, packet_id % 2, packet_id))
                for _ in range(10):
                    first, body = publisher.packet()
                    answers.append(body[2] if first == 0x40 and len(body) > 2 else first)
    assert 0x40 in answers and {QUOTA_EXCEEDED, 0xE0} & set(answers), set(answers)
    for client in deaf:
        client.close()
    until(lambda: "memory" not in ready(node), 30, node.log())
    echo.going = False
    echo.join(30)
    assert not echo.failed and echo.worst < 5.0, (echo.failed, echo.worst)
    assert "MemoryError" not in node.log()
    node.quiet = False
    echo.client.close()
