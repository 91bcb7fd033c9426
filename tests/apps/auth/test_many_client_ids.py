"""A credential for a pattern of client ids: for tools that make one up, for all devices of a home."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ValidationError

from apps.auth.models import Client, Credential
from apps.auth.providers.chain import Chain
from apps.auth.services import clients, credentials, rules
from apps.auth.services.credentials import NewCredential
from apps.common.actors import SYSTEM
from apps.gateway.broker.ports import PUBLISH_ALL
from apps.gateway.mqtt import reasons
from tests.apps.auth.chains import build, connect, counting_queries, register
from tests.apps.auth.scram import ScramClient

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    chain = build("django")
    yield chain
    await chain.close()


def rule(client: Client, filter: str) -> None:
    rules.create(SYSTEM, client=client, effect="allow", action="both", filter=filter)


@pytest.mark.parametrize(
    ("client_ids", "client_id", "lets_in"),
    [
        ("*", "mosq-Xb3q", True),
        ("home-*", "home-42", True),
        ("home-*", "Home-42", False),
        ("home-*", "shome-42", False),
        ("lamp-?", "lamp-7", True),
        ("lamp-?", "lamp-77", False),
        ("", "mosq-Xb3q", False),
        ("", "thermometer-1", True),
        ("home-*", "thermometer-1", True),  # its own is always its own
    ],
)
async def test_which_client_ids_it_is_for(
    chain: Chain, client_ids: str, client_id: str, lets_in: bool
) -> None:
    _, secret = await sync_to_async(register)("thermometer-1", "thermometer-1", client_ids=client_ids)
    verdict = await chain.connect(connect(client_id, "thermometer-1", secret))
    assert verdict.accepted is lets_in
    if not lets_in:
        assert verdict.reason == reasons.BAD_USER_NAME_OR_PASSWORD


async def test_the_wrong_secret_is_wrong_for_each_of_them(chain: Chain) -> None:
    await sync_to_async(register)("thermometer-1", "thermometer-1", client_ids="*")
    verdict = await chain.connect(connect("mosq-1", "thermometer-1", "gmq_" + "x" * 43))
    assert verdict.reason == reasons.BAD_USER_NAME_OR_PASSWORD


async def test_a_client_id_that_is_registered_belongs_to_its_client(chain: Chain) -> None:
    """Else whoever has the household's credential takes over the session of the meter."""
    _, secret = await sync_to_async(register)("house", "house", client_ids="*")
    await sync_to_async(register)("meter", "meter")
    assert (await chain.connect(connect("lamp", "house", secret))).accepted
    assert not (await chain.connect(connect("meter", "house", secret))).accepted


async def test_its_rules_hold_for_all_of_them(chain: Chain) -> None:
    """Those of the registered client; ${clientid} is the id that came, ${username} the credential's."""
    client, secret = await sync_to_async(register)("house", "house", client_ids="home-*")
    await sync_to_async(rule)(client, "house/${clientid}/#")
    await sync_to_async(rule)(client, "of/${username}/+")
    verdict = await chain.connect(connect("home-1", "house", secret))
    assert verdict.acl is not None
    assert verdict.acl.publish("house/home-1/x") == PUBLISH_ALL
    assert verdict.acl.publish("house/home-2/x") != PUBLISH_ALL
    assert verdict.acl.publish("of/house/x") == PUBLISH_ALL
    other = await chain.connect(connect("home-2", "house", secret))
    assert other.acl is not None and other.acl.publish("house/home-2/x") == PUBLISH_ALL
    assert chain.live["home-1"].identity.row == "house"
    assert chain.under(["house"]) == {"house", "home-1", "home-2"}


async def test_what_happens_to_the_client_happens_to_them(chain: Chain) -> None:
    client, secret = await sync_to_async(register)("house", "house", client_ids="home-*")
    verdict = await chain.connect(connect("home-1", "house", secret))
    assert verdict.acl is not None
    identity = chain.live["home-1"].identity
    assert await chain.judge(identity) is None
    await sync_to_async(clients.set_enabled)(SYSTEM, [client], False)
    chain.forget(["house"])
    refused = await chain.judge(identity)
    assert refused is not None and refused.text == "the client is disabled"
    assert (await chain.connect(connect("home-1", "house", secret))).reason == reasons.NOT_AUTHORIZED
    await sync_to_async(clients.unregister)(SYSTEM, [client])
    chain.forget(["house"])
    assert (await chain.connect(connect("home-1", "house", secret))).reason == (
        reasons.BAD_USER_NAME_OR_PASSWORD
    )


async def test_rotation_keeps_whom_it_is_for(chain: Chain) -> None:
    await sync_to_async(register)("house", "house", client_ids="home-*")
    old = await Credential.objects.select_related("client").aget()
    fresh, secret = await sync_to_async(credentials.rotate)(SYSTEM, old, timedelta(seconds=60))
    assert fresh.client_ids == "home-*"
    assert secret is not None
    assert (await chain.connect(connect("home-1", "house", secret))).accepted


async def test_no_more_questions_than_before(chain: Chain) -> None:
    """One for a client id that is not remembered, one more for the account's own facts, then none."""
    _, secret = await sync_to_async(register)("house", "house", client_ids="home-*")
    await chain.load_bans()
    with counting_queries(chain) as asked:
        assert (await chain.connect(connect("home-1", "house", secret))).accepted
        assert len(asked) == 2
        assert (await chain.connect(connect("home-1", "house", secret))).accepted
        assert len(asked) == 2
        assert (await chain.connect(connect("home-2", "house", secret))).accepted
        assert len(asked) == 3


async def test_a_storm_of_them(chain: Chain) -> None:
    """Asked for together, as others are."""
    _, secret = await sync_to_async(register)("house", "house", client_ids="home-*")
    await chain.load_bans()
    with counting_queries(chain) as asked:
        verdicts = await asyncio.gather(
            *[chain.connect(connect(f"home-{n}", "house", secret)) for n in range(200)]
        )
        assert all(each.accepted for each in verdicts)
        assert len(asked) < 10


async def test_by_scram() -> None:
    chain = build("scram")
    try:
        _, secret = await sync_to_async(register)("house", "house", client_ids="home-*")
        for client_id, lets_in in (("home-1", True), ("away-1", False)):
            scram = ScramClient("house", secret)
            exchange = chain.exchange(connect(client_id, None, None, auth_method="SCRAM-SHA-256"))
            assert exchange is not None
            challenge = await exchange.step(scram.first())
            verdict = await exchange.step(scram.final(challenge.data))  # type: ignore[union-attr]
            assert verdict.accepted is lets_in  # type: ignore[union-attr]
    finally:
        await chain.close()


def test_only_secrets_and_passwords_have_it() -> None:
    client, _ = register("house", "house")
    with pytest.raises(ValidationError) as caught:
        credentials.add(SYSTEM, client, NewCredential(kind="x509", subject="CN=x", client_ids="*"))
    assert "client_ids" in caught.value.message_dict
