"""Questions to nodes, wherever they run: `ask` one, `ask_all` of them, with a deadline.

A node of this process is called on its loop. The others are asked over the channel layer: the question goes
to the group of the node, the answer to a channel made for it. Both are JSON, signed with a key derived from
SECRET_KEY and good for seconds, so that who reaches the channel layer alone can neither ask nor answer.
An answer has at most MAX_BYTES; lists are asked for page by page.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from apps.common import signed
from apps.common.listening import Listener

logger = logging.getLogger(__name__)

TIMEOUT: Final = 3.0  # seconds
MAX_BYTES: Final = 65_536  # of one answer
MAX_ASKED: Final = 1 << 21  # bytes of one question
MAX_WAITING: Final = 500  # questions of this process that wait for an answer
VERSION: Final = 1  # of questions and answers; more keys, methods and arguments are no new version
_ASK: Final = "node question"
_ANSWER: Final = "node answer"

# Runs on the node's loop; arguments and answer are JSON. What it raises with a `code` is told to the asker.
Handler = Callable[..., "dict[str, Any] | Awaitable[dict[str, Any]]"]


class NodeRpcError(Exception):
    """There is no answer; `code` is for programs."""

    code = "node_failed"

    def __init__(self, detail: str, code: str = "") -> None:
        self.code = code or self.code
        self.detail = detail
        super().__init__(detail)


class NodeUnavailable(NodeRpcError):
    """No answer came in time."""

    code = "node_away"


class Busy(NodeRpcError):
    """Too many questions wait already."""

    code = "busy"


class CallRefused(NodeRpcError):
    """The node said no, and why."""

    code = "refused"


@dataclass(frozen=True)
class NodeAnswers:
    """What nodes answered, by name, and why others did not."""

    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: dict[str, NodeRpcError] = field(default_factory=dict)


@dataclass
class _Local:
    """The node of this process."""

    name: str
    handlers: Mapping[str, Handler]
    loop: asyncio.AbstractEventLoop
    task: asyncio.Task[None] | None = None


class NodeRpc:
    def __init__(self) -> None:
        self._local: _Local | None = None
        self._waiting = 0
        self._questions = signed.Reader(_ASK)
        self._answers = signed.Reader(_ANSWER)

    @property
    def local(self) -> str:
        """The name of this process's node; "": it has none."""
        return self._local.name if self._local is not None else ""

    # ------------------------------------------------------------ asking

    def call(self, node: str, method: str, within: float = TIMEOUT, **arguments: Any) -> dict[str, Any]:
        """Ask one node; `within` in seconds. Raises `NodeRpcError`. A coroutine uses `acall` instead."""
        return async_to_sync(self.acall)(node, method, within, **arguments)

    def call_all(
        self, nodes: Iterable[str], method: str, within: float = TIMEOUT, **arguments: Any
    ) -> NodeAnswers:
        return async_to_sync(self.acall_all)(nodes, method, within, **arguments)

    async def acall_all(
        self, nodes: Iterable[str], method: str, within: float = TIMEOUT, **arguments: Any
    ) -> NodeAnswers:
        """All at once; who has not answered at the deadline is missing."""
        answers = NodeAnswers()

        async def one(node: str) -> None:
            try:
                answers.found[node] = await self.acall(node, method, within, **arguments)
            except NodeRpcError as error:
                answers.missing[node] = error

        await asyncio.gather(*map(one, dict.fromkeys(nodes)))
        return answers

    async def acall(
        self, node: str, method: str, within: float = TIMEOUT, **arguments: Any
    ) -> dict[str, Any]:
        if self._waiting >= MAX_WAITING:
            raise Busy(f"{MAX_WAITING} questions to nodes wait for their answers")
        self._waiting += 1
        try:
            async with asyncio.timeout(within):
                if self._local is not None and self._local.name == node:
                    return await self._ask_here(self._local, method, arguments)
                return await self._ask_there(node, method, arguments, within)
        except TimeoutError:
            raise NodeUnavailable(f"Node {node} did not answer within {within:g} s.") from None
        finally:
            self._waiting -= 1

    async def _ask_here(self, local: _Local, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        call = _call(local.handlers, method, arguments)
        if asyncio.get_running_loop() is local.loop:
            return _read(await call, local.name)
        return _read(
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, local.loop)), local.name
        )

    async def _ask_there(
        self, node: str, method: str, arguments: dict[str, Any], within: float
    ) -> dict[str, Any]:
        layer = get_channel_layer()
        if layer is None:
            raise NodeUnavailable(f"There is no way to node {node}.")
        token = secrets.token_hex(16)
        try:
            reply = await layer.new_channel()
            question = {
                "v": VERSION,
                "node": node,
                "method": method,
                "arguments": arguments,
                "reply": reply,
                "token": token,
                "until": time.time() + within,
            }
            body = signed.sign(_ASK, question)
            if len(body) > MAX_ASKED:
                raise CallRefused("The question is too large for another node.", "too_large")
            await layer.group_send(group(node), {"type": "fabric.ask", "body": body})
            while True:
                message = await layer.receive(reply)
                answer = self._answers.open(message.get("body"))
                if answer is not None and answer.get("token") == token and answer.get("node") == node:
                    return _read(answer, node)
        except (NodeRpcError, TimeoutError, asyncio.CancelledError):
            raise
        except Exception as error:  # the layer's own: redis.RedisError, OSError, ChannelFull ...
            raise NodeUnavailable(f"The channel layer does not answer: {error}") from error

    # ------------------------------------------------------------ answering

    def serve(self, name: str, handlers: Mapping[str, Handler]) -> None:
        """Answer as the node `name` from now on. Call it on the node's loop."""
        loop = asyncio.get_running_loop()
        self._local = _Local(name, handlers, loop)
        self._local.task = loop.create_task(self._listen(self._local), name="rpc")

    async def stop(self) -> None:
        local, self._local = self._local, None
        if local is not None and local.task is not None:
            local.task.cancel()
            await asyncio.gather(local.task, return_exceptions=True)

    async def _listen(self, local: _Local) -> None:
        layer = get_channel_layer()
        if layer is None:
            return
        answering: set[asyncio.Task[None]] = set()

        def heard(question: dict[str, Any]) -> None:
            if question.get("node") != local.name or question["until"] < time.time():
                return
            if len(answering) >= MAX_WAITING:
                return  # who asked hears of it at the deadline
            task = local.loop.create_task(self._answer(local, layer, question))
            answering.add(task)
            task.add_done_callback(answering.discard)

        try:
            await Listener(layer, group(local.name), self._questions, heard).run()
        finally:
            for task in answering:
                task.cancel()

    async def _answer(self, local: _Local, layer: Any, question: dict[str, Any]) -> None:
        if question.get("v", 1) > VERSION:
            answer = _no("unknown_version", f"Node {local.name} is of an older version.")
        else:
            answer = await _call(local.handlers, question["method"], question["arguments"])
        body = signed.sign(_ANSWER, answer | {"node": local.name, "token": question["token"]})
        try:
            await layer.send(question["reply"], {"type": "fabric.answer", "body": body})
        except Exception as error:
            logger.warning("an answer to %s could not be sent: %s", question["method"], error)


