"""What a provider is. Each has its folder here, with `build_clients`, `build_acl` or both, and its line in
`gmqtt_platform/config/providers.py`.

A client provider says who a client is: an `Identity` lets it in, a `Rejection` keeps it out, None passes the
question on. An ACL provider gives a client's `Layer`: what it may do, PASS where this provider has no rule.
A provider that cannot answer raises `Unavailable`, and then nobody behind it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from apps.auth.acl import Rules, Subject
from apps.gateway.broker.ports import Challenge, ConnectRequest
from apps.gateway.mqtt import reasons


class Unavailable(Exception):
    """Database or service is away: the client hears 0x88. The text is for the log, never for the client."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client turned out to be and what that rests on: enough to judge it again later."""

    client_id: str
    username: str  # proved, "" when nothing proved one
    cert_cn: str
    address: str
    transport: str
    provider: str
    groups: tuple[str, ...] = ()
    credential_id: int | None = None  # the row it came in by, None: no row
    claims: Rules | None = None  # the rules of its token
    expires_at: float | None = None  # UNIX seconds
    account: str = ""  # client id of the registered client it came in for; "": its own
    operator: int | None = None  # the Django user whose rights these are

    @property
    def row(self) -> str:
        """The client id of the registered client whose facts and rules are its."""
        return self.account or self.client_id

    @property
    def subject(self) -> Subject:
        return Subject(self.client_id, self.username, self.cert_cn, self.groups)

    def in_groups(self, groups: tuple[str, ...]) -> Identity:
        return self if groups == self.groups else replace(self, groups=groups)


def identity(
    request: ConnectRequest,
    provider: str,
    username: str = "",
    groups: tuple[str, ...] = (),
    credential_id: int | None = None,
    claims: Rules | None = None,
    expires_at: float | None = None,
    account: str = "",
) -> Identity:
    peer = request.peer
    return Identity(
        request.client_id,
        username,
        peer.tls_common_name,
        peer.address,
        peer.transport,
        provider,
        groups,
        credential_id,
        claims,
        expires_at,
        account,
    )


@dataclass(frozen=True, slots=True)
class Rejection:
    """`text` is for the client and for the record of refusals: it tells neither whether a name is known."""

    reason: int
    text: str
    guessed: bool = False  # a wrong secret: counts against the client and its address


WRONG_SECRET = Rejection(reasons.BAD_USER_NAME_OR_PASSWORD, "wrong user name or password", guessed=True)

Outcome = Identity | Rejection | None


@dataclass(frozen=True, slots=True)
class Proved:
    """The end of an exchange that succeeded; `data` is the method's last word to the client."""

    identity: Identity
    data: bytes | None


class ProviderExchange(Protocol):
    async def step(self, data: bytes | None) -> Proved | Rejection | Challenge: ...


class ClientProvider(Protocol):
    """`open`: it lets in whoever comes. `registered`: whoever it lets in has a row in the database."""

    name: str
    open: bool
    needs_database: bool
    registered: bool

    async def connect(self, request: ConnectRequest) -> Outcome: ...

    def exchange(self, request: ConnectRequest) -> ProviderExchange | None:
        """Begin `request.auth_method`; None: not a method of this provider."""

    async def judge(self, identity: Identity) -> Rejection | None:
        """May a connected client stay, now that something changed? Asked of the provider that let it in."""


class Layer(Protocol):
    """What one provider allows one client. Synchronous answers are quick and pure."""

    def publish(self, topic: str) -> int:
        """As `ports.Acl.publish`, or PASS."""

    def subscribe(self, filter: str, qos: int) -> int:
        """As `ports.Acl.subscribe`, or PASS."""


class AskingLayer(Layer, Protocol):
    """A layer that may answer UNKNOWN, and then is asked."""

    async def ask_publish(self, topic: str) -> int: ...

    async def ask_subscribe(self, filter: str, qos: int) -> int: ...


class AclProvider(Protocol):
    """`open`: it allows everything. `asks`: its answers come from elsewhere, topic by topic.

    `needs_database`: its rules are rows. `brought`: the client brings them, with what it proves itself by.
    """

    name: str
    open: bool
    needs_database: bool
    asks: bool
    brought: bool

    async def layer(self, identity: Identity) -> Layer | None:
        """None: this provider has no rules for the client."""
