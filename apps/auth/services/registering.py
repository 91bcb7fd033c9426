"""Register clients: one or ten thousand, by the same steps."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError
from django.db.models import Q
from django.utils import timezone

from apps.auth import announce, passwords, permissions
from apps.auth.facts import TRANSPORTS
from apps.auth.models import Client, ClientGroup, Credential
from apps.auth.services import names
from apps.auth.services.credentials import check_password
from apps.auth.services.writing import invalid, writing
from apps.common import audit
from apps.common.actors import Actor
from apps.common.errors import BadRows, Duplicate

# Passwords in one request that are hashed slowly, 0.3 s of CPU each. Of more the keyed digest alone is kept,
# which is in the database beside every hash anyway; the first login brings the hash (`verifiers.py`).
MAX_HASHED = 8

# SQLite takes 32,766 parameters in a statement.
_AT_ONCE = 5000


@dataclass(frozen=True)
class NewClient:
    """What to register. Whatever is left out is chosen by the platform."""

    client_id: str = ""
    display_name: str = ""
    owner: str = ""
    groups: Sequence[str] = ()  # names
    enabled: bool = True
    transports: Sequence[str] = tuple(TRANSPORTS)
    username: str = ""  # "": the client id
    password: str = field(default="", repr=False)  # "": a generated secret
    hashed: str = field(default="", repr=False)  # instead of it: a password's hash, from another broker
    client_ids: str = ""  # other client ids that may connect by the credential: a pattern
    scram: bool = True  # keep what SCRAM-SHA-256 needs (1 ms of CPU a client)


@dataclass(frozen=True)
class Registered:
    client: Client
    credential: Credential
    secret: str | None = field(repr=False)  # shown this once; None: the caller chose a password


Outcome = Registered | Exception


def register(actor: Actor, new: NewClient) -> Registered:
    """Raises ValidationError, PermissionDenied or Duplicate."""
    (outcome,) = register_many(actor, [new], all_or_nothing=False)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def register_many(actor: Actor, news: Sequence[NewClient | Exception], all_or_nothing: bool) -> list[Outcome]:
    """Row by row what was registered, or why not. A row that could not even be read is an error already.

    With `all_or_nothing`, BadRows with that same list when there is an error in it, and nothing is written.
    """
    rows = [_Row(new) if isinstance(new, NewClient) else _Row(NewClient(), new) for new in news]
    groups = {group.name: group for group in ClientGroup.objects.filter(name__in=_names(rows))}
    managed = None if actor.may(permissions.REGISTER) else set(actor.groups(permissions.REGISTER))
    for row in _good(rows):
        row.attempt(lambda row: row.build(groups, managed))
    _refuse_twins(rows)
    for attempt in (1, 2, 3):
        _refuse_existing(rows)
        if all_or_nothing and any(row.error for row in rows):
            raise BadRows([row.outcome() for row in rows])
        _make_secrets(rows)
        try:
            _write(actor, list(_good(rows)))
            break
        except (IntegrityError, _Meanwhile):  # one of them was registered meanwhile: look again who
            if attempt == 3:
                raise
    return [row.outcome() for row in rows]


class _Meanwhile(Exception):
    """A name was given to somebody else after we looked."""


class _Row:
    client: Client
    credential: Credential
    secret: str | None = None
    groups: list[ClientGroup]

    def __init__(self, new: NewClient, error: Exception | None = None) -> None:
        self.new = new
        self.error = error

    def attempt(self, step: Callable[[_Row], None]) -> None:
        try:
            step(self)
        except (ValidationError, PermissionDenied) as error:
            self.error = error

    def build(self, groups: dict[str, ClientGroup], managed: set[ClientGroup] | None) -> None:
        """`managed`: the only groups into which the actor may register; None: any, or no group at all."""
        new = self.new
        client_id = new.client_id or secrets.token_hex(12)
        username = new.username or client_id
        for name in new.groups:
            if name not in groups:
                raise invalid("groups", f"There is no group {name!r}.", "unknown_group")
        self.groups = [groups[name] for name in dict.fromkeys(new.groups)]
        if managed is not None and (not self.groups or not managed.issuperset(self.groups)):
            raise PermissionDenied("You may register clients in the groups that you manage only.")
        self.client = Client(
            client_id=client_id, display_name=new.display_name, owner=new.owner, enabled=new.enabled
        )
        self.client.transports = list(new.transports)
        self.client.clean_fields()
        kind = Credential.Kind.PASSWORD if new.password or new.hashed else Credential.Kind.SECRET
        self.credential = Credential(
            kind=kind, username=username, client_ids=new.client_ids, secret=new.hashed
        )
        if new.hashed.startswith("keyed$"):
            self.credential.verifier = new.hashed
        self.credential.clean_fields(exclude=["client"])
        if new.password:
            check_password(new.password, self.client)

    def make_secret(self, slow: bool) -> None:
        """Of a password: `slow`, its hash, too; else only what can be checked with SECRET_KEY."""
        if self.credential.secret:
            return
        text = self.new.password or passwords.generate()
        if self.new.password:
            if slow:
                self.credential.secret = passwords.encode_password(text)
            else:
                self.credential.secret = self.credential.verifier = passwords.encode_keyed(text)
        else:
            self.credential.secret = passwords.encode_generated(text)
            self.secret = text
        if self.new.scram:
            self.credential.scram = passwords.encode_scram(text)

    def outcome(self) -> Outcome:
        return self.error or Registered(self.client, self.credential, self.secret)


def _good(rows: list[_Row]) -> Iterator[_Row]:
    return (row for row in rows if row.error is None)


def _names(rows: list[_Row]) -> set[str]:
    return {name for row in rows for name in row.new.groups}


def _refuse_twins(rows: list[_Row]) -> None:
    seen: set[tuple[str, str]] = set()
    for row in _good(rows):
        keys = (("client_id", row.client.client_id), ("username", row.credential.username))
        twin = next((name for name, value in keys if (name, value) in seen), None)
        if twin is not None:
            row.error = invalid(twin, "An earlier row has the same.", "duplicate_in_request")
        else:
            seen.update(keys)


def _refuse_existing(rows: list[_Row]) -> None:
    good = list(_good(rows))
    for start in range(0, len(good), _AT_ONCE):
        chunk = good[start : start + _AT_ONCE]
        ids = [row.client.client_id for row in chunk]
        clients = dict(Client.objects.filter(client_id__in=ids).values_list("client_id", "pk"))
        lasting = Q(valid_until=None) | Q(valid_until__gt=timezone.now())
        taken = Credential.objects.filter(lasting, username__in=[row.credential.username for row in chunk])
        users = dict(taken.values_list("username", "client_id"))
        for row in chunk:
            if row.client.client_id in clients:
                row.error = Duplicate("client", clients[row.client.client_id])
            elif row.credential.username in users:
                row.error = Duplicate("username", users[row.credential.username])


def _make_secrets(rows: list[_Row]) -> None:
    """Hashing leaves the interpreter's lock alone, so two threads use two cores."""
    good = list(_good(rows))
    slow = sum(bool(row.new.password) for row in good) <= MAX_HASHED
    if len(good) == 1:
        good[0].make_secret(slow)
        return
    with ThreadPoolExecutor(2, thread_name_prefix="secrets") as pool:
        for _ in pool.map(lambda row: row.make_secret(slow), good):
            pass


def _write(actor: Actor, rows: list[_Row]) -> None:
    if not rows:
        return
    with writing(actor):
        names.hold([row.credential.username for row in rows])
        _refuse_existing(rows)
        if any(row.error for row in rows):
            raise _Meanwhile
        Client.objects.bulk_create([row.client for row in rows], batch_size=_AT_ONCE // 5)
        for row in rows:
            row.credential.client = row.client
        Credential.objects.bulk_create([row.credential for row in rows], batch_size=_AT_ONCE // 5)
        member = Client.groups.through
        member.objects.bulk_create(
            [member(client=row.client, clientgroup=group) for row in rows for group in row.groups],
            batch_size=_AT_ONCE,
        )
        audit.created(
            [row.client for row in rows],
            [{"groups": [None, [group.name for group in row.groups]]} if row.groups else {} for row in rows],
        )
        audit.created([row.credential for row in rows])
        announce.changed("client", (row.client.client_id for row in rows))
