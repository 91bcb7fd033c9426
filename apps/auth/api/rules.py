"""Access rules."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.auth import permissions, selectors
from apps.auth.models import AclRule
from apps.auth.services import rules
from apps.common.api.base import ApiView, Strict, found
from apps.common.api.fields import Text
from apps.common.api.lists import Flag
from apps.common.validators import rule_filter


class RuleOut(serializers.ModelSerializer[AclRule]):
    client_id = serializers.CharField(
        source="client.client_id", default=None, allow_null=True, read_only=True
    )
    group_name = serializers.CharField(source="group.name", default=None, allow_null=True, read_only=True)

    class Meta:
        model = AclRule
        fields: tuple[str, ...] = (
            "id",
            "effect",
            "action",
            "filter",
            "client",
            "client_id",
            "group",
            "group_name",
            "priority",
            "max_qos",
            "retain",
            "note",
            "created_at",
            "updated_at",
        )
        read_only_fields: tuple[str, ...] = fields


class WarnedRule(RuleOut):
    warnings = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="Why it can never match."
    )

    class Meta(RuleOut.Meta):
        fields = (*RuleOut.Meta.fields, "warnings")
        read_only_fields: tuple[str, ...] = fields


class RuleIn(Strict):
    """For a client, or a group, or (neither) everyone. Higher priority first; the first match decides."""

    effect = serializers.ChoiceField(AclRule.Effect.choices)
    action = serializers.ChoiceField(AclRule.Action.choices)
    filter = Text(
        1024,
        validators=[rule_filter],
        help_text="May hold ${clientid}, ${username}, ${cert.cn} and ${group}.",
    )
    client = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, help_text="The client's `id`."
    )
    group = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, help_text="The group's `id`."
    )
    priority = serializers.IntegerField(
        required=False,
        min_value=-32768,
        max_value=32767,
        help_text="Higher is asked first. By rights on a group: at most -1 for allow, 0 for deny.",
    )
    max_qos = serializers.IntegerField(required=False, min_value=0, max_value=2)
    retain = serializers.BooleanField(required=False)
    note = Text(required=False, allow_blank=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        actor = self.context["actor"]
        subjects = {
            "client": selectors.clients(actor, permissions.VIEW_RULE),
            "group": selectors.groups(actor, permissions.VIEW_RULE),
        }
        for name, rows in subjects.items():
            if (pk := attrs.get(name)) is None:
                continue
            attrs[name] = rows.filter(pk=pk).first()
            if attrs[name] is None:
                raise serializers.ValidationError({name: [f"There is no such {name}."]}, f"unknown_{name}")
        return attrs


class RuleFilter(django_filters.FilterSet):
    client = django_filters.NumberFilter("client__pk", label="The client's `id`.")
    client_id = django_filters.CharFilter("client__client_id")
    group = django_filters.CharFilter("group__name", label="The group's name.")
    everyone = Flag(method="_everyone", label="Whether it is for everyone.")
    effect = django_filters.ChoiceFilter(choices=AclRule.Effect.choices)
    action = django_filters.ChoiceFilter(choices=AclRule.Action.choices)
    search = django_filters.CharFilter("filter", "icontains", label="In the topic filter.")

    def _everyone(self, rows: QuerySet[AclRule], name: str, value: bool) -> QuerySet[AclRule]:
        everyone = {"client": None, "group": None}
        return rows.filter(**everyone) if value else rows.exclude(**everyone)


class RulesView(ApiView):
    filterset_class = RuleFilter
    ordering_fields = ("id", "priority", "filter", "created_at")

    def get_queryset(self) -> QuerySet[AclRule]:
        return selectors.rules(self.actor)

    @extend_schema(summary="List access rules", responses=RuleOut(many=True))
    def get(self, request: Request) -> Response:
        return self.listed(self.get_queryset(), RuleOut)

    @extend_schema(summary="Make an access rule", request=RuleIn, responses={201: WarnedRule})
    def post(self, request: Request) -> Response:
        return Response(_warned(rules.create(self.actor, **self.given(RuleIn))), 201)


class RuleView(ApiView):
    def one(self, pk: int) -> AclRule:
        return found(selectors.rules(self.actor, self.permission), selectors.rules(self.actor), pk)

    @extend_schema(summary="One access rule", responses=WarnedRule)
    def get(self, request: Request, pk: int) -> Response:
        return Response(_warned(self.one(pk)))

    @extend_schema(summary="Change an access rule", request=RuleIn(partial=True), responses=WarnedRule)
    def patch(self, request: Request, pk: int) -> Response:
        rule = self.one(pk)
        return Response(_warned(rules.update(self.actor, rule, **self.given(RuleIn, partial=True))))

    @extend_schema(summary="Remove an access rule", responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        rules.remove(self.actor, [self.one(pk)])
        return Response(status=204)


def _warned(rule: AclRule) -> dict[str, Any]:
    return {**RuleOut(rule).data, "warnings": rules.warnings(rule)}
