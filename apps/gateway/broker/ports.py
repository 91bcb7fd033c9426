"""What the broker needs from outside, as Protocols; `gmqtt_platform.wiring` supplies them.

Control packets (CONNECT, AUTH, SUBSCRIBE) may wait for an answer; data packets never do: an `Acl` is
asked synchronously and its answer is kept per topic for the life of the connection. Only where it
answers UNKNOWN does the connection stop reading until `ask_publish` or `ask_subscribe` has answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from apps.gateway.mqtt import reasons

if TYPE_CHECKING:
    from apps.gateway.broker.completion import Completion
    from apps.gateway.broker.durable import Durable
    from apps.gateway.broker.messages import Delivery, Message
    from apps.gateway.broker.outbound import Outbound
    from apps.gateway.broker.session import Session, Subscription

# What an Acl answers for a topic: the sum of what may be published there.
QOS_0: Final = 1
QOS_1: Final = 2
QOS_2: Final = 4
RETAIN: Final = 8
PUBLISH_ALL: Final = 15
NOTHING: Final = 0
UNKNOWN: Final = -1  # ask, and wait

DENIED: Final = -2  # what an Acl answers for a filter that may not be subscribed; else the QoS granted


@dataclass(frozen=True)
class Peer:
    """The far end of a connection, as the listener saw it."""

    address: str  # IP address, from the PROXY protocol where that is trusted; "" when unknown
    port: int
    transport: str  # tcp | tls | ws | wss
    tls_subject: str = ""  # RFC 4514 name of the verified client certificate
    tls_common_name: str = ""
    proxied: bool = False  # the address is what a trusted proxy says


def _is_here() -> bool:
    return False


@dataclass(frozen=True)
class ConnectRequest:
    """What a client says of itself. `client_id` is never empty: an assigned one stands here already."""

    client_id: str
    level: int  # 3, 4 or 5
    username: str | None
    password: bytes | None = field(repr=False)
    clean_start: bool
    keepalive: int  # seconds
    peer: Peer
    auth_method: str | None = None
    auth_data: bytes | None = field(default=None, repr=False)
    user_properties: tuple[tuple[str, str], ...] = ()
    left: Callable[[], bool] = field(default=_is_here, repr=False, compare=False)  # is the client gone?


def granted(message: Message, grant: int) -> bool:
    """Does what an Acl answered for the message's topic allow to publish it?"""
    needed = 1 << message.qos | (RETAIN if message.retain else 0)
    return grant & needed == needed


class Acl(Protocol):
    """What one client may do. Compiled at CONNECT; the synchronous methods must be quick and pure."""

    @property
    def cost(self) -> int:
        """What one answer takes at most, in units of `Router.work`."""

    def publish(self, topic: str) -> int:
        """Sum of QOS_0, QOS_1, QOS_2 and RETAIN; NOTHING; or UNKNOWN."""

    def subscribe(self, filter: str, qos: int) -> int:
        """The QoS granted (at most `qos`), DENIED or UNKNOWN. `filter` comes without `$share/group/`."""

    async def ask_publish(self, topic: str) -> int:
        """The answer where `publish` said UNKNOWN; never UNKNOWN itself."""

    async def ask_subscribe(self, filter: str, qos: int) -> int:
        """The answer where `subscribe` said UNKNOWN; never UNKNOWN itself."""


@dataclass(frozen=True)
class Verdict:
    """The end of an authentication. `reason` 0 lets the client in, and then `acl` is there."""

    reason: int
    acl: Acl | None = None
    username: str | None = None  # who the client turned out to be, None: the name it gave
    reason_string: str = ""  # shown to the client: no secrets
    auth_data: bytes | None = None  # the method's last word to the client
    server_reference: str = ""
    expires_at: float | None = None  # UNIX seconds; then the client is disconnected with 0x87

    @property
    def accepted(self) -> bool:
        return self.reason == reasons.SUCCESS


@dataclass(frozen=True)
class Challenge:
    """Enhanced authentication goes on: the data of an AUTH 0x18 to the client."""

    data: bytes | None


class Exchange(Protocol):
    """One run of an enhanced authentication method (section 4.12)."""

    async def step(self, data: bytes | None) -> Verdict | Challenge:
        """The answer to the client's authentication data, the first of it from CONNECT or AUTH 0x19."""


