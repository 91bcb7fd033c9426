"""Serializer fields that the apps share."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.common.validators import plain_text


class Text(serializers.CharField):
    """Text without control characters, kept as it came: blanks at the ends are part of a client id."""

    def __init__(self, max_length: int = 256, **kwargs: Any) -> None:
        kwargs.setdefault("trim_whitespace", False)
        kwargs.setdefault("validators", [plain_text])
        super().__init__(max_length=max_length, **kwargs)
