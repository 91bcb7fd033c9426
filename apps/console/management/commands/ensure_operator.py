from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

USERNAME = "operator"


class Command(BaseCommand):
    help = "Create the superuser 'operator' and print its generated password, unless there is a superuser."
    requires_system_checks: list[str] = []  # migrate has just run them

    def handle(self, *args: Any, **options: Any) -> None:
        users = get_user_model().objects
        with transaction.atomic():
            if users.filter(is_superuser=True).exists():
                return
            if users.filter(username=USERNAME).exists():
                raise CommandError(
                    f"there is no superuser, and the user {USERNAME!r} is not one; "
                    "make one with: manage.py createsuperuser"
                )
            password = secrets.token_urlsafe(18)  # 24 characters
            users.create_superuser(USERNAME, password=password)
        self.stdout.write(f"Operator account for /admin/ (shown only this once): {USERNAME} / {password}")
