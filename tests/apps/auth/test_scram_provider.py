"""SCRAM-SHA-256: the RFC's own example, and everything that must not pass."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async

from apps.auth import passwords
from apps.auth.models import Credential
from apps.auth.providers import scram
from apps.auth.providers.chain import Chain
from apps.auth.providers.scram import messages
from apps.auth.services import credentials
from apps.common.actors import SYSTEM
from apps.gateway.broker.ports import Challenge, Verdict
from apps.gateway.mqtt import reasons
from tests.apps.auth.chains import build, connect, register
from tests.apps.auth.scram import ScramClient


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    chain = build("scram")
    yield chain
    await chain.close()


async def run(chain: Chain, client: ScramClient, username: str | None = None) -> Verdict:
    request = connect(username=username, auth_method=scram.METHOD, auth_data=client.first())
    exchange = chain.exchange(request)
    assert exchange is not None
    answer = await exchange.step(request.auth_data)
    if isinstance(answer, Challenge):
        answer = await exchange.step(client.final(answer.data))
    assert isinstance(answer, Verdict)
    return answer


def test_the_example_of_rfc_7677() -> None:
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    keys = passwords.scram_keys(b"pencil", salt, 4096)
    signed = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    assert scram.proves(keys, signed, proof)
    assert not scram.proves(keys, signed + b"x", proof)


@pytest.mark.django_db(transaction=True)
async def test_both_sides_are_proved(chain: Chain) -> None:
    _, secret = await sync_to_async(register)()
    client = ScramClient("alice", secret)
    verdict = await run(chain, client)
    assert verdict.accepted
    assert verdict.username == "alice"
    assert client.trusts(verdict.auth_data)


@pytest.mark.django_db(transaction=True)
async def test_names_with_commas_and_equals_signs(chain: Chain) -> None:
    _, secret = await sync_to_async(register)(username="a=b,c")
    assert (await run(chain, ScramClient("a=b,c", secret))).accepted


@pytest.mark.django_db(transaction=True)
async def test_old_and_new_secret_during_a_rotation(chain: Chain) -> None:
    """SCRAM shows a salt before it knows which of them the client has: `rotate` keeps the salt."""
    _, old = await sync_to_async(register)()
    first = await Credential.objects.select_related("client").aget()
    second, new = await sync_to_async(credentials.rotate)(SYSTEM, first, timedelta(hours=1))
    second = await Credential.objects.select_related("client").aget(pk=second.pk)
    await sync_to_async(credentials.rotate)(SYSTEM, second, timedelta(hours=1), "chosen by a human, this one")
    for secret in (old, new or "", "chosen by a human, this one"):
        assert (await run(chain, ScramClient("alice", secret))).accepted
    assert not (await run(chain, ScramClient("alice", "another"))).accepted


@pytest.mark.django_db(transaction=True)
async def test_without_an_overlap_the_old_secret_is_worth_nothing(chain: Chain) -> None:
    _, old = await sync_to_async(register)()
    first = await Credential.objects.select_related("client").aget()
    _, new = await sync_to_async(credentials.rotate)(SYSTEM, first)
    assert (await run(chain, ScramClient("alice", new or ""))).accepted
    assert not (await run(chain, ScramClient("alice", old))).accepted


@pytest.mark.django_db(transaction=True)
async def test_an_unknown_user_sees_a_challenge_like_any_other(chain: Chain) -> None:
    await sync_to_async(register)()

    async def shown(username: str) -> dict[str, str]:
        client = ScramClient(username, "guess")
        exchange = chain.exchange(connect(username=None, auth_method=scram.METHOD))
        assert exchange is not None
        answer = await exchange.step(client.first())
        assert isinstance(answer, Challenge)
        assert answer.data is not None
        verdict = await exchange.step(client.final(answer.data))
        assert isinstance(verdict, Verdict)
        assert (verdict.reason, verdict.reason_string) == (0x86, "wrong user name or password")
        return dict(part.split("=", 1) for part in answer.data.decode().split(","))

    known, unknown, again = await shown("alice"), await shown("bob"), await shown("bob")
    assert (len(known["s"]), known["i"]) == (len(unknown["s"]), unknown["i"])
    assert (unknown["s"], unknown["i"]) == (again["s"], again["i"])
    assert unknown["r"] != again["r"]


@pytest.mark.django_db(transaction=True)
async def test_a_replayed_proof_is_worth_nothing(chain: Chain) -> None:
    _, secret = await sync_to_async(register)()
    client = ScramClient("alice", secret, nonce="same")
    first = chain.exchange(connect(username=None, auth_method=scram.METHOD))
    second = chain.exchange(connect(username=None, auth_method=scram.METHOD))
    assert first is not None
    assert second is not None
    challenge = await first.step(client.first())
    await second.step(client.first())
    assert isinstance(challenge, Challenge)
    final = client.final(challenge.data)
    replayed = await second.step(final)
    assert isinstance(replayed, Verdict)
    assert replayed.reason == reasons.NOT_AUTHORIZED
    accepted = await first.step(final)
    assert isinstance(accepted, Verdict)
    assert accepted.accepted


@pytest.mark.django_db(transaction=True)
async def test_the_user_of_connect_must_be_the_same(chain: Chain) -> None:
    _, secret = await sync_to_async(register)()
    assert (await run(chain, ScramClient("alice", secret), username="bob")).reason == reasons.NOT_AUTHORIZED
    assert (await run(chain, ScramClient("alice", secret), username="alice")).accepted


@pytest.mark.django_db(transaction=True)
async def test_a_credential_without_scram_keys_cannot(chain: Chain) -> None:
    _, secret = await sync_to_async(register)()
    await Credential.objects.aupdate(scram="")
    assert (await run(chain, ScramClient("alice", secret))).reason == 0x86


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xff",
        b"n,,",
        b"n,,n=,r=x",
        b"n,,n=alice",
        b"n,,n=alice,r=",
        b"p=tls-unique,,n=alice,r=x",
        b"n,a=bob,n=alice,r=x",
        b"n,,m=ext,n=alice,r=x",
        b"n,,n=a=2cb,r=x",
        b"n,,n=a\x07,r=x",
        b"x,,n=alice,r=x",
        b"n,,n=alice,r=" + b"x" * 5000,
    ],
)
def test_first_messages_that_are_none(bad: bytes) -> None:
    with pytest.raises(messages.BadMessage):
        messages.client_first(bad)


@pytest.mark.parametrize(
    "bad",
    [b"", b"c=biws,r=x", b"c=biws,r=x,p=AAAA", b"c=biws,r=x,p=!", b"r=x,c=biws,p=" + b"A" * 43 + b"="],
)
def test_final_messages_that_are_none(bad: bytes) -> None:
    with pytest.raises(messages.BadMessage):
        messages.client_final(bad)


def test_a_client_that_could_bind_but_thinks_we_cannot() -> None:
    assert messages.client_first(b"y,a=alice,n=alice,r=x,e=1").header == "y,a=alice,"
