from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.db.models.signals import post_migrate


class ConsoleConfig(AppConfig):
    name = "apps.console"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from apps.console import roles

        post_migrate.connect(roles.create, sender=self)


class ConsoleAdminConfig(AdminConfig):
    """The admin, with our site in the place of Django's."""

    default_site = "apps.console.site.ConsoleSite"
