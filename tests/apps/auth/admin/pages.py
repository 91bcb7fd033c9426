"""What pages the auth admin has, and a row for each of them."""

from __future__ import annotations

import re
from typing import Any

from auditlog.models import LogEntry
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client as Browser

from apps.auth.models import Role
from tests.apps.auth.factories import (
    AccountFactory,
    BanFactory,
    ClientFactory,
    CredentialFactory,
    GroupFactory,
    RefusalFactory,
    RuleFactory,
)


def pages() -> list[tuple[Any, list[str]]]:
    """(Model._meta, the names of its URLs) of all that `apps.auth.admin` registers."""
    found = []
    for model, page in admin.site._registry.items():
        if type(page).__module__.startswith("apps.auth.admin"):
            prefix = f"{model._meta.app_label}_{model._meta.model_name}_"
            names = [url.name.removeprefix(prefix) for url in page.get_urls() if url.name]
            found.append((model._meta, names))
    return found


def rows_of_all() -> dict[str, Any]:
    """Model name -> a row; the client has a group, a credential and a rule."""
    group = GroupFactory()
    client = ClientFactory(groups=[group])
    return {
        "client": client,
        "clientgroup": group,
        "credential": CredentialFactory(client=client),
        "aclrule": RuleFactory(client=client),
        "ban": BanFactory(),
        "serviceaccount": AccountFactory(),
        "role": Role.objects.create(name="custom"),
        "refusal": RefusalFactory(node="n"),
        "logentry": LogEntry.objects.latest("pk"),
    }


ADMIN = "/admin/mqtt_auth/"


def inline(prefix: str, *rows: dict[str, Any], initial: int = 0) -> dict[str, Any]:
    """The fields of an inline formset."""
    fields: dict[str, Any] = {f"{prefix}-TOTAL_FORMS": len(rows), f"{prefix}-INITIAL_FORMS": initial}
    for index, row in enumerate(rows):
        fields |= {f"{prefix}-{index}-{name}": value for name, value in row.items()}
    return fields


def rule_row(**more: Any) -> dict[str, Any]:
    plain = {
        "priority": 0,
        "effect": "allow",
        "action": "both",
        "filter": "a/#",
        "max_qos": 2,
        "retain": "on",
    }
    return plain | {"note": ""} | more


def secrets_in(page: str) -> list[str]:
    return re.findall(r'<code class="secret">([^<]+)</code>', page)


def new_client(**more: Any) -> dict[str, Any]:
    return {
        "client_id": "pump-1",
        "display_name": "",
        "owner": "",
        "enabled": "on",
        "transports": ["tls"],
    } | more


def browser_of(user: User) -> Browser:
    found = Browser(headers={"host": "localhost"})
    found.force_login(User.objects.get(pk=user.pk))
    return found
