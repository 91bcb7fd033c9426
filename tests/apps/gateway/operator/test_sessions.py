"""What a node answers operators and does for them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from apps.gateway.broker import ports
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt.properties import MESSAGE_EXPIRY_INTERVAL, SESSION_EXPIRY_INTERVAL, USER_PROPERTY
from apps.gateway.operator.operations import NodeOperations
from apps.gateway.operator.sessions import CommandRefused, SessionHandlers
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.doors import Door, Listed
from tests.apps.gateway.support.world import World


def key(client_id: str) -> str:
    return client_id if len(client_id) <= 8 else f"{client_id[:4]}{len(client_id):04}"


@pytest.fixture
def answers(world: World) -> SessionHandlers:
    return SessionHandlers(world.node, NodeOperations(world.node, world.clock), key)


def text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def offline(world: World, client_id: str, *filters: str) -> Client:
    client = world.join(client_id, properties={SESSION_EXPIRY_INTERVAL: 1000})
    client.subscribe(*filters, qos=1)
    client.drop()
    return client


def refused(code: str) -> Any:
    return pytest.raises(CommandRefused, check=lambda error: error.code == code)


def test_the_stats_are_json(world: World, answers: SessionHandlers) -> None:
    world.join("pump").subscribe("a")
    found = json.loads(json.dumps(answers.stats()))
    assert (found["connections"], found["sessions"], found["subscriptions"]) == (1, 1, 1)
    assert found["drops"]["queue_full"] == 0


def test_a_session_in_detail(world: World, answers: SessionHandlers) -> None:
    pump = world.join("pump", username="u", keepalive=20)
    pump.subscribe("a", qos=1)
    world.join("tap").publish("a", b"x", 1)
    found = answers.session("pump")
    json.dumps(found)
    assert (found["online"], found["username"], found["keepalive"]) == (True, "u", 20)
    assert (found["inflight"], found["publishes_out"], found["subscriptions"]) == (1, 1, 1)
    with refused("not_here"):
        answers.session("nobody")


def test_a_long_client_id_is_found_by_its_key(world: World, answers: SessionHandlers) -> None:
    world.join("pump-number-one")
    assert answers.session("pump0015")["client_id"] == "pump-number-one"
    with refused("not_here"):
        answers.session("pump0016")


def test_kick_and_end(world: World, answers: SessionHandlers) -> None:
    pump = world.join("pump", properties={SESSION_EXPIRY_INTERVAL: 1000})
    assert answers.kick("pump", "go away") == {"was_online": True}
    world.turn()
    farewell = pump.take_one(p.Disconnect)
    assert farewell.reason == 0x98 and pump.closed
    pump.drop()
    assert answers.kick("pump") == {"was_online": False}
    answers.end_session("pump")
    assert "pump" not in world.node.sessions


def test_subscribe_on_behalf(world: World, answers: SessionHandlers) -> None:
    pump = world.join("pump")
    tap = world.join("tap")
    tap.publish("a/b", b"kept", retain=True)
    assert answers.subscribe("pump", "a/+", 1) == {"qos": 1}
    world.turn()
    assert pump.payloads() == [b"kept"]
    tap.publish("a/b", b"new")
    assert pump.payloads() == [b"new"]
    assert answers.unsubscribe("pump", "a/+") == {"existed": True}
    assert answers.unsubscribe("pump", "a/+") == {"existed": False}
    tap.publish("a/b", b"not heard")
    assert pump.payloads() == []


@pytest.mark.parametrize("filter", ["", "a/#/b", "a+", "$share//a", "$share/g", "a/b#"])
def test_a_bad_filter(world: World, answers: SessionHandlers, filter: str) -> None:
    world.join("pump")
    with refused("invalid_topic_filter"):
        answers.subscribe("pump", filter, 0)


def test_the_client_is_subscribed_to_nothing_that_its_rules_deny(make_world: Any) -> None:
    acl = Listed(subscribe_grants={"secret/#": ports.DENIED, "open/#": 1})
    world = make_world(door=Door(acl=acl))
    answers = SessionHandlers(world.node, NodeOperations(world.node, world.clock), key)
    world.join("pump")
    with refused("not_authorized"):
        answers.subscribe("pump", "secret/#", 0)
    assert answers.subscribe("pump", "open/#", 2) == {"qos": 1}


async def test_publish_says_whether_anybody_listens(world: World, answers: SessionHandlers) -> None:
    pump = world.join("pump")
    pump.subscribe("a")
    nobody = await answers.publish("b", text("x"), 1)
    assert nobody == {"subscribed": False, "recipients": 0, "elsewhere": False}
    properties = {
        "content_type": "text/plain",
        "response_topic": "r",
        "correlation_data": text("c"),
        "user_properties": [["k", "v"], ["k", "w"]],
        "payload_is_text": True,
        "message_expiry": 60,
    }
    somebody = await answers.publish("a", text("x"), 1, False, properties)
    assert somebody["subscribed"] and somebody["recipients"] == 1
    world.turn()
    got = pump.take_publishes()[0]
    assert got.payload == b"x" and got.properties[USER_PROPERTY] == [("k", "v"), ("k", "w")]
    assert got.properties[MESSAGE_EXPIRY_INTERVAL] == 60
    await answers.publish("r", text("kept"), 0, True)
    assert world.node.retained.get("r") is not None
    await answers.publish("r", "", 0, True)
    assert world.node.retained.get("r") is None


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("invalid_topic", {"topic": "a/#"}),
        ("invalid_topic", {"topic": ""}),
        ("invalid_topic", {"topic": "$SYS/broker/uptime"}),
        ("invalid_properties", {"topic": "a", "properties": {"response_topic": "a/+"}}),
        ("too_large", {"topic": "a", "payload": "A" * 40_000_000}),
    ],
)
async def test_what_cannot_be_published(
    answers: SessionHandlers, code: str, arguments: dict[str, Any]
) -> None:
    with refused(code):
        await answers.publish(**{"payload": "", **arguments})


async def test_retained_messages_page_by_page(
    world: World, answers: SessionHandlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.gateway.operator.sessions.SLICE", 7)
    tap = world.join("tap")
    for number in range(250):
        tap.publish(f"a/{number:03}", b"x" * 300, retain=True)
    tap.publish("b", b"x", retain=True)
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = await answers.retained("a/+", after)
        assert len(json.dumps(page)) < 65_536
        seen += [each["topic"] for each in page["messages"]]
        assert all(each["payload"] is None and each["size"] == 300 for each in page["messages"])
        after = page["next"]
    assert seen == [f"a/{number:03}" for number in range(250)]
    shown = (await answers.retained("a/+", "", 1, True))["messages"][0]
    assert base64.b64decode(shown["payload"]) == b"x" * 256
    assert len(base64.b64decode(answers.retained_message("a/000", True)["payload"])) == 300
    with refused("not_found"):
        answers.retained_message("nothing")


async def test_a_page_of_long_topics_fits_into_an_answer(world: World, answers: SessionHandlers) -> None:
    tap = world.join("tap")
    for number in range(40):
        tap.publish("é" * 1000 + f"{number:02}", b"x", retain=True)
    tap.publish("é" * 2000, b"x", retain=True)
    seen = 0
    after: str | None = ""
    while after is not None:
        page = await answers.retained("#", after, payloads=True)
        assert len(json.dumps(page)) < 65_536
        seen += len(page["messages"])
        after = page["next"]
        assert page["left_out"] == 1
    assert seen == 40
    assert answers.retained_message("é" * 2000)["size"] == 1


async def test_look_into_a_queue_and_purge_it(world: World, answers: SessionHandlers) -> None:
    offline(world, "pump", "a")
    tap = world.join("tap")
    for number in range(3):
        tap.publish("a", b"%d" % number, 1)
        world.advance(10)
    found = await answers.queue("pump", 2, True)
    assert (found["queued"], len(found["messages"])) == (3, 2)
    assert [each["age"] for each in found["messages"]] == [30, 20]
    assert base64.b64decode(found["messages"][0]["payload"]) == b"0"
    assert (await answers.queue("pump"))["messages"][0]["payload"] is None
    assert answers.purge("pump") == {"purged": 3}
    assert answers.purge("pump") == {"purged": 0}
    assert world.events.drops[-1] == ("pump", "purged", "a", 3)
    assert (await answers.queue("pump"))["messages"] == []


async def test_replay_a_queue_to_another_client(world: World, answers: SessionHandlers) -> None:
    offline(world, "pump", "a")
    tap = world.join("tap")
    for number in range(3):
        tap.publish("a", b"%d" % number, 1)
    spare = world.join("spare")
    assert await answers.replay("pump", "spare", 2) == {"replayed": 2}
    world.turn()
    assert spare.payloads() == [b"0", b"1"]
    assert (await answers.queue("pump"))["queued"] == 3
    with refused("same_client"):
        await answers.replay("pump", "pump")
