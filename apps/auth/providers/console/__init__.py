"""Operators in the web client: a token that the console issued (services/operators.py) as the password.

Always the first link of the chain, and needs no configuration: the key is derived from SECRET_KEY. The token
names this issuer's key in its header. One that does is decided here and never passed on, so a token that has
ended or was tampered with is not taken for a device's. What its claims allow is all that its bearer may do.
"""

from __future__ import annotations

import re
from typing import Any, Final

import jwt

from apps.auth.acl import Rules
from apps.auth.providers.base import Identity, Outcome, Rejection, identity
from apps.auth.providers.jwt.claims import BadClaim, rules_of, text_of
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

    def __init__(self) -> None:
        self._key = sealing.key(ISSUER)

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
            return self._identify(request, token)
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
        return identity(request, NAME, username, claims=rules, expires_at=float(claims["exp"]))

    def exchange(self, request: ConnectRequest) -> None:
        return None

    async def judge(self, identity: Identity) -> Rejection | None:
        """It stays until its token ends."""
        return None
