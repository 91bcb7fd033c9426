"""The gateway's client of the auth service: failover, deadlines, breaker, bounds, outages."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from asgiref.sync import sync_to_async
from grpc import aio

from apps.auth.discovery.base import DiscoveryUnavailable
from apps.auth.fair_queue import Busy
from apps.auth.providers.base import Unavailable
from apps.auth.rpc import auth_pb2 as pb
from apps.auth.rpc import auth_pb2_grpc
from apps.auth.rpc.client import Breaker, RpcClient
from apps.gateway.broker.ports import NOTHING, PUBLISH_ALL
from apps.gateway.mqtt import reasons
from gmqtt_platform.config.loader import load
from tests.apps.auth.chains import connect, register
from tests.apps.auth.services import gateway, serving


class Fake(auth_pb2_grpc.AuthServicer):
    """An instance that does as it is told: `mood` is ok, or a status code, or seconds to wait."""

    def __init__(self) -> None:
        self.mood: Any = "ok"
        self.calls = 0

    async def Auth(self, request: Any, context: Any) -> pb.AuthReply:
        self.calls += 1
        if isinstance(self.mood, grpc.StatusCode):
            await context.abort(self.mood, "as told")
        if isinstance(self.mood, float):
            await asyncio.sleep(self.mood)
        return pb.AuthReply(decision=pb.ALLOW, subject=pb.Subject(client_id=request.client_id))


class Directory:
    def __init__(self, *addresses: str) -> None:
        self.addresses: set[str] | None = set(addresses)

    def instances(self) -> set[str]:
        if self.addresses is None:
            raise DiscoveryUnavailable("as told")
        return set(self.addresses)


@asynccontextmanager
async def instances(
    count: int, **keys: Any
) -> AsyncIterator[tuple[RpcClient, list[Fake], Directory, list[str]]]:
    servers, fakes, addresses = [], [], []
    for _ in range(count):
        server, fake = aio.server(), Fake()
        auth_pb2_grpc.add_AuthServicer_to_server(fake, server)
        addresses.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        await server.start()
        servers.append(server)
        fakes.append(fake)
    directory = Directory(*addresses)
    environ = {f"GMQTT_AUTH__RPC__{key.upper()}": str(value) for key, value in keys.items()}
    environ |= {"GMQTT_AUTH__RPC__ACCESS_KEY": "k", "GMQTT_AUTH__RPC__SECRET": "s" * 32}
    client = RpcClient(load(environ).auth.rpc, directory, refresh=0.05)  # type: ignore[arg-type]
    try:
        yield client, fakes, directory, addresses
    finally:
        await client.close()
        await asyncio.gather(*(server.stop(0) for server in servers))


async def ask(client: RpcClient) -> Any:
    return await client.call("Auth", pb.AuthRequest(client_id="x"), pb.AuthReply)


async def test_calls_are_spread() -> None:
    async with instances(3) as (client, fakes, _, _):
        await asyncio.gather(*(ask(client) for _ in range(30)))
        assert [fake.calls for fake in fakes] == [10, 10, 10]


@pytest.mark.parametrize("mood", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, 5.0])
async def test_another_instance_answers(mood: Any) -> None:
    async with instances(2, timeout_ms=200) as (client, fakes, _, _):
        fakes[0].mood = mood
        for _ in range(4):
            assert (await ask(client)).decision == pb.ALLOW
        assert fakes[1].calls == 4


async def test_one_retry_and_no_more() -> None:
    async with instances(3) as (client, fakes, _, _):
        for fake in fakes:
            fake.mood = grpc.StatusCode.UNAVAILABLE
        with pytest.raises(Unavailable):
            await ask(client)
        assert sum(fake.calls for fake in fakes) == 2


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED]
)
async def test_what_no_other_instance_does_better_is_not_retried(code: grpc.StatusCode) -> None:
    async with instances(2) as (client, fakes, _, _):
        for fake in fakes:
            fake.mood = code
        with pytest.raises(Unavailable):
            await ask(client)
        assert sum(fake.calls for fake in fakes) == 1


async def test_an_instance_that_is_busy_everywhere() -> None:
    async with instances(2) as (client, fakes, _, _):
        for fake in fakes:
            fake.mood = grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(Busy):
            await ask(client)


async def test_an_ill_instance_rests_and_is_tried_again() -> None:
    async with instances(2, breaker_failures=2, breaker_seconds=1) as (client, fakes, _, _):
        fakes[0].mood = grpc.StatusCode.UNAVAILABLE
        for _ in range(12):
            await ask(client)
        assert fakes[0].calls == 2
        assert Counter(client.status().values()) == {"ok": 1, "resting": 1}
        fakes[0].mood = "ok"
        await asyncio.sleep(1.05)
        for _ in range(6):
            await ask(client)
        assert fakes[0].calls >= 4
        assert set(client.status().values()) == {"ok"}


async def test_when_all_rest_the_answer_is_quick() -> None:
    async with instances(2, breaker_failures=1, timeout_ms=300) as (client, fakes, _, _):
        for fake in fakes:
            fake.mood = 10.0
        with pytest.raises(Unavailable):
            await ask(client)
        start = time.perf_counter()
        with pytest.raises(Unavailable):
            await ask(client)
        assert time.perf_counter() - start < 0.05
        assert not client.ok


async def test_what_is_under_way_is_bounded() -> None:
    async with instances(1, max_inflight=5) as (client, fakes, _, _):
        fakes[0].mood = 0.3
        answers = await asyncio.gather(*(ask(client) for _ in range(8)), return_exceptions=True)
        assert Counter(type(answer).__name__ for answer in answers) == {"AuthReply": 5, "Busy": 3}
        await ask(client)


async def test_instances_come_and_go() -> None:
    async with instances(2) as (client, fakes, directory, addresses):
        directory.addresses = {addresses[0]}
        await ask(client)
        directory.addresses = {addresses[1]}
        await asyncio.sleep(0.2)
        await ask(client)
        assert [fake.calls for fake in fakes] == [1, 1]
        directory.addresses = None  # the directory is away: what is known goes on
        await asyncio.sleep(0.2)
        await ask(client)
        directory.addresses = set()
        await asyncio.sleep(0.2)
        with pytest.raises(Unavailable):
            await ask(client)
        assert not client.ok


async def test_no_directory_from_the_start() -> None:
    async with instances(1) as (client, _, directory, addresses):
        directory.addresses = None
        with pytest.raises(Unavailable):
            await ask(client)
        directory.addresses = set(addresses)
        await asyncio.sleep(0.2)
        await ask(client)


def test_the_breaker() -> None:
    now = [0.0]
    breaker = Breaker(3, 10, lambda: now[0])
    for _ in range(2):
        breaker.failed()
    breaker.succeeded()
    for _ in range(3):
        assert breaker.free()
        breaker.failed()
    assert breaker.open
    assert not breaker.free()
    now[0] = 10
    assert breaker.free()
    assert not breaker.free()  # one call tries it
    breaker.failed()
    now[0] = 19
    assert not breaker.free()
    now[0] = 20
    assert breaker.free()
    breaker.succeeded()
    assert breaker.free()
    assert breaker.free()


# ---------------------------------------------------------------- in the chain


@pytest.mark.django_db(transaction=True)
async def test_a_service_that_is_away_never_means_yes() -> None:
    _, secret = await sync_to_async(register)()
    chain = await gateway("grpc://127.0.0.1:1", rpc__timeout_ms="300")
    verdict = await chain.connect(connect(password=secret))
    assert (verdict.reason, verdict.acl) == (reasons.SERVER_UNAVAILABLE, None)
    assert chain.status()["auth_services"] == {"127.0.0.1:1": "ok"}
    await chain.close()


@pytest.mark.django_db(transaction=True)
async def test_one_call_cold_and_none_warm() -> None:
    _, secret = await sync_to_async(register)()
    async with serving() as service:
        chain = await gateway(service.address, rpc__timeout_ms="20000")
        calls = Counter[str]()
        call = chain.parts.rpc.call

        async def counted(method: str, request: Any, reply: Any) -> Any:
            calls[method] += 1
            return await call(method, request, reply)

        chain.parts.rpc.call = counted  # type: ignore[method-assign]
        for _ in range(3):
            acl = (await chain.connect(connect(password=secret))).acl
            assert acl is not None
            assert await acl.ask_publish("a") == NOTHING
        for _ in range(3):
            assert (await chain.connect(connect(password="wrong"))).reason == 0x86
        assert calls == {"Auth": 2, "PubAuth": 1}
        await chain.close()


@pytest.mark.django_db(transaction=True)
async def test_a_failover_between_real_instances() -> None:
    _, secret = await sync_to_async(register)()
    async with serving() as one, serving() as two:
        chain = await gateway(one.address, two.address, cache_size="0")
        for _ in range(4):
            assert (await chain.connect(connect(password=secret))).accepted
        await one.server.stop(0)
        for _ in range(6):
            assert (await chain.connect(connect(password=secret))).accepted
        await two.server.stop(0)
        assert (await chain.connect(connect(password=secret))).reason == reasons.SERVER_UNAVAILABLE
        await chain.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("grace", "reason"), [("0", reasons.SERVER_UNAVAILABLE), ("10", 0)])
async def test_grace_lets_in_who_was_known(grace: str, reason: int) -> None:
    from apps.auth.models import AclRule

    _, secret = await sync_to_async(register)()
    await AclRule.objects.acreate(effect="allow", action="both", filter="a")
    async with serving() as service:
        chain = await gateway(service.address, cache_ttl="1", cache_grace=grace, rpc__timeout_ms="300")
        acl = (await chain.connect(connect(password=secret))).acl
        assert acl is not None
        assert await acl.ask_publish("a") == PUBLISH_ALL
        await service.server.stop(0)
    await asyncio.sleep(1.1)
    verdict = await chain.connect(connect(password=secret))
    assert verdict.reason == reason
    assert (await chain.connect(connect(password="wrong"))).reason == reasons.SERVER_UNAVAILABLE
    if verdict.acl is not None:
        assert await verdict.acl.ask_publish("a") == PUBLISH_ALL
        with pytest.raises(Unavailable):
            await verdict.acl.ask_publish("b")
    await chain.close()
