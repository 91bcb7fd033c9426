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
from apps.cluster.directory.names import client_key
from apps.cluster.directory.recorder import BY_CLUSTER, BY_NODE, IN_MEMORY, Recorder
from apps.cluster.node_rpc import rpc
from apps.common import node_services
from apps.common.node_services import NodeServices
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
from gmqtt_platform import __version__, datadir, figures
from gmqtt_platform.config import providers
from gmqtt_platform.config.loader import Conf
from gmqtt_platform.config.values import shown
from gmqtt_platform.dump import Dumper
from gmqtt_platform.reloading import Reloader
from gmqtt_platform.startup import Startup

if TYPE_CHECKING:
    # Kafka's client and Celery are for clusters only.
    from apps.cluster.node import NodeCluster
    from apps.gateway.sessions.sqlite import SqliteStore

logger = logging.getLogger(__name__)

# Where sessions outlive their connections, for the directory.
KEPT = {"": IN_MEMORY, "node": BY_NODE, "cluster": BY_CLUSTER}


def client_identifier() -> str:
    """An identifier for a client that brought none; nobody can guess another client's."""
    return f"gmqtt-{secrets.token_hex(12)}"


@dataclass(frozen=True)
class GatewayNode:
    """A node, not yet listening, and what has to run beside it."""

    runtime: Runtime
    services: NodeServices
    live: Live
    wills: WillRights
    recorder: Recorder
    handlers: dict[str, Callable[..., Any]]  # what the node answers and does for operators
    sampler: Sampler
    store: SqliteStore | None
    cluster: NodeCluster | None  # None: the node is alone
    startup: Startup
    reloader: Reloader
    dumper: Dumper
    memory: MemoryParts
    watch: MemoryWatch
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        self.runtime.runner.start(self.runtime.node)
        self._tasks.append(asyncio.create_task(self.sampler.run(), name="sampler"))
        if self.cluster is not None:
            await self.cluster.start()
        self._tasks.append(asyncio.create_task(self.startup.run(), name="startup"))
        await self.live.start()
        self.wills.start()
        await self.recorder.start()
        rpc.serve(self.runtime.node.name, self.handlers)
        node_services.install(self.services)
        self.memory.started()
        self.watch.start()
        self.watch.run(asyncio.get_running_loop())

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        node_services.install(None)
        self.watch.stop()
        await rpc.stop()
        await self.wills.stop()
        if self.cluster is not None:
            await self.cluster.stop()
        await self.live.stop()
        await self.recorder.stop()
        self.runtime.runner.stop()
        self.reloader.close()
        if self.store is not None:
            self.store.close()


def open_store(conf: Conf, node: Node, loop: asyncio.AbstractEventLoop) -> SqliteStore | None:
    """The node's sessions from the last time; None: they are not this node's to keep."""
    provider = providers.find("sessions.provider", conf.sessions.provider)
    if not provider.build:
        return None
    path, fsync = datadir.sessions_file(conf), conf.sessions.fsync == "commit"
    try:
        store: SqliteStore = provider.load()(path, node, loop, fsync, conf.sessions.max_bytes)
    except (StoreError, sqlite3.Error) as error:
        allowed = "a session store of this program that no other node uses; to begin anew move the file away"
        raise conf.error("sessions.provider", f"{shown(str(path))} ({error})", allowed) from None
    return store


def join_cluster(
    conf: Conf, node: Node, incarnation: str, loop: asyncio.AbstractEventLoop, now: Callable[[], float]
) -> NodeCluster | None:
    """The node's part in the cluster; None: its messages go to its own clients only."""
    provider = providers.find("broker.provider", conf.broker.provider)
    if not provider.build:
        return None
    cluster: NodeCluster = provider.load()(conf, node, incarnation, loop, now, _end)
    return cluster


