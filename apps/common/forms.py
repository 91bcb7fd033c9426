"""Forms of the admin that two operators may have open at once."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.forms.models import model_to_dict
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _


class Seen(forms.CharField):
    """What the page was made from; nothing that an operator types."""

    widget = forms.HiddenInput

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False


class CheckedForm(forms.ModelForm):  # type: ignore[type-arg]
    """Refuses what was typed into a page that shows its row as it no longer is."""

    seen = Seen(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial["seen"] = _state(self.instance)

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if given.pop("seen", "") not in ("", self.initial.get("seen", "")):
            raise ValidationError(
                _("Somebody changed this after you opened the page. Open it again to see how it is now."),
                code="changed_meanwhile",
            )
        return given


def _state(row: Model) -> str:
    """A digest of what the page of `row` lets operators edit, its rules too. Keyed: it tells no values."""
    values = model_to_dict(row)
    for name, value in values.items():
        if row._meta.get_field(name).many_to_many:
            values[name] = sorted(other.pk for other in value)
    if hasattr(row, "rules"):
        values["rules"] = list(row.rules.order_by("pk").values_list("pk", "updated_at"))
    return salted_hmac("apps.auth.admin.seen", repr(values)).hexdigest()
