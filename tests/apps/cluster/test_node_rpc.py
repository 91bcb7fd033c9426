"""Questions to nodes: on this one, and over a channel layer to others, in memory and in Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from channels.layers import channel_layers, get_channel_layer
from channels_redis.core import RedisChannelLayer

from apps.cluster import node_rpc as module
from apps.cluster.node_rpc import Busy, CallRefused, NodeRpc, NodeRpcError, NodeUnavailable, group
from apps.common import listening, signed

Serve = Callable[..., Awaitable[NodeRpc]]


class Asked(Exception):
    code = "not_today"


def shout(text: str) -> dict[str, Any]:
    return {"text": text.upper()}


async def late(text: str) -> dict[str, Any]:
    await asyncio.sleep(0.01)
    return {"text": text}


def no() -> dict[str, Any]:
    raise Asked("come back tomorrow")


def broken() -> dict[str, Any]:
    raise ZeroDivisionError


HANDLERS: dict[str, Any] = {
    "shout": shout,
    "late": late,
    "no": no,
    "broken": broken,
    "large": lambda: {"text": "x" * 70_000},
    "strange": lambda: {"text": object()},
    "never": lambda: asyncio.sleep(60),
}


@pytest.fixture(params=["memory", "redis"])
async def layer(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.param == "memory":
        channel_layers.set("default", None)
        channel_layers.backends.pop("default", None)
        yield get_channel_layer()
    else:
        host = {"address": request.getfixturevalue("redis_url"), "socket_timeout": None}
        layer = RedisChannelLayer(hosts=[host])
        channel_layers.set("default", layer)
        yield layer
        await layer.close_pools()
    channel_layers.backends.pop("default", None)


@pytest.fixture
async def serve(layer: Any) -> AsyncIterator[Serve]:
    served: list[NodeRpc] = []

    async def one(name: str, handlers: dict[str, Any] = HANDLERS) -> NodeRpc:
        rpc = NodeRpc()
        rpc.serve(name, handlers)
        served.append(rpc)
        for _ in range(500):  # until it has joined its group
            if group(name) in getattr(layer, "groups", {}) or await joined(layer, name):
                break
            await asyncio.sleep(0.01)
        return rpc

    yield one
    for rpc in served:
        await rpc.stop()


async def joined(layer: Any, name: str) -> bool:
    if not isinstance(layer, RedisChannelLayer):
        return False
    key = layer._group_key(group(name))
    return bool(await layer.connection(layer.consistent_hash(group(name))).zcard(key))


@pytest.fixture(params=["here", "there"])
async def asker(request: pytest.FixtureRequest, serve: Serve) -> NodeRpc:
    """Asks the node "n": its own process's, or another's."""
    node = await serve("n")
    return node if request.param == "here" else await serve("other")


async def test_a_node_answers(asker: NodeRpc) -> None:
    assert await asker.acall("n", "shout", text="é\U0001f600") == {"text": "É\U0001f600"}
    assert await asker.acall("n", "late", text="x") == {"text": "x"}


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("no", "not_today"),
        ("broken", "node_failed"),
        ("large", "answer_too_large"),
        ("strange", "node_failed"),
        ("what", "unknown_method"),
        ("shout", "node_failed"),
    ],
)
async def test_a_node_says_no(asker: NodeRpc, method: str, code: str) -> None:
    with pytest.raises(CallRefused) as caught:
        await asker.acall("n", method)
    assert caught.value.code == code


async def test_a_deadline_is_kept(asker: NodeRpc) -> None:
    with pytest.raises(NodeUnavailable):
        await asker.acall("n", "never", 0.2)
    assert await asker.acall("n", "shout", text="a") == {"text": "A"}


async def test_nobody_answers_for_a_node_that_is_away(asker: NodeRpc) -> None:
    with pytest.raises(NodeUnavailable) as caught:
        await asker.acall("nobody", "shout", 0.2, text="a")
    assert caught.value.code == "node_away" and "nobody" in caught.value.detail


async def test_all_are_asked_at_once_and_who_is_late_is_missing(serve: Serve) -> None:
    one = await serve("n1")
    await serve("n2")
    await serve("n3", {"shout": lambda text: asyncio.sleep(60)})
    answers = await one.acall_all(["n1", "n2", "n3", "n4"], "shout", 1.0, text="a")
    assert answers.found == {"n1": {"text": "A"}, "n2": {"text": "A"}}
    assert set(answers.missing) == {"n3", "n4"}


async def test_a_flood_of_questions_is_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    node = await serve("n")
    answers = await asyncio.gather(
        *(node.acall("n", "late", text=str(number)) for number in range(50)), return_exceptions=True
    )
    assert sum(isinstance(each, dict) for each in answers) == 10
    assert sum(isinstance(each, Busy) for each in answers) == 40
    assert await node.acall("n", "shout", text="a") == {"text": "A"}


async def test_a_forged_answer_is_not_believed(
    serve: Serve, layer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever can write to the channel layer, but does not know SECRET_KEY."""
    heard: list[dict[str, Any]] = []
    other = await serve("other")
    channel = await layer.new_channel()
    await layer.group_add(group("n"), channel)
    asking = asyncio.create_task(other.acall("n", "never", 0.5))
    async with asyncio.timeout(5):
        heard.append(await layer.receive(channel))
    question = signed.Reader(module._ASK).open(heard[0]["body"])
    assert question is not None
    for body in ("{}", heard[0]["body"], heard[0]["body"][::-1], None, 7):
        await layer.send(question["reply"], {"type": "fabric.answer", "body": body})
    with pytest.raises(NodeUnavailable):
        await asking


