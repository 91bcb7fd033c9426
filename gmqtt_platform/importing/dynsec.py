"""The JSON of mosquitto's dynamic-security plugin.

There, a client's roles are asked before those of its groups, higher priorities first: of groups, of roles,
of the entries in them. The first that matches decides. Here one number stands for all of that: the place
among all of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from apps.auth import hashers
from gmqtt_platform.code.document import Place
from gmqtt_platform.importing.found import BadSource, Found, group_named

# By acltype: what it is about here.
ACTIONS: Final = {
    "publishClientSend": "publish",
    "subscribeLiteral": "subscribe",
    "subscribePattern": "subscribe",
    "publishClientReceive": "receive",
    "unsubscribeLiteral": "unsubscribe",
    "unsubscribePattern": "unsubscribe",
}
FIRST: Final = (1 << 30,)  # before everything


@dataclass(frozen=True)
class _Entry:
    rank: tuple[int, ...]  # higher is asked first
    place: Place
    effect: str
    action: str
    filter: str
    username: str
    group: str


def read(found: Found, path: Path) -> None:
    """BadSource; OSError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        _read(found, document, str(path))
    except (ValueError, RecursionError) as error:
        raise BadSource(f"{path}: not JSON: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise BadSource(
            f"{path}: not of the dynamic-security plugin: {type(error).__name__} {error}"
        ) from None


def _read(found: Found, document: dict[str, Any], file: str) -> None:
    def at(what: str) -> Place:
        return Place(f"{file}: {what}", 0, "")

    roles = {role["rolename"]: role for role in document.get("roles", ())}
    defaults = document.get("defaultACLAccess", {})
    groups: dict[str, dict[str, Any]] = {}
    for group in document.get("groups", ()):
        name = group_named(group["groupname"])
        if name in groups:
            found.note(at(f"group {group['groupname']!r}"), f"is left out: another one is {name!r} here, too")
            continue
        groups[name] = group
        found.add_group(name, at(f"group {name!r}"), str(group.get("textdescription", "")))
    priorities = _members(found, document, at)
    for client in document.get("clients", ()):
        _client(found, client, at(f"client {client['username']!r}"), priorities)
    if document.get("anonymousGroup"):
        found.note(at("anonymousGroup"), "clients without a user name have no rules of their own here")

    entries: list[_Entry] = []
    for client in document.get("clients", ()):
        if client["username"] in found.clients:
            for each in client.get("roles", ()):
                rank = (1, 0, int(each.get("priority", -1)))
                entries += _entries(found, roles, each["rolename"], rank, client["username"], "", at)
    for name, group in groups.items():
        priority = max(priorities.get(name, {-1}))
        if len(priorities.get(name, ())) > 1:
            found.note(
                at(f"group {name!r}"), f"clients have it at different priorities; {priority} is taken for all"
            )
        for each in group.get("roles", ()):
            rank = (0, priority, int(each.get("priority", -1)))
            entries += _entries(found, roles, each["rolename"], rank, "", name, at)
    receives = bool(defaults.get("publishClientReceive", True))
    if not receives:
        found.note(
            at("defaultACLAccess"),
            "publishClientReceive is false: subscriptions decide here, so none is allowed",
        )
    _rules(found, entries, receives)
    place = at("defaultACLAccess")
    if defaults.get("publishClientSend"):
        found.add_rule(place, "allow", "publish", "#")
    if defaults.get("subscribe") and receives:
        found.add_rule(place, "allow", "subscribe", "#")
        found.add_rule(place, "allow", "subscribe", "$SYS/#")


def _members(found: Found, document: dict[str, Any], at: Any) -> dict[str, set[int]]:
    """Group -> the priorities at which clients have it. It stands at either of the two, or at both."""
    known: dict[str, set[int]] = {}
    clients = {client["username"]: client for client in document.get("clients", ())}
    for group in document.get("groups", ()):
        for member in group.get("clients", ()):
            client = clients.get(member["username"])
            mine = client.setdefault("groups", []) if client is not None else []
            if client is not None and all(each["groupname"] != group["groupname"] for each in mine):
                mine.append({"groupname": group["groupname"], "priority": member.get("priority", -1)})
    for client in clients.values():
        for each in client.get("groups", ()):
            known.setdefault(group_named(each["groupname"]), set()).add(int(each.get("priority", -1)))
    return known


def _client(found: Found, client: dict[str, Any], place: Place, groups: dict[str, set[int]]) -> None:
    try:
        if not client.get("password"):
            raise hashers.BadHash("it has no password")
        hashed = hashers.from_mosquitto_pbkdf2(
            int(client.get("iterations", 101)), str(client.get("salt", "")), str(client["password"])
        )
    except hashers.BadHash as error:
        found.note(place, f"is left out: {error}")
        return
    named = dict.fromkeys(group_named(each["groupname"]) for each in client.get("groups", ()))
    values: dict[str, Any] = {"groups": [name for name in named if name in found.groups]}
    if client.get("disabled"):
        values["enabled"] = False
    if client.get("textname"):
        values["display_name"] = str(client["textname"])[:256]
    own = str(client.get("clientid") or "")
    found.add_client(str(client["username"]), hashed, place, own, bool(own), **values)


def _entries(
    found: Found, roles: dict[str, Any], name: str, rank: tuple[int, ...], username: str, group: str, at: Any
) -> list[_Entry]:
    role = roles.get(name)
    if role is None:
        found.note(at(f"role {name!r}"), "is not there")
        return []
    made = []
    for acl in role.get("acls", ()):
        kind, topic, allow = acl["acltype"], str(acl.get("topic", "")), bool(acl.get("allow"))
        place = at(f"role {name!r}: {kind} {topic!r}")
        action = ACTIONS.get(kind)
        if action is None:
            found.note(place, "is left out: an unknown type")
        elif action == "unsubscribe":
            if not allow:
                found.note(place, "is left out: everyone may unsubscribe here")
        elif "${" in topic:
            found.note(place, "is left out: ${ begins a placeholder here")
        elif kind == "subscribeLiteral" and allow and ("+" in topic or "#" in topic):
            found.note(place, "is left out: here it would allow narrower subscriptions, too")
        else:
            effect = "allow" if allow else "deny"
            order = (*rank, int(acl.get("priority", -1)))
            made.append(_Entry(order, place, effect, action, topic, username, group))
    return made


def _rules(found: Found, entries: list[_Entry], receives: bool) -> None:
    kept: list[_Entry] = []
    for each in entries:
        if each.action == "receive":
            if each.effect == "allow":
                if not receives:
                    found.note(each.place, "is left out: receiving is not decided by itself here")
                continue
            found.note(
                each.place,
                "a subscription that overlaps with it is refused here; there only the messages are withheld",
            )
            kept.append(
                _Entry(FIRST, each.place, "deny", "subscribe", each.filter, each.username, each.group)
            )
        elif each.action == "subscribe" and each.effect == "allow" and not receives:
            continue
        else:
            kept.append(each)
    ranks = {rank: number for number, rank in enumerate(sorted({each.rank for each in kept}), 1)}
    for each in kept:
        found.add_rule(
            each.place,
            each.effect,
            each.action,
            each.filter,
            each.username,
            each.group,
            priority=ranks[each.rank],
        )
