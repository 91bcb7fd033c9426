"""How a service account proves who it is: by its secret, by a token issued for it, by a signature.

Every function here asks the database and answers the account's `Actor`, or raises `Unauthenticated`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Final

import jwt
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.auth import passwords
from apps.auth.models import ServiceAccount, UsedNonce
from apps.auth.services import upkeep
from apps.auth.services.accounts import SIGNING
from apps.common import rbac, sealing
from apps.common.actors import Actor
from apps.common.errors import Unauthenticated

AUDIENCES: Final = ("api", "rpc")  # what a token may be for
TOKEN_SECONDS: Final = 900
SCHEME: Final = "GMQTT-HMAC-SHA256"
WINDOW: Final = 300  # seconds a signed request's clock may be off, either way

COMMAND_SECONDS: Final = 60  # for which the token of a management command is good

_ISSUER = "gmqtt"
_TOKEN_KEY = "service token"  # noqa: S105  # what it is derived for
_COMMAND = "command:"  # what the subject of a management command's token begins with
_NONCE = re.compile(r"[A-Za-z0-9._~-]{8,64}")


def by_secret(access_key: str, secret: str, address: str = "") -> Actor:
    return _usable(_account(access_key, secret), address)


def issue_token(access_key: str, secret: str, audience: str) -> str:
    """A bearer token, good for TOKEN_SECONDS, for one of AUDIENCES."""
    account = _account(access_key, secret)
    _usable(account, "")
    return _signed(access_key, account.generation, audience, TOKEN_SECONDS)


def issue_command_token(person: str) -> str:
    """For a management command: whoever runs one knows SECRET_KEY and may do anything anyway.

    `person`, its name on this host, stands in the audit trail.
    """
    return _signed(_COMMAND + person, 0, "api", COMMAND_SECONDS)


def _signed(subject: str, generation: int, audience: str, seconds: int) -> str:
    now = int(time.time())
    claims = {
        "iss": _ISSUER,
        "aud": audience,
        "sub": subject,
        "gen": generation,
        "iat": now,
        "exp": now + seconds,
        "jti": secrets.token_hex(8),
    }
    return jwt.encode(claims, sealing.key(_TOKEN_KEY), algorithm="HS256")


def by_token(token: str, audience: str, address: str = "") -> Actor:
    try:
        claims = jwt.decode(
            token,
            sealing.key(_TOKEN_KEY),
            algorithms=["HS256"],
            audience=audience,
            issuer=_ISSUER,
            options={"require": ["aud", "exp", "gen", "iat", "iss", "sub"]},
        )
    except jwt.ExpiredSignatureError:
        raise Unauthenticated("token_expired", "The token has expired: get a new one.") from None
    except jwt.InvalidAudienceError:
        raise Unauthenticated("wrong_audience", f"The token is not for {audience}.") from None
    except jwt.InvalidTokenError:
        raise Unauthenticated("invalid_token", "This is no token of this platform.") from None
    if claims["sub"].startswith(_COMMAND):  # no access key does
        person = claims["sub"].removeprefix(_COMMAND)
        return Actor(claims["sub"][:64], person, permissions=frozenset(rbac.PERMISSIONS), address=address)
    account = _find(claims["sub"])
    if account is None or account.generation != claims["gen"]:
        raise Unauthenticated("token_revoked", "The secret behind the token was rotated.")
    return _usable(account, address)


def string_to_sign(timestamp: str, nonce: str, method: str, path: str, body: bytes) -> bytes:
    """Five lines. `path` as sent, with the query; of the body its SHA-256 in hex."""
    digest = hashlib.sha256(body).hexdigest()
    return "\n".join((timestamp, nonce, method.upper(), path, digest)).encode()


def by_signature(
    access_key: str,
    timestamp: str,
    nonce: str,
    signature: str,
    method: str,
    path: str,
    body: bytes,
    address: str = "",
) -> Actor:
    """`signature`: HMAC-SHA256 of `string_to_sign` by the account's secret, in hex. Each nonce works once."""
    if not re.fullmatch(r"[0-9]{1,12}", timestamp) or not _NONCE.fullmatch(nonce):
        raise Unauthenticated(
            "invalid_signature", "timestamp is UNIX seconds, nonce 8 to 64 of A-Za-z0-9._~-"
        )
    if abs(time.time() - int(timestamp)) > WINDOW:
        raise Unauthenticated("request_expired", f"The timestamp is more than {WINDOW} s off.")
    account = _find(access_key)
    secret = _signing_secret(account) if account else secrets.token_hex(32)
    wanted = hmac.new(
        secret.encode(), string_to_sign(timestamp, nonce, method, path, body), hashlib.sha256
    ).hexdigest()
    if not hmac.compare_digest(wanted.encode(), signature.encode()) or account is None:
        raise Unauthenticated("invalid_signature", "The signature does not fit the request.")
    actor = _usable(account, address)
    _use_up(account, nonce, int(timestamp) + WINDOW)
    return actor


def _account(access_key: str, secret: str) -> ServiceAccount:
    account = _find(access_key)
    right = passwords.verify_generated(secret.encode(), [account.secret] if account else [])
    if account is None or not right:
        raise Unauthenticated("invalid_credentials", "No service account has this access key and secret.")
    return account


def _find(access_key: str) -> ServiceAccount | None:
    return ServiceAccount.objects.filter(access_key=access_key).prefetch_related("roles").first()


def _usable(account: ServiceAccount, address: str) -> Actor:
    if not account.enabled:
        raise Unauthenticated("account_disabled", "The service account is disabled.")
    if account.expires_at is not None and account.expires_at <= timezone.now():
        raise Unauthenticated("account_expired", "The service account has expired.")
    return actor_of_account(account, address)


def _signing_secret(account: ServiceAccount) -> str:
    try:
        return sealing.unseal(SIGNING, account.signing_key)
    except sealing.CannotUnseal:
        raise Unauthenticated(
            "cannot_check_signature",
            "The account was made under another secret key of the platform: rotate it, or use a token.",
        ) from None


def _use_up(account: ServiceAccount, nonce: str, until: int) -> None:
    upkeep.forget_nonces(timezone.now())
    try:
        with transaction.atomic():
            UsedNonce.objects.create(
                account=account, nonce=nonce, expires_at=datetime.fromtimestamp(until, UTC)
            )
    except IntegrityError:
        raise Unauthenticated("replayed", "A request with this nonce was accepted before.") from None


def actor_of_account(account: ServiceAccount, address: str = "") -> Actor:
    """The account with the permissions of its roles: one query, unless the roles were prefetched."""
    known = (set(role.permissions) & rbac.PERMISSIONS for role in account.roles.all())
    return Actor(
        f"service:{account.pk}", account.name, permissions=frozenset().union(*known), address=address
    )
