"""Which access rule decides about a client of this node, for the page that operators see of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from asgiref.sync import sync_to_async

from apps.auth import decisions
from apps.auth.acl import Explanation, Subject
from apps.auth.facts import RuleFacts
from apps.auth.providers.chain import Chain
from apps.gateway.broker.ports import DENIED, UNKNOWN

MAX_RULES: Final = 50  # that are shown of those passed over


class Explaining:
    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def handlers(self) -> dict[str, Callable[..., Any]]:
        return {"acl_explain": self.explain}

    async def explain(self, client_id: str, username: str, action: str, topic: str) -> dict[str, Any]:
        """By the rules that the connection has; of a client that is offline by those in the database.

        {"decision": allow | deny | unknown, "rule": the one that decides or None, "passed_over": [...],
        "more": how many more were passed over}; unknown: another service decides, and was not asked.
        """
        acl = self._chain.live.get(client_id)
        if acl is not None:
            found = acl.explain(action, topic)
            if found is None:  # no rule that this process knows
                answer = acl.publish(topic) if action == "publish" else acl.subscribe(topic, 0)
                said = {UNKNOWN: "unknown", DENIED: "deny"}.get(answer, "allow")
                return {"decision": said, "rule": None, "passed_over": [], "more": 0}
        else:
            subject = Subject(client_id, username)
            async with asyncio.timeout(5):
                ask = sync_to_async(decisions.explain, thread_sensitive=False)
                found = await ask(subject, action, topic, 0)
        return self._shown(found)

    def _shown(self, found: Explanation) -> dict[str, Any]:
        passed = [{**_rule(rule), "why": why} for rule, why in found.passed[:MAX_RULES]]
        return {
            "decision": found.rule.effect if found.rule is not None else self._chain.parts.conf.acl_default,
            "rule": _rule(found.rule) if found.rule is not None else None,
            "passed_over": passed,
            "more": len(found.passed) - len(passed),
        }


def _rule(rule: RuleFacts) -> dict[str, Any]:
    names = ("id", "effect", "action", "filter", "scope", "group", "priority")
    return {name: getattr(rule, name) for name in names}
