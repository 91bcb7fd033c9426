"""Control packets: which one may come when.

The transitions are the table `_HANDLERS`: what is absent from it is a protocol error. PUBLISH, its
acknowledgements and PINGREQ never come here while CONNECTED; `connection` handles them in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from apps.gateway.broker import closing, connecting, subscribing
from apps.gateway.broker.states import CONNECTED, CONNECTING, NEW
from apps.gateway.mqtt import codec, packets, reasons
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt.errors import ProtocolError
from apps.gateway.mqtt.packets import Packet

if TYPE_CHECKING:
    from apps.gateway.broker.connection import Connection

Handler: TypeAlias = "Callable[[Connection, Packet, float], None]"


def handle(connection: Connection, first: int, data: bytes, start: int, end: int, now: float) -> None:
    """Handle one packet. Raises `MqttError` for what must end the connection."""
    kind = first >> 4
    handler = _HANDLERS.get((connection.state, kind))
    if handler is None:  # [MQTT-3.1.0-1], [MQTT-3.1.0-2] and packets only a server sends
        raise ProtocolError(f"{pt.NAMES[kind]} not allowed now")
    if kind == pt.CONNECT:
        connection.level, _ = codec.connect_level(data, start, end)
    handler(connection, codec.decode(first, data, start, end, connection.level), now)


def _on_ping(connection: Connection, packet: Packet, now: float) -> None:
    connection.write(b"\xd0\x00")


def _on_disconnect(connection: Connection, packet: Packet, now: float) -> None:
    disconnect = cast(packets.Disconnect, packet)
    session = connection.session
    if session is not None and props.SESSION_EXPIRY_INTERVAL in disconnect.properties:
        wanted = props.integer(disconnect.properties, props.SESSION_EXPIRY_INTERVAL, 0)
        if wanted and not session.expiry_interval:  # [MQTT-3.14.2-2]
            raise ProtocolError("session expiry on a session that had none")
        session.expiry_interval = min(wanted, connection.limits.session_expiry_max)
    if disconnect.reason == reasons.SUCCESS and connection.will is not None:  # [MQTT-3.14.4-3]
        connection.node.cancel_will(connection.client_id, connection.will)
        connection.will = None
    closing.finish(connection, disconnect.reason, "the client disconnected", now)


_HANDLERS: Final[dict[tuple[int, int], Handler]] = {
    (NEW, pt.CONNECT): connecting.on_connect,
    (CONNECTING, pt.AUTH): connecting.on_auth,
    (CONNECTING, pt.DISCONNECT): _on_disconnect,
    (CONNECTED, pt.SUBSCRIBE): subscribing.on_subscribe,
    (CONNECTED, pt.UNSUBSCRIBE): subscribing.on_unsubscribe,
    (CONNECTED, pt.PINGREQ): _on_ping,
    (CONNECTED, pt.AUTH): connecting.on_reauthenticate,
    (CONNECTED, pt.DISCONNECT): _on_disconnect,
}
