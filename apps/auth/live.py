"""Brings connected clients up to date with what was saved, within a second of the commit.

What changed stands in a table that every process follows (`following`); the channel layer makes it quicker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from channels.layers import get_channel_layer

from apps.auth import announce
from apps.auth.absent import acl_of
from apps.auth.facts import BanFacts
from apps.auth.fair_queue import Busy
from apps.auth.following import Changes
from apps.auth.providers.base import Identity, Rejection, Unavailable
from apps.auth.providers.bulk import BATCH_SIZE, facts_of
from apps.auth.providers.chain import Chain
from apps.auth.providers.decision import ClientAcl
from apps.auth.records import Records
from apps.auth.services.bans import ban_for_a_while
from apps.common.listening import Listener
from apps.common.signed import Reader
from apps.gateway.broker.ports import Acl, Peer
from apps.gateway.mqtt import reasons

logger = logging.getLogger(__name__)

TICK: Final = 1.0  # seconds between writes of records, and between tries to reach what was away
RELOAD_BANS: Final = 60.0  # seconds; changes are announced, this is for those that nobody heard
POLL: Final = 0.3  # seconds between looks for changes that the channel layer did not tell of
SETTLE: Final = 0.4  # seconds in which the auth service hears of a change, too, before it is asked about it
JUDGED_BATCH_SIZE: Final = 50  # questions that may each be a call of the auth service
LATER: Final = 3.0  # seconds after which it is asked once more
MOST_LATER: Final = 10_000  # changes that wait for that; the review in `cache_ttl` finds the others
STALLED: Final = 5.0  # seconds without the layer's answer after which we say so


class NodeControl(Protocol):
    """What the gateway lets us do with its connections. Every method is called on its loop."""

    def online(self) -> Iterable[tuple[str, str | None, Peer]]:
        """Client id, user name and peer of every connection, taken now."""

    def connected(self, client_id: str) -> tuple[str | None, Peer] | None:
        """User name and peer of one; None: not here."""

    async def undecided(self, client_id: str, acl: Acl) -> dict[str, int]:
        """The client's filters that `acl` has to be asked about, and the QoS to ask for."""

    def set_acl(self, client_id: str, acl: Acl, asked: dict[str, int] | None = None) -> None:
        """Decide by `acl` from now on: forget what was allowed, drop subscriptions that no longer are.

        `asked`: what `acl` was asked and answered, by filter.
        """

    def absent(self, client_ids: Iterable[str] | None) -> list[str]:
        """Those of them (None: of all) whose client is away, and its session here."""

    async def review_absent(self, client_id: str, acl: Acl) -> None:
        """As `set_acl`, of a client that is away; what `acl` cannot say stays until it is back."""

    def kick(self, client_id: str, reason: int, text: str) -> None:
        """Disconnect, 5.0 clients with this reason; nothing happens where the client is not here."""

    def forget(self, client_id: str) -> None:
        """End the client's session with its subscriptions and queue, connected or not."""


class Nobody:
    """A `NodeControl` without connections: the auth service's."""

    def online(self) -> Iterable[tuple[str, str | None, Peer]]:
        return ()

    def connected(self, client_id: str) -> tuple[str | None, Peer] | None:
        return None

    async def undecided(self, client_id: str, acl: Acl) -> dict[str, int]:
        return {}

    def set_acl(self, client_id: str, acl: Acl, asked: dict[str, int] | None = None) -> None: ...

    def absent(self, client_ids: Iterable[str] | None) -> list[str]:
        return []

    async def review_absent(self, client_id: str, acl: Acl) -> None: ...

    def kick(self, client_id: str, reason: int, text: str) -> None: ...

    def forget(self, client_id: str) -> None: ...


