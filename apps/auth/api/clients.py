"""Clients: register, list, change, unregister."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.auth import selectors
from apps.auth.api.credentials import CLIENT_IDS, CredentialOut, Rotated, RotateIn
from apps.auth.api.fields import GroupNames, Transports, groups_named
from apps.auth.api.idempotency import once
from apps.auth.facts import TRANSPORTS
from apps.auth.models import Client
from apps.auth.selectors import applying
from apps.auth.services import clients, credentials, registering
from apps.auth.services.clients import ClientChanges
from apps.auth.services.registering import NewClient, Registered
from apps.common.api.base import ApiView, Strict, found
from apps.common.api.fields import Text
from apps.common.api.lists import Flag

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="1 to 255 visible ASCII characters. The same request with the same key has the same answer.",
)


class ClientOut(serializers.ModelSerializer[Client]):
    groups = GroupNames(read_only=True)
    transports = Transports(read_only=True)

    class Meta:
        model = Client
        fields = (
            "id",
            "client_id",
            "display_name",
            "owner",
            "groups",
            "enabled",
            "transports",
            "last_seen",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class ClientChange(Strict):
    display_name = Text(required=False, allow_blank=True)
    owner = Text(required=False, allow_blank=True)
    groups = GroupNames(required=False)
    enabled = serializers.BooleanField(required=False)
    transports = Transports(required=False)


class ClientIn(Strict):
    """What is left out is chosen: a random client id, the client id as username, a generated secret."""

    client_id = Text(required=False, allow_blank=True, default="")
    display_name = Text(required=False, allow_blank=True, default="")
    owner = Text(required=False, allow_blank=True, default="")
    groups = GroupNames(required=False, default=list)
    enabled = serializers.BooleanField(required=False, default=True)
    transports = Transports(required=False, default=lambda: list(TRANSPORTS))
    username = Text(required=False, allow_blank=True, default="")
    password = Text(
        required=False,
        allow_blank=True,
        default="",
        write_only=True,
        help_text="Left out: a generated secret.",
    )
    client_ids = Text(required=False, allow_blank=True, default="", help_text=CLIENT_IDS)
    scram = serializers.BooleanField(
        required=False, default=True, help_text="Keep what SCRAM-SHA-256 needs of the secret."
    )


class WarningOut(serializers.Serializer[Any]):
    code = serializers.CharField(help_text="placeholder_not_applicable")
    field = serializers.CharField(help_text="client_id or username.")
    detail = serializers.CharField(help_text="Which access rules cannot apply, and why.")
    rules = serializers.ListField(child=serializers.IntegerField(), help_text="Their `id`s.")


class RegisteredOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    client_id = serializers.CharField()
    username = serializers.CharField()
    secret = serializers.CharField(allow_null=True, help_text="Shown this once; null: you chose a password.")
    warnings = WarningOut(
        many=True, required=False, help_text="Where there are any: what its names keep the client from."
    )


def registered(row: Registered, warnings: list[dict[str, Any]]) -> dict[str, Any]:
    answer = {
        "id": row.client.pk,
        "client_id": row.client.client_id,
        "username": row.credential.username,
        "secret": row.secret,
    }
    return answer | {"warnings": warnings} if warnings else answer


def warnings_of(rows: Iterable[Registered]) -> dict[str, list[dict[str, Any]]]:
    return applying.warnings((row.client.client_id, row.credential.username) for row in rows)


class ClientFilter(django_filters.FilterSet):
    client_id = django_filters.CharFilter()
    prefix = django_filters.CharFilter("client_id", "startswith", label="The client id begins so.")
    owner = django_filters.CharFilter()
    group = django_filters.CharFilter("groups__name", label="The name of a group.")
    enabled = Flag()
    registered_after = django_filters.IsoDateTimeFilter("created_at", "gte")
    registered_before = django_filters.IsoDateTimeFilter("created_at", "lt")
    seen_after = django_filters.IsoDateTimeFilter("last_seen", "gte")
    seen_before = django_filters.IsoDateTimeFilter("last_seen", "lt")
    search = django_filters.CharFilter(method="_search", label="In client id, display name or owner.")

    def _search(self, rows: QuerySet[Client], name: str, value: str) -> QuerySet[Client]:
        return rows.filter(
            Q(client_id__icontains=value) | Q(display_name__icontains=value) | Q(owner__icontains=value)
        )


class ClientsView(ApiView):
    filterset_class = ClientFilter
    ordering_fields = ("id", "client_id", "owner", "created_at", "updated_at")

    def get_queryset(self) -> QuerySet[Client]:
        return selectors.clients(self.actor).prefetch_related("groups")

    @extend_schema(summary="List clients", responses=ClientOut(many=True))
    def get(self, request: Request) -> Response:
        return self.listed(self.get_queryset(), ClientOut)

    @extend_schema(
        summary="Register a client",
        description="Answers its secret, this once. 409 with `existing_id` when id or username is taken.",
        parameters=[IDEMPOTENCY_KEY],
        request=ClientIn,
        responses={201: RegisteredOut},
    )
    def post(self, request: Request) -> Response:
        def produce() -> Response:
            made = registering.register(self.actor, NewClient(**new))
            return Response(registered(made, warnings_of([made]).get(made.client.client_id, [])), 201)

        new = self.given(ClientIn)
        return once(request, self.actor, produce)


class ClientView(ApiView):
    def one(self, pk: int) -> Client:
        return found(selectors.clients(self.actor, self.permission), selectors.clients(self.actor), pk)

    @extend_schema(summary="One client", responses=ClientOut)
    def get(self, request: Request, pk: int) -> Response:
        return Response(ClientOut(self.one(pk)).data)

    @extend_schema(summary="Change a client", request=ClientChange, responses=ClientOut)
    def patch(self, request: Request, pk: int) -> Response:
        client = self.one(pk)
        given = self.given(ClientChange, partial=True)
        if "groups" in given:
            given["groups"] = groups_named(given["groups"])
        return Response(ClientOut(clients.update(self.actor, client, ClientChanges(**given))).data)

    @extend_schema(
        summary="Unregister a client",
        description="Credentials and rules go, its session ends, subscriptions and queue are removed.",
        responses={204: None},
    )
    def delete(self, request: Request, pk: int) -> Response:
        clients.unregister(self.actor, [self.one(pk)])
        return Response(status=204)


class EnableView(ClientView):
    http_method_names = ["post"]

    @extend_schema(summary="Enable a client", request=None, responses=ClientOut)
    def post(self, request: Request, pk: int) -> Response:
        return self._set(pk, True)

    def _set(self, pk: int, enabled: bool) -> Response:
        client = self.one(pk)
        clients.set_enabled(self.actor, [client], enabled)
        client.refresh_from_db()
        return Response(ClientOut(client).data)


class DisableView(EnableView):
    @extend_schema(
        summary="Disable a client",
        description="It is disconnected and may not connect until it is enabled.",
        request=None,
        responses=ClientOut,
    )
    def post(self, request: Request, pk: int) -> Response:
        return self._set(pk, False)


class KickView(ClientView):
    http_method_names = ["post"]

    @extend_schema(
        summary="End a client's session",
        description="Wherever in the cluster it is connected. It may connect again.",
        request=None,
        responses={202: None},
    )
    def post(self, request: Request, pk: int) -> Response:
        clients.kick(self.actor, [self.one(pk)])
        return Response(status=202)


class RotateView(ClientView):
    http_method_names = ["post"]

    @extend_schema(
        summary="Give a client a new secret",
        description="Answers it, this once. The old one stays valid for `overlap` seconds.",
        request=RotateIn,
        responses=Rotated,
    )
    def post(self, request: Request, pk: int) -> Response:
        client = self.one(pk)
        given = self.given(RotateIn)
        fresh, secret = credentials.rotate_client(
            self.actor, client, timedelta(seconds=given["overlap"]), given["username"]
        )
        return Response(CredentialOut(fresh).data | {"secret": secret})
