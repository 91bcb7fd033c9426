"""The answers of the auth service, for a process that is asked over HTTP instead of gRPC."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

from django.conf import settings

from apps.auth.acl import Explanation, Rules, Subject
from apps.auth.providers import chain as chains
from apps.auth.providers.base import Identity
from apps.auth.providers.chain import Chain
from apps.auth.providers.decision import ClientAcl
from apps.auth.selectors import connect_facts
from apps.gateway.broker.ports import ConnectRequest, Verdict


@lru_cache(maxsize=1)
def _chain() -> Chain:
    """[auth.service]'s providers. Nothing is remembered: nobody would tell this process that it changed."""
    auth = settings.GMQTT.auth
    return chains.build(
        dataclasses.replace(auth, client=auth.service.client, acl=auth.service.acl, cache_size=0)
    )


async def connect(request: ConnectRequest) -> Verdict | None:
    """None: no provider knows the client. `Unavailable` when the database does not answer."""
    chain = _chain()
    await chain.load_bans()
    return await chain.decide(request)


async def acl(identity: Identity) -> ClientAcl:
    """It answers PASS where no rule matches. `Unavailable` when the database does not answer."""
    return await _chain().acl(identity, default="pass")


def explain(subject: Subject, action: str, topic: str, qos: int) -> Explanation:
    """By the rules in the database, whether or not the client is connected. One query."""
    facts = connect_facts(subject.client_id, subject.username)
    found = dataclasses.replace(subject, groups=facts.groups)
    return Rules(facts.rules, found).explain(action, topic, qos)
