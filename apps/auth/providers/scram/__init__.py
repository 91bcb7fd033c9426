"""SCRAM-SHA-256 (RFC 5802, RFC 7677) by the enhanced authentication of MQTT 5.0, from the database.

The password never crosses the wire and the server proves itself, too. There is no channel binding: MQTT has
no way to say which one, so a client that insists on it ("p=") is refused.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING

from apps.auth import passwords
from apps.auth.passwords import ScramKeys
from apps.auth.providers import registry
from apps.auth.providers.base import WRONG_SECRET, Identity, Outcome, Proved, Rejection, identity
from apps.auth.providers.registry import Account, Registry
from apps.auth.providers.scram import messages
from apps.gateway.broker.ports import Challenge, ConnectRequest
from apps.gateway.mqtt import reasons

if TYPE_CHECKING:
    from apps.auth.providers.parts import Parts

METHOD = "SCRAM-SHA-256"


class ScramClients:
    name = "scram"
    open = False
    needs_database = True
    registered = True

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._pepper = os.urandom(32)

    async def connect(self, request: ConnectRequest) -> Outcome:
        return None

    def exchange(self, request: ConnectRequest) -> ScramExchange | None:
        if request.auth_method != METHOD:
            return None
        return ScramExchange(self._registry, self._pepper, request)

    async def judge(self, identity: Identity) -> Rejection | None:
        return registry.stays(await self._registry.facts(identity.row, identity.username), identity)


class ScramExchange:
    """Two steps. An unknown user gets a challenge like any other, always the same, and fails at the end."""

    def __init__(self, registry: Registry, pepper: bytes, request: ConnectRequest) -> None:
        self._registry = registry
        self._pepper = pepper
        self._request = request
        self._first: messages.ClientFirst | None = None
        self._server_first = ""

    async def step(self, data: bytes | None) -> Proved | Rejection | Challenge:
        try:
            if self._first is None:
                return await self._challenge(messages.client_first(data or b""))
            return await self._prove(self._first, messages.client_final(data or b""))
        except messages.BadMessage as error:
            return Rejection(reasons.NOT_AUTHORIZED, f"SCRAM: {error}")

    async def _challenge(self, first: messages.ClientFirst) -> Challenge | Rejection:
        request = self._request
        if request.username is not None and request.username != first.username:
            return Rejection(reasons.NOT_AUTHORIZED, "SCRAM: another user name than that of CONNECT")
        keys = [key for _, key in await self._keys(first.username)]
        shown = keys[-1] if keys else self._pretended(first.username)
        nonce = first.nonce + secrets.token_urlsafe(18)
        salt = base64.b64encode(shown.salt).decode()
        self._first = first
        self._server_first = f"r={nonce},s={salt},i={shown.iterations}"
        return Challenge(self._server_first.encode())

    async def _prove(self, first: messages.ClientFirst, final: messages.ClientFinal) -> Proved | Rejection:
        nonce, salt, iterations = (part[2:] for part in self._server_first.split(","))
        if not hmac.compare_digest(final.nonce.encode(), nonce.encode()):
            return Rejection(reasons.NOT_AUTHORIZED, "SCRAM: another nonce")
        if final.binding != base64.b64encode(first.header.encode()).decode():
            return Rejection(reasons.NOT_AUTHORIZED, "SCRAM: another channel binding")
        signed = f"{first.bare},{self._server_first},{final.without_proof}".encode()
        known = await self._keys(first.username)
        for credential_id, keys in known:
            if (base64.b64encode(keys.salt).decode(), str(keys.iterations)) != (salt, iterations):
                continue
            if proves(keys, signed, final.proof):
                account = await self._account(first.username)
                facts = account.facts
                signature = base64.b64encode(hmac.digest(keys.server_key, signed, "sha256"))
                return registry.admit(facts, self._request) or Proved(
                    identity(
                        self._request,
                        "scram",
                        first.username,
                        facts.groups,
                        credential_id,
                        account=account.client_id,
                    ),
                    b"v=" + signature,
                )
        if not known:
            proves(self._pretended(first.username), signed, final.proof)
        return WRONG_SECRET

    async def _keys(self, username: str) -> list[tuple[int, ScramKeys]]:
        """Those of the client's credentials with this user name, the newest last."""
        account = await self._account(username)
        decoded = [(each.id, passwords.decode_scram(each.scram)) for each in account.credentials]
        return [(id, keys) for id, keys in decoded if keys is not None]

    async def _account(self, username: str) -> Account:
        request = self._request
        return await self._registry.account(request.client_id, username, request.peer.address)

    def _pretended(self, username: str) -> ScramKeys:
        made = hmac.digest(self._pepper, f"{self._request.client_id}\0{username}".encode(), "sha256")
        return ScramKeys(passwords.SCRAM_ITERATIONS, made[:16], made, made)


def proves(keys: ScramKeys, signed: bytes, proof: bytes) -> bool:
    """Was `proof` made with the client key of `keys` over the messages `signed`?"""
    signature = hmac.digest(keys.stored_key, signed, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=False))
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), keys.stored_key)


def build_clients(parts: Parts) -> ScramClients:
    return ScramClients(parts.registry)
