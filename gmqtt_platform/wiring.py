"""The composition root: builds the node from the configuration, the only place that knows every part."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import secrets
import signal
import socket
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from apps.auth.absent import acl_of
from apps.auth.acl import Explanation
from apps.auth.explaining import Explaining
from apps.auth.live import Live
from apps.auth.providers import chain as chains
from apps.auth.records import Records
from apps.auth.wills import WillRights
from apps.cluster.bridge import operators
from apps.cluster.directory.names import client_key
from apps.cluster.directory.recorder import BY_CLUSTER, BY_NODE, IN_MEMORY, Recorder
from apps.cluster.node_rpc import rpc
from apps.console import health, sampler, sources
from apps.console import selectors as console
from apps.console.sampler import Sampler
from apps.gateway import process_memory
from apps.gateway.broker.limits import Limits
from apps.gateway.broker.node import Node
from apps.gateway.net.runner import Runner
from apps.gateway.observer import LogObserver, Observers
from apps.gateway.operator import memory
from apps.gateway.operator.events import RecentEvents
from apps.gateway.operator.maintenance import MaintenanceHandlers
from apps.gateway.operator.memory import MemoryParts
from apps.gateway.operator.memory_watch import MemoryWatch
from apps.gateway.operator.operations import NodeOperations
from apps.gateway.operator.sessions import SessionHandlers
from apps.gateway.operator.slow_subscribers import SlowSubscribers
from apps.gateway.operator.tracing import Tracer
from apps.gateway.runtime import Runtime
from apps.gateway.sessions.database import StoreError
from apps.gateway.sessions.sqlite import SqliteStore
from apps.gateway.sessions.worker import Worker
from gmqtt_platform import __version__, datadir
from gmqtt_platform.config.loader import Conf
from gmqtt_platform.config.values import shown

if TYPE_CHECKING:
    from apps.cluster.node import NodeCluster

logger = logging.getLogger(__name__)

# Where sessions outlive their connections, by sessions.provider.
KEPT_BY = {"sqlite": BY_NODE, "redis": BY_CLUSTER}
# What operators do with one session, whether its client is here or away.
OF_SESSIONS = ("session", "kick", "end_session", "subscribe", "unsubscribe", "queue", "purge", "replay")


def client_identifier() -> str:
    """An identifier for a client that brought none; nobody can guess another client's."""
    return f"gmqtt-{secrets.token_hex(12)}"


@dataclass(frozen=True)
class Parts:
    """A node, not yet listening, and what has to run beside it."""

    runtime: Runtime
    live: Live
    wills: WillRights
    recorder: Recorder
    handlers: dict[str, Callable[..., Any]]  # what the node answers and does for operators
    sampling: Sampler
    memory: MemoryParts
    watch: MemoryWatch
    store: SqliteStore | None
    cluster: NodeCluster | None  # None: the node is alone
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def report(self, name: str, read: Callable[[], dict[str, Any]]) -> None:
        """Show what `read` answers under `name` in /healthz."""
        health.checks[name] = read

    async def start(self) -> None:
        self.runtime.runner.start(self.runtime.node)
        sampler.running = self.sampling
        self._tasks.append(asyncio.create_task(self.sampling.run(), name="sampler"))
        if self.cluster is not None:
            await self.cluster.start()
        await self.live.start()
        self.wills.start()
        await self.recorder.start()
        rpc.serve(self.runtime.node.name, self.handlers)
        self.memory.started()
        self.watch.start()
        self.watch.run(asyncio.get_running_loop())

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        sampler.running = None
        self.watch.stop()
        await rpc.stop()
        await self.wills.stop()
        if self.cluster is not None:
            await self.cluster.stop()
        await self.live.stop()
        await self.recorder.stop()
        self.runtime.runner.stop()
        if self.store is not None:
            self.store.close()


def open_store(conf: Conf, node: Node, loop: asyncio.AbstractEventLoop) -> SqliteStore | None:
    """The node's sessions from the last time; None: they end with the process."""
    if conf.sessions.provider != "sqlite":
        return None
    path = datadir.sessions_file(conf)
    try:
        fsync = conf.sessions.fsync == "commit"
        store = SqliteStore(path, node, Worker(loop), fsync, conf.sessions.max_bytes)
        store.restore(node.now)
    except (StoreError, sqlite3.Error) as error:
        allowed = "a session store of this program that no other node uses; to begin anew move the file away"
        raise conf.error("sessions.provider", f"{shown(str(path))} ({error})", allowed) from None
    health.checks["sessions"] = store.status
    health.readiness["sessions"] = lambda: "sessions cannot be stored" if store.error else ""
    return store


