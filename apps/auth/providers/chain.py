"""The `Authenticator` of the gateway: [auth]'s providers, asked in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from apps.auth import caches, callers
from apps.auth.callers import Overloaded
from apps.auth.facts import BanFacts
from apps.auth.fair_queue import Busy
from apps.auth.guard import BanList, Guard, active_bans
from apps.auth.providers.base import (
    WRONG_SECRET,
    AclProvider,
    ClientProvider,
    Identity,
    Outcome,
    Proved,
    ProviderExchange,
    Rejection,
    Unavailable,
)
from apps.auth.providers.console import NAME as CONSOLE
from apps.auth.providers.console import ConsoleClients
from apps.auth.providers.decision import ClientAcl
from apps.auth.providers.parts import Parts
from apps.auth.providers.registry import stays
from apps.gateway.broker.ports import Challenge, ConnectRequest, Exchange, Verdict
from apps.gateway.mqtt import reasons
from gmqtt_platform.config import providers

if TYPE_CHECKING:
    from gmqtt_platform.config.auth import AuthConf

logger = logging.getLogger(__name__)

_UNAVAILABLE = Verdict(reasons.SERVER_UNAVAILABLE)
_BUSY = Verdict(reasons.SERVER_BUSY)


ACL: Final = 900  # bytes of a connected client's compiled rules, roughly


class Chain:
    """Decides on CONNECT and AUTH. What nobody vouches for is refused; what nobody can tell is 0x88.

    `live` has the ACL of everyone connected, for as long as the gateway keeps it.
    """

    def __init__(self, parts: Parts, clients: list[ClientProvider], acls: list[AclProvider]) -> None:
        self.parts = parts
        self.bans = BanList()
        self.guard = Guard(parts.conf.guard)
        self.live: WeakValueDictionary[str, ClientAcl] = WeakValueDictionary()
        self._shared: dict[str, set[str]] = {}  # client ids that came in for another, registered one
        self.operators: WeakValueDictionary[str, ClientAcl] = WeakValueDictionary()  # those of the web client
        self._loading: asyncio.Lock | None = None
        self._take(clients, acls)

    def _take(self, clients: list[ClientProvider], acls: list[AclProvider]) -> None:
        self.clients = clients
        self.acls = acls
        self.console = next((each for each in clients if isinstance(each, ConsoleClients)), None)
        # Where every answer is yes, there is nobody to guard and no database to ask.
        deciding = [each for each in clients if each is not self.console]
        self.open = all(each.open for each in deciding) and all(each.open for each in acls)
        self.uses_database = any(each.needs_database for each in deciding) or any(
            each.needs_database for each in acls
        )
        # Must the answers about topics be asked for again and again?
        self.asks = any(each.asks for each in acls)
        # May there be a row for a client that is let in, to note in when it was last seen?
        self.knows_clients = any(each.registered for each in deciding) or any(
            each.needs_database for each in acls
        )
        # Has everyone who is let in a row?
        self.registered_only = all(each.registered for each in deciding)

    def reconfigure(self, conf: AuthConf) -> None:
        """Decide by these providers from now on; where one cannot be made, nothing changes.

        `Live.reconfigured` then brings the connections up to date.
        """
        parts = self.parts
        before = parts.conf, parts.on_forget, parts.unanswered
        parts.conf, parts.on_forget, parts.unanswered = conf, [parts.registry.forget], []
        try:
            made = _build(parts, self.console)
        except BaseException:
            parts.conf, parts.on_forget, parts.unanswered = before
            raise
        self._take(*made)
        self.guard.reconfigure(conf.guard)

    def memory(self) -> int:
        """Bytes of what is remembered about clients."""
        kept = self.parts.kept
        return caches.total() + ACL * len(self.live) + (kept.memory if kept is not None else 0)

    # ------------------------------------------------------------ ports.Authenticator

    async def connect(self, request: ConnectRequest) -> Verdict:
        return await self.decide(request) or _refusal(_no_one_knows(request))

    async def decide(self, request: ConnectRequest) -> Verdict | None:
        """As `connect`; None where no provider knows the client."""
        try:
            with callers.asking(request.left):
                return await self._decided(request)
        except (Busy, Overloaded):
            return _BUSY
        except Unavailable as error:
            return _unavailable(request, error)

    async def _decided(self, request: ConnectRequest) -> Verdict | None:
        while True:
            changes, bans = self.parts.registry.changes, self.bans.version
            if not self.open:
                refused = await self._door(request, request.username or "")
                if refused is not None:
                    return _refusal(refused)
                bans = self.bans.version
            outcome = await self._ask(request)
            if outcome is None:
                self._failed(request, _no_one_knows(request))
                return None
            if isinstance(outcome, Rejection):
                self._failed(request, outcome)
                return _refusal(outcome)
            verdict = await self._welcome(request, outcome)
            # What changed while a provider was waited for would else be missed.
            changed = any(self.parts.registry.changed(each, changes) for each in _names(outcome))
            if self.bans.version == bans and not changed:
                return verdict

    def exchange(self, request: ConnectRequest) -> Exchange | None:
        for provider in self.clients:
            exchange = provider.exchange(request)
            if exchange is not None:
                return _Exchange(self, request, exchange)
        return None

    # ------------------------------------------------------------ the steps of a decision

    async def _ask(self, request: ConnectRequest) -> Outcome:
        for provider in self.clients:
            outcome: Outcome = await provider.connect(request)
            if outcome is not None:
                return outcome
        return None

    async def _door(self, request: ConnectRequest, username: str) -> Rejection | None:
        """Bans and limits, before anything is checked."""
        if not self.bans.loaded:
            await self.load_bans()
        address = request.peer.address
        return self.banned(request.client_id, username, address) or self.guard.refusal(
            username or request.client_id, address
        )

    def banned(self, client_id: str, username: str, address: str) -> Rejection | None:
        ban = self.bans.find(client_id, username, address)
        if ban is None:
            return None
        return _BANNED

    async def _welcome(self, request: ConnectRequest, identity: Identity) -> Verdict:
        """The identity is proved: is it banned by a name that only now is known, and what may it do?"""
        if not self.open and identity.username != (request.username or ""):
            refused = self.banned(identity.client_id, identity.username, identity.address)
            if refused is not None:
                return _refusal(refused)
        acl = await self.acl(identity)
        facts = self.parts.registry.peek(identity.row)
        if facts is not None and facts.client is not None and not facts.client.enabled:
            return _refusal(Rejection(reasons.NOT_AUTHORIZED, "the client is disabled"))
        if not self.open:
            self.guard.succeeded(identity.client_id, identity.address, identity.username)
        self.welcomed(acl)
        if identity.account:
            self._shared.setdefault(identity.account, set()).add(identity.client_id)
        return Verdict(0, acl=acl, username=identity.username, expires_at=identity.expires_at)

    def welcomed(self, acl: ClientAcl) -> None:
        """By this a connected client is decided about from now on."""
        self.live[acl.identity.client_id] = acl
        if acl.identity.provider == CONSOLE:
            self.operators[acl.identity.client_id] = acl

    async def acl(self, identity: Identity, default: str = "") -> ClientAcl:
        """`default` "": the chain's own."""
        if identity.provider == CONSOLE and identity.claims is not None:
            return ClientAcl(identity, (identity.claims,), "deny")
        layers = []
        for provider in self.acls:
            layer = await provider.layer(identity)
            if layer is not None:
                layers.append(layer)
        return ClientAcl(identity, tuple(layers), default or self.parts.conf.acl_default)

    async def regrouped(self, identity: Identity) -> Identity:
        """The identity with the groups that its client is in now, or the rights that its operator has."""
        if self.console is not None and identity.provider == CONSOLE:
            return await self.console.refreshed(identity)
        if identity.credential_id is None or not self.uses_database:
            return identity
        facts = await self.parts.registry.facts(identity.row, identity.username, identity.address)
        return identity.in_groups(facts.groups)

    def _failed(self, request: ConnectRequest, refused: Rejection) -> None:
        if refused.guessed and not self.open:
            peer = request.peer
            self.guard.failed(request.username or request.client_id, peer.address, peer.proxied)

    async def load_bans(self) -> None:
        """`Unavailable` when the database does not answer; then the bans stay as they were."""
        if self._loading is None:
            self._loading = asyncio.Lock()
        waited = self._loading.locked()
        async with self._loading:
            if not (waited and self.bans.loaded):
                self.bans.take(await self._active_bans())

    async def _active_bans(self) -> list[BanFacts]:
        """At a start without the database those that were kept on disk, if there are any."""
        kept = self.parts.kept
        try:
            found = await self.parts.database.run(active_bans)
        except Unavailable:
            before = kept.bans() if kept is not None and not self.bans.loaded else None
            if before is None:
                raise
            return before
        if kept is not None:
            kept.keep_bans(found)
        return found

    async def judge(self, identity: Identity) -> Rejection | None:
        """May a connected client stay? `Unavailable` when that cannot be told now."""
        refused = self.banned(identity.client_id, identity.username, identity.address)
        if refused is not None:
            return refused
        for provider in self.clients:
            if provider.name == identity.provider.partition(":")[0]:
                return await provider.judge(identity)
        if not self.uses_database:
            return None
        # How it was proved is not known any more: then the client's own row decides, if it has one.
        facts = await self.parts.registry.facts(identity.row, identity.username, identity.address)
        return stays(facts, identity) if facts.client is not None else None

    def forget(self, client_ids: list[str] | None) -> None:
        """Something changed: ask again."""
        for forget in self.parts.on_forget:
            forget(client_ids)

    def under(self, client_ids: Collection[str]) -> set[str]:
        """These client ids, and those that came in for them."""
        found = set(client_ids)
        for account in [each for each in client_ids if each in self._shared]:
            here = {each for each in self._shared[account] if each in self.live}
            if here:
                self._shared[account] = here
            else:
                del self._shared[account]
            found |= here
        return found

    def row_of(self, client_id: str) -> str:
        """The client id of the registered client that a connected one came in for: mostly its own."""
        acl = self.live.get(client_id)
        return acl.identity.row if acl is not None else client_id

    def unanswered(self) -> set[str]:
        """Connected clients that the auth service could not answer, once it is there again."""
        if not (self.parts.has_rpc and self.parts.rpc.ok):
            return set()
        return set().union(*(take() for take in self.parts.unanswered))

    @property
    def ok(self) -> bool:
        return not self.parts.has_rpc or self.parts.rpc.ok

    async def close(self) -> None:
        if self.parts.has_rpc:
            await self.parts.rpc.close()
        self.parts.passwords.close()
        await asyncio.to_thread(self.parts.database.close)  # its threads may still need this loop
        if self.parts.kept is not None:
            self.parts.kept.close()

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = {"bans": len(self.bans), "refused_by_guard": dict(self.guard.counts)}
        if self.parts.has_rpc:
            status["auth_services"] = self.parts.rpc.status()
        return status


