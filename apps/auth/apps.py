from __future__ import annotations

from django.apps import AppConfig


class AuthConfig(AppConfig):
    name = "apps.auth"
    label = "mqtt_auth"  # plain "auth" is django.contrib.auth's
    verbose_name = "MQTT authentication"
    default_auto_field = "django.db.models.BigAutoField"
