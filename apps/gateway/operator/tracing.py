"""Traces: for a while, what a client, a topic or an address does, and what was decided about it.

A trace costs nothing where it does not look: a connection that matches is marked and hands over the packets
that it has handled, a topic that matches is marked in its route. Everything is bounded, in time, in entries
and in bytes; what did not fit is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from apps.gateway.broker.ports import ConnectRequest, Peer
from apps.gateway.mqtt import codec, framing, packets, reasons, topics
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt.errors import MqttError
from apps.gateway.mqtt.properties import Properties
from apps.gateway.operator.rates import Rates

if TYPE_CHECKING:
    from apps.gateway.broker.messages import Message
    from apps.gateway.broker.node import Node
    from apps.gateway.broker.outbound import Outbound

KINDS: Final = ("client", "topic", "address")
MAX_TRACES: Final = 16
MAX_SECONDS: Final = 3600
MAX_BYTES: Final = 8_388_608  # of one trace
MAX_CLIENTS: Final = 10_000  # of one address, remembered by one trace
SHOWN: Final = 1024  # bytes of a payload that are kept
RECIPIENTS: Final = 20  # client ids named in an entry
ENTRY: Final = 200  # bytes that an entry costs beside its texts

_PROPERTIES: Final = {
    value: name.lower().replace("_", " ")
    for name, value in vars(props).items()
    if name.isupper() and isinstance(value, int)
}

# Client id, action, topic -> the rule that decides, in words; "" = nothing to say.
Explain = Callable[[str, str, str], str]


class TraceError(ValueError):
    """The trace cannot be started; the text says why."""


@dataclass
class Trace:
    id: str
    kind: str  # one of KINDS
    value: str  # client id, topic filter or IP address
    until: float  # UNIX seconds
    max_bytes: int = 1_048_576
    payloads: bool = False  # keep the first SHOWN bytes of payloads
    entries: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0  # bytes, roughly
    left_out: int = 0  # entries for which there was no room
    clients: set[str] = field(default_factory=set)  # who came from the traced address
    ended: bool = False

    def add(self, entry: dict[str, Any]) -> None:
        if self.ended:
            return
        size = ENTRY + sum(len(value) for value in entry.values() if isinstance(value, str | bytes | list))
        if self.size + size > self.max_bytes:
            self.left_out += 1
            return
        self.size += size
        self.entries.append(entry)

    def summary(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "kind": self.kind,
            "value": self.value,
            "until": self.until,
            "entries": len(self.entries),
            "bytes": self.size,
            "left_out": self.left_out,
            "ended": self.ended,
        }


class Tracer:
    """The traces of one node: a `ports.Tracer` to the broker, and an `Observer`."""

    def __init__(self, node: Node, now: Callable[[], float], explain: Explain) -> None:
        self._node = node
        self._now = now
        self._explain = explain
        self._traces: dict[str, Trace] = {}
        self._running = 0
        self.rates = Rates(now, lambda: node.bus_changed(None))

    @property
    def size(self) -> int:
        return sum(trace.size for trace in self._traces.values())

    # Operators --------------------------------------------------------------------------------------

    def start(self, trace: Trace) -> None:
        """Raises `TraceError` for a filter that is none, for too much, and when there are too many."""
        if trace.kind not in KINDS or not trace.value:
            raise TraceError(f"a trace is of one of {', '.join(KINDS)}")
        if trace.kind == "topic":
            try:
                topics.check_filter(trace.value)
            except MqttError as error:
                raise TraceError(error.text) from None
        now = self._now()
        if not now < trace.until <= now + MAX_SECONDS or not 0 < trace.max_bytes <= MAX_BYTES:
            raise TraceError(f"at most {MAX_SECONDS} seconds and {MAX_BYTES} bytes")
        if trace.id not in self._traces and len(self._traces) >= MAX_TRACES:
            oldest = next((each.id for each in self._traces.values() if each.ended), None)
            if oldest is None:
                raise TraceError(f"{MAX_TRACES} traces are running")
            del self._traces[oldest]
        self._traces[trace.id] = trace
        self._refresh()

    def stop(self, trace_id: str) -> bool:
        """End a trace; its entries stay until `forget`. False: there is none."""
        trace = self._traces.get(trace_id)
        if trace is None:
            return False
        trace.ended = True
        self._refresh()
        return True

    def forget(self, trace_id: str) -> None:
        self.stop(trace_id)
        self._traces.pop(trace_id, None)

    def all(self) -> list[Trace]:
        return list(self._traces.values())

    def get(self, trace_id: str) -> Trace | None:
        return self._traces.get(trace_id)

    def tick(self, now: float) -> None:
        for trace in self._traces.values():
            if not trace.ended and trace.until <= now:
                self.stop(trace.id)
        self.rates.tick(now)

    def _refresh(self) -> None:
        """The set of running traces has changed: mark who is traced now."""
        self._running = sum(not trace.ended for trace in self._traces.values())
        for session in self._node.sessions.values():
            connection = session.connection
            if connection is not None:
                connection.traced = self.traces(connection.client_id, connection.peer.address)
        self._node.bus_changed(None)

    def _of(self, client_id: str, address: str) -> list[Trace]:
        """The running traces of a client."""
        return [
            trace
            for trace in self._traces.values()
            if not trace.ended
            and (
                (trace.kind == "client" and trace.value == client_id)
                or (trace.kind == "address" and (trace.value == address or client_id in trace.clients))
            )
        ]

    def _topic(self, topic: str) -> list[Trace]:
        return [
            trace
            for trace in self._traces.values()
            if not trace.ended and trace.kind == "topic" and topics.matches(trace.value, topic)
        ]

    # ports.Tracer -------------------------------------------------------------------------------------

    def traces(self, client_id: str, address: str) -> bool:
        if not self._running:
            return False
        found = self._of(client_id, address)
        for trace in found:
            if trace.kind == "address" and len(trace.clients) < MAX_CLIENTS:
                trace.clients.add(client_id)
        return bool(found)

    def wants(self, topic: str) -> bool:
        return self.rates.wants(topic) or (self._running > 0 and bool(self._topic(topic)))

    def packets(self, connection: Outbound, address: str, data: bytes, end: int, incoming: bool) -> None:
        client_id = connection.client_id
        traces = self._of(client_id, address)
        event = "in" if incoming else "out"
        pos = 0
        while traces and pos < end:
            start, stop = framing.frame(data, pos, end)
            if start == 0 or stop > end:
                return
            kind = {"type": pt.NAMES[data[pos] >> 4], "packet_size": stop - pos}
            try:
                packet = codec.decode(data[pos], data, start, stop, connection.level or pt.MQTT_3_1_1)
            except MqttError as error:  # the broker found it, too, and tells the client
                self._add(traces, event, client_id, {**kind, "error": error.text})
            else:
                for trace in traces:
                    fields = _fields(packet, trace.payloads)
                    if incoming and fields.get("topic"):
                        fields["rule"] = self._explain(client_id, "publish", fields["topic"])
                    self._add([trace], event, client_id, {**kind, **fields})
            pos = stop

    def published(self, message: Message, recipients: Iterable[str], groups: Iterable[str]) -> None:
        self.rates.published(message.topic, len(message.payload))
        traces = self._topic(message.topic)
        if not traces:
            return
        named = [name for name, _ in zip(recipients, range(RECIPIENTS), strict=False)]
        for trace in traces:
            entry = {
                "topic": message.topic,
                "qos": message.qos,
                "retain": message.retain,
                "size": len(message.payload),
                "recipients": named,
                "groups": list(groups),
            }
            if trace.payloads:
                entry["payload"] = message.payload[:SHOWN]
            self._add([trace], "publish", message.origin, entry)

    # ports.Observer -------------------------------------------------------------------------------------

    def connected(self, client_id: str, username: str | None, peer: Peer, level: int) -> None:
        if self._running:
            entry = {"username": username, "address": peer.address, "transport": peer.transport}
            self._add(self._of(client_id, peer.address), "connected", client_id, {**entry, "level": level})

    def disconnected(self, client_id: str, reason: int, text: str) -> None:
        if self._running:
            entry = {"reason": reason, "text": text or reasons.name(reason)}
            self._add(self._of(client_id, ""), "disconnected", client_id, entry)

    def refused(self, request: ConnectRequest, reason: int, text: str) -> None:
        if self._running:
            entry = {"username": request.username, "reason": reason, "text": text}
            self._add(self._of(request.client_id, request.peer.address), "refused", request.client_id, entry)

    def denied(self, client_id: str, username: str | None, peer: Peer, action: str, topic: str) -> None:
        if self._running:
            entry = {"action": action, "topic": topic, "rule": self._explain(client_id, action, topic)}
            traces = self._of(client_id, peer.address)
            if action == "publish":
                traces += self._topic(topic)
            self._add(traces, "denied", client_id, entry)

    def dropped(self, client_id: str, reason: str, topic: str, count: int) -> None:
        if self._running:
            entry = {"text": reason, "topic": topic, "count": count}
            self._add(self._of(client_id, "") + self._topic(topic), "dropped", client_id, entry)

    def _add(self, traces: list[Trace], event: str, client_id: str, entry: dict[str, Any]) -> None:
        for trace in traces:
            trace.add(
                {
                    "at": self._now(),
                    "node": self._node.name,
                    "event": event,
                    "client_id": client_id,
                    **{key: value for key, value in entry.items() if value not in (None, "")},
                }
            )


def _fields(packet: packets.Packet, payloads: bool) -> dict[str, Any]:
    """What a packet says, without secrets; a payload only where it may be seen."""
    fields: dict[str, Any] = {}
    for name in packet.__dataclass_fields__:
        value = getattr(packet, name)
        if name == "filters":
            fields[name] = [each if isinstance(each, str) else _filter(each) for each in value]
        elif name == "payload":
            fields["payload_size"] = len(value)
            if payloads:
                fields[name] = value[:SHOWN]
        elif name == "will" and value is not None:
            fields[name] = f"{value.topic} (QoS {value.qos})"
        elif name == "properties":
            if value:
                fields[name] = _named(value)
        elif name not in ("password", "type", "will"):
            fields[name] = value
    return fields


def _filter(wanted: packets.Filter) -> str:
    return f"{wanted.filter} (QoS {wanted.qos})"


def _named(properties: Properties) -> str:
    """Names and values; of binary ones, which may be secret, only the sizes."""
    return ", ".join(
        f"{_PROPERTIES.get(key, hex(key))}: {f'{len(value)} bytes' if isinstance(value, bytes) else value}"
        for key, value in properties.items()
    )
