from __future__ import annotations

from django.apps import AppConfig


class ClusterConfig(AppConfig):
    name = "apps.cluster"
    label = "cluster"
    verbose_name = "MQTT cluster"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from auditlog.registry import auditlog  # it has models of its own

        model = self.get_model("ExportRule")
        auditlog.register(model, include_fields=["filter", "kafka_topic", "key_template", "enabled", "note"])
