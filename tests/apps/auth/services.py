"""An auth service in this process, and gateways that use it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from asgiref.sync import sync_to_async

from apps.auth.models import Role
from apps.auth.providers import chain as chains
from apps.auth.providers.chain import Chain
from apps.auth.rpc.server import AuthServer
from apps.auth.services import accounts
from apps.common.actors import SYSTEM
from gmqtt_platform.config.loader import load
from tests.apps.auth.chains import build


@dataclass
class Service:
    server: AuthServer
    chain: Chain
    port: int

    @property
    def address(self) -> str:
        return f"grpc://127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(client: str = "django", acl: str = "django", **more: str) -> AsyncIterator[Service]:
    """One instance; `more` by KEY below [auth]. Stopped at the end, if it was not before."""
    environ = {
        "GMQTT_AUTH__SERVICE__LISTEN": "127.0.0.1:0",
        "GMQTT_AUTH__CLIENT": client,
        "GMQTT_AUTH__ACL": acl,
    } | {f"GMQTT_AUTH__{key.upper()}": value for key, value in more.items()}
    auth = load(environ).auth
    chain = chains.build(auth)
    server = AuthServer(auth.service, chain)
    service = Service(server, chain, await server.start())
    try:
        yield service
    finally:
        await server.stop(0)
        await chain.close()


def new_account(*roles: str, name: str = "gateway-1") -> tuple[str, str]:
    """Access key and secret of a service account with these built-in roles."""
    account, secret = accounts.create(SYSTEM, name, list(Role.objects.filter(name__in=roles)))
    return account.access_key, secret


async def gateway(*addresses: str, client: str = "rpc", acl: str = "rpc", **more: str) -> Chain:
    """A chain that asks the instances at `addresses`."""
    key, secret = await sync_to_async(new_account)("gateway")
    patient = {"rpc__timeout_ms": "20000"}  # a deadline is for the tests that are about it
    known = {"rpc__access_key": key, "rpc__secret": secret, "discovery__addresses": ",".join(addresses)}
    return build(client, acl, **patient | known | more)
