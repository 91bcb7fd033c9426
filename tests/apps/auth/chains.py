"""A chain of providers as the gateway builds it, and what clients send, short to write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from apps.auth.models import Client
from apps.auth.providers import chain as chains
from apps.auth.providers.chain import Chain
from apps.auth.services import registering
from apps.common.actors import SYSTEM
from apps.gateway.broker.ports import ConnectRequest, Peer
from gmqtt_platform.config.loader import load

PEER = Peer("192.0.2.1", 40000, "tcp")


def build(client: str, acl: str = "django", **more: str) -> Chain:
    """`client` and `acl` as the environment writes them; `more` by KEY or TABLE__KEY below [auth]."""
    environ = {"GMQTT_AUTH__CLIENT": client, "GMQTT_AUTH__ACL": acl}
    environ |= {f"GMQTT_AUTH__{key.upper()}": value for key, value in more.items()}
    return chains.build(load(environ).auth)


def connect(
    client_id: str = "alice-1",
    username: str | None = "alice",
    password: str | bytes | None = None,
    peer: Peer = PEER,
    auth_method: str | None = None,
    auth_data: bytes | None = None,
) -> ConnectRequest:
    raw = password.encode() if isinstance(password, str) else password
    return ConnectRequest(client_id, 5, username, raw, True, 60, peer, auth_method, auth_data)


def register(client_id: str = "alice-1", username: str = "alice", **values: object) -> tuple[Client, str]:
    """The client and its generated secret ("" where a password was given)."""
    new = registering.NewClient(client_id=client_id, username=username, **values)  # type: ignore[arg-type]
    registered = registering.register(SYSTEM, new)
    return registered.client, registered.secret or ""


@contextmanager
def counting_queries(chain: Chain) -> Iterator[list[str]]:
    """The functions that the chain asked the database for."""
    asked: list[str] = []
    run = chain.parts.database.run

    async def counted(function, *args, **kwargs):  # type: ignore[no-untyped-def]
        asked.append(function.__name__)
        return await run(function, *args, **kwargs)

    chain.parts.database.run = counted  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        chain.parts.database.run = run  # type: ignore[method-assign]
