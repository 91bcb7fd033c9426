"""What a file may say: five lists of rows. Each row is checked, and against the others of the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from apps.auth.facts import TRANSPORTS
from gmqtt_platform.code.document import BadDocument, Place, Value

Check = Callable[[Value], Any]


@dataclass
class Row:
    """`key` names the row among those of its section; `values` has what the file says of it alone."""

    key: tuple[Any, ...]
    values: dict[str, Any]
    place: Place
    places: dict[str, Place] = field(default_factory=dict)

    def at(self, name: str) -> Place:
        return self.places.get(name, self.place)


@dataclass
class Desired:
    """None: the file does not speak of it, so nothing of it is changed or pruned."""

    groups: list[Row] | None = None
    clients: list[Row] | None = None
    rules: list[Row] | None = None
    bans: list[Row] | None = None
    export_rules: list[Row] | None = None


def text(value: Value) -> str:
    if isinstance(value.plain, bool) or not isinstance(value.plain, (str, int)):
        raise value.place.bad(f"{_shown(value)}; text is wanted")
    return str(value.plain)


def flag(value: Value) -> bool:
    if not isinstance(value.plain, bool):
        raise value.place.bad(f"{_shown(value)}; true or false is wanted")
    return value.plain


def number(low: int, high: int) -> Check:
    def check(value: Value) -> int:
        if (
            isinstance(value.plain, bool)
            or not isinstance(value.plain, int)
            or not low <= value.plain <= high
        ):
            raise value.place.bad(f"{_shown(value)}; a number from {low} to {high} is wanted")
        return value.plain

    return check


def choice(*allowed: str) -> Check:
    def check(value: Value) -> str:
        if value.plain not in allowed:
            raise value.place.bad(f"{_shown(value)}; one of {', '.join(allowed)} is wanted")
        return str(value.plain)

    return check


def many(check: Check) -> Check:
    def checked(value: Value) -> list[Any]:
        if not isinstance(value.plain, list):
            raise value.place.bad(f"{_shown(value)}; a list is wanted")
        return [check(each) for each in value.plain]

    return checked


def moment(value: Value) -> datetime | None:
    found = value.plain
    if found is None:
        return None
    try:
        if isinstance(found, str):
            found = datetime.fromisoformat(found)
        if isinstance(found, date) and not isinstance(found, datetime):
            found = datetime(found.year, found.month, found.day)
        if isinstance(found, datetime):
            return found if found.tzinfo else found.replace(tzinfo=UTC)
    except ValueError:
        pass
    raise value.place.bad(f"{_shown(value)}; a time such as 2030-01-31T00:00:00Z is wanted")


def from_file(value: Value) -> str:
    path = Path(value.place.file).parent / text(value)
    try:
        lines = path.read_text().splitlines()
    except (OSError, ValueError) as error:
        raise value.place.bad(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not lines or not lines[0]:
        raise value.place.bad(f"{path}: its first line is empty")
    return lines[0]


def from_environment(value: Value) -> str:
    found = os.environ.get(text(value), "")
    if not found:
        raise value.place.bad(f"the environment has no variable {text(value)}")
    return found


SECRETS: Final = ("password_file", "password_env", "password_hash", "generate")
CREDENTIAL: Final[dict[str, Check]] = {
    "username": text,
    "client_ids": text,
    "password_file": from_file,
    "password_env": from_environment,
    "password_hash": text,
    "generate": flag,
    "subject": text,
    "claim": text,
    "claim_value": text,
}
SECTIONS: Final[dict[str, dict[str, Check]]] = {
    "groups": {"name": text, "description": text, "namespace": many(text)},
    "clients": {
        "client_id": text,
        "display_name": text,
        "owner": text,
        "enabled": flag,
        "transports": lambda value: _transports(value),
        "groups": many(text),
        "credentials": many(lambda value: _credential(value)),
    },
    "rules": {
        "client": text,
        "group": text,
        "effect": choice("allow", "deny"),
        "action": choice("publish", "subscribe", "both"),
        "filter": text,
        "priority": number(-32_768, 32_767),
        "max_qos": number(0, 2),
        "retain": flag,
        "note": text,
    },
    "bans": {
        "kind": choice("client_id", "username", "address", "pattern"),
        "value": text,
        "until": moment,
        "reason": text,
    },
    "export_rules": {
        "filter": text,
        "kafka_topic": text,
        "key_template": text,
        "enabled": flag,
        "note": text,
    },
}
KEYS: Final[dict[str, tuple[str, ...]]] = {
    "groups": ("name",),
    "clients": ("client_id",),
    "rules": ("client", "group", "effect", "action", "filter"),
    "bans": ("kind", "value"),
    "export_rules": ("filter", "kafka_topic"),
}
NEEDED: Final = {"rules": ("effect", "action", "filter")}  # else all of KEYS


def read(document: Value) -> Desired:
    """BadDocument with every mistake, a line each."""
    desired, errors = Desired(), []
    if not isinstance(document.plain, dict):
        raise document.place.bad("a mapping is wanted, with any of " + ", ".join(SECTIONS))
    for name, value in document.plain.items():
        if name not in SECTIONS:
            errors.append(str(value.place.bad(_unknown(name, SECTIONS))))
        elif not isinstance(value.plain, list):
            errors.append(str(value.place.bad(f"{_shown(value)}; a list is wanted")))
        else:
            rows: list[Row] = []
            seen: dict[tuple[Any, ...], int] = {}
            for each in value.plain:
                try:
                    row = _row(name, each)
                    if row.key in seen:
                        raise row.place.bad(f"the same as in line {seen[row.key]}")
                    seen[row.key] = row.place.line
                    rows.append(row)
                except BadDocument as error:
                    errors.append(str(error))
            setattr(desired, name, rows)
    if errors:
        raise BadDocument("\n".join(errors))
    return desired


def _row(section: str, value: Value) -> Row:
    values, places = fields(value, SECTIONS[section])
    for name in NEEDED.get(section, KEYS[section]):
        if values.get(name) in (None, ""):
            raise value.place.bad(f"{name} is missing")
    if section == "rules" and "client" in values and "group" in values:
        raise places["group"].bad("a rule is for a client, or a group, or (neither) everyone")
    if section == "clients":
        _twins(values.get("credentials", ()))
    key = tuple(values.get(name, "") for name in KEYS[section])
    return Row(key, values, value.place, places)


def fields(value: Value, checks: dict[str, Check]) -> tuple[dict[str, Any], dict[str, Place]]:
    if not isinstance(value.plain, dict):
        raise value.place.bad(f"{_shown(value)}; a mapping is wanted")
    values, places = {}, {}
    for name, each in value.plain.items():
        if name not in checks:
            raise each.place.bad(_unknown(name, checks))
        values[name] = checks[name](each)
        places[name] = each.place
    return values, places


def _transports(value: Value) -> list[str]:
    """As the database has them: each once, in their order."""
    given = many(choice(*TRANSPORTS))(value)
    return [name for name in TRANSPORTS if name in given]


def _credential(value: Value) -> Row:
    values, places = fields(value, CREDENTIAL)
    given = [name for name in SECRETS if values.get(name)]
    if "subject" in values:
        allowed: tuple[str, ...] = ("subject",)
        kind = "x509"
    elif "claim" in values or "claim_value" in values:
        kind, allowed = "jwt", ("claim", "claim_value")
    else:
        kind = "secret" if given == ["generate"] else "password"
        allowed = ("username", "client_ids", *SECRETS)
        if len(given) != 1:
            raise value.place.bad(f"one of {', '.join(SECRETS)} is wanted")
    for name in values:
        if name not in allowed:
            raise places[name].bad(f"a credential of kind {kind} has none")
    if kind == "jwt" and not (values.get("claim") and values.get("claim_value")):
        raise value.place.bad("claim and claim_value are wanted")
    password = values.pop("password_file", "") or values.pop("password_env", "")
    key = (kind, values.get("subject", ""), values.get("claim", ""), values.get("claim_value", ""))
    if kind in ("secret", "password"):
        key = ("username", values.get("username", ""), "", "")
    return Row(key, {**values, "kind": kind, "password": password}, value.place, places)


def _twins(credentials: Any) -> None:
    seen: dict[tuple[Any, ...], int] = {}
    for row in credentials:
        if row.key in seen:
            raise row.place.bad(f"the same as in line {seen[row.key]}")
        seen[row.key] = row.place.line


def _unknown(name: str, known: Any) -> str:
    near: Iterator[str] = iter(get_close_matches(name, list(known), 1))
    guess = next(near, "")
    return "an unknown key; " + (
        f"did you mean {guess}?" if guess else f"one of {', '.join(known)} is wanted"
    )


def _shown(value: Value) -> str:
    if isinstance(value.plain, dict):
        return "a mapping"
    return "a list" if isinstance(value.plain, list) else repr(value.plain)[:60]
