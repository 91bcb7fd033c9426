"""What was found at another broker.

A user there may connect under any client id. Here that is a registered client whose credential is for all
client ids (`client_ids: "*"`). Its own id is never used to connect: `user:<name>`, so that no device's id
is another user's. All of them are in one group, which carries the rules that are for every user there and
nobody else here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from django.core.exceptions import ValidationError

from apps.auth.models import Ban
from apps.auth.services import bans
from apps.common.validators import plain_text, rule_filter
from gmqtt_platform.code.desired import Desired, Row
from gmqtt_platform.code.document import Place

PREFIX: Final = "user:"
LONGEST_ID: Final = 256


class BadSource(Exception):
    """A file cannot be read as what it is said to be."""


@dataclass
class RetainedMessage:
    topic: str
    payload: bytes
    qos: int
    expires_in: int = 0  # seconds; 0: does not
    properties: dict[str, Any] = field(default_factory=dict)  # as `cluster.services.publish`


@dataclass
class Found:
    group: str  # of everyone who comes
    groups: dict[str, Row] = field(default_factory=dict)
    clients: dict[str, Row] = field(default_factory=dict)  # by user name, or "id:<client id>"
    rules: dict[tuple[Any, ...], Row] = field(default_factory=dict)
    bans: list[Row] = field(default_factory=list)
    retained: list[RetainedMessage] = field(default_factory=list)
    without: list[str] = field(default_factory=list)  # what has no counterpart here, and why

    def __post_init__(self) -> None:
        self.add_group(self.group, Place("", 0, ""), "Came from another broker.")

    def note(self, place: Place | str, text: str) -> None:
        where = (
            place if isinstance(place, str) else f"{place.file}:{place.line}" if place.line else place.file
        )
        self.without.append(f"{where}: {text}")

    def add_group(self, name: str, place: Place, description: str = "") -> None:
        if name not in self.groups:
            values: dict[str, Any] = {"name": name}
            if description:
                values["description"] = description[:1024]
            self.groups[name] = Row((name,), values, place)

    def add_client(
        self, username: str, hashed: str, place: Place, client_id: str = "", only: bool = False, **values: Any
    ) -> bool:
        """`client_id`: the one that may connect by it (`only`); False where it cannot be here."""
        key = username
        own = client_id or f"{PREFIX}{username}"
        try:
            plain_text(username)
            plain_text(own)
        except ValidationError as error:
            self.note(place, f"user {username!r} is left out: {'; '.join(error.messages)}")
            return False
        if len(own) > LONGEST_ID or not username:
            self.note(
                place, f"user {username!r} is left out: a name has 1 to {LONGEST_ID - len(PREFIX)} characters"
            )
            return False
        if key in self.clients:
            self.note(place, f"user {username!r} stands twice: the first is taken")
            return False
        credential = {"kind": "password", "username": username, "password": "", "password_hash": hashed}
        credential["client_ids"] = "" if only else "*"
        row = Row(("username", username, "", ""), credential, place)
        given = {
            "client_id": own,
            "credentials": [row],
            "groups": [self.group, *values.pop("groups", ())],
            **values,
        }
        self.clients[key] = Row((own,), given, place)
        return True

    def add_rule(
        self,
        place: Place,
        effect: str,
        action: str,
        filter: str,
        username: str = "",
        group: str = "",
        **values: Any,
    ) -> bool:
        """For a user, or else a group. False where it cannot be here."""
        try:
            rule_filter(filter)
            if len(filter) > 1024:
                raise ValidationError("longer than 1024 characters")
        except ValidationError as error:
            self.note(place, f"{effect} {action} {filter!r} is left out: {'; '.join(error.messages)}")
            return False
        if username and username not in self.clients:
            self.note(place, f"{effect} {action} {filter!r} is left out: there is no user {username!r}")
            return False
        client = self.clients[username].key[0] if username else ""
        group = "" if client else group or self.group
        key = (client, group, effect, action, filter)
        before = self.rules.get(key)
        if before is not None and before.values.get("priority", 0) >= values.get("priority", 0):
            return True
        subject = {"client": client} if client else {"group": group}
        self.rules[key] = Row(
            key, {**subject, "effect": effect, "action": action, "filter": filter, **values}, place
        )
        return True

    def add_ban(self, place: Place, kind: str, value: str, until: Any = None, reason: str = "") -> None:
        try:
            value = bans.spelled(kind, value)
            Ban(kind=kind, value=value, reason=reason[:256]).clean_fields()
        except ValidationError as error:
            self.note(place, f"ban of {kind} {value!r} is left out: {'; '.join(error.messages)}")
            return
        self.bans.append(
            Row((kind, value), {"kind": kind, "value": value, "until": until, "reason": reason[:256]}, place)
        )

    def desired(self) -> Desired:
        return Desired(
            list(self.groups.values()),
            list(self.clients.values()),
            list(self.rules.values()),
            self.bans,
            None,
        )


def lines(path: Path) -> list[tuple[Place, str]]:
    """BadSource; OSError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadSource(f"{path}: not UTF-8") from None
    return [(Place(str(path), number, ""), line) for number, line in enumerate(text.split("\n"), 1)]


def group_named(name: str) -> str:
    """A group of another broker under a name that a group may have here."""
    return re.sub(r"[/+#$,;\x00-\x1f]", "-", name)[:128] or "-"
