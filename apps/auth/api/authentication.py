"""Who calls the API: a service account by token or signature, or an operator by the session of the admin."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from apps.auth import proofs
from apps.common.actors import Actor
from apps.common.api.callers import address_of
from apps.common.errors import Unauthenticated

_PAIR = re.compile(r'\s*([a-z]+)="?([^",\s]*)"?\s*')


class ServiceAuthentication(BaseAuthentication):
    """Authorization: Bearer TOKEN, or GMQTT-HMAC-SHA256 key=..., timestamp=..., nonce=..., signature=..."""

    def authenticate(self, request: Request) -> tuple[Actor, str] | None:
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        try:
            if scheme.lower() == "bearer":
                return proofs.by_token(rest.strip(), "api", address_of(request)), "token"
            if scheme.upper() == proofs.SCHEME:
                return self._signed(request, rest), "signature"
        except Unauthenticated as error:
            raise AuthenticationFailed(str(error), error.code) from None
        return None

    def authenticate_header(self, request: Request) -> str:
        return f'Bearer realm="gmqtt", {proofs.SCHEME}'

    def _signed(self, request: Request, rest: str) -> Actor:
        given: dict[str, str] = {}
        for part in rest.split(","):
            found = _PAIR.fullmatch(part)
            if found is None or found[1] in given:
                raise Unauthenticated("invalid_signature", "Wanted: key=, timestamp=, nonce=, signature=.")
            given[found[1]] = found[2]
        if set(given) != {"key", "timestamp", "nonce", "signature"}:
            raise Unauthenticated("invalid_signature", "Wanted: key=, timestamp=, nonce=, signature=.")
        sent = request._request
        return proofs.by_signature(
            given["key"],
            given["timestamp"],
            given["nonce"],
            given["signature"],
            sent.method or "",
            sent.get_full_path(),
            sent.body,
            address_of(request),
        )


class ServiceAuthenticationScheme(OpenApiAuthenticationExtension):
    target_class = ServiceAuthentication
    name = ["token", "signature"]

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[str]]]:
        """Either, not both."""
        return [{name: []} for name in self.name]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "description": "A token from /api/v1/auth/token."},
            {
                "type": "apiKey",
                "in": "header",
                "name": "Authorization",
                "description": (
                    f"`{proofs.SCHEME} key=<access key>, timestamp=<UNIX seconds>, nonce=<8 to 64 characters>"
                    ", signature=<hex>`: HMAC-SHA256, by the account's secret, of five lines: timestamp, "
                    "nonce, method, path with query, SHA-256 of the body in hex."
                ),
            },
        ]
