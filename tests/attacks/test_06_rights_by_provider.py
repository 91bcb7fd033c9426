"""Point 6, as a table: provider x event x direction, with real providers, services and a broker on one loop.

Events: the client comes back to its session ("resume"), rights change while it is here ("change"), nobody
says that they changed ("review", of the auth service). Directions: what it subscribed to, what waits for it,
what it publishes, the will it left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth.models import Permission, User

from apps.auth import live as lives
from apps.auth.live import Live
from apps.auth.models import AclRule
from apps.auth.providers.chain import Chain
from apps.auth.records import Records
from apps.auth.services import clients, operators, rules
from apps.auth.wills import WillRights
from apps.common.actors import SYSTEM
from apps.gateway.broker.connection import Connection
from apps.gateway.broker.limits import Limits
from apps.gateway.broker.messages import Message
from apps.gateway.broker.node import Node
from apps.gateway.mqtt import codec
from apps.gateway.mqtt import packets as p
from apps.gateway.net.decisions import decide
from apps.gateway.operator.operations import NodeOperations
from tests.apps.auth.chains import PEER, build, register
from tests.apps.auth.factories import ClientFactory, GroupFactory, UserFactory
from tests.apps.auth.services import gateway, serving
from tests.apps.gateway.support.link import FakeLink
from tests.apps.gateway.support.reader import Reader
from tests.apps.gateway.support.world import Events
from tests.support.waiting import until

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "s" * 32
WILL = p.Will("s/will", b"gone", 1, False, {0x18: 1})
ALLOW = {"effect": "allow", "action": "both", "filter": "s/#"}
Step = Callable[[], Awaitable[None]]


@dataclass
class Cast:
    """A client of some provider: how it proves itself, and how what it may do becomes nothing."""

    chain: Chain
    client_id: str
    username: str
    proof: str
    narrow: Step  # its rights go, and that is announced where it is
    silent: Step | None = None  # the same, and nobody hears of it
    close: list[Callable[[], Awaitable[Any]]] = field(default_factory=list)


class Stage:
    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self.events = Events()
        self.node = Node("n", "1", Limits(), self.events, lambda: None, lambda: "x", time.time(), 0.0)
        operations = NodeOperations(self.node, time.time)
        records = Records(cast.chain.parts.database, 0, "n", lambda *_: None)
        self.live = Live(cast.chain, operations, records)
        self.wills = WillRights(
            cast.chain, lambda will, grant: self.node.settle_will(will, grant, time.time())
        )
        self.node.ask_will = self.wills.ask
        self.link: FakeLink
        self.connection: Connection
        self.reader = Reader(5)

    async def join(self, will: p.Will | None = None) -> int:
        """The reason of CONNACK."""
        cast = self.cast
        self.link = FakeLink(lambda link: None)
        self.connection = Connection(self.node, self.link, PEER, time.time())
        self.link.connection = self.connection
        self.reader = Reader(5)
        connect = p.Connect(
            cast.client_id, 5, False, 0, cast.username, cast.proof.encode(), will, {0x11: 3600}
        )
        (connack,) = await self.send(connect)
        assert isinstance(connack, p.Connack)
        return connack.reason

    async def send(self, packet: p.Packet) -> list[p.Packet]:
        self.connection.feed(codec.encode(packet, 5), time.time())
        await decide(self.connection, self.cast.chain, time.time)
        return self.take()

    def take(self) -> list[p.Packet]:
        self.node.flush()
        return self.reader.feed(self.link.take())

    def publish(self, topic: str) -> list[bytes]:
        """By somebody else: what the client gets."""
        self.node.publish(Message(topic, topic.encode(), 1))
        return [each.payload for each in self.take() if isinstance(each, p.Publish)]

    def drop(self) -> None:
        self.connection.lost(time.time())

    @property
    def subscribed(self) -> bool:
        session = self.node.sessions.get(self.cast.client_id)
        return session is not None and "s/#" in session.subscriptions


@asynccontextmanager
async def staged(cast: Cast) -> AsyncIterator[Stage]:
    await get_channel_layer().flush()
    stage = Stage(cast)
    await stage.live.start()
    stage.wills.start()
    try:
        assert await stage.join() == 0
        (suback,) = await stage.send(p.Subscribe(1, [p.Filter("s/#", 1)], {}))
        assert isinstance(suback, p.Suback) and suback.reasons == [1]
        yield stage
    finally:
        await stage.wills.stop()
        await stage.live.stop()
        for close in cast.close:
            await close()


# ---------------------------------------------------------------- the providers


async def django() -> Cast:
    client, secret = await sync_to_async(register)()
    rule = await sync_to_async(rules.create)(
        SYSTEM, effect="allow", action="both", filter="s/#", client=client
    )

    async def narrow() -> None:
        await sync_to_async(rules.remove)(SYSTEM, [rule])

    return Cast(build("django"), "alice-1", "alice", secret, narrow)


async def token() -> Cast:
    """A JWT: a narrower one is what it comes back with. Nothing announces one."""

    def made(*filters: str) -> str:
        claims = {"sub": "alice-1", "exp": time.time() + 60, "acl": [{"filter": each} for each in filters]}
        return jwt.encode(claims, KEY, "HS256")

    async def narrow() -> None:
        cast.proof = made("other/#")

    cast = Cast(build("jwt", "jwt", jwt__secret=KEY), "alice-1", "", made("s/#"), narrow)
    return cast


async def rpc() -> Cast:
    client, secret = await sync_to_async(register)()
    rule = await sync_to_async(rules.create)(
        SYSTEM, effect="allow", action="both", filter="s/#", client=client
    )
    service = serving(cache_size="0")
    served = await service.__aenter__()
    chain = await gateway(served.address, cache_ttl="1")

    async def narrow() -> None:
        await sync_to_async(rules.remove)(SYSTEM, [rule])

    async def silent() -> None:
        await AclRule.objects.all().adelete()

    return Cast(
        chain, "alice-1", "alice", secret, narrow, silent, [lambda: service.__aexit__(None, None, None)]
    )


async def console() -> Cast:
    def prepare() -> tuple[User, operators.OperatorToken]:
        user = UserFactory(username="op", is_staff=True)
        wanted = ("read_messages", "publish_messages")
        user.user_permissions.set(Permission.objects.filter(codename__in=wanted))
        user = User.objects.get(pk=user.pk)
        return user, operators.issue(user, "")

    user, issued = await sync_to_async(prepare)()

    async def narrow() -> None:
        await sync_to_async(user.user_permissions.clear)()

    return Cast(build("mock", "mock"), issued.client_id, "op", issued.token, narrow)


HERE = pytest.mark.parametrize("provider", [django, rpc, console])
BACK = pytest.mark.parametrize("provider", [django, token, rpc])
Provider = Callable[[], Awaitable[Cast]]


# ---------------------------------------------------------------- the events


@BACK
async def test_resume(provider: Provider) -> None:
    async with staged(await provider()) as stage:
        stage.drop()
        stage.publish("s/1")
        stage.publish("s/2")
        await stage.cast.narrow()
        await until(lambda: not stage.live._changes._seen or stage.live.status()["behind_seconds"] == 0)
        await asyncio.sleep(lives.POLL + 0.1)  # nobody is connected: nothing else shows that it was heard
        assert await stage.join() == 0
        assert not stage.subscribed
        assert stage.publish("s/3") == []
        assert stage.node.stats.drops["revoked"] == 2
        (puback,) = await stage.send(p.Publish("s/1", b"x", 1, False, False, 7, {}))
        assert isinstance(puback, p.Ack) and puback.reason == 0x87


@pytest.mark.parametrize("provider", [django, token, rpc])
async def test_change_while_the_client_is_away(provider: Provider) -> None:
    """What is known to be denied ends at once; what only a token tells, when it is shown again."""
    async with staged(await provider()) as stage:
        stage.drop()
        await stage.cast.narrow()
        if provider is token:
            stage.live.changed("rules", None)
            await until(lambda: stage.live.status()["behind_seconds"] == 0)
            assert stage.subscribed
            assert await stage.join() == 0
            assert not stage.subscribed
        else:
            await until(lambda: not stage.subscribed, 10.0)


async def test_a_change_for_everyone_while_the_client_is_away() -> None:
    async with staged(await django()) as stage:
        stage.drop()
        await AclRule.objects.all().adelete()
        stage.live.changed("rules", None)
        await until(lambda: not stage.subscribed, 10.0)


@HERE
async def test_change(provider: Provider) -> None:
    async with staged(await provider()) as stage:
        await stage.send(p.Publish("s/1", b"x", 1, False, False, 7, {}))  # a grant that is remembered
        await stage.cast.narrow()
        await until(lambda: stage.link.closed if provider is console else not stage.subscribed, 3.0)
        assert stage.publish("s/3") == []
        if provider is not console:  # who may nothing at all is disconnected
            (puback,) = await stage.send(p.Publish("s/1", b"x", 1, False, False, 8, {}))
            assert isinstance(puback, p.Ack) and puback.reason == 0x87
        else:
            assert stage.link.closed
            assert await stage.join() == 0x87  # the token has not ended


async def test_review(monkeypatch: pytest.MonkeyPatch) -> None:
    """The auth service decides by what the platform does not know: it is asked again in `cache_ttl`."""
    monkeypatch.setattr(lives, "TICK", 0.1)
    async with staged(await rpc()) as stage:
        assert stage.cast.silent is not None
        await stage.cast.silent()
        await until(lambda: not stage.subscribed, 5.0)


@pytest.mark.parametrize("provider", [django, rpc])
async def test_will(provider: Provider) -> None:
    """One that waits for its delay, while its client is away."""
    async with staged(await provider()) as stage:
        stage.drop()
        assert await stage.join(WILL) == 0
        await stage.cast.narrow()
        stage.drop()
        await asyncio.sleep(lives.POLL + 0.2)
        stage.node.tick(time.time() + 2)
        await until(lambda: stage.node.stats.drops["denied"] > 0)
        assert (stage.cast.client_id, "denied", "s/will", 1) in stage.events.drops


@pytest.mark.parametrize("how", ["unregistered", "disabled", "rule", "nothing"])
async def test_a_will_of_another_nodes_client(how: str) -> None:
    """Known by its client id alone, as after that node's failure."""
    cast = await django()
    async with staged(cast) as stage:
        client = await clients.Client.objects.aget(client_id="alice-1")
        if how == "unregistered":
            await sync_to_async(clients.unregister)(SYSTEM, [client])
        elif how == "disabled":
            await sync_to_async(clients.set_enabled)(SYSTEM, [client], False)
        elif how == "rule":
            await cast.narrow()
        cast.chain.forget(None)
        grant = await stage.wills.grant("alice-1", "s/will")
        assert (grant == 15) == (how == "nothing")


