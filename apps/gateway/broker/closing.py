"""The ways in which a connection ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from apps.gateway.broker.states import CLOSED, CONNECTED
from apps.gateway.mqtt import codec, packets, reasons
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt.errors import MqttError
from apps.gateway.mqtt.properties import Properties

if TYPE_CHECKING:
    from apps.gateway.broker.connection import Connection


class NoLink:
    """The `ports.Link` of a connection that has ended: what is still written goes nowhere."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def control(self) -> None: ...


NO_LINK: Final = NoLink()


def fail(connection: Connection, error: MqttError) -> None:
    """A peer's error: tell it the reason and close [MQTT-4.13.1-1]."""
    if isinstance(error, codec.UnsupportedVersion):
        if error.answer:  # in the form every version understands
            connection.write(b"\x20\x02\x00\x01")
        connection.node.stats.refuse(error.reason)
        finish(connection, error.reason, error.text, connection.node.now)
        return
    close(connection, error.reason, error.text, connection.node.now)


def close(connection: Connection, reason: int, text: str, now: float, server_reference: str = "") -> None:
    """End the connection from our side, with CONNACK or DISCONNECT where the version has one for it."""
    if connection.state == CLOSED:
        return
    if connection.state != CONNECTED:
        connection.node.stats.refuse(reason)
    if reason == reasons.USE_ANOTHER_SERVER and connection.node.drain is not None:
        server_reference = server_reference or connection.node.drain.reference
    if connection.level == pt.MQTT_5:
        if not _say(connection, reason, _explanation(reason, text, server_reference)):
            _say(connection, reason, {})
    elif connection.level and connection.state != CONNECTED:
        _refuse_3(connection, reason)
    finish(connection, reason, text, now)


def finish(connection: Connection, reason: int, text: str, now: float) -> None:
    """End the connection with nothing more to say; the client's own DISCONNECT comes here too."""
    connection.flush()
    connection.state = CLOSED
    connection.link.close()
    _let_go(connection, reason, text, now)


def lost(connection: Connection, now: float) -> None:
    """The transport ended without a word from the client."""
    if connection.state != CLOSED:
        connection.state = CLOSED
        _let_go(connection, reasons.UNSPECIFIED_ERROR, "connection lost", now)


def _let_go(connection: Connection, reason: int, text: str, now: float) -> None:
    connection.discard_input()
    connection.discard_output()
    connection.pending = None
    connection.exchange = None
    connection.connect = None
    connection.forget_publish_grants()
    connection.node.forget_routes(connection)
    connection.node.timers.forget(connection)
    connection.link = (
        NO_LINK  # the transport refers to the connection until it is gone, and no longer the other way
    )
    connection.node.detach(connection, reason, text, now)


def _explanation(reason: int, text: str, server_reference: str) -> Properties:
    """The properties of a packet that ends a connection; no reason string where the reason says it all."""
    properties: Properties = {}
    if text and text != reasons.name(reason):
        properties[props.REASON_STRING] = text
    if server_reference:
        properties[props.SERVER_REFERENCE] = server_reference
    return properties


def _say(connection: Connection, reason: int, properties: Properties) -> bool:
    """The reason to a 5.0 client. False: the packet is larger than it takes [MQTT-3.1.2-24]."""
    packet: packets.Packet = packets.Disconnect(reasons.fitting(pt.DISCONNECT, reason), properties)
    if connection.state != CONNECTED:
        packet = packets.Connack(reasons.fitting(pt.CONNACK, reason), False, properties)
    data = codec.encode(packet, pt.MQTT_5)
    if len(data) > connection.max_packet_out:
        return False
    connection.write(data)
    return True


def _refuse_3(connection: Connection, reason: int) -> None:
    """CONNACK to a 3.x client; some reasons have no code there, and it gets none."""
    code = reasons.connack_3(reason)
    if code > 0:
        connection.write(codec.encode(packets.Connack(code), connection.level))
