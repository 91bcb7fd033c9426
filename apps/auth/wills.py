"""May a will still be published? Asked again when that is due, for the right may have gone since CONNECT.

Of a client that this node had, everything is asked again. Of one that another node had, or this one before it
was started again, only the client id is known: then the bans, the client's row, the rules in the database and
the auth service are asked. What the claims of its token or the name in its certificate allowed nobody can ask
any more. What they alone would decide is denied.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from apps.auth.absent import CERTIFICATE, NAME, facts_of_absent
from apps.auth.acl import PASS, Rules, Subject
from apps.auth.facts import RuleFacts
from apps.auth.fair_queue import Busy
from apps.auth.providers.base import Identity, Unavailable
from apps.auth.providers.chain import Chain
from apps.auth.providers.decision import ClientAcl
from apps.gateway.broker.messages import Message
from apps.gateway.broker.ports import NOTHING, PUBLISH_ALL, UNKNOWN, Acl

logger = logging.getLogger(__name__)

TRIES: Final = 30  # a second apart, while nobody answers; then the answer is no
RETRY_DELAY: Final = 1.0  # seconds
MAX_WAITING: Final = 10_000  # wills that are asked about at the same time; beyond, the answer is no
BATCH_SIZE: Final = 50


class WillRights:
    """`settle(will, grant)` hears what the will's client may publish to its topic. On the node's loop."""

    def __init__(self, chain: Chain, settle: Callable[[Message, int], None]) -> None:
        self._chain = chain
        self._settle = settle
        self._tasks: set[asyncio.Task[None]] = set()
        self._before: list[tuple[Message, Acl | None]] | None = []  # asked before the loop ran
        self._at_once = asyncio.Semaphore(BATCH_SIZE)

    def start(self) -> None:
        waiting, self._before = self._before or [], None
        for will, acl in waiting:
            self.ask(will, acl)

    async def stop(self) -> None:
        """Wait for what is being asked; the node is about to end, so the second try is the last."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2 * RETRY_DELAY)
        for task in self._tasks:
            task.cancel()

    def ask(self, will: Message, acl: Acl | None) -> None:
        """`acl` is the one that its client had; None: not known."""
        if self._chain.open:
            self._settle(will, PUBLISH_ALL)
        elif self._before is not None:
            self._before.append((will, acl))
        elif len(self._tasks) >= MAX_WAITING:
            self._settle(will, NOTHING)
        else:
            task = asyncio.get_running_loop().create_task(self._ask(will, acl), name="will")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, will: Message, acl: Acl | None) -> None:
        identity = acl.identity if isinstance(acl, ClientAcl) else None
        for _ in range(TRIES):
            try:
                async with self._at_once:
                    grant = await self.grant(will.origin, will.topic, identity)
            except (Unavailable, Busy):
                await asyncio.sleep(RETRY_DELAY)
            else:
                self._settle(will, grant)
                return
        logger.warning("nobody could say whether a will of client %r may be published", will.origin)
        self._settle(will, NOTHING)

    async def grant(self, client_id: str, topic: str, identity: Identity | None = None) -> int:
        """What the client may publish to the topic, as `Acl.publish`. `Unavailable` or `Busy`."""
        chain = self._chain
        if chain.open:
            return PUBLISH_ALL
        if not chain.bans.loaded:
            await chain.load_bans()
        if identity is None:
            return await self._by_client_id(client_id, topic)
        if chain.banned(client_id, identity.username, identity.address) is not None:
            return NOTHING
        if await chain.judge(identity) is not None:
            return NOTHING
        acl = await chain.acl(await chain.regrouped(identity))
        grant = acl.publish(topic)
        return await acl.ask_publish(topic) if grant == UNKNOWN else grant

    async def _by_client_id(self, client_id: str, topic: str) -> int:
        chain = self._chain
        found = await facts_of_absent(chain, client_id)
        if found is None:
            return NOTHING
        facts, subject = found
        for provider in chain.acls:
            if provider.brought:
                return NOTHING
            if provider.needs_database:
                grant = _by_rules(facts.rules, subject, topic)
            else:
                identity = Identity(client_id, subject.username, "", "", "", NAME, facts.groups)
                layer = ClientAcl(identity, tuple(filter(None, [await provider.layer(identity)])), "pass")
                grant = layer.publish(topic)
                grant = await layer.ask_publish(topic) if grant == UNKNOWN else grant
            if grant != PASS:
                return grant
        return PUBLISH_ALL if chain.parts.conf.acl_default == "allow" else NOTHING


def _by_rules(rules: tuple[RuleFacts, ...], subject: Subject, topic: str) -> int:
    """PASS where no rule matches. The certificate's name is not known: a rule about it allows nothing, and
    one that would deny some name denies."""
    denying = [rule for rule in rules if rule.effect != "allow" and CERTIFICATE in rule.filter]
    for rule in denying:
        levels = topic.split("/")
        for place, level in enumerate(rule.filter.split("/")):
            if CERTIFICATE in level and place < len(levels):
                name = Subject(subject.client_id, subject.username, levels[place], subject.groups)
                if Rules((rule,), name).publish(topic) != PASS:
                    return NOTHING
    return Rules(rules, subject).publish(topic)
