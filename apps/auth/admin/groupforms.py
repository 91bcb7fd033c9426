"""The form of a client group."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.auth.models import ClientGroup
from apps.common.forms import CheckedForm
from apps.common.validators import topic_prefixes


class PrefixLines(forms.CharField):
    """Topic prefixes, one a line."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [line.strip() for line in (super().to_python(value) or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != (initial or []))


class GroupForm(CheckedForm):
    namespace = PrefixLines(
        required=False,
        validators=[topic_prefixes],
        help_text=_(
            "Topic prefixes, one a line: what operators of the group allow, subscribe, replay and read by "
            "their rights on it stays inside. Empty: they allow nothing that its clients may not do already."
        ),
    )

    class Meta:
        model = ClientGroup
        fields = ("name", "description", "namespace")
