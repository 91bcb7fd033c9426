"""What pages the auth admin has, and a row for each of them."""

from __future__ import annotations

from typing import Any

from auditlog.models import LogEntry
from django.contrib import admin

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
