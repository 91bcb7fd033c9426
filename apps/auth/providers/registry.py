"""What the database knows of clients, remembered; shared by every provider that decides by it."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final

from apps.auth import callers
from apps.auth.acl import Rules, Subject
from apps.auth.bans import pattern_fits
from apps.auth.caches import Cache
from apps.auth.callers import Caller, Overloaded, Pace
from apps.auth.facts import TRANSPORTS, ConnectFacts, CredentialFacts
from apps.auth.kept import Kept
from apps.auth.providers.base import Identity, Rejection, Unavailable
from apps.auth.providers.bulk import BATCH_SIZE, facts_of
from apps.auth.providers.database import Database
from apps.auth.selectors import accounts, connect_facts
from apps.gateway.broker.ports import ConnectRequest
from apps.gateway.mqtt import reasons

Fetch = Callable[[str, str | None, str], ConnectFacts]

_DISABLED = Rejection(reasons.NOT_AUTHORIZED, "the client is disabled")
_UNREGISTERED = Rejection(reasons.NOT_AUTHORIZED, "the client is not registered")
_CREDENTIAL_GONE = Rejection(reasons.NOT_AUTHORIZED, "the credential it came in by is gone")


_Question = tuple[str, str | None, str]  # client id, user name, address

MANY: Final = 8  # questions that the bulk queries answer faster than one query each
FIRST_GUESS: Final = 0.001  # seconds that one of them takes, before the first was measured


class _Lookup:
    """One client that is looked up, for all who asked meanwhile."""

    __slots__ = ("callers", "found", "question")

    def __init__(self, question: _Question) -> None:
        self.question = question
        self.callers: list[Caller | None] = []
        self.found: asyncio.Future[_Entry] = asyncio.get_running_loop().create_future()

    def waits(self, patience: float) -> bool:
        """Does anybody?"""
        return any(each is None or each.waits(patience) for each in self.callers)

    def failed(self, error: Exception) -> None:
        self.found.set_exception(error)
        self.found.exception()  # whoever waited may be gone by now


@dataclass(slots=True)
class _Entry:
    facts: ConnectFacts
    rules: Rules | None = None  # compiled for whoever came last by this client id: nearly always the same


@dataclass(frozen=True, slots=True)
class Account:
    """Who answers for a client: what is known of it, and what it may prove itself by under one user name."""

    client_id: str  # of the registered client whose credential is for many ids; "": the client itself
    facts: ConnectFacts
    credentials: list[CredentialFacts]


FACTS: Final = 1500  # bytes of a client's facts, roughly


class Registry:
    """`facts` costs one query for a client id that is not remembered, none for one that is.

    In a storm of them, those that came while the database was busy are asked for together, five queries at
    most for hundreds.

    Unknown client ids are remembered apart and shortly, so strangers cannot push known clients out. Entries
    live `ttl` seconds, or `grace` while the database is away; `forget` ends them when something changed.
    """

    def __init__(
        self,
        database: Database,
        size: int,
        ttl: float,
        unknown_ttl: float,
        grace: float = 0.0,
        fetch: Fetch = connect_facts,
        kept: Kept | None = None,
    ) -> None:
        """`kept`: on disk, for a start without the database."""
        self._database = database
        self._kept = kept
        self._fetch = fetch
        self._known: Cache[str, _Entry] = Cache(size, ttl, grace, weight=FACTS)
        self._unknown: Cache[str, _Entry] = Cache(min(size, 10_000), unknown_ttl)
        self._loading: dict[str, _Lookup] = {}
        self._waiting: list[_Lookup] = []  # those of _loading that nobody asks yet
        self._pace = Pace(database.threads, database.patience, FIRST_GUESS)
        self._readers: set[asyncio.Task[None]] = set()
        self._accounts: Cache[str, str] = Cache(size, ttl, grace)  # user name -> client id, of those for many
        self._strangers: Cache[str, bool] = Cache(min(size, 10_000), unknown_ttl)  # user names: there is none
        self.changes = 0  # how often `forget` was called
        self._changed: deque[Collection[str] | None] = deque(maxlen=1000)

    def peek(self, client_id: str) -> ConnectFacts | None:
        """What is remembered, without asking."""
        entry = self._known.get(client_id) or self._unknown.get(client_id)
        return entry.facts if entry else None

    async def facts(self, client_id: str, username: str | None = None, address: str = "") -> ConnectFacts:
        """`Unavailable` when the database does not answer. Bans are the guard's: those here may be old."""
        return (await self._entry(client_id, username, address)).facts

    async def account(self, client_id: str, username: str, address: str = "") -> Account:
        """As `facts`. A client id that is not registered may come by a credential that is for many ids."""
        facts = await self.facts(client_id, username, address)
        if facts.client is not None:
            own = [each for each in valid(facts.credentials) if each.username == username]
            return Account("", facts, own)
        owner = await self._owner(username) if username else ""
        if owner:
            shared = await self.facts(owner, username, address)
            fit = [
                each
                for each in valid(shared.credentials)
                if each.username == username and each.client_ids and pattern_fits(each.client_ids, client_id)
            ]
            if fit and shared.client is not None:
                return Account(owner, shared, fit)
        return Account("", facts, [])

    async def _owner(self, username: str) -> str:
        """The client id of the account for many ids that has this user name; "": there is none."""
        known = self._accounts.get(username)
        if known is not None or self._strangers.get(username):
            return known or ""
        changes = self.changes
        try:
            found = await self._database.run(accounts, [username])
        except Unavailable:
            stale = self._accounts.get_stale(username)
            if stale is None:
                raise
            return stale
        if changes == self.changes:
            self._note(username, found[username])
        return found[username]

    def _note(self, username: str, account: str) -> None:
        if account:
            self._accounts.put(username, account)
        else:
            self._strangers.put(username, True)

    async def rules(self, identity: Identity) -> Rules:
        """Its rules, and those of its groups and of everyone, compiled."""
        entry = await self._entry(identity.row, identity.username, identity.address)
        subject = identity.subject
        if entry.facts.groups and not subject.groups:
            subject = Subject(subject.client_id, subject.username, subject.cert_cn, entry.facts.groups)
        named = [each for each in entry.facts.credentials if each.username == subject.username]
        if any(each.disputed for each in named) and not any(not each.disputed for each in named):
            subject = replace(subject, owns_username=False)
        rules = entry.rules
        if rules is None or rules.subject != subject:
            rules = entry.rules = Rules(entry.facts.rules, subject)
        return rules

    def put(self, client_id: str, facts: ConnectFacts, since: int) -> None:
        """Remember facts that were read when `changes` stood at `since`."""
        if not self.changed(client_id, since):
            self._remember(client_id, _Entry(facts))

    def _remember(self, client_id: str, entry: _Entry) -> None:
        if entry.facts.client is None:
            self._unknown.put(client_id, entry)
        else:
            self._known.put(client_id, entry)
            if self._kept is not None:
                self._kept.put(client_id, entry.facts)

    async def _entry(self, client_id: str, username: str | None, address: str) -> _Entry:
        entry = self._known.get(client_id) or self._unknown.get(client_id)
        if entry is not None:
            return entry
        if self._database.away and (entry := self._before(client_id)) is not None:
            return entry
        caller = callers.current()
        try:
            lookup = self._loading.get(client_id)
            if lookup is None:
                lookup = self._look_up((client_id, username, address), caller)
            lookup.callers.append(caller)
            return await asyncio.shield(lookup.found)
        except Unavailable:
            before = self._before(client_id)
            if before is None:
                raise
            return before
        except asyncio.CancelledError:
            if caller is not None:
                caller.gave_up = True
            raise

    def _look_up(self, question: _Question, caller: Caller | None) -> _Lookup:
        if caller is not None and len(self._waiting) >= self._pace.bound:
            raise Overloaded("too many clients wait to be looked up")
        lookup = self._loading[question[0]] = _Lookup(question)
        self._waiting.append(lookup)
        if len(self._readers) < self._database.threads:
            reader = asyncio.create_task(
                self._read(), context=contextvars.Context()
            )  # for all, not for this one
            self._readers.add(reader)
            reader.add_done_callback(self._readers.discard)
        return lookup

    def _before(self, client_id: str) -> _Entry | None:
        """What was known of it, in memory or on disk, for as long as it may be believed."""
        stale = self._known.get_stale(client_id)
        if stale is not None or self._kept is None:
            return stale
        facts = self._kept.find(client_id)
        return _Entry(facts) if facts is not None else None

    async def _read(self) -> None:
        while self._waiting:
            asked = self._waiting[:BATCH_SIZE]
            del self._waiting[:BATCH_SIZE]
            changes, began = self.changes, time.monotonic()
            try:
                found = await self._database.run(self._fetch_all, asked)
            except Exception as error:
                for lookup in asked:
                    del self._loading[lookup.question[0]]
                    lookup.failed(error)
                continue
            self._pace.took(time.monotonic() - began, len(asked))
            for lookup in asked:
                client_id, username, _ = lookup.question
                facts = found.get(client_id)
                if facts is None:
                    del self._loading[client_id]
                    lookup.failed(Overloaded("nobody waited for the answer any more"))
                    continue
                if self.changed(client_id, changes):
                    self._waiting.append(lookup)
                    continue
                entry = _Entry(facts)
                self._remember(client_id, entry)
                if username and facts.account is not None and facts.client is None:
                    self._note(username, facts.account)
                del self._loading[client_id]
                lookup.found.set_result(entry)

    def _fetch_all(self, lookups: list[_Lookup]) -> dict[str, ConnectFacts]:
        """By client id, of those that are still waited for when it is their turn."""
        asked = [each.question for each in lookups if each.waits(self._pace.patience)]
        if len(asked) < MANY:
            return {question[0]: self._fetch(*question) for question in asked}
        found = facts_of([client_id for client_id, _, _ in asked])
        strangers = {name for id, name, _ in asked if name and found[id].client is None}
        known = accounts(strangers) if strangers else {}
        return {id: replace(found[id], account=known.get(name or "")) for id, name, _ in asked}

    # ------------------------------------------------------------ changes

    def forget(self, client_ids: Collection[str] | None) -> None:
        """Something changed for these clients; None: perhaps for all."""
        self.changes += 1
        self._changed.append(None if client_ids is None else frozenset(client_ids))
        self._accounts.clear()
        self._strangers.clear()
        if self._kept is not None:
            self._kept.forget(client_ids)
        if client_ids is None:
            self._known.clear()
            self._unknown.clear()
            return
        for client_id in client_ids:
            self._known.discard(client_id)
            self._unknown.discard(client_id)

    def changed(self, client_id: str, since: int) -> bool:
        """Was the client forgotten after `changes` stood at `since`?"""
        count = self.changes - since
        if count == 0:
            return False
        if count > len(self._changed):
            return True
        recent = list(self._changed)[-count:]
        return any(each is None or client_id in each for each in recent)


