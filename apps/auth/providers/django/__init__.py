"""Registered clients with a user name and a secret, and the rules in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.auth import passwords
from apps.auth.facts import CredentialFacts
from apps.auth.fair_queue import Asker
from apps.auth.passwords import Passwords
from apps.auth.providers import registry
from apps.auth.providers.base import WRONG_SECRET, Identity, Layer, Outcome, Rejection, identity
from apps.auth.providers.registry import Registry
from apps.auth.verifiers import Verifiers
from apps.gateway.broker.ports import ConnectRequest

if TYPE_CHECKING:
    from apps.auth.providers.parts import Parts


class DjangoClients:
    """Passes where neither user name nor password came, and where no such user name is registered.

    The secret is checked before anything is said of the client, and one is "checked" for a user name that is
    not registered too, so neither the answer nor the time it takes tells which of the two was wrong.
    """

    name = "django"
    open = False
    needs_database = True
    registered = True

    def __init__(self, registry: Registry, passwords: Passwords, verifiers: Verifiers | None = None) -> None:
        self._registry = registry
        self._passwords = passwords
        self._verifiers = verifiers

    async def connect(self, request: ConnectRequest) -> Outcome:
        username, password = request.username, request.password
        if username is None or password is None:
            return None
        account = await self._registry.account(request.client_id, username, request.peer.address)
        facts, candidates = account.facts, account.credentials
        kind = "secret" if passwords.looks_generated(password) else "password"
        matching = None
        if kind == "secret":
            for each in candidates:
                if each.kind == kind and passwords.verify_generated(password, (each.secret,)):
                    matching = each
            if not any(each.kind == kind for each in candidates):
                passwords.verify_generated(password, ())
        else:
            matching = await self._by_password(
                password, [each for each in candidates if each.kind == kind], request
            )
        if matching is None:
            return WRONG_SECRET if candidates else None
        return registry.admit(facts, request) or identity(
            request, self.name, username, facts.groups, matching.id, account=account.client_id
        )

    async def _by_password(
        self, password: bytes, candidates: list[CredentialFacts], request: ConnectRequest
    ) -> CredentialFacts | None:
        for each in candidates:
            if passwords.matches_keyed(password, each.verifier):
                self._upgrade(each, password)
                return each
        asker = Asker(request.peer.address, request.username or request.client_id, request.left)
        matching = None
        for each in {each.secret: each for each in candidates}.values():
            if await self._passwords.verify(password, (each.secret,), asker):
                matching = each
                if self._verifiers is not None:
                    self._verifiers.note(each.id, password)
                    self._upgrade(each, password)
        if not candidates:
            await self._passwords.verify(password, (), asker)
        return matching

    def _upgrade(self, credential: CredentialFacts, password: bytes) -> None:
        if self._verifiers is not None:
            self._verifiers.upgrade(credential.id, credential.secret, password)

    def exchange(self, request: ConnectRequest) -> None:
        return None

    async def judge(self, identity: Identity) -> Rejection | None:
        return registry.stays(await self._registry.facts(identity.row, identity.username), identity)


class DjangoAcl:
    name = "django"
    open = False
    needs_database = True
    asks = False
    brought = False

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def layer(self, identity: Identity) -> Layer | None:
        return await self._registry.rules(identity)


def build_clients(parts: Parts) -> DjangoClients:
    return DjangoClients(parts.registry, parts.passwords, parts.verifiers)


def build_acl(parts: Parts) -> DjangoAcl:
    return DjangoAcl(parts.registry)
