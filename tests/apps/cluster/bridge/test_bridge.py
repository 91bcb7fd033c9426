"""From Kafka through the bridge and the link into a node: once, in order, and only what it wants."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator

import pytest

from apps.cluster.bridge import protocol
from apps.cluster.bridge.bridge import InUse
from tests.apps.cluster.bridge.hosts import PROOF, Host, Receiver
from tests.support.waiting import until


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    yield host
    await host.stop()


async def came(receiver: Receiver, *payloads: bytes) -> None:
    await until(lambda: len(receiver.messages) >= len(payloads))
    assert receiver.payloads == list(payloads)


async def test_a_message_reaches_the_node_as_it_was(host: Host) -> None:
    node = await host.join("a", "telemetry/#")
    host.publish(
        "telemetry/1", b"x", ("qos", b"1"), ("user.k", b"v"), ("client-id", b"c"), ("mqtt-expiry", b"60")
    )
    await came(node, b"x")
    message = node.messages[0]
    assert (message.topic, message.qos, message.origin) == ("telemetry/1", 1, "c")
    assert message.properties == b"\x26\0\x01k\0\x01v" and message.expires > 0


@pytest.mark.parametrize("first", [b"0", b"1"])
async def test_a_qos_2_message_with_two_records_comes_once(host: Host, first: bytes) -> None:
    """Whichever of them its node and the one that repeated it were quicker with."""
    node = await host.join("a", "telemetry/#")
    for again in (first, b"1" if first == b"0" else b"0"):
        named = (("qos", b"2"), ("node", b"b"), ("message-id", b"b-1"), ("again", again))
        proved = PROOF.make([("mqtt-topic", b"telemetry/1"), *named], b"x")
        host.publish("telemetry/1", b"x", *named, ("node-proof", proved))
    host.publish("telemetry/1", b"y")
    await came(node, b"x", b"y")


@pytest.mark.parametrize("proof", [None, bytes(16), b"of another payload"])
async def test_a_guessed_name_makes_no_message_disappear(host: Host, proof: bytes | None) -> None:
    """A service writes a record under the name that a node is about to give to a client's message."""
    node = await host.join("a", "telemetry/#")
    named = [("qos", b"2"), ("node", b"b"), ("message-id", b"b-1"), ("again", b"0")]
    whole = [("mqtt-topic", b"telemetry/1"), *named]
    given = (
        [] if proof is None else [("node-proof", PROOF.make(whole, b"good") if len(proof) > 16 else proof)]
    )
    host.publish("telemetry/1", b"forged", *named, *given)
    host.publish("telemetry/1", b"good", *named, ("node-proof", PROOF.make(whole, b"good")))
    await came(node, b"forged", b"good")


async def test_a_node_that_wants_nothing_reads_nothing(host: Host) -> None:
    await host.join("a")
    host.publish("telemetry/1", b"x")
    await asyncio.sleep(0.2)
    assert host.bridge.status()["a"]["read"] == 0
    assert host.bridge.status()["a"]["state"] == "idle"


async def test_only_the_kafka_topics_of_its_subscriptions_are_read(host: Host) -> None:
    node = await host.join("a", "commands/+")
    for topic in ("telemetry/1", "other", "commands/1"):
        host.publish(topic, topic.encode())
    await came(node, b"commands/1")
    assert host.bridge.status()["a"]["read"] == 1
    await until(lambda: {each["topic"] for each in host.bridge.status()["a"]["topics"]} == {"gmqtt.commands"})


async def test_what_was_published_before_the_subscription_is_not_read(host: Host) -> None:
    host.publish("telemetry/1", b"before")
    await asyncio.sleep(0.05)
    node = await host.join("a", "telemetry/#")
    host.publish("telemetry/1", b"after")
    await came(node, b"after")


