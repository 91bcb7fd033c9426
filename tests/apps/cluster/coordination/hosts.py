"""Nodes of a cluster on one loop, with a real Redis; only Kafka is a method, and sockets are memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from apps.cluster.coordination.lease import State
from apps.cluster.coordination.member import Member, NameTaken
from apps.gateway.broker import ports
from apps.gateway.broker.completion import Completion
from apps.gateway.broker.connection import Connection
from apps.gateway.broker.limits import Limits
from apps.gateway.broker.messages import Message
from apps.gateway.broker.node import Node
from apps.gateway.broker.ports import Choice, Peer
from apps.gateway.mqtt import codec
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import properties as props
from apps.gateway.net.decisions import decide
from apps.gateway.net.runner import Runner
from apps.gateway.node_adapter import ClusterView
from tests.apps.gateway.support.doors import Door
from tests.apps.gateway.support.link import FakeLink
from tests.apps.gateway.support.reader import Reader
from tests.apps.gateway.support.world import Events
from tests.support.waiting import until

T = TypeVar("T")

PEER = Peer("192.0.2.1", 50_000, "tcp")
DEAD_AFTER = 3
TIMEOUT = 15.0  # seconds that a test waits for what has to happen


class Bus:
    """What Kafka is in a cluster: brings messages to the other nodes, each as often as it was published."""

    def __init__(self) -> None:
        self.hosts: list[Host] = []
        self.carried = 0

    def carry(self, source: Host, message: Message, there: Sequence[str]) -> None:
        self.carried += 1
        for host in self.hosts:
            if host is not source and not host.is_dead:
                mine = [
                    share for name, _, share in (each.partition(" ") for each in there) if name == host.name
                ]
                host.node.inject(message, mine)


class MessageBus:
    """`ports.MessageBus`, by way of the bus."""

    def __init__(self, host: Host, bus: Bus) -> None:
        self._host = host
        self._bus = bus
        subscription_sync = host.member.subscription_sync
        self.wants = subscription_sync.wants
        self.choose = subscription_sync.choose
        self.subscribed = subscription_sync.subscribed
        self.unsubscribed = subscription_sync.unsubscribed
        self.present = subscription_sync.present
        self.has_unapplied = subscription_sync.has_unapplied
        self.wait_applied = subscription_sync.wait_applied

    def publish(
        self, message: Message, wants: int, choice: Choice | None, completion: Completion | None
    ) -> int:
        there = choice.there if choice is not None else ()
        if wants & ports.BUS_LIVE or there:
            self._bus.carry(self._host, message, there)
        return 0

    def retain(self, message: Message, completion: Completion | None) -> int:
        return self._host.member.retained.retain(message, completion)


class Host:
    def __init__(
        self,
        name: str,
        url: str,
        bus: Bus,
        *,
        fence: bool = False,
        skew: float = 0.0,
        dead_after: float = DEAD_AFTER,
    ) -> None:
        """`skew`: seconds that this machine's clock is ahead."""
        loop = asyncio.get_running_loop()
        self.name = name
        self.runner = Runner(loop)
        self.runner._offset += skew
        self.node = Node(
            name=name,
            version="1.0",
            limits=Limits(),
            observer=Events(),
            wake=self.runner.wake,
            assign=lambda: "assigned",
            now=self.runner.now(),
            sys_interval=0.0,
        )
        self.view = ClusterView(self.node, self.runner.now)
        self.deaths: list[str] = []
        self.failures: list[NameTaken] = []
        self.member = Member(
            name=name,
            url=url,
            prefix="t",
            heartbeat=0.3,
            dead_after=dead_after,
            fence=fence,
            view=self.view,
            describe=lambda: {"version": "1.0", "connections": self.node.stats.connections},
            record_death=self._record,
            fail=self.failures.append,
            sys_interval=0.1,
        )
        self.node.bus = MessageBus(self, bus)
        self.node.ownership = self.member.ownership
        self.is_dead = False
        bus.hosts.append(self)

    async def _record(self, name: str) -> None:
        self.deaths.append(name)

    async def start(self) -> Host:
        self.runner.start(self.node)
        await self.member.start()
        return self

    async def stop(self) -> None:
        if not self.is_dead:
            self.is_dead = True
            self.node.shut_down(self.runner.now())
            await self.member.stop()
            self.runner.stop()

    async def die(self) -> None:
        """As by SIGKILL: nothing of it does anything any more."""
        self.is_dead = True
        await self.member._cancel()
        await self.member.failovers.stop()
        await self.member.store.close()
        self.runner.stop()

    @property
    def state(self) -> State:
        return self.member.lease.state

    async def join(self, client_id: str, clean: bool = True, level: int = 5, **options: Any) -> Client:
        """A client that is connected."""
        client = Client(self, level)
        connack = await client.connect(client_id, clean, **options)
        assert connack.reason == 0, connack
        return client


