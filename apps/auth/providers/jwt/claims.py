"""What the claims of a token say, checked."""

from __future__ import annotations

from typing import Any

from apps.auth.facts import RuleFacts
from apps.gateway.mqtt import topics
from apps.gateway.mqtt.errors import MqttError

MAX_RULES = 256


class BadClaim(ValueError):
    """A claim is missing or is not what it should be."""


def text_of(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise BadClaim(f"no text in {name}")
    return value


def rules_of(claim: object) -> tuple[RuleFacts, ...]:
    """`[{"effect": "allow", "action": "publish", "filter": "a/#", "max_qos": 1, "retain": false}, ...]`.

    Only `filter` must be there; the rest is allow, both, 2 and true.
    """
    if not isinstance(claim, list) or len(claim) > MAX_RULES:
        raise BadClaim(f"the rules are not a list of at most {MAX_RULES}")
    return tuple(_rule(each) for each in claim)


def _rule(raw: object) -> RuleFacts:
    if not isinstance(raw, dict) or not set(raw) <= {"effect", "action", "filter", "max_qos", "retain"}:
        raise BadClaim("a rule has unknown keys")
    effect, action = raw.get("effect", "allow"), raw.get("action", "both")
    filter, max_qos, retain = raw.get("filter"), raw.get("max_qos", 2), raw.get("retain", True)
    if effect not in ("allow", "deny") or action not in ("publish", "subscribe", "both"):
        raise BadClaim("a rule has an unknown effect or action")
    if type(max_qos) is not int or not 0 <= max_qos <= 2 or type(retain) is not bool:
        raise BadClaim("a rule has a bad limit")
    if not isinstance(filter, str):
        raise BadClaim("a rule has no filter")
    try:
        topics.check_filter(filter)
    except MqttError as error:
        raise BadClaim(f"a rule's filter: {error.text}") from None
    return RuleFacts(0, effect, action, filter, max_qos, retain, 0, "client", "")
