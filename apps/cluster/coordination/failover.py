"""The failover of a failed node: publish its clients' wills, free its client ids. One node runs it.

The node that removes a failed node from the table of nodes runs its failover, under a fencing token. Every
step shows the token, so a node that was itself replaced changes nothing more. A will is removed when its
message cannot be lost any more; if the running node fails in between, its replacement publishes the last
batch again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from apps.cluster.coordination import wills
from apps.cluster.coordination.failure_detector import Heartbeat
from apps.cluster.coordination.lease import Lease
from apps.cluster.coordination.node_port import NodePort
from apps.cluster.coordination.store import RedisUnavailable, Store, pack
from apps.gateway.broker.messages import Message

logger = logging.getLogger("gmqtt.cluster")

LEFT: Final = "left"  # news: [kind, "<name> <incarnation>"]
BATCH_SIZE: Final = 200
LOOK: Final = 0.5  # seconds between looks at wills that are not due yet


class Failovers:
    def __init__(
        self,
        lease: Lease,
        store: Store,
        view: NodePort,
        record: Callable[[str], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """`record(name)` writes down that the node is dead. `clock`: UNIX seconds as Redis has them."""
        self._lease = lease
        self._store = store
        self._view = view
        self._record = record
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.count = 0  # nodes whose failover this one has run
        self.wills = 0  # and wills that it has published for them

    async def start(self, name: str, heartbeat: Heartbeat) -> None:
        """Run the failover of a failed node, unless another node was quicker. Raises `RedisUnavailable`."""
        await self._begin(name, heartbeat.incarnation, str(heartbeat.count))

    async def adopt(self, failovers: dict[str, str], members: set[str]) -> None:
        """Run the failovers whose running node has failed, too. Raises `RedisUnavailable`."""
        for failed_node, value in failovers.items():
            runner = " ".join(value.split(" ")[1:3])
            if runner not in members:
                name, incarnation = failed_node.split(" ")
                await self._begin(name, incarnation, "")

    async def _begin(self, name: str, incarnation: str, count: str) -> None:
        failed_node = f"{name} {incarnation}"
        me = self._lease.me
        news = pack([LEFT, failed_node])
        token = await self._store.run("begin_failover", name, incarnation, count, me, news)
        if not token:
            return
        self.count += 1
        logger.warning("node %s has failed: this node publishes its wills and frees its client ids", name)
        task = asyncio.create_task(self._run(name, failed_node, token.decode()), name=f"failover of {name}")
        self._tasks[failed_node] = task
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks = {failed_node: each for failed_node, each in self._tasks.items() if each is not task}

    async def _run(self, name: str, failed_node: str, token: str) -> None:
        """The clients need not wait for the database."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._note(name))
            await self._clear(name, failed_node, token)

    async def _clear(self, name: str, failed_node: str, token: str) -> None:
        while True:
            try:
                if not await self._round(failed_node, token):
                    return
            except RedisUnavailable as error:
                logger.debug("the failover of %s waits for Redis: %s", name, error)
            except Exception:
                logger.exception("the failover of node %s went wrong; it is tried again", name)
            await asyncio.sleep(LOOK)

    async def _note(self, name: str) -> None:
        if name == self._lease.name:  # a former incarnation of this node, which keeps its own records
            return
        try:
            await self._record(name)
        except Exception:
            logger.exception("the directory still shows node %s as up", name)

    async def _round(self, failed_node: str, token: str) -> bool:
        """Publish the wills that are due, then free client ids.

        False: all is done, or another node runs it.
        """
        died = await self._died(failed_node)
        cursor = "0"
        while True:
            answer = await self._store.run("wills", failed_node, token, cursor, BATCH_SIZE)
            if not answer:
                return False
            cursor = answer[0].decode()
            done = await self._publish(answer[1], died)
            if done:
                await self._store.run("clear_failover", failed_node, token, "0", 1, *done)
            if cursor == "0":
                break
        while True:
            answer = await self._store.run("clear_failover", failed_node, token, cursor, BATCH_SIZE)
            if not answer:
                return False
            cursor = answer[0].decode()
            if cursor == "0":
                return True

    async def _died(self, failed_node: str) -> int:
        found = (await self._store.table("graves")).get(failed_node.encode())
        return int(found.rsplit(b" ", 1)[1]) if found else 0

    async def _publish(self, found: list[bytes | int], died: int) -> list[bytes]:
        """The client ids whose wills are published, or off because the client is back."""
        now = self._clock()
        done: list[bytes] = []
        messages: list[Message] = []
        for client_id, packed, is_back in zip(found[::3], found[1::3], found[2::3], strict=True):
            assert isinstance(client_id, bytes) and isinstance(packed, bytes)
            will = wills.unpack(packed)
            if is_back and (will.delay or will.due):  # [MQTT-3.1.3-9]
                done.append(client_id)
            elif will.at(died) <= now:
                done.append(client_id)
                message = will.message
                if message.expires:
                    message.expires += self._view.now()
                messages.append(message)
        if not messages:
            return done
        reason = await self._view.publish_wills(messages)
        if reason:
            logger.warning(
                "%d wills of a failed node could not be published; they are tried again", len(messages)
            )
            return []
        self.wills += len(messages)
        return done

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
