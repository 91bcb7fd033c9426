"""What is saved reaches connected clients within a second, through the channel layer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import OperationalError

from apps.auth import live as lives
from apps.auth.models import AclRule, Ban, Client, Refusal
from apps.auth.services import bans, clients, credentials, groups, rules
from apps.common import listening
from apps.common.actors import SYSTEM
from apps.gateway.broker.ports import NOTHING, PUBLISH_ALL
from apps.gateway.mqtt import reasons
from tests.apps.auth.chains import PEER, build, connect, counting_queries, register
from tests.apps.auth.services import gateway, serving
from tests.apps.auth.stages import Stage, staged, within_a_second

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged(build("django")) as stage:
        yield stage


async def verb(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return await sync_to_async(function)(*args, **kwargs)


async def test_a_saved_rule(stage: Stage) -> None:
    client = await stage.alice()
    await stage.bob()
    assert not stage.may()
    rule = await verb(rules.create, SYSTEM, effect="allow", action="both", filter="a", client=client)
    await within_a_second(stage.may)
    assert not stage.may("bob-1")
    await verb(rules.update, SYSTEM, rule, filter="b")
    await within_a_second(lambda: stage.may(topic="b") and not stage.may())
    await verb(rules.remove, SYSTEM, [rule])
    await within_a_second(lambda: not stage.may(topic="b"))


async def test_a_rule_of_everyone(stage: Stage) -> None:
    await stage.alice()
    await stage.bob()
    await verb(rules.create, SYSTEM, effect="allow", action="both", filter="a")
    await within_a_second(lambda: stage.may() and stage.may("bob-1"))


async def test_joining_a_group_brings_its_rules(stage: Stage) -> None:
    client = await stage.alice()
    group = await verb(groups.create, SYSTEM, "red")
    await verb(rules.create, SYSTEM, effect="allow", action="both", filter="g/${group}/#", group=group)
    await verb(clients.update, SYSTEM, client, clients.ClientChanges(groups=(group,)))
    await within_a_second(lambda: stage.may(topic="g/red/x"))
    assert stage.chain.live["alice-1"].identity.groups == ("red",)


async def test_a_disabled_client_leaves(stage: Stage) -> None:
    client = await stage.alice()
    await stage.bob()
    await verb(clients.set_enabled, SYSTEM, [client], False)
    await within_a_second(lambda: stage.node.kicked == [("alice-1", reasons.NOT_AUTHORIZED)])
    assert "bob-1" in stage.node.here


async def test_an_unregistered_client_leaves_and_its_session_is_forgotten(stage: Stage) -> None:
    client = await stage.alice()
    await verb(clients.unregister, SYSTEM, [client])
    await within_a_second(lambda: stage.node.forgotten == ["alice-1"])
    assert stage.node.kicked == [("alice-1", reasons.NOT_AUTHORIZED)]


async def test_a_kicked_client_leaves_and_may_come_back(stage: Stage) -> None:
    client, secret = await sync_to_async(register)()
    await stage.node.enter(stage.chain, "alice-1", "alice", secret)
    await verb(clients.kick, SYSTEM, [client])
    await within_a_second(lambda: stage.node.kicked == [("alice-1", reasons.ADMINISTRATIVE_ACTION)])
    await stage.node.enter(stage.chain, "alice-1", "alice", secret)


async def test_a_removed_credential_ends_what_came_in_by_it(stage: Stage) -> None:
    client = await stage.alice()
    credential = await client.credentials.aget()
    await verb(credentials.remove, SYSTEM, credential)
    await within_a_second(lambda: stage.node.kicked == [("alice-1", reasons.NOT_AUTHORIZED)])


async def test_bans_of_every_kind(stage: Stage) -> None:
    await stage.alice()
    await stage.bob()
    await verb(bans.create, SYSTEM, "address", "198.51.100.0/24")
    await within_a_second(lambda: stage.node.kicked == [("bob-1", reasons.BANNED)])
    await verb(bans.create, SYSTEM, "pattern", "alice-*")
    await within_a_second(lambda: len(stage.node.kicked) == 2)


async def test_a_lifted_ban_lets_in_again(stage: Stage) -> None:
    _, secret = await sync_to_async(register)()
    ban = await verb(bans.create, SYSTEM, "username", "alice")
    await within_a_second(lambda: len(stage.chain.bans) == 1)
    assert (await stage.chain.connect(connect(password=secret))).reason == reasons.BANNED
    await verb(bans.lift, SYSTEM, [ban])
    await within_a_second(lambda: len(stage.chain.bans) == 0)
    assert (await stage.chain.connect(connect(password=secret))).accepted


async def test_thousands_follow_within_a_second(stage: Stage) -> None:
    """A rule of everyone, 3,000 connections: a handful of queries, no stall of the loop."""
    await Client.objects.abulk_create([Client(client_id=f"c{n}") for n in range(3000)])
    for n in range(3000):
        stage.node.here[f"c{n}"] = ("", PEER)
    with counting_queries(stage.chain) as asked:
        await verb(rules.create, SYSTEM, effect="allow", action="both", filter="d/${clientid}")
        await within_a_second(lambda: len(stage.node.acls) == 3000)
        await within_a_second(lambda: stage.live.status()["behind_seconds"] == 0)
    assert asked.count("facts_of") == 6
    assert "connect_facts" not in asked
    assert stage.may("c17", "d/c17")


async def test_an_automatic_ban_is_saved_and_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "TICK", 0.05)
    chain = build("django", guard__failures_per_address="3", guard__ban_seconds="60")
    async with staged(chain) as stage:
        await stage.alice()
        for n in range(3):
            request = connect(f"c{n}", "x", "gmq_" + "x" * 43)
            verdict = await chain.connect(request)
            stage.records.refused(request, verdict.reason, verdict.reason_string)
        assert (await chain.connect(connect("c9", "x", "y"))).reason == reasons.BANNED
        end = time.monotonic() + 10
        while not (await Ban.objects.acount() and await Refusal.objects.acount()):
            assert time.monotonic() < end
            await asyncio.sleep(0.02)
        ban = await Ban.objects.aget()
        assert (ban.kind, ban.value, ban.automatic) == ("address", "192.0.2.1/32", True)
        assert ban.reason == "3 wrong secrets in 60 s"
        assert await Refusal.objects.acount() == 3
        await within_a_second(lambda: stage.node.kicked == [("alice-1", reasons.BANNED)])


async def test_the_database_goes_away_and_comes_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "TICK", 0.05)
    client, secret = await sync_to_async(register)()
    await stage.node.enter(stage.chain, "alice-1", "alice", secret)
    rule = await verb(rules.create, SYSTEM, effect="allow", action="both", filter="a", client=client)
    await within_a_second(stage.may)
    registry = stage.chain.parts.registry
    fetch = registry._fetch

    def broken(*args: Any) -> Any:
        raise OperationalError("the database is gone")

    monkeypatch.setattr(registry, "_fetch", broken)
    assert (await stage.chain.connect(connect(password=secret))).accepted  # remembered
    assert (await stage.chain.connect(connect("bob-1", "bob", secret))).reason == reasons.SERVER_UNAVAILABLE
    assert stage.live.status()["ok"] is False
    assert stage.live.status()["database"] == "down"
    await AclRule.objects.filter(pk=rule.pk).aupdate(filter="b")
    stage.live.changed("client", ["alice-1"])
    await asyncio.sleep(0.2)
    assert stage.may()  # the connected client is served as before
    assert "alice-1" in stage.node.here
    monkeypatch.setattr(registry, "_fetch", fetch)
    await within_a_second(lambda: stage.may(topic="b"))
    await within_a_second(lambda: stage.live.status()["behind_seconds"] == 0)
    assert (await stage.chain.connect(connect("bob-1", "bob", secret))).reason == 0x86
    assert stage.live.status()["ok"] is True


async def test_grace_lets_in_who_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for grace, reason in (("0", reasons.SERVER_UNAVAILABLE), ("10", 0)):
        chain = build("django", cache_ttl="1", cache_grace=grace)
        await Client.objects.all().adelete()
        _, secret = await sync_to_async(register)()
        assert (await chain.connect(connect(password=secret))).accepted
        clock = time.monotonic() + 5
        monkeypatch.setattr(chain.parts.registry._known, "_clock", lambda clock=clock: clock)
        monkeypatch.setattr(
            chain.parts.registry, "_fetch", lambda *_: (_ for _ in ()).throw(OperationalError("gone"))
        )
        assert (await chain.connect(connect(password=secret))).reason == reason
        await chain.close()


async def test_the_layer_was_away(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said meanwhile was not heard: everything is looked at again."""
    monkeypatch.setattr(listening, "RETRY", 0.05)
    client = await stage.alice()
    layer = get_channel_layer()
    working = layer.receive

    async def broken(channel: str) -> Any:
        raise ConnectionError("no layer")

    monkeypatch.setattr(layer, "receive", broken)
    await layer.group_send("gmqtt.auth", {"type": "auth.changed", "what": "other", "client_ids": []})
    await within_a_second(lambda: stage.live._listener.deaf_since is not None)
    await Client.objects.filter(pk=client.pk).aupdate(enabled=False)
    monkeypatch.setattr(layer, "receive", working)
    await within_a_second(lambda: stage.node.kicked == [("alice-1", reasons.NOT_AUTHORIZED)])


