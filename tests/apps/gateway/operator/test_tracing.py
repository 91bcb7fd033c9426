"""A trace shows what a client, a topic or an address does, and no more than it was allowed to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.gateway.broker.ports import Peer
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import reasons
from apps.gateway.operator.tracing import MAX_SECONDS, MAX_TRACES, Trace, TraceError, Tracer
from tests.apps.gateway.support.world import World


def both(first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
    def call(*arguments: Any) -> None:
        first(*arguments)
        second(*arguments)

    return call


@pytest.fixture
def tracer(world: World, monkeypatch: pytest.MonkeyPatch) -> Tracer:
    made = Tracer(world.node, world.clock, lambda client_id, action, topic: f"rule for {topic}")
    world.node.tracer = made
    for event in ("connected", "disconnected", "refused", "denied", "dropped"):
        monkeypatch.setattr(world.events, event, both(getattr(world.events, event), getattr(made, event)))
    return made


def start(tracer: Tracer, world: World, kind: str, value: str, **options: Any) -> Trace:
    trace = Trace("t", kind, value, world.now + 60, **options)
    tracer.start(trace)
    return trace


def events(trace: Trace) -> list[tuple[str, str]]:
    return [(entry["event"], entry.get("type", "")) for entry in trace.entries]


@pytest.mark.parametrize("level", (3, 4, 5))
def test_a_client_from_its_connect_to_its_end(world: World, tracer: Tracer, level: int) -> None:
    trace = start(tracer, world, "client", "c")
    other = world.join("other", level)
    client = world.join("c", level, username="user", password=b"topsecret")
    client.subscribe("a/#", qos=1)
    client.publish("a/b", b"payload", 1)
    other.publish("x", b"1")
    client.send(p.Disconnect())
    world.turn()
    ends = {
        ("connected", ""),
        ("in", "CONNECT"),
        ("out", "CONNACK"),
        ("in", "DISCONNECT"),
        ("disconnected", ""),
    }
    assert ends <= set(events(trace))
    middle = [each for each in events(trace) if each[1].startswith(("SUB", "PUB"))]
    assert middle[:3] == [("in", "SUBSCRIBE"), ("out", "SUBACK"), ("in", "PUBLISH")]
    assert set(middle[3:]) == {("out", "PUBACK"), ("out", "PUBLISH")}
    said = repr(trace.entries)
    assert "topsecret" not in said and "b'payload'" not in said
    publish = next(each for each in trace.entries if each.get("type") == "PUBLISH" and each["event"] == "in")
    assert publish["topic"] == "a/b" and publish["qos"] == 1 and publish["payload_size"] == 7
    assert publish["rule"] == "rule for a/b"


def test_a_connection_that_is_there_already(world: World, tracer: Tracer) -> None:
    client = world.join("c")
    trace = start(tracer, world, "client", "c")
    client.publish("a", b"1")
    assert events(trace) == [("in", "PUBLISH")]
    tracer.stop("t")
    client.publish("a", b"2")
    assert len(trace.entries) == 1 and trace.ended


def test_payloads_only_where_they_were_asked_for(world: World, tracer: Tracer) -> None:
    trace = start(tracer, world, "client", "c", payloads=True)
    world.join("c").publish("a", b"x" * 5000)
    assert trace.entries[-1]["payload"] == b"x" * 1024


def test_a_packet_in_many_pieces_is_shown_once(world: World, tracer: Tracer) -> None:
    client = world.join("c")
    trace = start(tracer, world, "client", "c")
    client.publish("a", b"x" * 100, 0)
    data = b"\x30\x06\x00\x01a\x00hi"
    for byte in data:
        client.connection.feed(bytes([byte]), world.now)
    assert events(trace) == [("in", "PUBLISH")] * 2


def test_a_topic_shows_who_publishes_and_who_gets_it(world: World, tracer: Tracer) -> None:
    reader = world.join("r")
    reader.subscribe("a/+")
    shared = world.join("s")
    shared.subscribe("$share/g/a/b")
    writer = world.join("w", 5)
    writer.publish("a/b", b"0")
    trace = start(tracer, world, "topic", "a/#")
    writer.publish("a/b", b"12", 1)
    writer.publish("b", b"12", 1)
    writer.take()
    writer.publish("a/no/body", b"12", 1)
    assert writer.take_one(p.Ack).reason == reasons.NO_MATCHING_SUBSCRIBERS
    assert [
        (e["event"], e["client_id"], e["topic"], e["recipients"], e["groups"]) for e in trace.entries
    ] == [
        ("publish", "w", "a/b", ["r"], ["g/a/b"]),
        ("publish", "w", "a/no/body", [], []),
    ]
    assert reader.payloads() == [b"0", b"12"]
    tracer.stop("t")
    writer.publish("a/b", b"3")
    assert len(trace.entries) == 2


def test_an_address_shows_all_its_clients(world: World, tracer: Tracer) -> None:
    trace = start(tracer, world, "address", world.join("c").connection.peer.address)
    world.join("d").drop()
    assert {entry["client_id"] for entry in trace.entries} >= {"d"}
    assert trace.entries[-1]["event"] == "disconnected"


def test_decisions_are_shown(world: World, tracer: Tracer) -> None:
    trace = start(tracer, world, "client", "c")
    peer = Peer("10.0.0.1", 1, "tcp")
    tracer.denied("c", None, peer, "publish", "secret/a")
    tracer.dropped("c", "queue_full", "t", 3)
    assert [(entry["event"], entry["topic"]) for entry in trace.entries] == [
        ("denied", "secret/a"),
        ("dropped", "t"),
    ]


def test_what_does_not_fit_is_counted(world: World, tracer: Tracer) -> None:
    trace = start(tracer, world, "client", "c", max_bytes=2000)
    client = world.join("c")
    for _ in range(50):
        client.publish("a", b"x")
    assert trace.size <= 2000 and trace.left_out > 30


def test_a_trace_ends_by_itself(world: World, tracer: Tracer) -> None:
    trace = start(tracer, world, "client", "c")
    client = world.join("c")
    world.advance(61)
    assert trace.ended and not client.connection.traced


@pytest.mark.parametrize(
    ("kind", "value", "seconds"),
    [
        ("topic", "a/#/b", 60),
        ("shape", "a", 60),
        ("client", "", 60),
        ("client", "c", 0),
        ("client", "c", 1e9),
    ],
)
def test_bad_traces_are_refused(world: World, tracer: Tracer, kind: str, value: str, seconds: float) -> None:
    with pytest.raises(TraceError):
        tracer.start(Trace("t", kind, value, world.now + seconds))
    assert tracer.all() == []


def test_there_are_only_so_many(world: World, tracer: Tracer) -> None:
    for number in range(MAX_TRACES):
        tracer.start(Trace(str(number), "client", "c", world.now + MAX_SECONDS))
    with pytest.raises(TraceError):
        tracer.start(Trace("more", "client", "c", world.now + 1))
    tracer.stop("3")
    tracer.start(Trace("more", "client", "c", world.now + 1))
    assert tracer.get("3") is None and tracer.get("more") is not None
