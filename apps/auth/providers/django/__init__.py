"""Registered clients with a user name and a secret, and the rules in the database."""

from __future__ import annotations

from apps.auth import passwords
from apps.auth.passwords import Passwords
from apps.auth.providers import registry
from apps.auth.providers.base import WRONG_SECRET, Identity, Layer, Outcome, Rejection, identity
from apps.auth.providers.registry import Registry
from apps.gateway.broker.ports import ConnectRequest


class DjangoClients:
    """Passes where neither user name nor password came, and where no such user name is registered.

    The secret is checked before anything is said of the client, and one is "checked" for a user name that is
    not registered too, so neither the answer nor the time it takes tells which of the two was wrong.
    """

    name = "django"

    def __init__(self, registry: Registry, passwords: Passwords) -> None:
        self._registry = registry
        self._passwords = passwords

    async def connect(self, request: ConnectRequest) -> Outcome:
        username, password = request.username, request.password
        if username is None or password is None:
            return None
        facts = await self._registry.facts(request.client_id, username, request.peer.address)
        kind = "secret" if passwords.looks_generated(password) else "password"
        candidates = [each for each in registry.valid(facts.credentials) if each.username == username]
        matching = None
        if kind == "secret":
            for each in candidates:
                if each.kind == kind and passwords.verify_generated(password, (each.secret,)):
                    matching = each
            if not any(each.kind == kind for each in candidates):
                passwords.verify_generated(password, ())
        else:
            stored = {each.secret: each for each in candidates if each.kind == kind}
            for each in stored.values():
                if await self._passwords.verify(password, (each.secret,)):
                    matching = each
            if not stored:
                await self._passwords.verify(password, ())
        if matching is None:
            return WRONG_SECRET if candidates else None
        return registry.admit(facts, request) or identity(
            request, self.name, username, facts.groups, matching.id
        )

    def exchange(self, request: ConnectRequest) -> None:
        return None

    async def judge(self, identity: Identity) -> Rejection | None:
        return registry.stays(await self._registry.facts(identity.client_id, identity.username), identity)


class DjangoAcl:
    name = "django"

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def layer(self, identity: Identity) -> Layer | None:
        return await self._registry.rules(identity)