async def test_what_came_between_the_subscription_and_the_bridge_is_read(host: Host) -> None:
    await asyncio.to_thread(host.bridge.stop)
    node = Receiver(host.path, "a")
    host.receivers.append(node)
    node.feed.subscribed("telemetry/#")
    await asyncio.sleep(0.01)
    host.publish("telemetry/1", b"x")
    host.bridge = host._bridge()
    await came(node, b"x")


async def test_a_subscription_that_went_and_came_begins_anew(host: Host) -> None:
    node = await host.join("a", "telemetry/#")
    host.publish("telemetry/1", b"1")
    await came(node, b"1")
    node.feed.unsubscribed("telemetry/#")
    await host.reading(node)
    host.publish("telemetry/1", b"missed")
    await asyncio.sleep(0.05)
    node.feed.subscribed("telemetry/#")
    await host.reading(node)
    host.publish("telemetry/1", b"2")
    await came(node, b"1", b"2")


async def test_a_bridge_that_restarts_goes_on_where_the_node_was(host: Host) -> None:
    node = await host.join("a", "telemetry/#")
    for n in range(1000):
        host.publish("telemetry/1", b"%d" % n)
    await until(lambda: node.messages)
    await host.restart()
    for n in range(1000, 1500):
        host.publish("telemetry/1", b"%d" % n)
    await until(lambda: len(node.messages) >= 1500)
    assert node.payloads == [b"%d" % n for n in range(1500)]


async def test_a_bridge_that_restarts_brings_nothing_from_before_the_subscription(host: Host) -> None:
    for n in range(10):  # both partitions
        host.publish(f"telemetry/{n}", b"before")
    await asyncio.sleep(0.05)
    node = await host.join("a", "telemetry/#")
    host.publish("telemetry/1", b"1")  # one of them
    await came(node, b"1")
    await host.restart()
    for n in range(10):
        host.publish(f"telemetry/{n}", b"2")
    await came(node, b"1", *[b"2"] * 10)


async def test_its_own_messages_are_not_handed_to_a_node(host: Host) -> None:
    one, other = await host.join("a", "telemetry/#"), await host.join("b", "telemetry/#")
    host.publish("telemetry/1", b"a's", ("node", b"a"))
    host.publish("telemetry/1", b"a service's")
    await came(other, b"a's", b"a service's")
    await came(one, b"a service's")
    assert host.bridge.status()["a"]["skipped"] == 1


async def test_shared_subscriptions_are_served_by_the_node_that_was_chosen(host: Host) -> None:
    node = await host.join("a", "t/#")
    host.publish("t/1", b"", ("node", b"b"), ("share", b"a g/t/#"), ("share", b"c g/t/1"))
    host.publish("t/1", b"", ("node", b"b"))
    host.publish("t/1", b"")
    await until(lambda: len(node.messages) == 3)
    assert node.shares[:2] == [["g/t/#"], []]
    assert node.shares[2] and str(node.shares[2][0]).startswith("gmqtt.default-")  # every node decides alike


async def test_what_is_no_message_blocks_nobody(host: Host) -> None:
    node = await host.join("a", "#")
    host.log.append("gmqtt.default", b"", b"", [])
    host.publish("$SYS/x", b"", into="gmqtt.default")
    host.publish("a/+", b"")
    host.publish("telemetry/1", b"", into="gmqtt.commands")
    host.publish("t", bytes(100_001))
    host.publish("t", b"good")
    await came(node, b"good")
    await until(lambda: len(host.letters.reasons) == 5)
    assert sorted(host.letters.reasons) == [
        "bad_topic", "bad_topic", "no_topic", "too_large", "wrong_kafka_topic",
    ]  # fmt: skip


async def test_a_node_that_is_full_stops_the_reading_and_loses_nothing(host: Host) -> None:
    node = await host.join("a", "telemetry/#")
    node.full = True
    for n in range(20_000):
        host.publish("telemetry/1", b"%d" % n)
    await until(lambda: host.bridge.status()["a"]["state"] == "waiting for the node")
    stopped = host.bridge.status()["a"]["read"]
    assert stopped < 20_000
    await asyncio.sleep(0.2)
    assert host.bridge.status()["a"]["read"] == stopped
    node.full = False
    await until(lambda: len(node.messages) == 20_000)
    assert node.payloads == [b"%d" % n for n in range(20_000)]


