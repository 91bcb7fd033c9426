"""The composition root of what makes a node one of a cluster."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, Final

from celery import Celery
from confluent_kafka import KafkaException

from apps.cluster.bridge import export_sync, librdkafka, operators
from apps.cluster.bridge.build import kafka_conf, message_proof, topic_names
from apps.cluster.bridge.client import BridgeClient, Wanted
from apps.cluster.bridge.control import CeleryBridges
from apps.cluster.bridge.export_rules import Export, Exports
from apps.cluster.bridge.kafka_bus import KafkaBus
from apps.cluster.bridge.overview import KafkaOverview
from apps.cluster.bridge.producer import KafkaProducer
from apps.cluster.coordination.member import Member, NameTaken
from apps.cluster.coordination.versions import Incompatible
from apps.cluster.directory import writer
from apps.cluster.node_rpc import Handler
from apps.cluster.sessions.node_sessions import NodeSessions
from apps.common.database import DatabaseThread
from apps.common.node_services import NodeServices
from apps.gateway.broker.node import Node
from apps.gateway.broker.stats import DROP_CLUSTER
from apps.gateway.node_adapter import ClusterView
from gmqtt_platform.config import providers
from gmqtt_platform.config.loader import Conf

logger = logging.getLogger(__name__)

ALMOST_FULL: Final = 0.9  # of the node's byte budget; then its bridge waits
SHUTDOWN_TIMEOUT: Final = 5.0  # seconds that what is on its way to Kafka has at the end
RETRY_DELAY: Final = 2.0  # seconds until topics are tried to be made again


class NodeCluster:
    """A node's part in the cluster: `start` before clients connect, `stop` after they were told goodbye."""

    def __init__(
        self,
        conf: Conf,
        node: Node,
        incarnation: str,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], float],
        describe: Callable[[], dict[str, Any]],
        fail: Callable[[Exception], None],
    ) -> None:
        """`describe`: what the other nodes are told of this one. `fail`: the node has to end."""
        self._conf = conf
        self._node = node
        self._loop = loop
        self._kafka = kafka_conf(conf)
        self._names = topic_names(self._kafka)
        self._topics = {*self._names.live, self._names.dead_letter}
        self._topics_made = False
        self._narrow: list[str] = []  # topics that do not take the largest packet
        self._database = DatabaseThread("exports")
        self._tasks: list[asyncio.Task[None]] = []
        cluster = conf.cluster
        self.view = ClusterView(node, now)
        self.member = Member(
            name=node.name,
            url=conf.redis.url,
            prefix=cluster.prefix,
            heartbeat=float(cluster.heartbeat),
            dead_after=float(cluster.dead_after),
            fence=cluster.policy == "fence",
            view=self.view,
            describe=describe,
            record_death=self._record_death,
            fail=fail,
            sys_interval=float(conf.node.sys_interval),
        )
        interest = self.member.subscription_sync
        self.feed = BridgeClient(
            conf.broker.kafka.bridge_socket,
            node.name,
            Wanted(self._names),
            node.inject,
            interest.shares,
            lambda: node.stats.held > ALMOST_FULL * node.limits.node_bytes,
        )
        self.producer = KafkaProducer(
            self._kafka, f"gmqtt-{node.name}", loop, lambda count: node.dropped("", DROP_CLUSTER, "", count)
        )
        self.bus = KafkaBus(
            node.name,
            incarnation,
            self._names,
            self.producer,
            interest,
            self.member.retained,
            self.feed,
            Exports(),
            self._username_of,
            lambda: node.now,
            message_proof(),
        )
        node.bus = self.bus
        node.ownership = self.member.ownership
        self.sessions: NodeSessions | None = None
        if providers.find("sessions.provider", conf.sessions.provider).kept == "cluster":
            self.sessions = NodeSessions(conf, node, incarnation, loop, self.member, self._database)
            self.bus.sessions = self.sessions
            node.ownership = self.sessions

    async def _record_death(self, name: str) -> None:
        """A node of that name is dead: its row and its clients' say so."""
        await self._database.run(writer.stopped, name, datetime.now(UTC), self.sessions is not None)

    def _username_of(self, client_id: str) -> str | None:
        session = self._node.sessions.get(client_id)
        return session.username if session is not None else None

    def _load_exports(self, rules: list[Export]) -> None:
        exports = self.bus.exports
        before = exports.topics
        if exports.load(rules):
            self.bus.forget_exports()
            self._node.bus_changed(None)
            self.producer.exports.keep(exports.rules)
        if exports.topics - before:
            self._topics_made = False

    def epoch_of(self, client_id: str) -> int:
        """Of this node's ownership of a client; 0: it has none."""
        return self.member.ownership.epochs.get(client_id, 0)

    async def start(self) -> None:
        """ConfError where another process is the node of this name, or the cluster is of another version."""
        try:
            await self.member.start()
        except NameTaken:
            found = f"{self._node.name}, which is the name of another process that runs in this cluster"
            raise self._conf.error("node.name", found, "a name that no other node has") from None
        except Incompatible as error:
            hint = "stop all nodes of the other version first; docs/upgrading.md"
            raise self._conf.error("cluster.prefix", str(error), "a cluster of this version", hint) from None
        jobs: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self.feed.run,
            self._make_topics,
            lambda: export_sync.follow(self._database, self._load_exports, self.producer.exports.take),
        ]
        self._tasks = [asyncio.create_task(job()) for job in jobs]
        if self.sessions is not None:
            await self.sessions.start()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.sessions is not None:
            await self.sessions.stop()  # before others may have them
        await self.member.stop()
        if self.sessions is not None:
            self.sessions.close()
        await self.producer.close(SHUTDOWN_TIMEOUT)
        self._database.close()

    async def _make_topics(self) -> None:
        while True:
            if not self._topics_made:
                self._topics_made = True
                try:
                    await self._make(self._topics | self.bus.exports.topics)
                except KafkaException as error:
                    logger.warning("Kafka's topics cannot be looked at: %s", error.args[0].str())
                    self._topics_made = False
            await asyncio.sleep(RETRY_DELAY)

    async def _make(self, topics: set[str]) -> None:
        failed = await asyncio.to_thread(librdkafka.create_topics, self._kafka, topics)
        for topic, error in failed.items():
            logger.error("Kafka's topic %s cannot be made: %s", topic, error)
            self._topics_made = False
        limits = await asyncio.to_thread(librdkafka.record_limits, self._kafka, topics)
        self.producer.limits = limits
        needed = self._conf.limits.max_packet_size
        self._narrow = sorted(name for name in self._topics if limits.get(name, needed) < needed)
        for name in self._narrow:
            logger.error(
                "Kafka's topic %s takes records of %d bytes (max.message.bytes), limits.max_packet_size"
                " is %d: messages that are larger are dropped",
                name,
                limits[name],
                needed,
            )

    def bridge_status(self) -> dict[str, Any]:
        """For the node's row in the directory."""
        status = self.feed.status()
        state = status.get("state", "down")
        return {"state": state if state in ("paused", "down") else "running", "lag": status.get("lag")}

    def provide(self, services: NodeServices, handlers: dict[str, Handler], give: Handler) -> None:
        """Add what the cluster lets operators see and do; `handlers` of sessions reach those of others, too.

        `give`: hands messages to a session here, for a replay.
        """
        services.checks |= {
            "kafka": lambda: dict(self.producer.status()),
            "bridge": self.feed.status,
            "cluster": self.member.status,
            "kafka_topics": lambda: {"ok": not self._narrow, "max.message.bytes too small": self._narrow},
        }
        services.provide(operators.BridgeControl, CeleryBridges(Celery("gmqtt", broker=self._conf.redis.url)))
        services.provide(operators.KafkaLog, KafkaOverview(self._kafka))
        if self.sessions is not None:
            self.sessions.provide(services, handlers, give)


def build(
    conf: Conf,
    node: Node,
    incarnation: str,
    loop: asyncio.AbstractEventLoop,
    now: Callable[[], float],
    fail: Callable[[Exception], None],
) -> NodeCluster:
    def describe() -> dict[str, Any]:
        return {"version": node.version, "host": socket.gethostname(), "connections": node.stats.connections}

    return NodeCluster(conf, node, incarnation, loop, now, describe, fail)
