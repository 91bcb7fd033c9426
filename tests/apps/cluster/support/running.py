"""A node that runs on a loop of its own in a thread, as it does beside the views that ask it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from apps.auth.explaining import Explaining
from apps.cluster.directory.names import client_key
from apps.cluster.node_rpc import rpc
from apps.gateway.observer import LogObserver, Observers
from apps.gateway.operator.events import RecentEvents
from apps.gateway.operator.maintenance import MaintenanceHandlers
from apps.gateway.operator.operations import NodeOperations
from apps.gateway.operator.sessions import SessionHandlers
from apps.gateway.operator.slow_subscribers import SlowSubscribers
from apps.gateway.operator.tracing import Tracer
from gmqtt_platform.config.loader import load
from gmqtt_platform.dump import Dumper
from gmqtt_platform.reloading import Reloader
from tests.apps.gateway.support.world import World

T = TypeVar("T")


class RunningNode:
    def __init__(self, loop: asyncio.AbstractEventLoop, world: World) -> None:
        self._loop = loop
        self.world = world

    def do(self, call: Callable[[], T]) -> T:
        """On the node's loop, and what it causes there."""

        async def run() -> T:
            done = call()
            self.world.turn()
            return done

        return self.wait(run())

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)


@contextmanager
def running(world: World) -> Iterator[RunningNode]:
    """The rpc of this process serves the world's node, called "test"."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    node = RunningNode(loop, world)
    answers = SessionHandlers(world.node, NodeOperations(world.node, world.clock), client_key)

    tracer = Tracer(world.node, world.clock, lambda client_id, action, topic: "")
    world.node.tracer = tracer
    steering = MaintenanceHandlers(world.node, tracer, world.clock, 1000, "")

    events = RecentEvents(world.clock)
    parts = SimpleNamespace(conf=SimpleNamespace(acl_default="deny"))
    rules: Any = SimpleNamespace(live={}, parts=parts)  # nobody's: those in the database are asked
    log = LogObserver()
    world.node.observer = Observers(world.events, log, log, tracer, events)  # type: ignore[arg-type]
    looks = (answers, steering, tracer.rates, events)

    async def serve() -> None:
        reloader = Reloader(load(), world.node.limits, rules, None, steering)  # type: ignore[arg-type]
        dumper = Dumper(dumps, dict, dict, reloader.show)
        served = (*looks, SlowSubscribers(world.node), Explaining(rules), reloader, dumper)
        rpc.serve("test", {name: call for each in served for name, call in each.handlers().items()})

    dumps = Path(tempfile.mkdtemp(prefix="gmqtt-dumps-"))
    node.wait(serve())
    try:
        yield node
    finally:
        node.wait(rpc.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        shutil.rmtree(dumps)
        loop.close()
