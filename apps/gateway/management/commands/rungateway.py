"""`manage.py rungateway`: one node in the foreground."""

from __future__ import annotations

import contextlib
import gc
import logging
import resource
import signal
import socket
from typing import Any

# First: daphne's reactor has to be installed, on uvloop, before anything else imports Twisted.
from apps.gateway.server import GatewayServer, HttpListener, reactor  # type: ignore[attr-defined]  # isort: skip

from django.conf import settings
from django.core.management.base import BaseCommand

from apps.common.tls_status import TlsStatus
from apps.gateway import compiled, process_memory
from apps.gateway.net.certificates import Certificates
from apps.gateway.net.handshakes import Handshakes
from apps.gateway.net.server import Listener, MqttServer
from apps.gateway.net.tls import Tls
from apps.gateway.operator import memory
from gmqtt_platform import routing, startup, wiring
from gmqtt_platform.binding import listen
from gmqtt_platform.config.loader import Conf, ConfError

logger = logging.getLogger(__name__)

WATCH = 5.0  # seconds between looks at the files of the certificates


class Command(BaseCommand):
    help = "Run one gateway node: MQTT over TCP, TLS and WebSocket, the admin and the REST API."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        conf: Conf = settings.GMQTT
        for number in (signal.SIGHUP, signal.SIGUSR1):  # until there is somebody to hear them
            signal.signal(number, signal.SIG_IGN)
        _raise_descriptor_limit()
        process_memory.settle()
        installed: Any = reactor
        loop = installed._asyncioEventloop
        unknown = startup.check()
        mqtt, http, certificates = _open(conf)
        gateway_node = wiring.build(conf, loop, unknown)
        runtime, services = gateway_node.runtime, gateway_node.services
        if certificates is not None:
            services.checks["certificate"] = certificates.status
            gateway_node.reloader.also.append(certificates.reload)

        def watch() -> None:
            loop.call_later(WATCH, watch)
            if certificates is not None:
                certificates.look()

        application = routing.application(runtime, conf.listeners, conf.http)
        handshakes = Handshakes()
        if certificates is not None:
            services.provide(TlsStatus, TlsStatus(certificates.expiry, handshakes.failures))
        for each in http:
            each.handshakes = handshakes
        server = MqttServer(runtime.node, runtime.runner, application, loop, handshakes)

        async def start() -> None:
            await gateway_node.start()  # in a cluster nobody is let in before this node has joined
            for listener in mqtt:
                await server.listen(listener)
            loop.call_later(WATCH, watch)
            loop.add_signal_handler(signal.SIGUSR1, gateway_node.dumper.signalled)
            _spare_the_collector()
            self._announce(conf, mqtt, http)

        async def stop() -> None:
            self.stdout.write("Stopping; once more Ctrl-C stops at once.")
            self.stdout.flush()
            server.stop_accepting()
            runtime.node.shut_down(runtime.now())
            await gateway_node.stop()
            await server.drain()

        gateway = GatewayServer(
            application,
            http,
            start,
            stop,
            runtime.node.limits,
            conf.node.shutdown_timeout,
            gateway_node.reloader.signalled,
        )
        memory.of_servers(gateway_node.memory, server, gateway.open_connections)
        gateway.run()
        if isinstance(gateway.failure, ConfError):
            raise gateway.failure
        if gateway.failure is not None:
            logger.error("the node could not start", exc_info=gateway.failure)
            raise SystemExit(1)

    def _announce(self, conf: Conf, mqtt: list[Listener], http: list[HttpListener]) -> None:
        for listener in mqtt:
            scheme = "mqtts" if listener.context is not None else "tcp"
            self.stdout.write(f"MQTT                 {scheme}://{_bound(listener.socket)}")
        for web in http:
            s, where = ("s" if web.tls is not None else ""), _bound(web.socket)
            self.stdout.write(f"MQTT over WebSocket  ws{s}://{where}{conf.listeners.websocket_path}")
            self.stdout.write(f"Admin                http{s}://{where}/admin/")
            self.stdout.write(f"Web client           http{s}://{where}/client/")
            self.stdout.write(f"Health               http{s}://{where}/healthz")
        self.stdout.write(f"Core                 {compiled.describe()}")
        self.stdout.flush()


def _open(conf: Conf) -> tuple[list[Listener], list[HttpListener], Certificates | None]:
    """Bind every listener before anything else happens; a ConfError names the one that cannot be."""
    listeners = conf.listeners
    trusted = list(listeners.trusted_proxies)
    doors = {"tls": bool(listeners.tls), "https": listeners.https is not None}
    names = [name for name, there in doors.items() if there]
    certificates = Certificates(_tls(conf), names) if names else None
    mqtt = [
        Listener(bound, None, listeners.proxy_protocol, trusted)
        for address in listeners.tcp
        for bound in listen(conf, "listeners.tcp", address)
    ]
    if certificates is not None:
        mqtt += [
            Listener(bound, certificates.context, listeners.proxy_protocol, trusted)
            for address in listeners.tls
            for bound in listen(conf, "listeners.tls", address)
        ]
    http: list[HttpListener] = []
    for key, where in (("http", listeners.http), ("https", listeners.https)):
        for bound in listen(conf, f"listeners.{key}", where) if where is not None else ():
            offers = certificates.tls if certificates is not None and key == "https" else None
            proxies, introduced = conf.http.trusted_proxies, conf.http.proxy_protocol
            http.append(HttpListener(bound, offers, proxies=proxies, proxy_protocol=introduced))
    if certificates is not None:
        certificates.prepare += [each.prepare for each in http]
    return mqtt, http, certificates


def _tls(conf: Conf) -> Tls:
    listeners = conf.listeners
    assert listeners.tls_cert is not None and listeners.tls_key is not None  # the configuration was checked
    return Tls(
        cert=listeners.tls_cert,
        key=listeners.tls_key,
        client_ca=listeners.tls_client_ca,
        client_auth=listeners.tls_client_auth,
        crl=listeners.tls_crl,
        min_version=listeners.tls_min_version,
        ciphers=listeners.tls_ciphers,
        security_level=listeners.tls_security_level,
    )


def _bound(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _spare_the_collector() -> None:
    """Messages come and go by reference counts: look for cycles less often, and never in what start-up made.

    Python's default, every 700 new objects, took 15% of a busy node's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _raise_descriptor_limit() -> None:
    """Each connection takes a descriptor: use all that the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