class Authenticator(Protocol):
    async def connect(self, request: ConnectRequest) -> Verdict:
        """Decide on a CONNECT without an authentication method."""

    def exchange(self, request: ConnectRequest) -> Exchange | None:
        """Begin `request.auth_method`; None: the method is not supported (0x8C)."""


# Who outside this node wants a topic: the sum that `MessageBus.wants` answers.
BUS_LIVE: Final = 1  # subscribers on other nodes, export rules
BUS_DURABLE: Final = 2  # persistent sessions that the cluster, not this node, queues for
BUS_SHARED: Final = 4  # a shared subscription with members on several nodes
TRACED: Final = 8  # not somebody outside: an operator looks at the topic


class MessageBus(Protocol):
    """The other nodes and back-end services. Called within the hot path: quick, and never awaiting."""

    def wants(self, topic: str) -> int:
        """Sum of BUS_LIVE, BUS_DURABLE and BUS_SHARED; 0: nobody.

        Kept for the topic until `Node.bus_changed` names a filter that matches it.
        """

    def choose(self, topic: str, groups: Sequence[str], qos: int) -> Choice:
        """One member for each shared subscription to `topic` in the cluster, where wants BUS_SHARED.

        `groups` are those with members here, as "<share name>/<filter>"; `qos` is the message's.
        """

    def publish(
        self, message: Message, wants: int, choice: Choice | None, completion: Completion | None
    ) -> int:
        """Hand over; 0, or 0x97 where there is no room, and then nothing was handed over.

        A completion, there for QoS 1 and 2, is held until the message cannot be lost any more.
        """

    def retain(self, message: Message, completion: Completion | None) -> int:
        """Tell the other nodes of a topic's new retained message; answers as `publish`."""

    def subscribed(self, filter: str, share: str) -> None:
        """One subscription more on this node; `share` is "" where it is not shared."""

    def unsubscribed(self, filter: str, share: str) -> None:
        """One less."""

    def present(self, filter: str, share: str, here: bool, kept: bool) -> None:
        """A member of a shared subscription on this node is online now, or no longer is.

        `kept`: the cluster, not this node, queues for it.
        """

    def has_unapplied(self) -> bool:
        """True if a SUBACK has to wait for `wait_applied`."""

    async def wait_applied(self) -> bool:
        """Wait until the other nodes act by this node's subscriptions, and this one has what was retained
        before; not for ever. False: persistent sessions may miss messages that they subscribed to.
        """


class SessionOwnership(Protocol):
    """One live connection for a client id in the whole cluster."""

    async def claim(self, client_id: str, clean_start: bool, will: Message | None, will_delay: int) -> int:
        """Make the client id this node's; 0, or the reason why the client cannot be let in.

        Whoever had it has closed its connection by then. `will` is what the others publish if this node dies;
        its expiry is a lifetime, `will_delay` is in seconds.
        """

    def changed(self, client_id: str) -> None:
        """Its connection or session ended, its delayed will was published, or it was not let in after all."""


@dataclass(frozen=True)
class Choice:
    """Which members of shared subscriptions get one message."""

    here: frozenset[str]  # groups of this node that serve it
    there: tuple[str, ...] = ()  # for the other nodes, in whatever form `Outside` reads again


