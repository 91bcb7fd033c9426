"""Client groups."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import Count, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.auth import selectors
from apps.auth.models import ClientGroup
from apps.auth.services import groups
from apps.common.api.base import ApiView, Strict, found
from apps.common.api.fields import Text
from apps.common.validators import LONGEST_PREFIX, MAX_PREFIXES, group_name, topic_prefixes


class GroupOut(serializers.ModelSerializer[ClientGroup]):
    members = serializers.IntegerField(read_only=True, help_text="How many clients are in it.")

    class Meta:
        model = ClientGroup
        fields = ("id", "name", "description", "namespace", "members", "created_at")
        read_only_fields = fields


class GroupIn(Strict):
    name = Text(128, validators=[group_name])
    description = Text(1024, required=False, allow_blank=True)
    namespace = serializers.ListField(
        child=serializers.CharField(max_length=LONGEST_PREFIX, trim_whitespace=False),
        required=False,
        max_length=MAX_PREFIXES,
        validators=[topic_prefixes],
        help_text="Topic prefixes: what operators of the group allow, subscribe, replay and read by their "
        "rights on it stays inside. Empty: they allow nothing that its clients may not do already.",
    )


class GroupFilter(django_filters.FilterSet):
    name = django_filters.CharFilter()
    search = django_filters.CharFilter("name", "icontains", label="In the name.")


class GroupsView(ApiView):
    filterset_class = GroupFilter
    ordering_fields = ("id", "name", "created_at")

    def get_queryset(self) -> QuerySet[ClientGroup]:
        return _counted(selectors.groups(self.actor))

    @extend_schema(summary="List client groups", responses=GroupOut(many=True))
    def get(self, request: Request) -> Response:
        return self.listed(self.get_queryset(), GroupOut)

    @extend_schema(summary="Make a client group", request=GroupIn, responses={201: GroupOut})
    def post(self, request: Request) -> Response:
        group = groups.create(self.actor, **self.given(GroupIn))
        return Response({**GroupOut(group).data, "members": 0}, 201)


class GroupView(ApiView):
    def one(self, pk: int) -> ClientGroup:
        mine = _counted(selectors.groups(self.actor, self.permission))
        return found(mine, selectors.groups(self.actor), pk)

    @extend_schema(summary="One client group", responses=GroupOut)
    def get(self, request: Request, pk: int) -> Response:
        return Response(GroupOut(self.one(pk)).data)

    @extend_schema(
        summary="Change a client group",
        description="A new name is what ${group} stands for from now on.",
        request=GroupIn(partial=True),
        responses=GroupOut,
    )
    def patch(self, request: Request, pk: int) -> Response:
        groups.update(self.actor, self.one(pk), **self.given(GroupIn, partial=True))
        return Response(GroupOut(self.one(pk)).data)

    @extend_schema(
        summary="Remove a client group",
        description="Its rules go with it, its clients stay.",
        responses={204: None},
    )
    def delete(self, request: Request, pk: int) -> Response:
        groups.remove(self.actor, self.one(pk))
        return Response(status=204)


def _counted(rows: QuerySet[ClientGroup]) -> QuerySet[Any]:
    return rows.annotate(members=Count("clients"))
