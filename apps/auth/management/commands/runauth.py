"""`manage.py runauth`: one instance of the auth service in the foreground."""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
import signal
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.auth import discovery
from apps.auth.discovery.base import DiscoveryUnavailable
from apps.auth.live import Live, Nobody
from apps.auth.providers import chain as chains
from apps.auth.records import Records
from apps.auth.rpc.server import AuthServer
from gmqtt_platform import exporter, startup


class Command(BaseCommand):
    help = "Run one instance of the auth service: gRPC, [auth.service] of the configuration."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        unknown = startup.check()
        if unknown:
            self.stderr.write(unknown)
        try:
            uvloop.run(self._serve())
        except (DiscoveryUnavailable, OSError, RuntimeError) as error:
            raise CommandError(f"the auth service cannot start: {error}", returncode=2) from error

    async def _serve(self) -> None:
        """Start, register, wait for SIGINT or SIGTERM; then withdraw first, so that nobody finds us dying."""
        auth = settings.GMQTT.auth
        service = auth.service
        # The nodes give up after their timeout_ms: ours is the best guess of it.
        patience = auth.rpc.timeout_ms / 1000
        chain = chains.build(dataclasses.replace(auth, client=service.client, acl=service.acl), patience)
        records = Records(chain.parts.database, 0, "", lambda client_id, action, topic: None)
        live = Live(chain, Nobody(), records)
        server = AuthServer(service, chain, exporter.observe_calls())
        memory = exporter.MemoryCollector(auth=chain.memory, guard=chain.guard.memory)
        exporter.serve(settings.GMQTT, "auth_service", memory)
        membership = discovery.Membership(discovery.build(auth.discovery), auth.discovery.ttl)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        port = await server.start()
        try:
            await live.start()
            address = _advertised(service, port)
            await membership.join(address)
            self.stdout.write(f"Auth service         grpc://{address}")
            self.stdout.flush()
            await stop.wait()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            self.stdout.write("Stopping; once more Ctrl-C stops at once.")
            self.stdout.flush()
        finally:
            await membership.leave()
            await server.stop(settings.GMQTT.node.shutdown_timeout)
            await live.stop()


def _advertised(service: Any, port: int) -> str:
    """Where others reach us. A wildcard address names no host: then `advertise` has to."""
    if service.advertise is not None:
        advertised = service.advertise
        return str(dataclasses.replace(advertised, port=advertised.port or port).netloc)
    host = service.listen.host
    try:
        wildcard = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        wildcard = False
    if wildcard:
        raise RuntimeError(f"[auth.service] listen is {host}: set advertise to what gateways can reach")
    return str(dataclasses.replace(service.listen, port=port).netloc)
