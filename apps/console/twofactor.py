"""Two-factor login of operators, by django-otp: a time-based code or one of ten recovery codes."""

from __future__ import annotations

from base64 import b32encode
from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.utils.translation import gettext_lazy as _
from django_otp import devices_for_user, match_token, user_has_device
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.forms import AuthenticationForm

RECOVERY_CODES: Final = 10
NAME: Final = "authenticator"
RECOVERY: Final = "recovery codes"


def required() -> bool:
    return bool(settings.GMQTT.console.two_factor == "required")


def enrolled(user: Any) -> bool:
    return bool(user_has_device(user))


def satisfied(user: Any) -> bool:
    """May the user work: verified where a device is there, enrolled where that is required?"""
    if enrolled(user):
        return bool(user.is_verified())
    return not required()


class LoginForm(AuthenticationForm):
    """User name, password, and the code for those who have an authenticator."""

    otp_token = forms.CharField(
        label=_("Code from the authenticator, or a recovery code"),
        required=False,
        max_length=32,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
        help_text=_("Leave empty if you have not set one up."),
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean()
        user: AbstractUser | None = self.get_user()
        if user is not None and enrolled(user):
            token = cleaned.get("otp_token", "").strip()
            device = match_token(user, token) if token else None  # counts failures itself
            if device is None:
                raise forms.ValidationError(_("The code is missing or wrong."), code="invalid_token")
            user.otp_device = device  # type: ignore[attr-defined]  # django_otp.login does the rest at login
        return cleaned


def begin(user: Any) -> TOTPDevice:
    """The user's authenticator that is being set up; the same until it is confirmed."""
    device = TOTPDevice.objects.filter(user=user, confirmed=False).first()
    return device or TOTPDevice.objects.create(user=user, name=NAME, confirmed=False)


def secret_of(device: TOTPDevice) -> str:
    """For typing in where the picture cannot be read."""
    return b32encode(device.bin_key).decode()


def first_device(user: Any) -> TOTPDevice:
    return TOTPDevice.objects.get(user=user, confirmed=True)


def confirm(user: Any, token: str) -> list[str] | None:
    """The code proves that the authenticator works: recovery codes, shown this once. None: it does not."""
    device = begin(user)
    if not device.verify_token(token):
        return None
    device.confirmed = True
    device.save()
    StaticDevice.objects.filter(user=user).delete()
    recovery = StaticDevice.objects.create(user=user, name=RECOVERY)
    codes = [StaticToken.random_token() for _ in range(RECOVERY_CODES)]
    StaticToken.objects.bulk_create(StaticToken(device=recovery, token=code) for code in codes)
    return codes


def remove(user: Any) -> None:
    for device in devices_for_user(user, confirmed=None):
        device.delete()
