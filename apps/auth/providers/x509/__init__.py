"""The verified client certificate of a TLS connection. Passes where there is none, or another client's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.auth.providers import registry
from apps.auth.providers.base import Identity, Outcome, Rejection, identity
from apps.auth.providers.registry import Registry
from apps.gateway.broker.ports import ConnectRequest

if TYPE_CHECKING:
    from apps.auth.providers.parts import Parts


class X509Clients:
    """`match` registered: a credential of the client has the subject; common_name: it is the client id.

    The user name is the common name: what the client wrote into CONNECT is not proved by its certificate.
    """

    name = "x509"
    open = False
    needs_database = True
    registered = True

    def __init__(self, registry: Registry, match: str) -> None:
        self._registry = registry
        self._by_name = match == "common_name"

    async def connect(self, request: ConnectRequest) -> Outcome:
        peer = request.peer
        if not peer.tls_subject:
            return None
        if self._by_name:
            if peer.tls_common_name != request.client_id:
                return None
            return identity(request, self.name, peer.tls_common_name)
        facts = await self._registry.facts(request.client_id, peer.tls_common_name, peer.address)
        for each in registry.valid(facts.credentials):
            if each.kind == "x509" and each.subject == peer.tls_subject:
                return registry.admit(facts, request) or identity(
                    request, self.name, peer.tls_common_name, facts.groups, each.id
                )
        return None

    def exchange(self, request: ConnectRequest) -> None:
        return None

    async def judge(self, identity: Identity) -> Rejection | None:
        if self._by_name:
            return None
        return registry.stays(await self._registry.facts(identity.client_id, identity.username), identity)


def build_clients(parts: Parts) -> X509Clients:
    return X509Clients(parts.registry, parts.conf.x509.match)
