"""Operators in the web client: a token that the console issued (services/operators.py) as the password.

Always the first link of the chain, and needs no configuration: the key is derived from SECRET_KEY. The token
names this issuer's key in its header. One that does is decided here and never passed on, so a token that has
ended or was tampered with is not taken for a device's. It says who the operator is; what he may do is asked
at every CONNECT, and again when something changes.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

import jwt

from apps.auth.acl import Rules
from apps.auth.providers.base import Identity, Outcome, Rejection, identity
from apps.auth.providers.database import Database
from apps.auth.providers.jwt.claims import BadClaim, rules_of, text_of
from apps.auth.selectors.reach import reach_of
from apps.common import sealing
from apps.gateway.broker.ports import ConnectRequest
from apps.gateway.mqtt import reasons

NAME: Final = "console"
ISSUER: Final = "gmqtt console"
AUDIENCE: Final = "mqtt"
LEEWAY: Final = 5  # seconds that the clocks of two nodes may differ
_KID: Final = "gmqtt-console"
_ALGORITHM: Final = "HS256"
_TOKEN = re.compile(rb"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


def encode(claims: dict[str, Any]) -> str:
    """`sub` is the client id, `name` the operator, `exp` the end, `acl` as `jwt.claims.rules_of` has it."""
    whole = {"iss": ISSUER, "aud": AUDIENCE} | claims
    return jwt.encode(whole, sealing.key(ISSUER), algorithm=_ALGORITHM, headers={"kid": _KID})


class ConsoleClients:
    name = NAME
    open = False
    needs_database = True
    registered = False

    def __init__(self, database: Database) -> None:
        self._key = sealing.key(ISSUER)
        self._database = database

    async def connect(self, request: ConnectRequest) -> Outcome:
        token = request.password
        if token is None or not _TOKEN.fullmatch(token):
            return None
        try:
            if jwt.get_unverified_header(token).get("kid") != _KID:
                return None
        except jwt.InvalidTokenError:
            return None
        try:
            found = self._identify(request, token)
            if not isinstance(found, Identity):
                return found
            found = await self.refreshed(found)
            return found if _may_anything(found) else _NO_RIGHTS
        except BadClaim as error:
            return Rejection(reasons.NOT_AUTHORIZED, f"console token: {error}")
        except jwt.ExpiredSignatureError:
            return Rejection(reasons.NOT_AUTHORIZED, "console token: it has ended")
        except jwt.InvalidTokenError as error:
            guessed = isinstance(error, jwt.InvalidSignatureError)
            return Rejection(reasons.BAD_USER_NAME_OR_PASSWORD, f"console token: {error}", guessed)

    def _identify(self, request: ConnectRequest, token: bytes) -> Outcome:
        claims: dict[str, Any] = jwt.decode(
            token,
            self._key,
            algorithms=[_ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=LEEWAY,
            options={"require": ["exp", "aud", "iss", "sub"]},
        )
        if text_of(claims, "sub") != request.client_id:
            return Rejection(reasons.NOT_AUTHORIZED, "console token: of another client id")
        username = text_of(claims, "name")
        rules = Rules(rules_of(claims.get("acl")), identity(request, NAME, username).subject)
        found = identity(request, NAME, username, claims=rules, expires_at=float(claims["exp"]))
        operator = claims.get("uid")
        return replace(found, operator=operator) if isinstance(operator, int) else found

    async def refreshed(self, identity: Identity) -> Identity:
        """With the rights that its operator has now; nothing is known of an operator without a number."""
        if identity.operator is None:
            return identity
        rules = await self._database.run(reach_of, identity.operator)
        return replace(identity, claims=Rules(rules_of(list(rules)), identity.subject))

    def exchange(self, request: ConnectRequest) -> None:
        return None

    async def judge(self, identity: Identity) -> Rejection | None:
        """It stays until its token ends, or its operator may nothing any more."""
        return None if _may_anything(await self.refreshed(identity)) else _NO_RIGHTS


def _may_anything(identity: Identity) -> bool:
    return identity.operator is None or (identity.claims is not None and bool(identity.claims.rules))


_NO_RIGHTS = Rejection(
    reasons.NOT_AUTHORIZED, "console token: the operator may neither read nor publish any more"
)
