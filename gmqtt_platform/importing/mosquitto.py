"""mosquitto's password file and ACL file, as version 2 reads them.

The rules of a user are asked before the patterns, which are for all users; denials before what is allowed;
where none matches the answer is no. That is the order here, too: rules of the client, rules of its group,
deny before allow.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from apps.auth import hashers
from gmqtt_platform.code.document import Place
from gmqtt_platform.importing.found import Found, lines

ACTIONS: Final = {"read": "subscribe", "write": "publish", "readwrite": "both", "deny": "both"}
_PATTERN: Final = {"%u": "${username}", "%c": "${clientid}"}


def passwords(found: Found, path: Path) -> None:
    for place, line in lines(path):
        line = line.rstrip("\r")
        if not line.strip() or line.startswith("#"):
            continue
        username, colon, encoded = line.partition(":")
        try:
            if not colon:
                raise hashers.BadHash("a line without a colon")
            hashed = hashers.from_mosquitto(encoded.strip())
        except hashers.BadHash as error:
            found.note(place, f"user {username!r} is left out: {error}")
            continue
        found.add_client(username, hashed, place)


def acl(found: Found, path: Path) -> None:
    username: str | None = None
    for place, line in lines(path):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        if word == "user" and rest:
            username = rest
            if username not in found.clients:
                found.note(place, f"user {username!r} has no password there: what follows is left out")
        elif word in ("topic", "pattern") and rest:
            _rule(found, place, word, rest, username)
        else:
            found.note(place, f"cannot be read: {line[:80]!r}")


def _rule(found: Found, place: Place, word: str, rest: str, username: str | None) -> None:
    access, _, topic = rest.partition(" ")
    topic = topic.strip()
    if not topic:
        access, topic = "readwrite", access
    elif access not in ACTIONS:
        found.note(place, f"{rest!r} is left out: {access!r} is none of {', '.join(ACTIONS)}")
        return
    effect, action = ("deny" if access == "deny" else "allow"), ACTIONS[access]
    if "${" in topic:
        found.note(place, f"{topic!r} is left out: ${{ begins a placeholder here")
        return
    if word == "topic" and username is None:
        found.note(
            place, f"{topic!r} is for clients without a user name, which have no rules of their own here"
        )
        return
    if effect == "deny" and action == "both":
        found.note(
            place,
            f"{topic!r}: a subscription that overlaps with it is refused here; there it is taken, and what "
            "matches is not delivered",
        )
    if word == "topic":
        if username in found.clients:
            found.add_rule(place, effect, action, topic, username or "")
        return
    found.add_rule(place, effect, action, re.sub("%[uc]", lambda match: _PATTERN[match[0]], topic))


def without_acl(found: Found) -> None:
    """Without an ACL file everyone who logs in may do everything."""
    place = Place("without an ACL file", 0, "")
    found.add_rule(place, "allow", "both", "#")
    found.add_rule(place, "allow", "subscribe", "$SYS/#")
