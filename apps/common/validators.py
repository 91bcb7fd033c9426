"""What may stand in an identifier, and what may stand in a rule's topic filter."""

from __future__ import annotations

import ipaddress
import re
import unicodedata

from django.core.exceptions import ValidationError

from apps.gateway.mqtt import topics
from apps.gateway.mqtt.errors import MqttError

PLACEHOLDERS = ("${clientid}", "${username}", "${cert.cn}", "${group}")
_PLACEHOLDER = re.compile(r"\$\{[^}/]*\}?")


# Embeddings, overrides and isolates: they turn what is shown around, and what stands after them.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plain_text(value: str) -> None:
    """Refuse control characters, lone surrogates and noncharacters: what [MQTT-1.5.4] forbids or warns of.

    And the characters by which one name can be made to look like another.
    """
    for character in value:
        point = ord(character)
        bad = unicodedata.category(character) in ("Cc", "Cs") or (point & 0xFFFE) == 0xFFFE
        if bad or character in _TURNING:
            raise ValidationError(
                "U+%(point)04X may not stand here.",
                code="control_character",
                params={"point": point},
            )


def group_name(value: str) -> None:
    """A group's name takes the place of ${group} in a filter: one level, no wildcards."""
    plain_text(value)
    if re.search(r"[/+#$,;]", value):
        raise ValidationError("A group's name has none of / + # $ , ;", code="invalid_group_name")


def rule_filter(value: str) -> None:
    """A topic filter in which whole or part levels may be placeholders."""
    plain_text(value)
    for found in _PLACEHOLDER.findall(value):
        if found not in PLACEHOLDERS:
            raise ValidationError(
                "%(found)s is not one of %(allowed)s.",
                code="unknown_placeholder",
                params={"found": found, "allowed": ", ".join(PLACEHOLDERS)},
            )
    try:
        topics.check_filter(value)
    except MqttError as error:
        raise ValidationError(
            "Not a topic filter: %(reason)s.", code="invalid_topic_filter", params={"reason": str(error)}
        ) from None


def network(value: str) -> str:
    """The one spelling of an address or network under which bans are stored: 10.0.0.7 -> 10.0.0.7/32."""
    try:
        found = ipaddress.ip_network(value.strip(), strict=False)
    except ValueError:
        raise ValidationError("Not an IP address or network.", code="invalid_network") from None
    mapped = getattr(found.network_address, "ipv4_mapped", None)
    if mapped is not None and found.prefixlen >= 96:
        return f"{mapped}/{found.prefixlen - 96}"
    return str(found)


MAX_PREFIXES = 32
LONGEST_PREFIX = 256


def topic_prefixes(value: object) -> None:
    """A list of topic prefixes: names without wildcards, placeholders or an end in "/"."""
    if not isinstance(value, list) or len(value) > MAX_PREFIXES:
        raise ValidationError(f"A list of at most {MAX_PREFIXES} prefixes.", "invalid_namespace")
    for prefix in value:
        if not isinstance(prefix, str) or not 0 < len(prefix) <= LONGEST_PREFIX:
            raise ValidationError(
                f"A prefix is text of 1 to {LONGEST_PREFIX} characters.", "invalid_namespace"
            )
        if any(char in prefix for char in "+#$\0") or prefix.endswith("/"):
            message = f"The prefix {prefix!r} must be whole topic levels without +, #, $ or / at the end."
            raise ValidationError(message, "invalid_namespace")