async def test_a_connection_whose_proof_is_forgotten(stage: Stage) -> None:
    client = await stage.alice()
    stage.node.acls.clear()
    stage.chain.live.clear()
    await verb(clients.set_enabled, SYSTEM, [client], False)
    await within_a_second(lambda: stage.node.kicked == [("alice-1", reasons.NOT_AUTHORIZED)])


async def test_mock_asks_the_database_nothing() -> None:
    chain = build("mock", "mock")
    with counting_queries(chain) as asked:
        async with staged(chain) as stage:
            await stage.node.enter(chain, "alice-1", "alice", "x")
            stage.records.connected("alice-1", "alice", PEER, 5)
            stage.live.changed("client", None)
            stage.live.changed("bans", None)
            await asyncio.sleep(0.05)
            assert stage.live.status()["ok"] is True
    assert asked == []


async def test_a_gateway_that_asks_the_auth_service() -> None:
    async with serving() as service:
        chain = await gateway(service.address)
        async with staged(chain) as stage:
            client, secret = await sync_to_async(register)()
            await stage.node.enter(chain, "alice-1", "alice", secret)
            assert await stage.node.acls["alice-1"].ask_publish("a") == NOTHING
            service.chain.forget(None)  # as its own Live does on the same message
            before = stage.node.acls["alice-1"]
            await verb(rules.create, SYSTEM, effect="allow", action="both", filter="a", client=client)
            await within_a_second(lambda: stage.node.acls["alice-1"] is not before)
            assert await stage.node.acls["alice-1"].ask_publish("a") == PUBLISH_ALL
            await verb(clients.set_enabled, SYSTEM, [client], False)
            await within_a_second(lambda: stage.node.kicked == [("alice-1", reasons.NOT_AUTHORIZED)])
            assert not (await chain.connect(connect(password=secret))).accepted


async def test_those_who_came_in_for_another(stage: Stage) -> None:
    """A credential for many client ids: what is saved of its client reaches each of them."""
    client, secret = await verb(register, "house", "house", client_ids="home-*")
    for name in ("home-1", "home-2"):
        await stage.node.enter(stage.chain, name, "house", secret)
    assert not stage.may("home-1")
    await verb(rules.create, SYSTEM, effect="allow", action="both", filter="a", client=client)
    await within_a_second(lambda: stage.may("home-1") and stage.may("home-2"))
    await verb(clients.kick, SYSTEM, [client])
    await within_a_second(lambda: sorted(name for name, _ in stage.node.kicked) == ["home-1", "home-2"])
    await stage.node.enter(stage.chain, "home-1", "house", secret)
    await verb(clients.set_enabled, SYSTEM, [client], False)
    await within_a_second(lambda: stage.node.kicked[-1][0] == "home-1" and len(stage.node.kicked) == 3)