class Live:
    """Listens to the group `announce.GROUP` and keeps the chain, its bans and the connections current.

    While the database is away every connection goes on by the rules it has, and is looked at again when the
    database is back. `start` and `stop` on the node's loop.
    """

    def __init__(self, chain: Chain, node: NodeControl, records: Records) -> None:
        self._chain = chain
        self._node = node
        self._records = records
        records.notes_seen = chain.knows_clients
        records.row_of = chain.row_of
        layer = get_channel_layer()
        self._listener = layer and Listener(
            layer, announce.GROUP, Reader(announce.PURPOSE), self._heard, self._joined
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._pending: dict[str, bool] = {}  # client id -> may it still be connected at all?
        self._everyone: bool | None = None  # the same question for all
        self._bans = False
        self._changes = Changes()
        self._hint = asyncio.Event()  # the channel layer told of a change
        self._later: deque[tuple[float, list[str] | None, bool]] = deque()  # when, whom, as `_pending`
        self._operators = False  # what they may do by MQTT has perhaps changed
        self._review: list[str] = []  # clients whose rights somebody else decides, still to be asked about
        self._reviewed = time.monotonic()
        self._share = 1  # of them in a tick
        self._wake = asyncio.Event()
        self._waiting_since: float | None = None  # monotonic; what changed is not yet in force everywhere
        self._bans_to_save: list[BanFacts] = []
        chain.guard.ban = self._ban

    async def start(self) -> None:
        """The first look at the bans may fail: then every CONNECT tries again."""
        try:
            if not self._chain.open:
                await self._read_changes()
                await self._chain.load_bans()
        except Unavailable as error:
            logger.error("the bans cannot be read: %s", error)
        jobs: list[Callable[[], Coroutine[Any, Any, None]]] = [self._follow, self._tick, self._poll]
        if self._listener is not None:
            jobs.append(self._listener.run)
        self._tasks = [asyncio.create_task(job(), name=f"auth-live{job.__name__}") for job in jobs]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._records.flush()
        await self._chain.parts.verifiers.flush(self._chain.parts.database)
        if self._chain.parts.kept is not None:
            await self._chain.parts.kept.flush()
        await self._chain.close()

    def status(self) -> dict[str, Any]:
        """For /healthz: `ok`, and since when (UNIX seconds) the database is away."""
        down = self._chain.parts.database.down_since
        now = time.monotonic()
        behind = now - self._waiting_since if self._waiting_since is not None else 0.0
        deaf_since = self._listener.deaf_since if self._listener is not None else None
        deaf = deaf_since is not None and now - deaf_since > STALLED
        return {
            "ok": down is None and not deaf and self._chain.ok,
            "database": "ok" if down is None else "down",
            "database_down_since": down,
            "channel_layer": "down" if deaf else "ok",
            "behind_seconds": round(behind, 1),
            "refusals_waiting": self._records.waiting,
            "refusals_dropped": self._records.dropped,
            **self._chain.status(),
        }

    # ------------------------------------------------------------ what changed

    def changed(self, what: str, client_ids: Collection[str] | None) -> None:
        """A message of the group. What is remembered is forgotten at once; connections follow."""
        if what in ("unregistered", "kicked"):
            self._end(what, None if client_ids is None else self._chain.under(client_ids))
        if what == "operators":
            self._look_at(list(self._chain.operators), True)
            self._waiting_since = self._waiting_since or time.monotonic()
            self._wake.set()
            return
        self._operators = True  # theirs rest on the rules of others
        if what == "kicked" or self._chain.open:  # mock asks nobody, so nothing has changed for it
            return
        if what == "bans":
            self._bans = True
        else:
            self._chain.forget(None if client_ids is None else list(client_ids))
            judge = what != "rules"
            if client_ids is None:
                self._everyone = judge or bool(self._everyone)
            else:
                self._look_at(self._chain.under(client_ids), judge)
            if self._chain.parts.has_rpc and len(self._later) < MOST_LATER:
                self._later.append(
                    (time.monotonic() + LATER, None if client_ids is None else [*client_ids], judge)
                )
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        self._wake.set()

    def reconfigured(self) -> None:
        """Other providers decide: everyone who is connected gets the rights that these give.

        Who came in by a provider that is no longer asked stays until it connects again.
        """
        self._records.notes_seen = self._chain.knows_clients
        self._chain.forget(None)
        self._bans = not self._chain.open
        self._everyone = True
        self._waiting_since = self._waiting_since or time.monotonic()
        self._wake.set()

    def _look_again(self) -> None:
        """An instance of the auth service that was slow to hear of a change has by now: ask it again."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            _, client_ids, judge = self._later.popleft()
            self._chain.forget(client_ids)
            if client_ids is None:
                self._everyone = judge or bool(self._everyone)
            else:
                self._look_at(client_ids, judge)
            self._wake.set()

    def _look_at(self, client_ids: Iterable[str], judge: bool) -> None:
        for client_id in client_ids:
            self._pending[client_id] = judge or self._pending.get(client_id, False)

    def _end(self, what: str, client_ids: Collection[str] | None) -> None:
        ended = [client_id for client_id, _, _ in self._node.online()] if client_ids is None else client_ids
        reason = reasons.ADMINISTRATIVE_ACTION if what == "kicked" else reasons.NOT_AUTHORIZED
        for client_id in ended:
            self._node.kick(client_id, reason, f"the client was {what}")
            if what == "unregistered":
                self._node.forget(client_id)

    def _heard(self, message: dict[str, Any]) -> None:
        if not self._changes.begun:
            self.changed(message["what"], message["client_ids"])
        self._hint.set()

    def _joined(self, returned: bool) -> None:
        if returned:  # after a silence everything may have changed
            self.changed("bans", None)
            self.changed("client", None)

    async def _poll(self) -> None:
        """Follow the table of changes: at once when there was a hint, and twice a second anyway."""
        while True:
            try:
                async with asyncio.timeout(POLL):
                    await self._hint.wait()
            except TimeoutError:
                pass
            self._hint.clear()
            try:
                await self._read_changes()
            except Unavailable:
                await asyncio.sleep(TICK)
            except Exception:
                logger.exception("changes were not read; trying again")
                await asyncio.sleep(TICK)

    async def _read_changes(self) -> None:
        kept = self._chain.parts.kept
        while True:
            begun = self._changes.begun
            found = await self._chain.parts.database.run(self._changes.read)
            if kept is not None and not begun:
                kept.begin()
            if not begun and self._tasks and not self._chain.open:
                # The start was without the database: who came in by what was kept is looked at now.
                self.changed("bans", None)
                self.changed("client", None)
            if found is None:
                logger.warning("too many changes were missed: everything is looked at again")
                self.changed("bans", None)
                self.changed("client", None)
                self.changed("operators", None)
                return
            if not found:
                if kept is not None:
                    kept.followed()
                return
            for each in found:
                self.changed(each.what, each.client_ids)

    # ------------------------------------------------------------ connections

    async def _follow(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._catch_up()
            except Unavailable:
                await asyncio.sleep(TICK)
                self._wake.set()
            except Exception:
                logger.exception("connections were not brought up to date; trying again")
                await asyncio.sleep(TICK)
                self._wake.set()

    async def _catch_up(self) -> None:
        """`Unavailable` leaves what is still to do where it was."""
        while self._bans or self._everyone is not None or self._pending:
            if self._bans:
                self._bans = False
                try:
                    await self._chain.load_bans()
                except Unavailable:
                    self._bans = True
                    raise
                await self._end_banned()
            if self._chain.parts.has_rpc and (self._everyone is not None or self._pending):
                await asyncio.sleep(SETTLE)
                self._chain.forget(None if self._everyone is not None else list(self._pending))
            if self._everyone is not None:
                judge, self._everyone = self._everyone, None
                self._look_at([client_id for client_id, _, _ in self._node.online()], judge)
                self._look_at(self._node.absent(None), judge)
            while self._pending:
                some = dict(self._pending.popitem() for _ in range(min(BATCH_SIZE, len(self._pending))))
                try:
                    await self._bring_up_to_date(some)
                except BaseException:
                    for client_id, judge in some.items():
                        self._look_at([client_id], judge)
                    raise
        self._waiting_since = None

    async def _bring_up_to_date(self, clients: dict[str, bool]) -> None:
        """Their access first, by a handful of queries; then, where it is in question, their stay."""
        chain = self._chain
        here = {each: identity for each in clients if (identity := self._identity(each)) is not None}
        absent = self._node.absent(clients)
        if chain.uses_database and len(here) + len(absent) > 1:
            changes = chain.parts.registry.changes
            rows = list({identity.row for identity in here.values()} | set(absent))
            facts = await chain.parts.database.run(facts_of, rows)
            for client_id, known in facts.items():
                chain.parts.registry.put(client_id, known, changes)
        for client_id, identity in here.items():
            acl = await chain.acl(await chain.regrouped(identity))
            asked = await self._ask(client_id, acl)
            if self._node.connected(client_id) is not None:
                chain.welcomed(acl)
                if asked:
                    self._node.set_acl(client_id, acl, asked)
                else:
                    self._node.set_acl(client_id, acl)
        for client_id in absent:
            await asyncio.sleep(0)
            absent_acl = await acl_of(chain, client_id, patient=True)
            if absent_acl is not None:
                with contextlib.suppress(Busy):
                    await self._node.review_absent(client_id, absent_acl)
        doubtful = [identity for client_id, identity in here.items() if clients[client_id]]
        for start in range(0, len(doubtful), JUDGED_BATCH_SIZE):
            await asyncio.gather(*map(self._judge, doubtful[start : start + JUDGED_BATCH_SIZE]))

    async def _ask(self, client_id: str, acl: ClientAcl) -> dict[str, int]:
        """What the auth service says of the client's open subscriptions; those it did not answer are asked
        about again (`Chain.unanswered`), and stay until then."""
        if not self._chain.asks:
            return {}
        asked: dict[str, int] = {}

        async def ask(filter: str, qos: int) -> None:
            with contextlib.suppress(Unavailable, Busy):
                asked[filter] = await acl.ask_subscribe(filter, qos)

        undecided = list((await self._node.undecided(client_id, acl)).items())
        for start in range(0, len(undecided), JUDGED_BATCH_SIZE):
            await asyncio.gather(*(ask(*each) for each in undecided[start : start + JUDGED_BATCH_SIZE]))
        return asked

    def _review_some(self, elapsed: float) -> None:
        """Ask the auth service about everybody once in `cache_ttl`, evenly spread."""
        if not self._chain.asks:
            return
        now = time.monotonic()
        ttl = self._chain.parts.conf.cache_ttl
        if now - self._reviewed >= ttl and not self._review:
            self._reviewed = now
            self._review = [client_id for client_id, _, _ in self._node.online()]
            self._share = max(1, round(len(self._review) * elapsed / ttl))
        some = self._review[-self._share :] if self._review else []
        del self._review[len(self._review) - len(some) :]
        if some:
            self._look_at(some, True)
            self._wake.set()

    async def _judge(self, identity: Identity) -> None:
        refused = await self._chain.judge(identity)
        if refused is not None:
            self._node.kick(identity.client_id, refused.reason, refused.text)

    def _identity(self, client_id: str) -> Identity | None:
        """As it was proved; what the connection says, where its proof is no longer known."""
        connected = self._node.connected(client_id)
        if connected is None:
            return None
        acl = self._chain.live.get(client_id)
        if acl is not None:
            return acl.identity
        username, peer = connected
        return Identity(client_id, username or "", peer.tls_common_name, peer.address, peer.transport, "")

    async def _end_banned(self) -> None:
        banned: list[tuple[str, Rejection]] = []
        for count, (client_id, username, peer) in enumerate(list(self._node.online())):
            if count % 1000 == 999:
                await asyncio.sleep(0)
            refused = self._chain.banned(client_id, username or "", peer.address)
            if refused is not None:
                banned.append((client_id, refused))
        for client_id, refused in banned:
            self._node.kick(client_id, refused.reason, refused.text)

    # ------------------------------------------------------------ automatic bans, records

    def _ban(self, ban: BanFacts) -> None:
        """The guard's: in force here at once, everywhere when it is saved."""
        self._chain.bans.add(ban)
        self._bans_to_save.append(ban)

    async def _tick(self) -> None:
        reloaded = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            if self._chain.parts.kept is not None:
                await self._chain.parts.kept.flush()
            try:
                await self._save_bans()
                await self._records.flush()
                await self._chain.parts.verifiers.flush(self._chain.parts.database)
            except Unavailable:
                continue
            except Exception:
                logger.exception("records could not be written")
            unanswered = self._chain.unanswered()
            if unanswered:
                self.changed("rules", unanswered)
            self._review_some(TICK)
            self._look_again()
            if self._operators:
                self._operators = False
                if self._chain.operators:
                    self.changed("operators", None)
            if time.monotonic() - reloaded >= RELOAD_BANS and not self._chain.open:
                reloaded = time.monotonic()
                self._bans = True
                self._wake.set()

    async def _save_bans(self) -> None:
        while self._bans_to_save:
            ban = self._bans_to_save[0]
            until = datetime.fromtimestamp(ban.until or 0.0, UTC)
            await self._chain.parts.database.write(ban_for_a_while, ban.kind, ban.value, until, ban.reason)
            self._bans_to_save.pop(0)
