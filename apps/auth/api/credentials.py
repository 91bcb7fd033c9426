"""Credentials of clients. Their secrets are answered once, when they are made."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.auth import permissions, selectors
from apps.auth.api.fields import Overlap
from apps.auth.models import Client, Credential
from apps.auth.services import credentials
from apps.auth.services.credentials import NewCredential
from apps.common.api.base import ApiView, Strict, found
from apps.common.api.fields import Text

CLIENT_IDS = (
    "Other client ids that may connect by it: a pattern with `*` (any text) and `?` (one character); `*` is "
    "for any. Ids that are registered belong to their own clients. Left out: only the client's own id."
)


class CredentialOut(serializers.ModelSerializer[Credential]):
    client_id = serializers.CharField(source="client.client_id", read_only=True)
    valid = serializers.BooleanField(source="is_valid", read_only=True)

    class Meta:
        model = Credential
        fields: tuple[str, ...] = (
            "id",
            "client",
            "client_id",
            "kind",
            "username",
            "client_ids",
            "subject",
            "claim",
            "claim_value",
            "valid",
            "valid_until",
            "created_at",
        )
        read_only_fields: tuple[str, ...] = fields


class Rotated(CredentialOut):
    secret = serializers.CharField(allow_null=True, help_text="Shown this once; null: none was generated.")

    class Meta(CredentialOut.Meta):
        fields = (*CredentialOut.Meta.fields, "secret")
        read_only_fields: tuple[str, ...] = fields


class CredentialIn(Strict):
    """Wanted of kind `password`: password; `x509`: subject; `jwt`: claim and claim_value."""

    client = serializers.IntegerField(min_value=1, help_text="The client's `id`.")
    kind = serializers.ChoiceField(Credential.Kind.choices, default="secret")
    username = Text(required=False, allow_blank=True, default="", help_text="Left out: the client id.")
    client_ids = Text(required=False, allow_blank=True, default="", help_text=CLIENT_IDS)
    password = Text(required=False, allow_blank=True, default="", write_only=True)
    subject = Text(512, required=False, allow_blank=True, default="", help_text="RFC 4514 name.")
    claim = Text(64, required=False, allow_blank=True, default="")
    claim_value = Text(512, required=False, allow_blank=True, default="")
    valid_until = serializers.DateTimeField(required=False, allow_null=True, default=None)


class RotateIn(Strict):
    overlap = Overlap(help_text="Seconds for which the old secret stays valid, at most 90 days.")
    username = Text(
        required=False, allow_blank=True, default="", help_text="Which one, when the client has several."
    )


class RotateOneIn(Strict):
    overlap = Overlap(help_text="Seconds for which the old secret stays valid, at most 90 days.")
    password = Text(
        required=False,
        allow_blank=True,
        default="",
        write_only=True,
        help_text="Left out: a generated secret.",
    )


class CredentialFilter(django_filters.FilterSet):
    client = django_filters.NumberFilter("client__pk", label="The client's `id`.")
    client_id = django_filters.CharFilter("client__client_id")
    kind = django_filters.ChoiceFilter(choices=Credential.Kind.choices)
    username = django_filters.CharFilter()
    subject = django_filters.CharFilter()


class CredentialsView(ApiView):
    filterset_class = CredentialFilter

    def get_queryset(self) -> QuerySet[Credential]:
        return selectors.credentials(self.actor)

    @extend_schema(summary="List credentials", responses=CredentialOut(many=True))
    def get(self, request: Request) -> Response:
        return self.listed(self.get_queryset(), CredentialOut)

    @extend_schema(
        summary="Add a credential",
        request=CredentialIn,
        responses={201: Rotated},
        description="409 when it is taken.",
    )
    def post(self, request: Request) -> Response:
        given = self.given(CredentialIn)
        reachable = selectors.clients(self.actor, permissions.ADD_CREDENTIAL)
        client: Client | None = reachable.filter(pk=given.pop("client")).first()
        if client is None:
            raise serializers.ValidationError({"client": ["There is no such client."]}, "unknown_client")
        credential, secret = credentials.add(self.actor, client, NewCredential(**given))
        return Response(_with_secret(credential, secret), 201)


class CredentialView(ApiView):
    def one(self, pk: int) -> Credential:
        mine = selectors.credentials(self.actor, self.permission)
        return found(mine, selectors.credentials(self.actor), pk)

    @extend_schema(summary="One credential", responses=CredentialOut)
    def get(self, request: Request, pk: int) -> Response:
        return Response(CredentialOut(self.one(pk)).data)

    @extend_schema(summary="Remove a credential", responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        credentials.remove(self.actor, self.one(pk))
        return Response(status=204)


class RotateCredentialView(CredentialView):
    http_method_names = ["post"]

    @extend_schema(
        summary="Replace a secret or password",
        description="The new one is answered, this once. The old one stays valid for `overlap` seconds.",
        request=RotateOneIn,
        responses=Rotated,
    )
    def post(self, request: Request, pk: int) -> Response:
        credential = self.one(pk)
        given = self.given(RotateOneIn)
        fresh, secret = credentials.rotate(
            self.actor, credential, timedelta(seconds=given["overlap"]), given["password"]
        )
        return Response(_with_secret(fresh, secret))


def _with_secret(credential: Credential, secret: str | None) -> dict[str, Any]:
    return {**CredentialOut(credential).data, "secret": secret}
