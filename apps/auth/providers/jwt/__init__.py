"""A JSON Web Token as the password: its claims say which client it is and what that may do.

Passes where the password does not look like a token. Every token must expire; a client is disconnected when
its token does. An algorithm takes only keys of its own kind, so a public key never serves as an HMAC secret.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import jwt

from apps.auth.acl import Rules
from apps.auth.caches import Cache
from apps.auth.providers import registry
from apps.auth.providers.base import Identity, Layer, Outcome, Rejection, identity
from apps.auth.providers.jwt.claims import BadClaim, rules_of, text_of
from apps.auth.providers.jwt.keys import Keys, NoKey
from apps.auth.providers.registry import Registry
from apps.gateway.broker.ports import ConnectRequest
from apps.gateway.mqtt import reasons

if TYPE_CHECKING:
    from apps.auth.providers.parts import Parts
    from gmqtt_platform.config.auth import JwtConf

_TOKEN = re.compile(rb"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
MAX_LENGTH = 16_384  # bytes


class JwtClients:
    name = "jwt"
    open = False
    needs_database = True

    def __init__(self, conf: JwtConf, registry: Registry) -> None:
        self.registered = conf.registered
        self._conf = conf
        self._registry = registry
        self._keys = Keys(conf)
        self._claims: Cache[bytes, dict[str, Any]] = Cache(20_000, 300.0)
        self._version = self._keys.version

    async def connect(self, request: ConnectRequest) -> Outcome:
        token = request.password
        if token is None or len(token) > MAX_LENGTH or not _TOKEN.fullmatch(token):
            return None
        try:
            claims = self._decode(token)
            return await self._identify(request, claims)
        except BadClaim as error:
            return Rejection(reasons.NOT_AUTHORIZED, f"token: {error}")
        except (jwt.InvalidTokenError, NoKey) as error:
            guessed = isinstance(error, jwt.InvalidSignatureError)
            return Rejection(reasons.BAD_USER_NAME_OR_PASSWORD, f"token: {error}", guessed)

    async def _identify(self, request: ConnectRequest, claims: dict[str, Any]) -> Outcome:
        conf = self._conf
        username = text_of(claims, conf.username_claim) if conf.username_claim else ""
        groups: tuple[str, ...] = ()
        credential_id = None
        if conf.registered:
            facts = await self._registry.facts(request.client_id, username, request.peer.address)
            credential_id = next(
                (
                    each.id
                    for each in registry.valid(facts.credentials)
                    if each.kind == "jwt" and claims.get(each.claim) == each.claim_value
                ),
                None,
            )
            if credential_id is None:
                return Rejection(reasons.NOT_AUTHORIZED, "token: not of this client")
            refused = registry.admit(facts, request)
            if refused is not None:
                return refused
            groups = facts.groups
        elif text_of(claims, conf.client_id_claim) != request.client_id:
            return Rejection(reasons.NOT_AUTHORIZED, f"token: {conf.client_id_claim} is another client id")
        found = identity(request, self.name, username, groups, credential_id, None, float(claims["exp"]))
        if conf.acl_claim and conf.acl_claim in claims:
            rules = Rules(rules_of(claims[conf.acl_claim]), found.subject)
            found = identity(request, self.name, username, groups, credential_id, rules, found.expires_at)
        return found

    def _decode(self, token: bytes) -> dict[str, Any]:
        self._keys.refresh()
        if self._keys.version != self._version:  # a key may have been withdrawn
            self._version = self._keys.version
            self._claims.clear()
        known = self._claims.get(token)
        now = time.time()
        if known is not None and known["exp"] > now - self._conf.leeway:
            return known
        conf = self._conf
        key, algorithm = self._keys.only or self._keys.find(jwt.get_unverified_header(token))
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=conf.audience or None,
            issuer=conf.issuer or None,
            leeway=conf.leeway,
            options={"require": ["exp", *(["aud"] if conf.audience else [])]},
        )
        self._claims.put(token, claims)
        return claims

    def exchange(self, request: ConnectRequest) -> None:
        return None

    async def judge(self, identity: Identity) -> Rejection | None:
        if not self._conf.registered:
            return None
        return registry.stays(await self._registry.facts(identity.client_id, identity.username), identity)


class JwtAcl:
    """The rules that a client's token carries; none for a client that came without one."""

    name = "jwt"
    open = False
    needs_database = False
    asks = False
    brought = True

    async def layer(self, identity: Identity) -> Layer | None:
        return identity.claims


def build_clients(parts: Parts) -> JwtClients:
    return JwtClients(parts.conf.jwt, parts.registry)


def build_acl(parts: Parts) -> JwtAcl:
    return JwtAcl()
