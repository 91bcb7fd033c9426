"""Bans."""

from __future__ import annotations

import django_filters
from django.db.models import Q, QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.auth.models import Ban
from apps.auth.services import bans
from apps.common.api.base import ApiView, Strict, found
from apps.common.api.fields import Text
from apps.common.api.lists import Flag


class BanOut(serializers.ModelSerializer[Ban]):
    active = serializers.BooleanField(source="is_active", read_only=True)

    class Meta:
        model = Ban
        fields = ("id", "kind", "value", "until", "active", "reason", "automatic", "created_at")
        read_only_fields = fields


class BanChange(Strict):
    until = serializers.DateTimeField(required=False, allow_null=True, help_text="null: for good.")
    reason = Text(required=False, allow_blank=True)


class BanIn(BanChange):
    kind = serializers.ChoiceField(Ban.Kind.choices)
    value = Text(
        help_text="Address or network: 10.0.0.0/8, 2001:db8::1. Pattern: * any text, ? one character."
    )


class BanFilter(django_filters.FilterSet):
    kind = django_filters.ChoiceFilter(choices=Ban.Kind.choices)
    value = django_filters.CharFilter()
    active = Flag(method="_active", label="Whether it lasts.")
    automatic = Flag()
    search = django_filters.CharFilter(method="_search", label="In value or reason.")

    def _active(self, rows: QuerySet[Ban], name: str, value: bool) -> QuerySet[Ban]:
        ended = Q(until__lte=timezone.now())
        return rows.exclude(ended) if value else rows.filter(ended)

    def _search(self, rows: QuerySet[Ban], name: str, value: str) -> QuerySet[Ban]:
        return rows.filter(Q(value__icontains=value) | Q(reason__icontains=value))


class BansView(ApiView):
    filterset_class = BanFilter
    ordering_fields = ("id", "value", "created_at")
    queryset = Ban.objects.all()

    @extend_schema(summary="List bans", responses=BanOut(many=True))
    def get(self, request: Request) -> Response:
        return self.listed(self.get_queryset(), BanOut)

    @extend_schema(
        summary="Ban",
        description="Who is connected and fits it is disconnected. 409 when there is such a ban.",
        request=BanIn,
        responses={201: BanOut},
    )
    def post(self, request: Request) -> Response:
        return Response(BanOut(bans.create(self.actor, **self.given(BanIn))).data, 201)


class BanView(ApiView):
    def one(self, pk: int) -> Ban:
        return found(Ban.objects.all(), Ban.objects.none(), pk)

    @extend_schema(summary="One ban", responses=BanOut)
    def get(self, request: Request, pk: int) -> Response:
        return Response(BanOut(self.one(pk)).data)

    @extend_schema(summary="Change a ban", request=BanChange, responses=BanOut)
    def patch(self, request: Request, pk: int) -> Response:
        ban = self.one(pk)
        return Response(BanOut(bans.update(self.actor, ban, **self.given(BanChange, partial=True))).data)

    @extend_schema(summary="Lift a ban", responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        bans.lift(self.actor, [self.one(pk)])
        return Response(status=204)