async def test_large_payloads_wait_in_bytes(host: Host) -> None:
    node = await host.join("a", "telemetry/#")
    node.full = True
    for _ in range(200):
        host.publish("telemetry/1", bytes(99_000))
    await until(lambda: host.bridge.status()["a"]["state"] == "waiting for the node")
    assert host.bridge._serving["a"]._window_bytes < 60_000_000
    node.full = False
    await until(lambda: len(node.messages) == 200)


async def test_pause_and_resume(host: Host) -> None:
    one, other = await host.join("a", "telemetry/#"), await host.join("b", "telemetry/#")
    assert host.bridge.pause("a") == ["a"]
    await asyncio.sleep(0.1)
    host.publish("telemetry/1", b"x")
    await came(other, b"x")
    assert one.messages == [] and host.bridge.status()["a"]["state"] == "paused"
    await until(lambda: one.feed.status()["state"] == "paused")
    await host.restart()  # operators' wishes are the process's
    await came(one, b"x")
    assert host.bridge.pause() == ["a", "b"]
    assert host.bridge.resume("a") == ["a", "b"]  # all means all
    assert host.bridge.resume() == []


async def test_offsets_are_committed_once_the_node_has_it(host: Host) -> None:
    node = await host.join("a", "telemetry/#")
    host.publish("telemetry/1", b"x")
    await came(node, b"x")
    await until(lambda: sum(host.log.committed.get("gmqtt-live-a", {}).values()) == 1)


async def test_lag_and_figures_reach_the_node(host: Host) -> None:
    node = await host.join("a", "telemetry/#")
    host.publish("telemetry/1", b"x")
    await came(node, b"x")
    await until(lambda: node.feed.status()["handed"] == 1)
    status = node.feed.status()
    assert (status["ok"], status["lag"], status["received"], status["needed"]) == (True, 0, 1, 1)


async def test_two_nodes_of_one_name_are_not_served(host: Host) -> None:
    await host.join("a", "telemetry/#")
    second = Receiver(host.path, "a")
    host.receivers.append(second)
    await until(lambda: "another node" in second.feed.status()["refused"])
    assert not second.feed.status()["ok"]


async def test_nobody_else_may_connect_and_nobody_takes_the_socket(host: Host) -> None:
    assert stat.S_IMODE(os.stat(host.path).st_mode) & 0o077 == 0
    with pytest.raises(InUse):
        host._bridge()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", b"\0\0\0\x01\xc1", b"\0\0\0\x01\x80", b"",
        protocol.frame(0, 99, 1), protocol.frame(0, 99, "n", {}, []), protocol.frame(2, 1),
        protocol.frame(0, 1, "n", 5, []),
        protocol.frame(0, 1, "n", {}, [1]), protocol.frame(0, 1, "n", {}, []) + protocol.frame(7, 1),
    ],
)  # fmt: skip
async def test_strangers_are_shown_out(host: Host, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(host.path))
        stranger.sendall(data)
        stranger.shutdown(socket.SHUT_WR)
        stranger.settimeout(10)
        while await asyncio.to_thread(stranger.recv, 1000):
            pass
    node = await host.join("a", "telemetry/#")
    host.publish("telemetry/1", b"x")
    await came(node, b"x")


async def test_foreign_records_delay_a_good_message_by_batches(host: Host) -> None:
    node = await host.join("a", "#")
    for _ in range(3000):
        host.log.append("gmqtt.default", b"", b"", [])
    host.publish("t", b"good", into="gmqtt.default")
    await came(node, b"good")
    await until(lambda: len(host.letters.reasons) == 3000)
    assert host.letters.puts < 300