async def test_a_forged_question_is_not_heard(serve: Serve, layer: Any) -> None:
    called: list[str] = []
    await serve("n", {"kick": lambda client_id: called.append(client_id) or {}})
    other = await serve("other")
    reply = await layer.new_channel()
    question = {"node": "n", "method": "kick", "arguments": {"client_id": "pump"}, "reply": reply}
    await layer.group_send(group("n"), {"type": "fabric.ask", "body": question})
    await layer.group_send(group("n"), {"type": "fabric.ask", "body": "a:b:c"})
    assert await other.acall("n", "kick", client_id="tap") == {}
    assert called == ["tap"]


async def test_a_question_is_answered_once(serve: Serve, layer: Any) -> None:
    """Recorded on the channel layer and sent again."""
    called: list[str] = []
    await serve("n", {"kick": lambda client_id: called.append(client_id) or {}})
    other = await serve("other")
    channel = await layer.new_channel()
    await layer.group_add(group("n"), channel)
    assert await other.acall("n", "kick", client_id="tap") == {}
    async with asyncio.timeout(5):
        recorded = await layer.receive(channel)
    await layer.group_send(group("n"), recorded)
    assert await other.acall("n", "kick", client_id="pump") == {}
    assert called == ["tap", "pump"]


async def test_it_comes_back_when_the_layer_does(
    serve: Serve, own_redis: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "RETRY", 0.05)
    layer = RedisChannelLayer(hosts=[{"address": own_redis.url, "socket_timeout": None}])
    channel_layers.set("default", layer)
    await serve("n")
    other = await serve("other")
    assert await other.acall("n", "shout", text="a") == {"text": "A"}
    own_redis.kill()
    with pytest.raises(NodeRpcError):
        await other.acall("n", "shout", 1.0, text="a")
    own_redis.start()
    with caplog.at_level(logging.ERROR):
        for _ in range(100):
            try:
                assert await other.acall("n", "shout", 0.5, text="a") == {"text": "A"}
                break
            except NodeRpcError:
                await asyncio.sleep(0.1)
        else:
            pytest.fail("no answer after Redis came back")
    await layer.close_pools()
