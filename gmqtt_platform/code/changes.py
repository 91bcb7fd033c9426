"""The difference between what a file says and the database, and how to make it, through the services of the
apps.

What a row of the file does not say stays as it is, or becomes the default where the row is new. Rows that
the file does not have go by `prune` only, and only in sections that the file has. Each change is a
transaction of its own, with its audit entry; where one cannot be made those before it stay, and the next
`apply` goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, Prefetch

from apps.auth.models import AclRule, Ban, Client, ClientGroup, Credential
from apps.auth.services import bans, clients, groups, rules
from apps.cluster.bridge import export_sync
from apps.cluster.models import ExportRule
from apps.common import audit
from apps.common.actors import Actor
from apps.common.errors import Duplicate, Gone
from gmqtt_platform.code import credentials
from gmqtt_platform.code.desired import Desired, Row
from gmqtt_platform.code.document import BadDocument

ADD, CHANGE, REMOVE = "add", "change", "remove"
Shown = Callable[[str, str, str], None]  # client id, user name, generated secret


@dataclass
class Change:
    do: str
    what: str  # such as client
    name: str
    make: Callable[[Actor, Shown], None]
    details: dict[str, list[Any]] = field(default_factory=dict)  # field -> [before, after]
    row: Row | None = None

    def shown(self) -> dict[str, Any]:
        return {"do": self.do, "what": self.what, "name": self.name, "changes": self.details}


class CannotApply(Exception):
    """A change could not be made; those before it were."""


def plan(desired: Desired, prune: bool = False) -> list[Change]:
    """What there is to do, in an order in which it can be done. BadDocument."""
    errors: list[str] = []
    made: list[Change] = []
    gone: list[Change] = []
    for section, differ in _SECTIONS.items():
        wanted = getattr(desired, section)
        if wanted is None:
            continue
        for change in differ(wanted, desired, prune, errors):
            (gone if change.do == REMOVE else made).append(change)
    if errors:
        raise BadDocument("\n".join(errors))
    return made + gone[::-1]


def apply(actor: Actor, changes: Iterable[Change], shown: Shown) -> int:
    """How many were made. `shown` gets each generated secret, as soon as it is kept. CannotApply."""
    count = 0
    for change in changes:
        try:
            change.make(actor, shown)
        except (ValidationError, PermissionDenied, Duplicate, Gone) as error:
            where = f"{change.row.place.file}:{change.row.place.line}: " if change.row is not None else ""
            told = "; ".join(error.messages) if isinstance(error, ValidationError) else str(error)
            raise CannotApply(f"{where}{change.do} {change.what} {change.name}: {told}") from None
        count += 1
    return count


def _check(row: Row, model: Model, names: Iterable[str], errors: list[str]) -> bool:
    """Note what the model says against its fields, at their places in the file."""
    wanted = set(names)
    try:
        model.clean_fields(exclude=[each.name for each in model._meta.fields if each.name not in wanted])
    except ValidationError as error:
        for name, messages in error.message_dict.items():
            errors.append(str(row.at(name).bad("; ".join(messages))))
        return False
    return True


def _differences(row: Row, found: Any, names: Iterable[str]) -> dict[str, list[Any]]:
    return {
        name: [getattr(found, name), row.values[name]]
        for name in names
        if name in row.values and getattr(found, name) != row.values[name]
    }


# -------------------------------------------------------------------------------------------- groups


def _groups(wanted: list[Row], desired: Desired, prune: bool, errors: list[str]) -> Iterator[Change]:
    known = {each.name: each for each in ClientGroup.objects.all()}
    names = ("description", "namespace")
    for row in wanted:
        (name,) = row.key
        if not _check(row, ClientGroup(**row.values), row.values, errors):
            continue
        found = known.get(name)
        if found is None:
            yield Change(
                ADD,
                "group",
                name,
                lambda actor, _, row=row: _nothing(groups.create(actor, **row.values)),
                row=row,
            )
        elif details := _differences(row, found, names):
            after = {name: values[1] for name, values in details.items()}
            yield Change(
                CHANGE,
                "group",
                name,
                lambda actor, _, found=found, after=after: _nothing(groups.update(actor, found, **after)),
                details,
                row,
            )
    listed = {row.key[0] for row in wanted}
    for name, found in known.items() if prune else ():
        if name not in listed:
            yield Change(REMOVE, "group", name, lambda actor, _, found=found: groups.remove(actor, found))


# ------------------------------------------------------------------------------------------- clients

PLAIN: Final = ("display_name", "owner", "enabled", "transports")
AT_ONCE: Final = 500


def _clients(wanted: list[Row], desired: Desired, prune: bool, errors: list[str]) -> Iterator[Change]:
    there = set(ClientGroup.objects.values_list("name", flat=True))
    there |= {row.key[0] for row in desired.groups or ()}
    known = _known_clients(row.key[0] for row in wanted)
    for row in wanted:
        (client_id,) = row.key
        model = Client(
            client_id=client_id, **{name: row.values[name] for name in PLAIN[:3] if name in row.values}
        )
        if not _check(row, model, ("client_id", *PLAIN[:3]), errors):
            continue
        missing = [name for name in row.values.get("groups", ()) if name not in there]
        if missing:
            errors.append(str(row.at("groups").bad(f"there is no group {missing[0]!r}")))
            continue
        mistakes = len(errors)
        for each in row.values.get("credentials", ()):
            credentials.check(each, errors)
        if len(errors) > mistakes:
            continue
        found = known.get(client_id)
        if found is None:
            yield Change(
                ADD,
                "client",
                client_id,
                lambda actor, shown, row=row: credentials.register(actor, row, shown),
                row=row,
            )
            continue
        details = _differences(row, found, PLAIN)
        before = sorted(group.name for group in found.groups.all())
        if "groups" in row.values and sorted(set(row.values["groups"])) != before:
            details["groups"] = [before, sorted(set(row.values["groups"]))]
        if details:
            yield Change(
                CHANGE,
                "client",
                client_id,
                lambda actor, _, found=found, details=details: _update(actor, found, details),
                details,
                row,
            )
        for do, name, make in credentials.differences(row, found, prune):
            yield Change(do, "credential", name, make, row=row)
    if prune:
        listed = {row.key[0] for row in wanted}
        for found in Client.objects.order_by("id").iterator(AT_ONCE):
            if found.client_id not in listed:
                yield Change(
                    REMOVE,
                    "client",
                    found.client_id,
                    lambda actor, _, found=found: _nothing(clients.unregister(actor, [found])),
                )


def _known_clients(client_ids: Iterable[str]) -> dict[str, Client]:
    names, found = list(client_ids), {}
    valid = Credential.objects.filter(valid_until=None)
    for start in range(0, len(names), AT_ONCE):
        rows = Client.objects.filter(client_id__in=names[start : start + AT_ONCE])
        for each in rows.prefetch_related("groups", Prefetch("credentials", valid)):
            found[each.client_id] = each
    return found


def _update(actor: Actor, client: Client, details: dict[str, list[Any]]) -> None:
    after = {name: values[1] for name, values in details.items()}
    if "groups" in after:
        after["groups"] = list(ClientGroup.objects.filter(name__in=after["groups"]))
    clients.update(actor, client, clients.ClientChanges(**after))


# --------------------------------------------------------------------------------------------- rules


def _rules(wanted: list[Row], desired: Desired, prune: bool, errors: list[str]) -> Iterator[Change]:
    known: dict[tuple[Any, ...], list[AclRule]] = {}
    for each in AclRule.objects.select_related("client", "group").order_by("id").iterator(AT_ONCE):
        client_id = each.client.client_id if each.client else ""
        key = (client_id, each.group.name if each.group else "", each.effect, each.action, each.filter)
        known.setdefault(key, []).append(each)
    members = {row.key[0] for row in desired.clients or ()}
    names = [row.key[0] for row in wanted if row.key[0]]
    members |= set(_known_clients(names)) if names else set()
    there = set(ClientGroup.objects.values_list("name", flat=True)) | {
        row.key[0] for row in desired.groups or ()
    }
    fields = ("priority", "max_qos", "retain", "note")
    for row in wanted:
        client_id, group, *_ = row.key
        name = f"{row.key[2]} {row.key[3]} {row.key[4]}" + (
            f" for {client_id or 'group ' + group}" if client_id or group else ""
        )
        model = AclRule(**{key: value for key, value in row.values.items() if key not in ("client", "group")})
        if client_id and client_id not in members:
            errors.append(str(row.at("client").bad(f"there is no client {client_id!r}")))
        elif group and group not in there:
            errors.append(str(row.at("group").bad(f"there is no group {group!r}")))
        elif model.effect == "deny" and (model.max_qos != 2 or not model.retain):
            errors.append(str(row.at("effect").bad("only allow rules have limits of QoS and retain")))
        elif _check(row, model, row.values.keys() - {"client", "group"}, errors):
            same = known.get(row.key)
            if not same:
                yield Change(ADD, "rule", name, lambda actor, _, row=row: _add_rule(actor, row), row=row)
                continue
            found = same.pop(0)
            if details := _differences(row, found, fields):
                after = {key: values[1] for key, values in details.items()}
                yield Change(
                    CHANGE,
                    "rule",
                    name,
                    lambda actor, _, found=found, after=after: _nothing(rules.update(actor, found, **after)),
                    details,
                    row,
                )
    for found in (each for same in known.values() for each in same) if prune else ():
        yield Change(
            REMOVE,
            "rule",
            f"{found} (id {found.pk})",
            lambda actor, _, found=found: _remove_rule(actor, found),
        )


def _add_rule(actor: Actor, row: Row) -> None:
    values = {"priority": 0, **row.values}
    if "client" in values:
        values["client"] = Client.objects.filter(client_id=values["client"]).first()
        if values["client"] is None:
            raise Gone("Its client is not there.")
    if "group" in values:
        values["group"] = ClientGroup.objects.get(name=values["group"])
    rules.create(actor, **values)


def _remove_rule(actor: Actor, rule: AclRule) -> None:
    if AclRule.objects.filter(pk=rule.pk).exists():  # else it went with its client or group
        rules.remove(actor, [rule])


# ---------------------------------------------------------------------------------------------- bans


def _bans(wanted: list[Row], desired: Desired, prune: bool, errors: list[str]) -> Iterator[Change]:
    known = {(each.kind, each.value): each for each in Ban.objects.all() if each.is_active}
    listed = set()
    for row in wanted:
        kind, value = row.key
        try:
            value = bans.spelled(kind, value)
        except ValidationError as error:
            errors.append(str(row.at("value").bad("; ".join(error.messages))))
            continue
        model = Ban(
            kind=kind, value=value, until=row.values.get("until"), reason=row.values.get("reason", "")
        )
        if not _check(row, model, row.values, errors):
            continue
        if not model.is_active:
            errors.append(str(row.at("until").bad("this is in the past")))
            continue
        if (kind, value) in listed:
            errors.append(str(row.at("value").bad(f"{value} is banned by another line already")))
            continue
        listed.add((kind, value))
        found = known.get((kind, value))
        name = f"{kind} {value}"
        rest = {key: row.values[key] for key in ("until", "reason") if key in row.values}
        if found is None:
            yield Change(
                ADD,
                "ban",
                name,
                lambda actor, _, key=(kind, value), rest=rest: _nothing(bans.create(actor, *key, **rest)),
                row=row,
            )
        elif details := _differences(row, found, ("until", "reason")):
            after = {key: values[1] for key, values in details.items()}
            yield Change(
                CHANGE,
                "ban",
                name,
                lambda actor, _, found=found, after=after: _nothing(bans.update(actor, found, **after)),
                details,
                row,
            )
    for key, found in known.items() if prune else ():
        if key not in listed and not found.automatic:  # those that the node set end by themselves
            yield Change(
                REMOVE,
                "ban",
                " ".join(key),
                lambda actor, _, found=found: _nothing(bans.lift(actor, [found])),
            )


# -------------------------------------------------------------------------------------- export rules


def _exports(wanted: list[Row], desired: Desired, prune: bool, errors: list[str]) -> Iterator[Change]:
    known = {(each.filter, each.kafka_topic): each for each in ExportRule.objects.all()}
    fields = ("key_template", "enabled", "note")
    for row in wanted:
        found = known.pop(row.key, None)
        name = " -> ".join(row.key)
        model = ExportRule(**row.values)
        if not _check(row, model, row.values, errors):
            continue
        try:
            export_sync.check(model)
        except ValidationError as error:
            errors.append(str(row.place.bad("; ".join(error.messages))))
            continue
        if found is None:
            yield Change(
                ADD, "export rule", name, lambda actor, _, model=model: _save_export(actor, model), row=row
            )
        elif details := _differences(row, found, fields):
            for key, values in details.items():
                setattr(found, key, values[1])
            yield Change(
                CHANGE,
                "export rule",
                name,
                lambda actor, _, found=found: _save_export(actor, found),
                details,
                row,
            )
    for route, found in known.items() if prune else ():
        yield Change(
            REMOVE,
            "export rule",
            " -> ".join(route),
            lambda actor, _, found=found: _remove_export(actor, found),
        )


def _save_export(actor: Actor, rule: ExportRule) -> None:
    with audit.by(actor):
        export_sync.save(rule)


def _remove_export(actor: Actor, rule: ExportRule) -> None:
    with audit.by(actor):
        export_sync.remove([rule])


def _nothing(_: object) -> None:
    """What a service answers is not needed."""


_SECTIONS: Final[dict[str, Callable[..., Iterator[Change]]]] = {
    "groups": _groups,
    "clients": _clients,
    "rules": _rules,
    "bans": _bans,
    "export_rules": _exports,
}
