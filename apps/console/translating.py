"""What the models of our apps call themselves and their fields, in the language of whoever looks.

The apps write their names plainly; the console is what shows them to people, and has the translations.
"""

from __future__ import annotations

from typing import Any, Final

from django.apps import apps
from django.db.models import Field
from django.utils.translation import gettext_lazy as _

APPS: Final = ("mqtt_auth", "cluster", "console")


def translate_models() -> None:
    """Once, when all models are loaded."""
    for label in APPS:
        for model in apps.get_app_config(label).get_models():
            meta: Any = model._meta
            meta.verbose_name = _(str(meta.verbose_name))
            meta.verbose_name_plural = _(str(meta.verbose_name_plural))
            for field in meta.get_fields():
                if isinstance(field, Field) and not field.auto_created:
                    _translate(field)


def _translate(field: Any) -> None:
    field.verbose_name = _(str(field.verbose_name))
    if field.help_text:
        field.help_text = _(str(field.help_text))
    if field.choices:
        field.choices = [(value, _(str(text))) for value, text in field.choices]