async def test_what_only_a_token_told_allows_no_will_of_another_nodes_client() -> None:
    for acl in ("jwt", "jwt,django"):
        wills = WillRights(build("jwt", acl, jwt__secret=KEY), lambda will, grant: None)
        assert await wills.grant("alice-1", "s/will") == 0


@pytest.mark.parametrize(
    ("effect", "filter", "topic", "granted"),
    [
        ("allow", "s/${cert.cn}", "s/will", 0),
        ("deny", "s/${cert.cn}", "s/will", 0),
        ("deny", "s/${cert.cn}", "s/will/x", 15),
        ("deny", "s/${cert.cn}/#", "s/will/x", 0),
    ],
)
async def test_what_only_a_certificate_told(effect: str, filter: str, topic: str, granted: int) -> None:
    """Rules about its name allow nothing, and deny what they would deny to somebody."""
    await sync_to_async(register)()

    def prepare() -> None:
        rules.create(SYSTEM, effect=effect, action="both", filter=filter, priority=1)
        if effect == "deny":
            rules.create(SYSTEM, effect="allow", action="both", filter="s/#")

    await sync_to_async(prepare)()
    wills = WillRights(build("django"), lambda will, grant: None)
    assert await wills.grant("alice-1", topic) == granted


@pytest.mark.parametrize(
    "change",
    ["inactive", "no staff", "deleted", "group", "group permission", "object permission", "superuser"],
)
async def test_an_operator_is_demoted(change: str) -> None:
    """In every way in which Django and guardian can."""
    from django.contrib.auth.models import Group
    from guardian.shortcuts import assign_perm, remove_perm

    def prepare() -> tuple[User, Group, Any, operators.OperatorToken]:
        user = UserFactory(username="op", is_staff=True, is_superuser=change == "superuser")
        group = Group.objects.create(name="readers")
        tenant = GroupFactory(name="tenant")
        if change == "object permission":
            AclRule.objects.create(effect="allow", action="both", filter="s/#", group=tenant)
            ClientFactory(groups=[tenant])
            assign_perm("read_members", user, tenant)
        elif change != "superuser":
            group.permissions.set(Permission.objects.filter(codename="read_messages"))
            user.groups.add(group)
        user = User.objects.get(pk=user.pk)
        return user, group, tenant, operators.issue(user, "")

    user, group, tenant, issued = await sync_to_async(prepare)()

    def demote() -> None:
        if change in ("inactive", "no staff", "superuser"):
            name = {"inactive": "is_active", "no staff": "is_staff", "superuser": "is_superuser"}[change]
            setattr(user, name, False)
            user.save()
        elif change == "deleted":
            user.delete()
        elif change == "group":
            user.groups.clear()
        elif change == "group permission":
            group.permissions.clear()
        else:
            remove_perm("read_members", user, tenant)

    async def narrow() -> None:
        await sync_to_async(demote)()

    cast = Cast(build("mock", "mock"), issued.client_id, "op", issued.token, narrow)
    async with staged(cast) as stage:
        await cast.narrow()
        await until(lambda: stage.link.closed, 2.0)
        assert await stage.join() == 0x87