class SessionStore(Protocol):
    """Keeps persistent sessions and retained messages when the process dies.

    Its methods record and return; `flush` hands over what a loop turn recorded. Those that say so hold the
    turn's completion until it is stored. Places (`seq`) in a session's queue grow by one.
    """

    own: bool  # of this node alone; else a cluster's
    full: bool  # nothing more is taken now: what would have to be stored is refused

    @property
    def memory(self) -> int:
        """Bytes that it takes."""

    def begin(self, session: Session) -> Durable:
        """Keep a new session from now on."""

    def save(self, session: Session) -> None:
        """A session's own data have changed."""

    def end(self, key: int) -> None:
        """Forget a session and all that belongs to it."""

    def subscribe(self, key: int, subscription: Subscription) -> None:
        """Holds the completion."""

    def unsubscribe(self, key: int, name: str) -> None:
        """`name` is the filter as the client wrote it. Holds the completion."""

    def put(self, durable: Durable, seq: int, delivery: Delivery, packet_id: int) -> None:
        """Keep a message, in flight where `packet_id` is not 0. Holds the completion."""

    def assign(self, key: int, seq: int, packet_id: int, state: int) -> None:
        """A message is in flight now, or its state (`durable.SENT`, `RELEASED`) is new. Expects."""

    def remove(self, key: int, seq: int) -> None:
        """A message is done with."""

    def incoming(self, durable: Durable, packet_id: int, known: bool) -> None:
        """A QoS 2 identifier of the client's is known, or free again. Holds the completion."""

    def barrier(self) -> None:
        """Hold the completion until all that was recorded before is stored."""

    def will(self, client_id: str, will: Message | None, delay: int, at: float) -> None:
        """The will of a client that is connected (`at` 0.0) or will be published at `at`; None: none."""

    def retain(self, message: Message) -> None:
        """Keep as the topic's last message, or nothing where its payload is empty. Holds the completion."""

    def load(self, durable: Durable, page: int, after: int, count: int, size: int) -> None:
        """Read the queue behind the place `after`, at most so many messages and bytes: `durable.loaded`."""

    def trim(self, durable: Durable, count: int, size: int) -> None:
        """Drop at least so many of the oldest messages and bytes of a queue: `durable.trimmed`."""

    def purge(self, durable: Durable, newest: int) -> None:
        """Drop what is queued up to the place `newest`: `durable.purged`."""

    def peek(self, key: int, count: int, answered: Callable[[list[tuple[int, Delivery]]], None]) -> None:
        """Show the first messages that wait, as far as they are stored: places and messages, later."""

    def flush(self) -> None:
        """The loop turn is over."""


class ClusterStore(SessionStore, Protocol):
    """Keeps sessions for all nodes of a cluster; whoever has a session's client id has the session."""

    def append(self, durable: Durable, delivery: Delivery) -> None:
        """Put a message at the end of a session's queue, within its limits. Holds the completion."""

    def once(self, durable: Durable, packet_id: int) -> str:
        """What a QoS 2 message is known by that came under this identifier: stored; holds the completion."""

    def forget_once(self, once: str) -> None:
        """No message known by this will come again. It may take its time."""

    def park(self, durable: Durable, force: bool) -> None:
        """When all that was recorded is stored: `Node.park`."""


class Tracer(Protocol):
    """What an operator looks at. Asked once per connection and per route; then told only of what matches."""

    def traces(self, client_id: str, address: str) -> bool:
        """Is this client's connection looked at? Its `traced` says so from then on."""

    def wants(self, topic: str) -> bool:
        """Is this topic looked at? As `MessageBus.wants`, kept until `Node.bus_changed`."""

    def packets(self, connection: Outbound, address: str, data: bytes, end: int, incoming: bool) -> None:
        """The whole packets in `data[:end]` were handled, or are on their way to the client."""

    def published(self, message: Message, recipients: Iterable[str], groups: Iterable[str]) -> None:
        """A message on a topic that is looked at: which clients and shared subscriptions here get it."""

    def tick(self, now: float) -> None:
        """About twice a second."""


class Link(Protocol):
    """The transport under one connection."""

    def write(self, data: bytes) -> None:
        """Send. Never blocks; the connection stops writing between its `pause` and `resume`."""

    def close(self) -> None:
        """Send what was written, then close."""

    def abort(self) -> None:
        """Close now, unsent output lost."""

    def pause_reading(self) -> None:
        """Stop reading: the connection waits for a decision, or its client is too fast."""

    def resume_reading(self) -> None:
        """Read on."""

    def control(self) -> None:
        """A control packet waits in `connection.pending`: wake whoever decides."""


class Observer(Protocol):
    """Hears of what operators ask about. Called on the loop: quick, and never raising."""

    def connected(self, client_id: str, username: str | None, peer: Peer, level: int) -> None: ...

    def disconnected(self, client_id: str, reason: int, text: str) -> None:
        """The connection ended; `reason` as in DISCONNECT, 0 for a normal end."""

    def changed(self, client_id: str) -> None:
        """The session's subscriptions changed, its queue is no longer empty, or it ended."""

    def refused(self, request: ConnectRequest, reason: int, text: str) -> None:
        """A CONNECT was refused."""

    def denied(self, client_id: str, username: str | None, peer: Peer, action: str, topic: str) -> None:
        """The ACL said no to `action` (publish or subscribe); told once per topic and connection."""

    def dropped(self, client_id: str, reason: str, topic: str, count: int) -> None:
        """Messages to `client_id` were dropped; the reasons are `stats.DROP_REASONS`."""
