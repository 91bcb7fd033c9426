from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from apps.auth import permissions  # noqa: F401  # declares them, before any model or admin page asks


class AuthConfig(AppConfig):
    name = "apps.auth"
    label = "mqtt_auth"  # plain "auth" is django.contrib.auth's
    verbose_name = "MQTT authentication"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from apps.auth import operatorrights
        from apps.common import audit

        audit.start()
        audit.watch(self.get_model("ClientGroup"))
        audit.watch(self.get_model("Client"), skip=("last_seen", "updated_at"), m2m=("groups",))
        audit.watch(self.get_model("Credential"), skip=("verifier",))
        audit.watch(self.get_model("AclRule"), skip=("updated_at",))
        audit.watch(self.get_model("Ban"))
        audit.watch(self.get_model("Role"))
        audit.watch(self.get_model("ServiceAccount"), m2m=("roles",))
        operatorrights.start()
        post_migrate.connect(_write_roles, sender=self, dispatch_uid="mqtt_auth.roles")


def _write_roles(using: str, **kwargs: Any) -> None:
    """The built-in roles into the database, as Django writes its permissions."""
    from apps.auth.services.accounts import write_builtin_roles

    write_builtin_roles(using)