class Client:
    """Acknowledges nothing; reads everything."""

    def __init__(self, host: Host, level: int = 5) -> None:
        self.host = host
        self.level = level
        self.link = FakeLink(self._control)
        self.connection = Connection(host.node, self.link, PEER, host.runner.now())
        self.link.connection = self.connection
        host.node.opened(self.connection)
        self._reader = Reader(level)
        self._unread: list[p.Packet] = []
        self._packet_id = 0
        self._settling: asyncio.Task[None] | None = None

    def _control(self, link: FakeLink) -> None:
        if self._settling is None or self._settling.done():
            settling = decide(self.connection, Door(), self.host.runner.now)
            self._settling = asyncio.get_running_loop().create_task(settling)

    def send(self, packet: p.Packet) -> None:
        self.connection.feed(codec.encode(packet, self.level), self.host.runner.now())

    def read(self) -> list[p.Packet]:
        self._unread += self._reader.feed(self.link.take())
        return self._unread

    async def expect(self, kind: type[T], patience: float = TIMEOUT) -> T:
        """The next packet of this class; those before it stay unread."""
        found: list[T] = []

        def came() -> bool:
            for packet in self.read():
                if isinstance(packet, kind):
                    self._unread.remove(packet)
                    found.append(packet)
                    return True
            return False

        await until(came, patience)
        return found[0]

    async def connect(
        self,
        client_id: str,
        clean: bool = True,
        will: p.Will | None = None,
        expiry: int = 0,
    ) -> p.Connack:
        properties: props.Properties = {props.SESSION_EXPIRY_INTERVAL: expiry} if expiry else {}
        self.send(p.Connect(client_id, self.level, clean, 0, None, None, will, properties))
        return await self.expect(p.Connack)

    async def subscribe(self, *filters: str, qos: int = 1) -> p.Suback:
        self._packet_id += 1
        self.send(p.Subscribe(self._packet_id, [p.Filter(each, qos) for each in filters], {}))
        return await self.expect(p.Suback)

    async def unsubscribe(self, *filters: str) -> p.Unsuback:
        self._packet_id += 1
        self.send(p.Unsubscribe(self._packet_id, list(filters)))
        return await self.expect(p.Unsuback)

    async def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> int:
        """The reason code of its acknowledgement."""
        self._packet_id += 1
        packet_id = self._packet_id if qos else 0
        self.send(p.Publish(topic, payload, qos, retain, False, packet_id, {}))
        return (await self.expect(p.Ack)).reason if qos else 0

    def payloads(self) -> list[bytes]:
        """Of the messages that came."""
        found = [packet for packet in self.read() if isinstance(packet, p.Publish)]
        self._unread = [packet for packet in self._unread if not isinstance(packet, p.Publish)]
        return [packet.payload for packet in found]

    @property
    def closed(self) -> bool:
        return self.link.closed

    def goodbye(self) -> int | None:
        """The reason code of the DISCONNECT that came."""
        for packet in self.read():
            if isinstance(packet, p.Disconnect):
                return packet.reason
        return None

    def disconnect(self) -> None:
        self.send(p.Disconnect(0, {}))

    def drop(self) -> None:
        self.connection.lost(self.host.runner.now())
