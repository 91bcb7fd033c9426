"""Registered clients with secrets and passwords, and the rules of the database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.utils import timezone

from apps.auth.models import AclRule, Client, ClientGroup, Credential
from apps.auth.providers.chain import Chain
from apps.auth.services import bans, clients, credentials, rules
from apps.common.actors import SYSTEM
from apps.gateway.broker.ports import DENIED, NOTHING, PUBLISH_ALL, Peer
from apps.gateway.mqtt import reasons
from tests.apps.auth.chains import build, connect, counting_queries, register

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    chain = build("django")
    yield chain
    await chain.close()


@pytest.fixture
def quick(settings: object) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # type: ignore[attr-defined]


async def test_the_right_secret_comes_in(chain: Chain) -> None:
    _, secret = await sync_to_async(register)()
    verdict = await chain.connect(connect(password=secret))
    assert verdict.accepted
    assert verdict.username == "alice"


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "gmq_" + "x" * 43},
        {"password": "guess"},
        {"username": "bob"},
        {"client_id": "alice-2"},
        {"password": None, "username": "alice"},
    ],
)
async def test_anything_else_hears_the_same(chain: Chain, quick: None, wrong: dict[str, str]) -> None:
    _, secret = await sync_to_async(register)()
    verdict = await chain.connect(connect(**{"password": secret} | wrong))
    assert verdict.reason == reasons.BAD_USER_NAME_OR_PASSWORD
    assert verdict.acl is None
    assert verdict.reason_string == "wrong user name or password"


async def test_nothing_at_all_is_not_authorized(chain: Chain) -> None:
    assert (await chain.connect(connect(username=None))).reason == reasons.NOT_AUTHORIZED


async def test_a_human_password(chain: Chain, quick: None) -> None:
    await sync_to_async(register)(password="correct horse battery")
    assert (await chain.connect(connect(password="correct horse battery"))).accepted
    assert (await chain.connect(connect(password="wrong horse"))).reason == 0x86


async def test_a_disabled_client_is_told_so_only_with_its_secret(chain: Chain) -> None:
    _, secret = await sync_to_async(register)(enabled=False)
    verdict = await chain.connect(connect(password=secret))
    assert (verdict.reason, verdict.reason_string) == (reasons.NOT_AUTHORIZED, "the client is disabled")
    assert (await chain.connect(connect(password="gmq_" + "x" * 43))).reason == 0x86


async def test_only_the_allowed_transports(chain: Chain) -> None:
    _, secret = await sync_to_async(register)(transports=("tls", "wss"))
    assert (await chain.connect(connect(password=secret))).reason == reasons.NOT_AUTHORIZED
    assert (await chain.connect(connect(password=secret, peer=Peer("192.0.2.1", 1, "tls")))).accepted


async def test_two_secrets_overlap_until_the_old_one_ends(chain: Chain) -> None:
    client, old = await sync_to_async(register)()
    rotated = await sync_to_async(credentials.rotate_client)(SYSTEM, client, overlap=timedelta(hours=1))
    new = rotated[-1] if isinstance(rotated, tuple) else rotated.secret
    chain.forget(["alice-1"])
    assert (await chain.connect(connect(password=old))).accepted
    assert (await chain.connect(connect(password=new))).accepted
    await Credential.objects.filter(valid_until__isnull=False).aupdate(
        valid_until=timezone.now() - timedelta(seconds=1)
    )
    chain.forget(["alice-1"])
    assert (await chain.connect(connect(password=old))).reason == 0x86
    assert (await chain.connect(connect(password=new))).accepted


async def test_a_credential_that_runs_out_while_remembered(chain: Chain) -> None:
    _, secret = await sync_to_async(register)()
    until = timezone.now() + timedelta(seconds=0.3)
    await Credential.objects.aupdate(valid_until=until)
    assert (await chain.connect(connect(password=secret))).accepted
    await asyncio.sleep(0.35)
    assert (await chain.connect(connect(password=secret))).reason == 0x86


async def test_the_rules_of_client_group_and_everyone(chain: Chain) -> None:
    def prepare() -> str:
        group = ClientGroup.objects.create(name="red")
        client, secret = register(groups=("red",))
        AclRule.objects.create(effect="allow", action="both", filter="d/${clientid}/#", client=client)
        AclRule.objects.create(effect="allow", action="publish", filter="g/${group}", group=group)
        AclRule.objects.create(effect="deny", action="both", filter="d/+/locked")
        AclRule.objects.create(effect="allow", action="subscribe", filter="all/#", max_qos=1, priority=5)
        return secret

    secret = await sync_to_async(prepare)()
    verdict = await chain.connect(connect(password=secret))
    acl = verdict.acl
    assert acl is not None
    assert acl.publish("d/alice-1/up") == PUBLISH_ALL
    assert acl.publish("g/red") == PUBLISH_ALL
    assert acl.publish("d/bob/up") == NOTHING
    assert acl.subscribe("all/x/#", 2) == 1
    assert acl.subscribe("#", 0) == DENIED
    assert await acl.ask_publish("d/alice-1/up") == PUBLISH_ALL


async def test_bans(chain: Chain) -> None:
    _, secret = await sync_to_async(register)()
    await sync_to_async(bans.create)(SYSTEM, "address", "198.51.100.0/24")
    await sync_to_async(bans.create)(SYSTEM, "pattern", "eve-*")
    await sync_to_async(bans.create)(SYSTEM, "username", "mallory")
    elsewhere = Peer("198.51.100.77", 1, "tcp")
    assert (await chain.connect(connect(password=secret))).accepted
    for banned in (
        connect(password=secret, peer=elsewhere),
        connect("eve-9", password=secret),
        connect(username="mallory", password=secret),
    ):
        verdict = await chain.connect(banned)
        assert (verdict.reason, verdict.reason_string) == (reasons.BANNED, "banned")


async def test_one_query_cold_and_none_warm(chain: Chain) -> None:
    _, secret = await sync_to_async(register)()
    await chain.load_bans()
    with counting_queries(chain) as asked:
        assert (await chain.connect(connect(password=secret))).accepted
        assert len(asked) == 1
        assert (await chain.connect(connect(password=secret))).accepted
        assert len(asked) == 1
        for _ in range(2):
            await chain.connect(connect("nobody", "nobody", "gmq_" + "x" * 43))
        assert len(asked) == 2


async def test_the_one_call_is_one_statement(chain: Chain) -> None:
    from apps.auth.selectors import connect_facts

    await sync_to_async(register)()

    def statements() -> int:
        connections["default"].force_debug_cursor = True
        before = len(connections["default"].queries_log)
        connect_facts("alice-1", "alice", "192.0.2.1")
        after = len(connections["default"].queries_log)
        connections["default"].force_debug_cursor = False
        return after - before

    assert await sync_to_async(statements)() == 1


async def test_a_storm_of_one_client_asks_once(chain: Chain) -> None:
    _, secret = await sync_to_async(register)()
    await chain.load_bans()
    with counting_queries(chain) as asked:
        verdicts = await asyncio.gather(*(chain.connect(connect(password=secret)) for _ in range(50)))
    assert all(verdict.accepted for verdict in verdicts)
    assert len(asked) == 1


async def test_a_warm_connect_never_suspends(chain: Chain) -> None:
    _, secret = await sync_to_async(register)()
    await chain.connect(connect(password=secret))
    coroutine = chain.connect(connect(password=secret))
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    assert done.value.value.accepted


async def test_a_warm_connect_takes_microseconds(chain: Chain) -> None:
    _, secret = await sync_to_async(register)()
    request = connect(password=secret)
    await chain.connect(request)
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(50):
            await chain.connect(request)
        best = min(best, (time.perf_counter() - start) / 50)
    assert best < 60e-6


async def test_a_change_while_the_client_is_looked_up_is_not_missed(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is disabled after its facts were read and before it is let in."""
    _, secret = await sync_to_async(register)()
    asked = 0
    registry = chain.parts.registry
    fetch = registry._fetch

    def slow(client_id: str, username: str | None, address: str) -> object:
        nonlocal asked
        facts = fetch(client_id, username, address)
        asked += 1
        if asked == 1:
            Client.objects.update(enabled=False)
            registry.forget(["alice-1"])
        return facts

    monkeypatch.setattr(registry, "_fetch", slow)
    assert (await chain.connect(connect(password=secret))).reason == reasons.NOT_AUTHORIZED