_BANNED = Rejection(reasons.BANNED, "banned")
_NO_CREDENTIALS = Rejection(reasons.NOT_AUTHORIZED, "neither user name nor password")


class _Exchange:
    """An exchange of a provider, with the chain's door before it and its ACL behind it."""

    def __init__(self, chain: Chain, request: ConnectRequest, exchange: ProviderExchange) -> None:
        self._chain = chain
        self._request = request
        self._exchange = exchange

    async def step(self, data: bytes | None) -> Verdict | Challenge:
        try:
            with callers.asking(self._request.left):
                return await self._step(data)
        except (Busy, Overloaded):
            return _BUSY
        except Unavailable as error:
            return _unavailable(self._request, error)

    async def _step(self, data: bytes | None) -> Verdict | Challenge:
        chain, request = self._chain, self._request
        refused = await chain._door(request, request.username or "")
        if refused is not None:
            return _refusal(refused)
        changes = chain.parts.registry.changes
        answer = await self._exchange.step(data)
        if isinstance(answer, Challenge):
            return answer
        if isinstance(answer, Rejection):
            chain._failed(request, answer)
            return _refusal(answer)
        return await self._end(answer, changes)

    async def _end(self, proved: Proved, changes: int) -> Verdict:
        chain, request = self._chain, self._request
        verdict = await chain._welcome(request, proved.identity)
        names = _names(proved.identity)
        while verdict.accepted and any(chain.parts.registry.changed(each, changes) for each in names):
            changes = chain.parts.registry.changes
            refused = await chain.judge(proved.identity)
            verdict = _refusal(refused) if refused else await chain._welcome(request, proved.identity)
        if not verdict.accepted:
            return verdict
        return Verdict(0, verdict.acl, verdict.username, "", proved.data, "", verdict.expires_at)


def _names(identity: Identity) -> set[str]:
    return {identity.client_id, identity.row}


def _no_one_knows(request: ConnectRequest) -> Rejection:
    """Nothing tells a name that is not registered from a wrong secret."""
    return _NO_CREDENTIALS if request.username is None and request.password is None else WRONG_SECRET


def _refusal(refused: Rejection) -> Verdict:
    return Verdict(refused.reason, reason_string=refused.text)


def _unavailable(request: ConnectRequest, error: Unavailable) -> Verdict:
    logger.debug("client %r hears server unavailable: %s", request.client_id, error)
    return _UNAVAILABLE


def build(conf: AuthConf, patience: float = 10.0, data_dir: Path | None = None) -> Chain:
    """As `Parts`."""
    parts = Parts(conf, patience, data_dir)
    return Chain(parts, *_build(parts))


def _build(
    parts: Parts, console: ConsoleClients | None = None
) -> tuple[list[ClientProvider], list[AclProvider]]:
    conf = parts.conf
    clients = [providers.find("auth.client", name).load()(parts) for name in conf.client]
    acls = [providers.find("auth.acl", name).load()(parts) for name in conf.acl]
    return [console or ConsoleClients(parts.database), *clients], acls
