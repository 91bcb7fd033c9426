"""Who may call the auth service, and with what the gateway calls it.

A call carries `authorization: Bearer TOKEN`. TOKEN is one that the platform issued for `rpc`
(apps.auth.proofs), or one that the service account signed itself with its secret (`CallerToken`): the secret
never travels, and who overhears a token can use it for minutes at most. Behind that, permissions.RPC_METHODS
says what the account may call.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import jwt
from grpc import aio

from apps.auth import callers, permissions, proofs
from apps.auth.caches import Cache
from apps.auth.callers import Overloaded
from apps.auth.models import ServiceAccount
from apps.auth.proofs import actor_of_account
from apps.auth.providers.base import Unavailable
from apps.auth.providers.database import Database
from apps.auth.services.accounts import SIGNING
from apps.common import sealing
from apps.common.actors import Actor
from apps.common.errors import Unauthenticated

logger = logging.getLogger(__name__)

AUDIENCE: Final = "rpc"
SIGNED_SECONDS: Final = 300  # of a token that an account signed itself
BELIEVED: Final = 10.0  # seconds an account's token is taken without asking the database again
SERVICE: Final = "gmqtt.auth.v1.Auth"
_HEALTH: Final = "grpc.health.v1.Health"
_INVALID = "This is no token of a service account."


class CallerToken:
    """The token that a service account signs for itself, made anew before it expires."""

    def __init__(self, access_key: str, secret: str) -> None:
        self._access_key = access_key
        self._secret = secret
        self._token = ""
        self._renew_at = 0.0

    def metadata(self) -> tuple[tuple[str, str], ...]:
        now = time.time()
        if now >= self._renew_at:
            claims = {
                "iss": self._access_key,
                "aud": AUDIENCE,
                "iat": int(now),
                "exp": int(now) + SIGNED_SECONDS,
            }
            self._token = jwt.encode(claims, self._secret, algorithm="HS256")
            self._renew_at = now + SIGNED_SECONDS / 2
        return (("authorization", f"Bearer {self._token}"),)


def authenticate(token: str) -> Actor:
    """The account behind the token. Asks the database; `Unauthenticated` when it does not hold."""
    try:
        issuer = str(jwt.decode(token, options={"verify_signature": False}).get("iss"))
    except jwt.InvalidTokenError:
        raise Unauthenticated("invalid_token", _INVALID) from None
    account = ServiceAccount.objects.filter(access_key=issuer).prefetch_related("roles").first()
    if account is None:
        return proofs.by_token(token, AUDIENCE)
    try:
        claims = jwt.decode(
            token,
            sealing.unseal(SIGNING, account.signing_key),
            algorithms=["HS256"],
            audience=AUDIENCE,
            leeway=10,
            options={"require": ["aud", "exp", "iat", "iss"]},
        )
    except jwt.ExpiredSignatureError:
        raise Unauthenticated("token_expired", "The token has expired.") from None
    except (jwt.InvalidTokenError, sealing.CannotUnseal):
        raise Unauthenticated("invalid_token", _INVALID) from None
    if claims["exp"] - claims["iat"] > SIGNED_SECONDS:
        raise Unauthenticated("invalid_token", f"A token may live {SIGNED_SECONDS} seconds.")
    if not account.enabled:
        raise Unauthenticated("account_disabled", "The service account is disabled.")
    if account.expires_at is not None and account.expires_at.timestamp() <= time.time():
        raise Unauthenticated("account_expired", "The service account has expired.")
    return actor_of_account(account)


class Access(aio.ServerInterceptor):
    """Lets a call through when its account may make it; health checks are open."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._actors: Cache[bytes, Actor] = Cache(10_000, BELIEVED)

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        _, service, method = details.method.split("/")
        if service == _HEALTH:
            return await continuation(details)
        try:
            with callers.asking():
                actor = await self.actor(details.invocation_metadata)
        except Unauthenticated as error:
            return _abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
        except Overloaded:
            return _abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "more calls wait than can be answered in time")
        except Unavailable:
            return _abort(grpc.StatusCode.UNAVAILABLE, "the database does not answer")
        permission = permissions.RPC_METHODS.get(method) if service == SERVICE else None
        if permission is None or not actor.may(permission):
            return _abort(grpc.StatusCode.PERMISSION_DENIED, f"{actor.name} may not call {method}")
        return await continuation(details)

    async def actor(self, metadata: Any) -> Actor:
        value = next((value for key, value in metadata if key == "authorization"), "")
        scheme, _, token = value.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("no_token", "The call has no bearer token.")
        digest = hashlib.sha256(token.encode()).digest()
        actor = self._actors.get(digest)
        if actor is None:
            actor = await self._database.run(authenticate, token)
            self._actors.put(digest, actor)
        return actor


def _abort(code: grpc.StatusCode, text: str) -> Any:
    async def refuse(request: object, context: Any) -> None:
        await context.abort(code, text)

    return grpc.unary_unary_rpc_method_handler(refuse)