async def test_the_password_was_being_checked_when_the_client_was_disabled(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    await sync_to_async(register)(password="correct horse battery")
    verify = chain.parts.passwords.verify

    async def slow(*args):  # type: ignore[no-untyped-def]
        right = await verify(*args)
        if await Client.objects.filter(enabled=True).aupdate(enabled=False):
            chain.forget(["alice-1"])
        return right

    monkeypatch.setattr(chain.parts.passwords, "verify", slow)
    assert (await chain.connect(connect(password="correct horse battery"))).reason == reasons.NOT_AUTHORIZED


async def test_a_changed_rule_holds_for_the_next_connect(chain: Chain) -> None:
    client, secret = await sync_to_async(register)()
    first = (await chain.connect(connect(password=secret))).acl
    assert first is not None
    assert first.publish("a") == NOTHING
    await sync_to_async(rules.create)(SYSTEM, effect="allow", action="both", filter="a", client=client)
    chain.forget(["alice-1"])
    second = (await chain.connect(connect(password=secret))).acl
    assert second is not None
    assert second.publish("a") == PUBLISH_ALL


async def test_the_default_may_be_allow() -> None:
    chain = build("django", acl_default="allow")
    _, secret = await sync_to_async(register)()
    acl = (await chain.connect(connect(password=secret))).acl
    assert acl is not None
    assert acl.publish("anything") == PUBLISH_ALL
    assert acl.subscribe("#", 2) == 2
    await chain.close()


async def test_an_unregistered_client_comes_in_no_more(chain: Chain) -> None:
    client, secret = await sync_to_async(register)()
    assert (await chain.connect(connect(password=secret))).accepted
    await sync_to_async(clients.unregister)(SYSTEM, [client])
    chain.forget(["alice-1"])
    assert (await chain.connect(connect(password=secret))).reason == 0x86
