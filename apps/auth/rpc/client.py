"""The gateway's side of the auth service: finds instances, spreads calls over them, survives their death."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc import aio

from apps.auth.discovery import Directory
from apps.auth.discovery.base import DiscoveryUnavailable
from apps.auth.fair_queue import Busy
from apps.auth.providers.base import Unavailable
from apps.auth.rpc.access import SERVICE, CallerToken
from apps.auth.rpc.tls import Authority

if TYPE_CHECKING:
    from gmqtt_platform.config.auth import RpcConf

logger = logging.getLogger(__name__)

# What another instance may answer better, and what says that this one is ill.
_RETRY: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
)
_CHANNEL_OPTIONS: Final = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.use_local_subchannel_pool", 1),
]
CLOSE_AFTER: Final = 5.0  # seconds that calls under way have when their instance was withdrawn


class Breaker:
    """Lets an instance rest after `failures` in a row, then tries it with one call at a time."""

    def __init__(self, failures: int, seconds: float, clock: Callable[[], float]) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._failures = 0
        self._rests_until = 0.0

    def free(self) -> bool:
        """May a call go there now? A call that tries a rested instance holds the next ones off."""
        if self._failures < self._limit:
            return True
        now = self._clock()
        if now < self._rests_until:
            return False
        self._rests_until = now + self._seconds
        return True

    @property
    def open(self) -> bool:
        return self._failures >= self._limit

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= self._limit:
            self._rests_until = self._clock() + self._seconds


class Instance:
    """One address of the service, with its channel and its breaker."""

    def __init__(self, address: str, channel: aio.Channel, breaker: Breaker) -> None:
        self.address = address
        self.channel = channel
        self.breaker = breaker
        self.calls: dict[str, Any] = {}  # method -> callable


class RpcClient:
    """`call` asks one instance, and one more where the first cannot answer. Made and used on one loop."""

    def __init__(
        self,
        conf: RpcConf,
        directory: Directory,
        refresh: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`refresh`: seconds between two looks into the directory."""
        self._conf = conf
        self._authority = Authority(conf.tls_ca) if conf.tls_ca is not None else None
        self._directory = directory
        self._refresh = refresh
        self._clock = clock
        self._token = CallerToken(conf.access_key, conf.secret)
        self._instances: dict[str, Instance] = {}
        self._order: list[Instance] = []
        self._next = 0
        self._inflight = 0
        self._found: asyncio.Event | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._logged = ""

    # ------------------------------------------------------------ calls

    async def call(self, method: str, request: Any, reply: Any) -> Any:
        """The reply, an instance of the message class `reply`.

        `Unavailable` when no instance answers within the deadline, `Busy` when too much is under way already.
        """
        if self._inflight >= self._conf.max_inflight:
            raise Busy
        self._inflight += 1
        try:
            await self._ready()
            return await self._call(method, request, reply)
        finally:
            self._inflight -= 1

    async def _call(self, method: str, request: Any, reply: Any) -> Any:
        tried: Instance | None = None
        answer = "no instance is known"
        for _ in range(2):
            instance = self._pick(tried)
            if instance is None:
                break
            try:
                result = await self._ask(instance, method, request, reply)
            except aio.AioRpcError as error:
                answer = f"{instance.address}: {error.code().name} {error.details()}"
                if error.code() not in _RETRY:
                    self._log(answer)
                    raise Unavailable(answer) from None
                if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                    instance.breaker.failed()
                elif tried is not None or len(self._order) == 1:
                    raise Busy from None
                tried = instance
            else:
                instance.breaker.succeeded()
                self._logged = ""
                return result
        if not self._order or all(each.breaker.open for each in self._order):
            self._log(answer)
        raise Unavailable(answer)

    async def _ask(self, instance: Instance, method: str, request: Any, reply: Any) -> Any:
        call = instance.calls.get(method)
        if call is None:
            call = instance.calls[method] = instance.channel.unary_unary(
                f"/{SERVICE}/{method}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=reply.FromString,
            )
        seconds = self._conf.timeout_ms / 1000
        return await call(request, timeout=seconds, metadata=self._token.metadata())

    def _pick(self, not_this: Instance | None) -> Instance | None:
        """The next one in turn that does not rest."""
        count = len(self._order)
        for step in range(count):
            instance = self._order[(self._next + step) % count]
            if instance is not not_this and instance.breaker.free():
                self._next = (self._next + step + 1) % count
                return instance
        return None

    def _log(self, answer: str) -> None:
        """Once per kind of trouble, not per call."""
        if answer != self._logged:
            self._logged = answer
            logger.error("the auth service does not answer: %s", answer)

    # ------------------------------------------------------------ instances

    async def _ready(self) -> None:
        """The first call starts the watch and waits until the directory has been asked once."""
        if self._found is None:
            self._found = asyncio.Event()
            self._watching = asyncio.create_task(self._watch(self._found), name="auth-discovery")
        if not self._found.is_set():
            await self._found.wait()

    async def _watch(self, found: asyncio.Event) -> None:
        away = False
        while True:
            try:
                self._take(await asyncio.to_thread(self._directory.instances))
                away = False
            except DiscoveryUnavailable as error:  # those that are known go on serving
                if not away:
                    logger.error("the auth service cannot be looked up: %s", error)
                away = True
            except Exception:
                logger.exception("the auth service cannot be looked up")
            found.set()
            await asyncio.sleep(self._refresh)

    def _take(self, addresses: set[str]) -> None:
        renewed = self._authority is not None and self._authority.renewed()
        for address in list(self._instances) if renewed else self._instances.keys() - addresses:
            gone = self._instances.pop(address)
            task = asyncio.create_task(gone.channel.close(CLOSE_AFTER))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        for address in addresses - self._instances.keys():
            breaker = Breaker(self._conf.breaker_failures, self._conf.breaker_seconds, self._clock)
            self._instances[address] = Instance(address, self._channel(address), breaker)
        self._order = [self._instances[address] for address in sorted(self._instances)]

    def _channel(self, address: str) -> aio.Channel:
        options: list[tuple[str, Any]] = list(_CHANNEL_OPTIONS)
        if self._authority is None:
            return aio.insecure_channel(address, options)
        if self._conf.tls_name:
            options.append(("grpc.ssl_target_name_override", self._conf.tls_name))
        credentials = grpc.ssl_channel_credentials(self._authority.pem)
        return aio.secure_channel(address, credentials, options)

    @property
    def ok(self) -> bool:
        """Is there an instance that was not found ill? True as long as nobody asked."""
        return self._found is None or any(not each.breaker.open for each in self._order)

    def status(self) -> dict[str, str]:
        """Address -> ok or resting."""
        return {each.address: "resting" if each.breaker.open else "ok" for each in self._order}

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await asyncio.gather(*self._closing, *(each.channel.close(0) for each in self._order))
        self._order = []
        self._instances = {}
