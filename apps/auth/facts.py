"""Everything that the database knows for a decision on a CONNECT, as plain values: no Django here.

`selectors.connect_facts` fills them by one query; the providers decide on them and may keep them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# ClientFacts.transport_mask: the sum of these bits, by `Peer.transport`.
TRANSPORTS = {"tcp": 1, "tls": 2, "ws": 4, "wss": 8}


@dataclass(frozen=True, slots=True)
class ClientFacts:
    id: int  # the row's; `client_id` is MQTT's
    client_id: str
    enabled: bool
    transport_mask: int


@dataclass(frozen=True, slots=True)
class CredentialFacts:
    """A credential that was valid when it was read. `kind` says which fields are filled."""

    id: int
    kind: str  # secret | password | x509 | jwt
    username: str  # secret, password
    secret: str = field(
        repr=False
    )  # secret: "sha256$<salt>$<hex>"; password: Django's encoded hash or "keyed$..."
    scram: str = field(repr=False)  # "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>" or ""
    subject: str  # x509: RFC 4514 name
    claim: str  # jwt
    claim_value: str  # jwt
    valid_until: float | None  # UNIX seconds; None: without end
    client_ids: str = ""  # a pattern: other client ids that may connect by it
    verifier: str = field(default="", repr=False)  # password: "keyed$<salt>$<hex>" or ""
    disputed: bool = False  # another client has the user name, without end or for longer


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """An access rule. `scope` is client, group or everyone; `group` is the group's name, "" for the others.

    `selectors.connect_facts` answers them in the order in which they are to be asked.
    """

    id: int
    effect: str  # allow | deny
    action: str  # publish | subscribe | both
    filter: str  # with ${clientid}, ${username}, ${cert.cn}, ${group}
    max_qos: int
    retain: bool
    priority: int
    scope: str
    group: str


@dataclass(frozen=True, slots=True)
class BanFacts:
    """A ban that was active when it was read, and fits: pattern bans are matched already."""

    id: int
    kind: str  # client_id | username | address | pattern
    value: str
    until: float | None  # UNIX seconds; None: for good
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectFacts:
    client: ClientFacts | None  # None: not registered; then there are neither credentials nor groups
    credentials: tuple[CredentialFacts, ...]
    groups: tuple[str, ...]  # names, sorted
    rules: tuple[RuleFacts, ...]  # of the client, its groups and everyone
    bans: tuple[BanFacts, ...]
    # Client id of the client with a credential for many client ids under the user name that was asked about;
    # "": there is none; None: no user name was asked about.
    account: str | None = None
