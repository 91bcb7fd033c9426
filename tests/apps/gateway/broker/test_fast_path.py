"""What `Connection._consume` reads in place has the same effects as the general path, packet by packet."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.gateway.broker import closing, control, ingress
from apps.gateway.broker.connection import Connection
from apps.gateway.broker.limits import Limits
from apps.gateway.broker.ports import NOTHING, QOS_0, QOS_1
from apps.gateway.broker.states import CLOSED, CONNECTED
from apps.gateway.mqtt import codec, framing
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt.errors import MqttError
from tests.apps.gateway.support.doors import Door, Listed
from tests.apps.gateway.support.world import World

TOPICS = ("a", "a/b", "a/deep/one", "nobody", "some", "denied", "$SYS/x", "a/+", "", "é")
IDS = st.sampled_from((0, 1, 1, 2, 3, 65_535))

publishes = st.builds(
    lambda topic, payload, qos, packet_id, dup, retain: p.Publish(
        topic, payload, qos, retain, dup and qos > 0, packet_id if qos else 0
    ),
    st.sampled_from(TOPICS[:6] * 4 + TOPICS),
    st.sampled_from((b"", b"x", b"y" * 200)),
    st.sampled_from((0, 0, 0, 1, 2)),
    IDS,
    st.booleans(),
    st.sampled_from((False,) * 5 + (True,)),
)
acknowledgements = st.builds(
    p.Ack, st.sampled_from((pt.PUBACK, pt.PUBREC, pt.PUBREL, pt.PUBCOMP)), st.sampled_from((1, 2, 3, 9))
)
packets = st.one_of(publishes, publishes, publishes, acknowledgements, st.just(p.Ping(pt.PINGREQ)))


def encoded(packet: p.Packet, level: int) -> bytes:
    """As the codec does it, but for packet identifier 0, which it refuses."""
    if not isinstance(packet, p.Publish) or not packet.qos or packet.packet_id:
        return codec.encode(packet, level)
    data = codec.encode(dataclasses.replace(packet, packet_id=1), level)
    at = framing.frame(data, 0, 1000)[0] + 2 + len(packet.topic.encode())
    return data[:at] + b"\0\0" + data[at + 2 :]


def generally(connection: Connection, data: bytes, now: float) -> None:
    """`Connection.feed` for whole packets, without its short cuts."""
    connection.node.now = now
    connection.node.stats.bytes_in += len(data)
    pos = 0
    stats = connection.node.stats
    acknowledged = False
    try:
        while pos < len(data) and connection.state != CLOSED:
            first = data[pos]
            start, end = framing.frame(data, pos, connection.limits.max_packet_size)
            kind = first & 0xF0
            session = connection.session
            if kind == 0x30 and connection.state == CONNECTED:
                ingress.publish(connection, first, data, start, end, now)
                stats.publishes_in += 1
                connection.publishes_in += 1
            elif session is not None and 0x40 <= kind <= 0x70:
                acknowledged = True
                ingress.acknowledged(connection, session, first, data, start, end)
            else:
                control.handle(connection, first, data, start, end, now)
            stats.packets_in += 1
            pos = end
    except MqttError as error:
        if acknowledged and connection.session is not None:
            connection.session.pump(now)
        closing.fail(connection, error)
        return
    if acknowledged and connection.session is not None:
        connection.session.pump(now)


class Side:
    """A node with a client of each kind that may see what `writer` does."""

    def __init__(self, level: int, window: int) -> None:
        acl = Listed({"some": QOS_0 | QOS_1, "denied": NOTHING})
        self.world = World(Limits(inflight_window=window, receive_maximum=2), Door(acl=acl))
        self.clients = {"writer": self.world.join("writer", level)}
        for version in (4, 5):
            for qos in (0, 1, 2):
                name = f"reader-{version}-{qos}"
                self.clients[name] = self.world.join(name, version)
                self.clients[name].subscribe("a/#", "some", "$SYS/x", qos=qos)
        self.clients["writer"].subscribe("a/b", qos=2)
        for topic in ("a/b", "a/b"):  # in flight to the writer, and waiting for it
            self.world.join(f"other-{topic}").publish(topic, b"for the writer", 2)
        self.seen()

    def feed(self, data: bytes, general: bool) -> None:
        writer = self.clients["writer"].connection
        if general:
            generally(writer, data, self.world.now)
        else:
            writer.feed(data, self.world.now)
        self.world.turn()

    def seen(self) -> dict[str, list[p.Packet]]:
        return {name: client.take() for name, client in self.clients.items()}

    def books(self) -> dict[str, object]:
        stats = self.world.node.stats
        counted = (
            "bytes_in",
            "packets_in",
            "publishes_in",
            "publish_bytes_in",
            "publishes_out",
            "packets_out",
        )
        session = self.world.node.sessions.get("writer")
        return {
            "counts": {name: getattr(stats, name) for name in counted},
            "dropped": self.world.events.drops,
            "denials": self.world.events.denials,
            "ends": self.world.events.ends,
            "incoming": sorted(session.incoming) if session is not None else None,
            "unacked": sorted(session.unacked) if session is not None else None,
        }


@settings(deadline=None, max_examples=150)
@given(st.sampled_from((3, 4, 5)), st.sampled_from((1, 100)), st.lists(packets, max_size=30))
def test_the_short_cuts_change_nothing(level: int, window: int, sent: list[p.Packet]) -> None:
    fast, slow = Side(level, window), Side(level, window)
    data = b"".join(encoded(each, level) for each in sent)
    fast.feed(data, general=False)
    slow.feed(data, general=True)
    assert fast.seen() == slow.seen()
    assert fast.books() == slow.books()
    for side in (fast, slow):
        side.world.close()
