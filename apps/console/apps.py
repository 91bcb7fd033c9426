from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig
from django.db.models.signals import post_migrate


class ConsoleConfig(AppConfig):
    default = True
    name = "apps.console"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from apps.console import roles
        from apps.console.translating import translate_models

        translate_models()
        post_migrate.connect(roles.create, sender=self)


class ConsoleAdminConfig(SimpleAdminConfig):
    """The admin, with our site in the place of Django's."""

    default = False
    default_site = "apps.console.site.ConsoleSite"

    def ready(self) -> None:
        super().ready()
        self.module.autodiscover()  # type: ignore[union-attr]  # Django loads it
