"""What holds for every provider. A new one is a line in CAST (and in ACL_CAST)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from asgiref.sync import sync_to_async

from apps.auth.models import AclRule, Client, Credential
from apps.auth.providers.base import Unavailable
from apps.auth.providers.chain import Chain
from apps.auth.providers.database import Database
from apps.gateway.broker.ports import (
    DENIED,
    NOTHING,
    PUBLISH_ALL,
    UNKNOWN,
    Acl,
    Challenge,
    ConnectRequest,
    Peer,
    Verdict,
)
from gmqtt_platform.config.providers import names
from tests.apps.auth.chains import build, connect, register
from tests.apps.auth.scram import ScramClient
from tests.apps.auth.services import gateway, serving

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "k" * 32
TLS = Peer("192.0.2.1", 1, "tls", "CN=alice-1,O=Example", "alice-1")
STRANGER = Peer("192.0.2.1", 1, "tls", "CN=bob,O=Example", "bob")


@dataclass
class Part:
    """A provider in a chain of its own, and how the client alice-1 comes in by it."""

    chain: Chain
    right: Callable[[], ConnectRequest]
    wrong: list[Callable[[], ConnectRequest]] = field(default_factory=list)
    username: str = "alice"
    registered: bool = True  # does it ask the database about the client?


async def mock(stack: AsyncExitStack) -> Part:
    return Part(build("mock"), lambda: connect(), registered=False)


async def django(stack: AsyncExitStack) -> Part:
    _, secret = await sync_to_async(register)()
    return Part(
        build("django"),
        lambda: connect(password=secret),
        [
            lambda: connect(password=secret + "x"),
            lambda: connect("alice-2", password=secret),
            lambda: connect(),
        ],
    )


async def x509(stack: AsyncExitStack) -> Part:
    client, _ = await sync_to_async(register)()
    await Credential.objects.acreate(client=client, kind="x509", subject=TLS.tls_subject)
    wrong = [lambda: connect(peer=STRANGER), lambda: connect(), lambda: connect("alice-2", peer=TLS)]
    return Part(build("x509"), lambda: connect(peer=TLS), wrong, username="alice-1")


def token(**claims: Any) -> str:
    return jwt.encode({"sub": "alice-1", "name": "alice", "exp": time.time() + 60} | claims, KEY)


async def jwt_(stack: AsyncExitStack) -> Part:
    chain = build("jwt", jwt__secret=KEY, jwt__username_claim="name")
    wrong = [
        lambda: connect(password=token(exp=time.time() - 60)),
        lambda: connect("alice-2", password=token()),
        lambda: connect(password=token()[:-4] + "AAAA"),
        lambda: connect(password="no token"),
    ]
    return Part(chain, lambda: connect(password=token()), wrong, registered=False)


async def jwt_registered(stack: AsyncExitStack) -> Part:
    client, _ = await sync_to_async(register)()
    await Credential.objects.acreate(client=client, kind="jwt", claim="device", claim_value="d-17")
    chain = build("jwt", jwt__secret=KEY, jwt__registered="true", jwt__username_claim="name")
    wrong = [lambda: connect(password=token()), lambda: connect("alice-2", password=token(device="d-17"))]
    return Part(chain, lambda: connect(password=token(device="d-17")), wrong)


async def scram(stack: AsyncExitStack) -> Part:
    _, secret = await sync_to_async(register)()

    def begin(username: str = "alice", password: str = secret, client_id: str = "alice-1") -> ConnectRequest:
        client = ScramClient(username, password)
        request = connect(client_id, None, None, auth_method="SCRAM-SHA-256", auth_data=client.first())
        object.__setattr__(request, "client", client)
        return request

    wrong = [
        lambda: begin(password=secret + "x"),
        lambda: begin("bob"),
        lambda: begin(client_id="alice-2"),
    ]
    return Part(build("scram"), begin, wrong)


async def rpc(stack: AsyncExitStack) -> Part:
    _, secret = await sync_to_async(register)()
    service = await stack.enter_async_context(serving())
    chain = await gateway(service.address, acl="django")
    return Part(
        chain, lambda: connect(password=secret), [lambda: connect(password=secret + "x"), lambda: connect()]
    )


CAST: dict[str, Callable[[AsyncExitStack], Awaitable[Part]]] = {
    "mock": mock,
    "django": django,
    "x509": x509,
    "jwt": jwt_,
    "jwt_registered": jwt_registered,
    "scram": scram,
    "rpc": rpc,
}


@pytest.fixture(params=CAST)
async def part(request: pytest.FixtureRequest) -> AsyncIterator[Part]:
    async with AsyncExitStack() as stack:
        part = await CAST[request.param](stack)
        yield part
        await part.chain.close()


async def decide(chain: Chain, request: ConnectRequest) -> Verdict:
    """The verdict, by an exchange where the request asks for one."""
    if request.auth_method is None:
        return await chain.connect(request)
    exchange = chain.exchange(request)
    assert exchange is not None
    answer = await exchange.step(request.auth_data)
    while isinstance(answer, Challenge):
        answer = await exchange.step(request.client.final(answer.data))  # type: ignore[attr-defined]
    return answer


def test_everyone_is_in_the_cast() -> None:
    assert {name.partition("_")[0] for name in CAST} == set(names("auth.client"))
    assert set(ACL_CAST) == set(names("auth.acl"))


async def test_the_right_client_comes_in(part: Part) -> None:
    verdict = await decide(part.chain, part.right())
    assert verdict.accepted
    assert verdict.acl is not None
    assert verdict.username == part.username
    assert part.chain.live["alice-1"] is verdict.acl


async def test_it_comes_in_again(part: Part) -> None:
    for _ in range(3):
        assert (await decide(part.chain, part.right())).accepted


async def test_nobody_else_comes_in(part: Part) -> None:
    for wrong in part.wrong:
        verdict = await decide(part.chain, wrong())
        assert verdict.reason in (0x86, 0x87)
        assert verdict.acl is None
    assert (await decide(part.chain, part.right())).accepted


async def test_an_unknown_method_is_nobody_s(part: Part) -> None:
    assert part.chain.exchange(connect(auth_method="KERBEROS")) is None


async def test_a_client_that_is_disabled_stays_out_and_may_not_stay(part: Part) -> None:
    if not part.registered:
        return
    verdict = await decide(part.chain, part.right())
    identity = part.chain.live["alice-1"].identity
    assert await part.chain.judge(identity) is None
    await Client.objects.filter(client_id="alice-1").aupdate(enabled=False)
    part.chain.forget(["alice-1"])
    refused = await part.chain.judge(identity)
    assert refused is not None
    assert refused.reason == 0x87
    if identity.provider == "rpc:django":  # the service has heard of it by now
        part.chain.forget(["alice-1"])
    assert not (await decide(part.chain, part.right())).accepted
    assert verdict.accepted


async def test_without_the_database_nobody_new_comes_in(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(self: Database, function: Any, *args: Any) -> None:
        raise Unavailable("away")

    await decide(part.chain, part.right())
    part.chain.forget(None)
    monkeypatch.setattr(Database, "run", away)
    verdict = await decide(part.chain, part.right())
    assert verdict.reason == 0x88 or part.chain.open or "jwt" in repr(part.chain.clients)
    assert verdict.acl is None or part.chain.open


# ---------------------------------------------------------------- publish and subscribe


async def mock_acl(stack: AsyncExitStack) -> Acl:
    acl = (await build("mock", "mock").connect(connect())).acl
    assert acl is not None
    return acl


async def django_acl(stack: AsyncExitStack) -> Acl:
    chain = build("mock", "django")
    stack.push_async_callback(chain.close)
    await _rules()
    return _acl(await chain.connect(connect()))


async def jwt_acl(stack: AsyncExitStack) -> Acl:
    chain = build("jwt", "jwt", jwt__secret=KEY)
    stack.push_async_callback(chain.close)
    claims = [
        {"effect": "deny", "filter": "a/no"},
        {"filter": "a/+"},
        {"filter": "b", "action": "publish", "max_qos": 0, "retain": False},
    ]
    return _acl(await chain.connect(connect(password=token(acl=claims))))


async def rpc_acl(stack: AsyncExitStack) -> Acl:
    await _rules()
    service = await stack.enter_async_context(serving("mock", "django"))
    chain = await gateway(service.address)
    stack.push_async_callback(chain.close)
    return _acl(await chain.connect(connect()))


async def _rules() -> None:
    await AclRule.objects.acreate(effect="deny", action="both", filter="a/no")
    await AclRule.objects.acreate(effect="allow", action="both", filter="a/+")
    await AclRule.objects.acreate(effect="allow", action="publish", filter="b", max_qos=0, retain=False)


def _acl(verdict: Verdict) -> Acl:
    assert verdict.acl is not None
    return verdict.acl


ACL_CAST: dict[str, Callable[[AsyncExitStack], Awaitable[Acl]]] = {
    "mock": mock_acl,
    "django": django_acl,
    "jwt": jwt_acl,
    "rpc": rpc_acl,
}


async def publish(acl: Acl, topic: str) -> int:
    """As the connection asks."""
    answer = acl.publish(topic)
    if answer == UNKNOWN:
        answer = await acl.ask_publish(topic)
    assert answer == await acl.ask_publish(topic)
    return answer


async def subscribe(acl: Acl, filter: str, qos: int) -> int:
    answer = acl.subscribe(filter, qos)
    if answer == UNKNOWN:
        answer = await acl.ask_subscribe(filter, qos)
    assert answer == await acl.ask_subscribe(filter, qos)
    return answer


@pytest.mark.parametrize("name", ACL_CAST)
async def test_an_acl_decides(name: str) -> None:
    async with AsyncExitStack() as stack:
        acl = await ACL_CAST[name](stack)
        assert await publish(acl, "a/yes") == PUBLISH_ALL
        assert [await subscribe(acl, "a/yes", qos) for qos in (0, 1, 2)] == [0, 1, 2]
        if name == "mock":
            return
        assert await publish(acl, "a/no") == NOTHING
        assert await publish(acl, "c") == NOTHING
        assert await publish(acl, "b") == 1
        assert await subscribe(acl, "b", 1) == DENIED
        assert await subscribe(acl, "a/+", 1) == DENIED  # a/no is in it
        assert await subscribe(acl, "#", 0) == DENIED


async def test_layers_are_asked_in_order() -> None:
    """The token's rules first, then the service's, then the default."""
    await _rules()
    async with serving("mock", "django") as service:
        chain = await gateway(service.address, client="jwt", acl="jwt,rpc", jwt__secret=KEY)
        claims = [{"filter": "c"}, {"effect": "deny", "filter": "a/yes"}]
        acl = _acl(await chain.connect(connect(password=token(acl=claims))))
        assert acl.publish("c") == PUBLISH_ALL
        assert acl.publish("a/yes") == NOTHING
        assert acl.publish("a/other") == UNKNOWN
        assert await acl.ask_publish("a/other") == PUBLISH_ALL
        assert await acl.ask_publish("d") == NOTHING
        await chain.close()


async def test_mock_failure_closes_everything() -> None:
    chain = build("mock", "mock", mock="failure")
    verdict = await chain.connect(connect())
    assert (verdict.reason, verdict.acl) == (0x87, None)
    open_door = build("mock", "mock")
    assert json.dumps(open_door.status()) == '{"bans": 0, "refused_by_guard": {}}'
    await asyncio.gather(chain.close(), open_door.close())