def build(conf: Conf, loop: asyncio.AbstractEventLoop) -> Parts:
    runner = Runner(loop)
    chain = chains.build(conf.auth, conf.limits.connect_timeout)

    def explain(client_id: str, action: str, topic: str) -> Explanation | None:
        acl = chain.live.get(client_id)
        return acl.explain(action, topic) if acl is not None else None

    def rule(client_id: str, action: str, topic: str) -> str:
        """The rule that decides, for traces."""
        found = explain(client_id, action, topic)
        if found is None or found.rule is None:
            return ""
        return f"{found.rule.effect} {found.rule.action} {found.rule.filter}"

    records = Records(chain.parts.database, conf.auth.refusals_kept, conf.node.name, explain)
    log = LogObserver()
    node = Node(
        name=conf.node.name,
        version=__version__,
        limits=Limits(**dataclasses.asdict(conf.limits)),
        observer=log,
        wake=runner.wake,
        assign=client_identifier,
        now=runner.now(),
        sys_interval=float(conf.node.sys_interval),
    )
    operations = NodeOperations(node, runner.now)
    incarnation = secrets.token_hex(8)

    cluster: NodeCluster | None = None

    def describe() -> dict[str, Any]:
        """Columns of the node's own row in the directory."""
        return {
            "incarnation": incarnation,
            "state": "draining" if node.drain is not None else "up",
            "version": __version__,
            "host": socket.gethostname(),
            "listeners": [str(address) for address in (*conf.listeners.tcp, *conf.listeners.tls)],
            "stats": operations.stats(),
            "bridge": cluster.bridge_status() if cluster is not None else {},
            "started_at": datetime.fromtimestamp(node.stats.started, UTC),
            "seen_at": datetime.now(UTC),
        }

    def describe_shortly() -> dict[str, Any]:
        return {"version": __version__, "host": socket.gethostname(), "connections": node.stats.connections}

    kept = KEPT_BY.get(conf.sessions.provider, IN_MEMORY)
    recorder = Recorder(conf.node.name, operations, runner.now, describe, kept)
    tracer = Tracer(node, runner.now, rule)
    node.tracer = tracer
    events = RecentEvents(runner.now)
    node.observer = Observers(log, records, recorder, tracer, events)
    live = Live(chain, operations, records)
    wills = WillRights(chain, lambda will, grant: node.settle_will(will, grant, runner.now()))
    node.ask_will = wills.ask
    health.checks["auth"] = live.status
    health.checks["directory"] = recorder.status
    health.readiness["node"] = lambda: readiness(node)
    sources.stats = operations.stats
    steering = MaintenanceHandlers(node, tracer, runner.now, conf.node.drain_rate, conf.node.server_reference)
    answers = SessionHandlers(node, operations, client_key)
    answers.acl_of = lambda client_id: acl_of(chain, client_id)
    parts = MemoryParts()
    served = (
        *(answers, steering, tracer.rates, events, parts),
        *(SlowSubscribers(node), Explaining(chain, conf.auth.acl_default)),
    )
    handlers = {name: handler for each in served for name, handler in each.handlers().items()}
    sampling = Sampler(conf.node.name, operations.stats, console.nodes)
    store = open_store(conf, node, loop)
    watch = MemoryWatch(node, lambda: loop.run_in_executor(None, process_memory.give_back))
    health.checks["memory"] = watch.status
    health.readiness["memory"] = watch.readiness
    parts.reads("unused", watch.unused)
    memory.of_node(parts, node)
    memory.of_operators(parts, tracer, events)
    parts.reads("auth", chain.memory)
    parts.reads("guard", chain.guard.memory)
    parts.reads("refusals", records.memory)
    parts.reads("directory", recorder.memory)
    parts.reads("dashboard", sampling.memory)
    sources.memory = parts.sizes
    sources.gauges["asyncio_tasks"] = lambda: float(len(asyncio.all_tasks(loop)))
    if conf.broker.provider == "kafka":
        # Kafka's client and Celery are for clusters only.
        from celery import Celery

        from apps.cluster.bridge.build import kafka_conf
        from apps.cluster.bridge.control import CeleryBridges
        from apps.cluster.bridge.overview import KafkaOverview
        from apps.cluster.node import NodeCluster

        control = CeleryBridges(Celery("gmqtt", broker=conf.redis.url))
        operators.register(control, KafkaOverview(kafka_conf(conf)))
        cluster = NodeCluster(conf, node, incarnation, loop, runner.now, describe_shortly, _end)
        cluster.view.will_grant = wills.grant
        health.checks.update(cluster.checks())
        recorder.epoch_of = cluster.epoch_of
        sessions = cluster.sessions
        if sessions is not None:
            operations.elsewhere = sessions.forget
            ok = sessions.status
            health.readiness["sessions"] = lambda: "" if ok()["ok"] else "sessions cannot be stored"
            for name in OF_SESSIONS:
                handlers[name] = sessions.visited(handlers[name])
            handlers["replay"] = sessions.replayed(handlers["replay"], sessions.visited(answers.give))
        memory.of_cluster(parts, cluster)
    runtime = Runtime(node, runner, chain)
    return Parts(runtime, live, wills, recorder, handlers, sampling, parts, watch, store, cluster)


def _end(taken: Exception) -> None:
    """Another process has this node's name: two nodes under one name would take each other's clients."""
    logger.critical("the node ends: %s", taken)
    os.kill(os.getpid(), signal.SIGTERM)


def readiness(node: Node) -> str:
    """Why no new clients should be sent to the node; "" = they should."""
    if node.closing:
        return "shutting down"
    return "draining" if node.drain is not None else ""
