"""Service accounts, their roles, and the tokens they get for their secret."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import django_filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.auth import proofs
from apps.auth.models import Role, ServiceAccount
from apps.auth.services import accounts
from apps.common import rbac
from apps.common.api.base import ApiView, Strict, found
from apps.common.api.fields import Text
from apps.common.api.lists import Flag
from apps.common.api.problems import Problem
from apps.common.errors import Unauthenticated


class RoleNames(serializers.ListField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=Text(max_length=64), max_length=50, **kwargs)

    def to_representation(self, data: Any) -> list[str]:
        return sorted(role.name for role in data.all())

    def to_internal_value(self, data: Any) -> list[Role]:
        names = super().to_internal_value(data)
        known = {role.name: role for role in Role.objects.filter(name__in=names)}
        for name in names:
            if name not in known:
                raise serializers.ValidationError(f"There is no role {name!r}.", "unknown_role")
        return list(known.values())


class AccountOut(serializers.ModelSerializer[ServiceAccount]):
    roles = RoleNames(read_only=True)

    class Meta:
        model = ServiceAccount
        fields: tuple[str, ...] = (
            "id",
            "name",
            "description",
            "access_key",
            "roles",
            "enabled",
            "expires_at",
            "created_at",
            "rotated_at",
        )
        read_only_fields: tuple[str, ...] = fields


class AccountWithSecret(AccountOut):
    secret = serializers.CharField(help_text="Shown this once.")

    class Meta(AccountOut.Meta):
        fields = (*AccountOut.Meta.fields, "secret")
        read_only_fields: tuple[str, ...] = fields


class AccountIn(Strict):
    name = Text(128)
    description = Text(required=False, allow_blank=True)
    roles = RoleNames(required=False)
    enabled = serializers.BooleanField(required=False)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class AccountFilter(django_filters.FilterSet):
    access_key = django_filters.CharFilter()
    enabled = Flag()
    role = django_filters.CharFilter("roles__name", label="The name of a role.")
    search = django_filters.CharFilter("name", "icontains", label="In the name.")


class AccountsView(ApiView):
    filterset_class = AccountFilter
    ordering_fields = ("id", "name", "created_at")
    queryset = ServiceAccount.objects.prefetch_related("roles")

    @extend_schema(summary="List service accounts", responses=AccountOut(many=True))
    def get(self, request: Request) -> Response:
        return self.listed(self.get_queryset(), AccountOut)

    @extend_schema(
        summary="Make a service account",
        description="Answers its secret, this once. Nobody hands out more than they may do.",
        request=AccountIn,
        responses={201: AccountWithSecret},
    )
    def post(self, request: Request) -> Response:
        account, secret = accounts.create(self.actor, **self.given(AccountIn))
        return Response({**AccountOut(account).data, "secret": secret}, 201)


class AccountView(ApiView):
    def one(self, pk: int) -> ServiceAccount:
        return found(ServiceAccount.objects.all(), ServiceAccount.objects.none(), pk)

    @extend_schema(summary="One service account", responses=AccountOut)
    def get(self, request: Request, pk: int) -> Response:
        return Response(AccountOut(self.one(pk)).data)

    @extend_schema(summary="Change a service account", request=AccountIn(partial=True), responses=AccountOut)
    def patch(self, request: Request, pk: int) -> Response:
        account = self.one(pk)
        return Response(
            AccountOut(accounts.update(self.actor, account, **self.given(AccountIn, partial=True))).data
        )

    @extend_schema(summary="Remove a service account", responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        accounts.remove(self.actor, self.one(pk))
        return Response(status=204)


class RotateAccountView(AccountView):
    http_method_names = ["post"]

    @extend_schema(
        summary="Give a service account a new secret",
        description="Answers it, this once. The old one and every token issued for it end now.",
        request=None,
        responses=AccountWithSecret,
    )
    def post(self, request: Request, pk: int) -> Response:
        account, secret = accounts.rotate(self.actor, self.one(pk))
        return Response({**AccountOut(account).data, "secret": secret})


class RoleOut(serializers.ModelSerializer[Role]):
    permissions = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Role
        fields: tuple[str, ...] = ("id", "name", "description", "permissions", "builtin")
        read_only_fields: tuple[str, ...] = fields


class RoleIn(Strict):
    name = Text(64)
    description = Text(required=False, allow_blank=True)
    permissions = serializers.ListField(
        child=serializers.ChoiceField(sorted(rbac.PERMISSIONS)), max_length=len(rbac.PERMISSIONS)
    )


class RolesView(ApiView):
    ordering_fields = ("id", "name")
    queryset = Role.objects.all()

    @extend_schema(summary="List roles", responses=RoleOut(many=True))
    def get(self, request: Request) -> Response:
        return self.listed(self.get_queryset(), RoleOut)

    @extend_schema(summary="Make a role", request=RoleIn, responses={201: RoleOut})
    def post(self, request: Request) -> Response:
        return Response(RoleOut(accounts.create_role(self.actor, **self.given(RoleIn))).data, 201)


class RoleView(ApiView):
    def one(self, pk: int) -> Role:
        return found(Role.objects.all(), Role.objects.none(), pk)

    @extend_schema(summary="One role", responses=RoleOut)
    def get(self, request: Request, pk: int) -> Response:
        return Response(RoleOut(self.one(pk)).data)

    @extend_schema(summary="Change a role of your own", request=RoleIn(partial=True), responses=RoleOut)
    def patch(self, request: Request, pk: int) -> Response:
        role = self.one(pk)
        return Response(
            RoleOut(accounts.update_role(self.actor, role, **self.given(RoleIn, partial=True))).data
        )

    @extend_schema(summary="Remove a role of your own", responses={204: None})
    def delete(self, request: Request, pk: int) -> Response:
        accounts.remove_role(self.actor, self.one(pk))
        return Response(status=204)


class TokenIn(Strict):
    access_key = serializers.CharField(required=False, max_length=64)
    secret = serializers.CharField(required=False, max_length=256, write_only=True)
    audience = serializers.ChoiceField(proofs.AUDIENCES, default="api")


class TokenOut(serializers.Serializer[Any]):
    access_token = serializers.CharField()
    token_type = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="Seconds.")
    audience = serializers.CharField()


class TokenView(ApiView):
    """The body or HTTP Basic carries access key and secret."""

    authentication_classes = ()
    throttle_scope = "token"

    @extend_schema(
        summary="Get a bearer token",
        description="For access key and secret, in the body or by HTTP Basic.",
        request=TokenIn,
        responses=TokenOut,
        auth=[{"basic": []}, {}],  # type: ignore[list-item]
    )
    def post(self, request: Request) -> Response:
        given = self.given(TokenIn)
        key, secret = given.get("access_key"), given.get("secret")
        try:
            if key is None or secret is None:
                key, secret = _basic(request)
            token = proofs.issue_token(key, secret, given["audience"])
        except Unauthenticated as error:
            refused = Problem(401, error.code, str(error))
            refused.auth_header = 'Basic realm="gmqtt"'
            raise refused from None
        body = {"access_token": token, "token_type": "Bearer", "expires_in": proofs.TOKEN_SECONDS}
        return Response({**body, "audience": given["audience"]}, headers={"Cache-Control": "no-store"})


def _basic(request: Request) -> tuple[str, str]:
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError
        key, colon, secret = base64.b64decode(rest, validate=True).decode().partition(":")
        if not colon:
            raise ValueError
    except (ValueError, binascii.Error):
        raise Unauthenticated("no_credentials", "Send access_key and secret, or HTTP Basic.") from None
    return key, secret
