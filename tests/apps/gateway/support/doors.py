"""Authenticators and ACLs for tests. Each is a whole, small implementation of its port."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from apps.gateway.broker import ports
from apps.gateway.broker.ports import Acl, Challenge, ConnectRequest, Exchange, Verdict
from apps.gateway.mqtt import reasons


class Question:
    """Something asked elsewhere: awaiting it suspends until the test lets it go on."""

    def __await__(self) -> Generator[Question, None, None]:
        yield self


class Open:
    """Everything is allowed."""

    cost = 25

    def publish(self, topic: str) -> int:
        return ports.PUBLISH_ALL

    def subscribe(self, filter: str, qos: int) -> int:
        return qos

    async def ask_publish(self, topic: str) -> int:
        raise AssertionError("asked without need")

    async def ask_subscribe(self, filter: str, qos: int) -> int:
        raise AssertionError("asked without need")


@dataclass
class Listed:
    """Grants by exact topic and filter; what is not listed is allowed."""

    publish_grants: dict[str, int] = field(default_factory=dict)
    subscribe_grants: dict[str, int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)  # to questions; default: everything
    asked: list[str] = field(default_factory=list)
    error: bool = False  # questions end in an exception
    cost: int = 25

    def publish(self, topic: str) -> int:
        return self.publish_grants.get(topic, ports.PUBLISH_ALL)

    def subscribe(self, filter: str, qos: int) -> int:
        return self.subscribe_grants.get(filter, qos)

    async def ask_publish(self, topic: str) -> int:
        return await self._ask(topic, ports.PUBLISH_ALL)

    async def ask_subscribe(self, filter: str, qos: int) -> int:
        return await self._ask(filter, qos)

    async def _ask(self, topic: str, default: int) -> int:
        self.asked.append(topic)
        await Question()
        if self.error:
            raise ConnectionError("the authority is away")
        return self.answers.get(topic, default)


class Riddle:
    """An enhanced method with one challenge: the answer to `riddle` is `answer`."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._asked = False

    async def step(self, data: bytes | None) -> Verdict | Challenge:
        if not self._asked:
            self._asked = True
            return Challenge(b"riddle")
        if data == b"answer":
            return Verdict(reasons.SUCCESS, self._door.acl, auth_data=b"welcome")
        return Verdict(reasons.NOT_AUTHORIZED, reason_string="wrong answer")


@dataclass
class Door:
    """An authenticator: `verdicts` by user name, else everybody comes in with `acl`."""

    acl: Acl = field(default_factory=Open)
    verdicts: dict[str | None, Verdict] = field(default_factory=dict)
    requests: list[ConnectRequest] = field(default_factory=list)
    slow: bool = False  # the answer has to be waited for
    error: bool = False  # the provider is broken

    async def connect(self, request: ConnectRequest) -> Verdict:
        self.requests.append(request)
        if self.slow:
            await Question()
        if self.error:
            raise ConnectionError("the authority is away")
        return self.verdicts.get(request.username) or Verdict(reasons.SUCCESS, self.acl)

    def exchange(self, request: ConnectRequest) -> Exchange | None:
        self.requests.append(request)
        return Riddle(self) if request.auth_method == "RIDDLE" else None
