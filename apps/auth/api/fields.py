"""Serializer fields that several endpoints share."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.auth.facts import TRANSPORTS
from apps.auth.models import ClientGroup
from apps.common.api.fields import Text


class Transports(serializers.ListField):
    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("min_length", 1)
        kwargs.setdefault("max_length", len(TRANSPORTS))
        super().__init__(child=serializers.ChoiceField(list(TRANSPORTS)), **kwargs)


class GroupNames(serializers.ListField):
    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 100)
        super().__init__(child=Text(max_length=128), **kwargs)

    def to_representation(self, data: Any) -> list[str]:
        return sorted(group.name for group in data.all())


def groups_named(names: list[str]) -> list[ClientGroup]:
    """ValidationError when one is not there."""
    found = {group.name: group for group in ClientGroup.objects.filter(name__in=names)}
    for name in names:
        if name not in found:
            raise serializers.ValidationError({"groups": [f"There is no group {name!r}."]}, "unknown_group")
    return list(found.values())


class Overlap(serializers.IntegerField):
    """Seconds for which the old secret stays valid."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=90 * 86_400, default=0, **kwargs)