def build(conf: Conf, loop: asyncio.AbstractEventLoop, unknown: str = "") -> GatewayNode:
    """`unknown`: why the database could not be looked at before, "" where it could."""
    runner = Runner(loop)
    chain = chains.build(conf.auth, conf.limits.connect_timeout, conf.node.data_dir)

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
    cluster = join_cluster(conf, node, incarnation, loop, runner.now)

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

    kept = KEPT[providers.find("sessions.provider", conf.sessions.provider).kept]
    forget_after = float(conf.node.forget_after)
    recorder = Recorder(conf.node.name, operations, runner.now, describe, kept, forget_after)
    tracer = Tracer(node, runner.now, rule)
    node.tracer = tracer
    events = RecentEvents(runner.now)
    node.observer = Observers(log, records, recorder, tracer, events)
    live = Live(chain, operations, records)
    wills = WillRights(chain, lambda will, grant: node.settle_will(will, grant, runner.now()))
    node.ask_will = wills.ask
    maintenance = MaintenanceHandlers(
        node, tracer, runner.now, conf.node.drain_rate, conf.node.server_reference
    )
    sessions = SessionHandlers(node, operations, client_key)
    sessions.acl_of = lambda client_id: acl_of(chain, client_id)
    reloader = Reloader(conf, node.limits, chain, live, maintenance)
    dumper = Dumper(conf.node.data_dir, operations.stats, operations.transports, reloader.show)
    memory_parts = MemoryParts()
    served = (
        *(sessions, maintenance, tracer.rates, events, memory_parts),
        *(SlowSubscribers(node), Explaining(chain), reloader, dumper),
    )
    handlers = {name: handler for each in served for name, handler in each.handlers().items()}
    of_cluster = figures.show(node, cluster)
    sampler = Sampler(
        conf.node.name, operations.stats, console.nodes, of_cluster if cluster is not None else None
    )
    figures.show_loop(lambda: sampler.lag, lambda: len(asyncio.all_tasks(loop)))
    startup = Startup(unknown, None if cluster is None else lambda: cluster.member.redis_ahead)
    services = NodeServices(
        conf.node.name,
        operations.stats,
        checks={
            "auth": live.status,
            "directory": recorder.status,
            "startup": startup.status,
            "configuration": reloader.status,
        },
        readiness={"node": lambda: readiness(node), "startup": startup.problem},
    )
    services.provide(Sampler, sampler)
    store = open_store(conf, node, loop)
    if store is not None:
        services.checks["sessions"] = store.status
        services.readiness["sessions"] = lambda: "sessions cannot be stored" if store.error else ""
    if cluster is not None:
        cluster.view.will_grant = wills.grant
        recorder.epoch_of = cluster.epoch_of
        cluster.provide(services, handlers, sessions.give)
        if cluster.sessions is not None:
            operations.elsewhere = cluster.sessions.forget
    runtime = Runtime(node, runner, chain)

    def trim(_: object = None) -> None:
        loop.run_in_executor(None, process_memory.give_back)

    def give_back() -> None:
        if store is None or not node.strain:
            trim()
        else:
            store.shrink(trim)

    watch = MemoryWatch(node, give_back)
    services.checks["memory"] = watch.status
    services.readiness["memory"] = watch.readiness
    services.memory = memory_parts.sizes
    for name, read in (
        *(("unused", watch.unused), ("auth", chain.memory), ("guard", chain.guard.memory)),
        *(("refusals", records.memory), ("directory", recorder.memory), ("dashboard", sampler.memory)),
    ):
        memory_parts.reads(name, read)
    memory.of_node(memory_parts, node)
    memory.of_operators(memory_parts, tracer, events)
    if cluster is not None:
        memory.of_cluster(memory_parts, cluster)
    parts = (live, wills, recorder, handlers, sampler, store, cluster, startup, reloader, dumper)
    return GatewayNode(runtime, services, *parts, memory_parts, watch)


def _end(taken: Exception) -> None:
    """Another process has this node's name: two nodes under one name would take each other's clients."""
    logger.critical("the node ends: %s", taken)
    os.kill(os.getpid(), signal.SIGTERM)


def readiness(node: Node) -> str:
    """Why no new clients should be sent to the node; "" = they should."""
    if node.closing:
        return "shutting down"
    return "draining" if node.drain is not None else ""
