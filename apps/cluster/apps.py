from __future__ import annotations

from django.apps import AppConfig

from apps.cluster import permissions  # noqa: F401  # declares them, before any model or admin page asks


class ClusterConfig(AppConfig):
    name = "apps.cluster"
    label = "cluster"
    verbose_name = "MQTT cluster"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from apps.common import audit

        audit.watch(self.get_model("ExportRule"), skip=("created_at", "updated_at"))
