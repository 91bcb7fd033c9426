"""What of the database is in a backup: rows with their keys, so that addresses of the REST API stay valid.

Content types and permissions go by their names: their keys differ from one database to the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, Final

from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.core.management.color import no_style
from django.db import connection
from django.db.models import Field, Model, sql
from guardian.conf import settings as guardian_settings

from apps.console import roles
from gmqtt_platform.backup.container import BadFile

# In this order: what a row refers to stands before it.
TABLES: Final = (
    *("auth.Group", "auth.User"),
    *("otp_totp.TOTPDevice", "otp_static.StaticDevice", "otp_static.StaticToken"),
    *("mqtt_auth.ClientGroup", "mqtt_auth.Client", "mqtt_auth.Credential", "mqtt_auth.AclRule"),
    *("mqtt_auth.Ban", "mqtt_auth.Role", "mqtt_auth.ServiceAccount", "cluster.ExportRule"),
    *("guardian.UserObjectPermission", "guardian.GroupObjectPermission"),
)
APPS: Final = tuple(dict.fromkeys(name.split(".")[0] for name in TABLES))
AT_ONCE: Final = 500  # rows
FIRST_OPERATOR: Final = "operator"  # made by `ensure_operator`


def model(table: str) -> Any:
    return apps.get_model(table)


def many(table: str) -> list[Any]:
    return list(model(table)._meta.local_many_to_many)


class Names:
    """Permissions and content types by name, both ways."""

    def __init__(self) -> None:
        types = {each.pk: f"{each.app_label}.{each.model}" for each in ContentType.objects.all()}
        permissions = Permission.objects.values_list("pk", "content_type_id", "codename")
        self._names: dict[Any, dict[int, str]] = {
            ContentType: types,
            Permission: {pk: f"{types[kind]}.{code}" for pk, kind, code in permissions},
        }
        self._keys = {kind: {name: pk for pk, name in found.items()} for kind, found in self._names.items()}

    def name(self, related: Any, pk: Any) -> Any:
        return self._names[related][pk] if related in self._names and pk is not None else pk

    def key(self, related: Any, name: Any) -> Any:
        """None: this version has no such permission any more."""
        return self._keys[related].get(name) if related in self._keys else name


# ------------------------------------------------------------------------------------------ reading


def read(table: str, names: Names) -> Iterator[dict[str, Any]]:
    """The rows of a table in the order of their keys, a page in memory."""
    fields = model(table)._meta.concrete_fields
    last: Any = None
    while True:
        found = model(table)._base_manager.order_by("pk")
        page = list(found.filter(pk__gt=last)[:AT_ONCE] if last is not None else found[:AT_ONCE])
        related = {field.name: _related(field, page, names) for field in many(table)}
        for row in page:
            values = {field.attname: _plain(field, row, names) for field in fields}
            yield values | {name: found.get(row.pk, []) for name, found in related.items()}
        if len(page) < AT_ONCE:
            return
        last = page[-1].pk


def _plain(field: Field[Any, Any], row: Model, names: Names) -> Any:
    value = getattr(row, field.attname)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return names.name(field.related_model, value)


def _related(field: Any, page: list[Any], names: Names) -> dict[Any, list[Any]]:
    """Key of a row -> what it has of a many-to-many relation."""
    source, target = field.m2m_field_name(), field.m2m_reverse_field_name()
    pairs = field.remote_field.through._base_manager.filter(**{f"{source}__in": [row.pk for row in page]})
    found: dict[Any, list[Any]] = {}
    for pk, other in pairs.values_list(f"{source}_id", f"{target}_id"):
        found.setdefault(pk, []).append(names.name(field.related_model, other))
    return {pk: sorted(others) for pk, others in found.items()}


# ------------------------------------------------------------------------------------------ writing


def occupied() -> dict[str, int]:
    """Rows, by table, that somebody made here: a restore wants none."""
    found: dict[str, int] = {}
    for table in TABLES:
        if count := _of_somebody(table).count():
            found[model(table)._meta.verbose_name_plural] = count
    return found


def _of_somebody(table: str) -> Any:
    rows = model(table)._base_manager.all()
    if table == "auth.User":
        rows = rows.exclude(username=guardian_settings.ANONYMOUS_USER_NAME)
        return rows.exclude(username=FIRST_OPERATOR, last_login=None, is_superuser=True)
    if table == "auth.Group":
        return rows.exclude(name__in=roles.GROUPS)
    return rows.exclude(builtin=True) if table == "mqtt_auth.Role" else rows


def clear() -> None:
    """Take out what `migrate` and a first start have made: the backup has its own of all of it."""
    for table in TABLES[::-1]:
        rows = model(table)._base_manager.all()
        for field in many(table):
            field.remote_field.through._base_manager.all().delete()
        rows.delete()


class Rows:
    """Puts rows into the database, many at once, as they are: without signals, with their times."""

    def __init__(self) -> None:
        self._names = Names()
        self._table = ""
        self._waiting: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()  # permissions that this version does not know

    def add(self, table: str, values: dict[str, Any]) -> None:
        if table != self._table or len(self._waiting) >= AT_ONCE:
            self.flush()
            self._table = table
        self._waiting.append(values)
        self.counts[table] += 1

    def flush(self) -> None:
        if not self._waiting:
            return
        kind, waiting, self._waiting = model(self._table), self._waiting, []
        fields = list(kind._meta.concrete_fields)
        size = max(min(AT_ONCE, 30_000 // len(fields)), 1)
        rows = [row for row in (self._row(kind, values) for values in waiting) if row is not None]
        for start in range(0, len(rows), size):
            query = sql.InsertQuery(kind)
            query.insert_values(fields, rows[start : start + size], raw=True)
            query.get_compiler(connection=connection).execute_sql()
        for field in many(self._table):
            self._relate(field, waiting)

    def finish(self) -> None:
        self.flush()
        models = [model(table) for table in TABLES]
        statements = connection.ops.sequence_reset_sql(no_style(), models)
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def _row(self, kind: Any, values: dict[str, Any]) -> Any:
        row = kind()
        for field in kind._meta.concrete_fields:
            if field.attname not in values:
                continue  # newer than the backup
            value = values[field.attname]
            if field.related_model in (ContentType, Permission):
                key = self._names.key(field.related_model, value)
                if key is None:
                    self.dropped[str(value)] += 1
                    return None
                value = key
            setattr(row, field.attname, field.to_python(value) if value is not None else None)
        return row

    def _relate(self, field: Any, waiting: list[dict[str, Any]]) -> None:
        source, target = field.m2m_field_name(), field.m2m_reverse_field_name()
        through = field.remote_field.through
        pk = field.model._meta.pk.attname
        rows = []
        for values in waiting:
            for other in values.get(field.name, ()):
                key = self._names.key(field.related_model, other)
                if key is None:
                    self.dropped[str(other)] += 1
                else:
                    rows.append(through(**{f"{source}_id": values[pk], f"{target}_id": key}))
        through._base_manager.bulk_create(rows, batch_size=AT_ONCE)


def check(table: str, values: dict[str, Any]) -> None:
    """`BadFile` unless the values are those of a row of this version's table, or an older one's."""
    meta = model(table)._meta
    known = {field.attname: field for field in meta.concrete_fields}
    for name, value in values.items():
        field = known.get(name)
        if field is None:
            if any(each.name == name for each in many(table)) and isinstance(value, list):
                continue
            raise BadFile(f"{table} has no column {name} in this version")
        if value is None:
            if not field.null:
                raise BadFile(f"{table}.{name} is empty")
        elif field.related_model not in (ContentType, Permission):
            try:
                field.to_python(value)
            except (ValidationError, TypeError, ValueError):
                raise BadFile(f"{table}.{name} has no value of its kind") from None
    if meta.pk.attname not in values:
        raise BadFile(f"a row of {table} has no key")
