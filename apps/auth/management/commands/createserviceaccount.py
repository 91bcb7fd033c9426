"""`manage.py createserviceaccount NAME ROLE...`: the first way into the REST API and the auth service."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.auth.models import Role
from apps.auth.services import accounts
from apps.common.actors import SYSTEM
from apps.common.errors import Duplicate


class Command(BaseCommand):
    help = "Create a service account and print its access key and secret, the secret this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("role", nargs="+", help="gateway, registrar, viewer, admin or one of your own")

    def handle(self, *args: Any, **options: Any) -> None:
        roles = list(Role.objects.filter(name__in=options["role"]))
        unknown = set(options["role"]) - {role.name for role in roles}
        if unknown:
            known = ", ".join(Role.objects.order_by("name").values_list("name", flat=True))
            raise CommandError(f"no role {', '.join(sorted(unknown))}; there are: {known}")
        try:
            account, secret = accounts.create(SYSTEM, options["name"], roles)
        except Duplicate as error:
            raise CommandError(str(error)) from None
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from None
        self.stdout.write(f"access_key {account.access_key}\nsecret     {secret}")