# ---------------------------------------------------------------- decisions on facts


def admit(facts: ConnectFacts, request: ConnectRequest) -> Rejection | None:
    """May the registered client connect at all, by this transport? Who it is has been proved already."""
    client = facts.client
    if client is None:
        return _UNREGISTERED
    if not client.enabled:
        return _DISABLED
    if not client.transport_mask & TRANSPORTS.get(request.peer.transport, 0):
        return Rejection(reasons.NOT_AUTHORIZED, f"not allowed over {request.peer.transport}")
    return None


def valid(credentials: Collection[CredentialFacts]) -> list[CredentialFacts]:
    """Those that have not run out since they were read."""
    now = time.time()
    return [each for each in credentials if each.valid_until is None or each.valid_until > now]


def stays(facts: ConnectFacts, identity: Identity) -> Rejection | None:
    """May a connected client that was admitted by `facts` of earlier stay by those of now?"""
    client = facts.client
    if client is None:
        return _UNREGISTERED
    if not client.enabled:
        return _DISABLED
    if not client.transport_mask & TRANSPORTS.get(identity.transport, 0):
        return Rejection(reasons.NOT_AUTHORIZED, f"no longer allowed over {identity.transport}")
    held = identity.credential_id
    if held is not None and all(each.id != held for each in valid(facts.credentials)):
        return _CREDENTIAL_GONE
    return None