def group(node: str) -> str:
    """The channel layer's group of a node."""
    return f"gmqtt.node.{node}"


async def _call(handlers: Mapping[str, Handler], method: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """{"ok": true, "answer": ...} or {"ok": false, "code": ..., "detail": ...}; never raises."""
    handler = handlers.get(method)
    if handler is None:
        return _no("unknown_method", f"The node does not know {method!r}.")
    try:
        found = handler(**arguments)
        if inspect.isawaitable(found):
            found = await found
        if len(json.dumps(found)) > MAX_BYTES:
            return _no("answer_too_large", f"The answer to {method} has more than {MAX_BYTES} bytes.")
    except Exception as error:
        code = getattr(error, "code", "")
        if isinstance(code, str) and code:
            return _no(code, str(error))
        logger.exception("%s failed", method)
        return _no("node_failed", f"The node failed at {method}.")
    return {"ok": True, "answer": found}


def _no(code: str, detail: str) -> dict[str, Any]:
    return {"ok": False, "code": code, "detail": detail}


def _read(answer: dict[str, Any], node: str) -> dict[str, Any]:
    if answer.get("ok"):
        return dict(answer["answer"])
    raise CallRefused(str(answer.get("detail")), str(answer.get("code")))


# This process's way to the nodes.
rpc: Final = NodeRpc()
