"""`manage.py rungateway`: one node in the foreground."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import resource
import socket
from pathlib import Path
from typing import Any

# First: daphne's reactor has to be installed, on uvloop, before anything else imports Twisted.
from apps.gateway.server import GatewayServer, HttpListener, reactor  # type: ignore[attr-defined]  # isort: skip

from django.conf import settings
from django.core.management.base import BaseCommand

from apps.gateway import compiled
from apps.gateway.net import tls
from apps.gateway.net.server import Listener, MqttServer
from gmqtt_platform import routing, wiring
from gmqtt_platform.config.loader import Conf, ConfError
from gmqtt_platform.config.values import Address
from gmqtt_platform.reloading import Reloader

logger = logging.getLogger(__name__)

WATCH = 5.0  # seconds between looks at the files of the certificates


class Command(BaseCommand):
    help = "Run one gateway node: MQTT over TCP, TLS and WebSocket, the admin and the REST API."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        conf: Conf = settings.GMQTT
        _raise_descriptor_limit()
        loop = reactor._asyncioEventloop  # type: ignore[attr-defined]
        mqtt, http = _open(conf)
        gateway_node = wiring.build(conf, loop)
        runtime, services = gateway_node.runtime, gateway_node.services
        reloader = Reloader(conf, runtime.node.limits)
        certificates = _certificates(conf, mqtt, http)
        services.checks["configuration"] = reloader.status
        if certificates is not None:
            services.checks["certificate"] = certificates.status

        def reload() -> None:
            reloader.reload()
            if certificates is not None:
                certificates.reload()

        def watch() -> None:
            loop.call_later(WATCH, watch)
            if certificates is not None:
                certificates.look()

        application = routing.application(runtime, conf.listeners, conf.http)
        server = MqttServer(runtime.node, runtime.runner, application, loop)

        async def start() -> None:
            await gateway_node.start()  # in a cluster nobody is let in before this node has joined
            for listener in mqtt:
                await server.listen(listener)
            loop.call_later(WATCH, watch)
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
            conf.limits.connect_timeout,
            conf.node.shutdown_timeout,
            (conf.limits.max_http_connections, conf.limits.max_http_connections_per_address),
            reload,
        )
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
            s, where = ("s" if web.cert is not None else ""), _bound(web.socket)
            self.stdout.write(f"MQTT over WebSocket  ws{s}://{where}{conf.listeners.websocket_path}")
            self.stdout.write(f"Admin                http{s}://{where}/admin/")
            self.stdout.write(f"Web client           http{s}://{where}/client/")
            self.stdout.write(f"Health               http{s}://{where}/healthz")
        self.stdout.write(f"Core                 {compiled.describe()}")
        self.stdout.flush()


def _open(conf: Conf) -> tuple[list[Listener], list[HttpListener]]:
    """Bind every listener before anything else happens; a ConfError names the one that cannot be."""
    listeners = conf.listeners
    trusted = list(listeners.trusted_proxies)
    mqtt = [
        Listener(_bind(conf, "listeners.tcp", address), None, listeners.proxy_protocol, trusted)
        for address in listeners.tcp
    ]
    if listeners.tls:
        context = tls.server_context(
            _given(listeners.tls_cert),
            _given(listeners.tls_key),
            listeners.tls_client_ca,
            listeners.tls_client_auth,
        )
        for address in listeners.tls:
            bound = _bind(conf, "listeners.tls", address)
            mqtt.append(Listener(bound, context, listeners.proxy_protocol, trusted))
    http: list[HttpListener] = []
    if listeners.http is not None:
        http.append(HttpListener(_bind(conf, "listeners.http", listeners.http)))
    if listeners.https is not None:
        bound = _bind(conf, "listeners.https", listeners.https)
        client_ca = listeners.tls_client_ca if listeners.tls_client_auth != "none" else None
        http.append(HttpListener(bound, listeners.tls_cert, listeners.tls_key, client_ca))
    return mqtt, http


def _certificates(conf: Conf, mqtt: list[Listener], http: list[HttpListener]) -> tls.Certificates | None:
    """What reads the listeners' certificate again; None: nobody listens with TLS."""
    listeners = conf.listeners
    if not listeners.tls and listeners.https is None:
        return None
    found = tls.Certificates(
        _given(listeners.tls_cert),
        _given(listeners.tls_key),
        listeners.tls_client_ca,
        listeners.tls_client_auth,
    )
    for context in {each.context for each in mqtt if each.context is not None}:
        found.serve(context)
    found.prepare += [each.prepare for each in http]
    return found


def _given(path: Path | None) -> Path:
    assert path is not None  # the configuration was checked
    return path


def _bind(conf: Conf, key: str, address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # accepted sockets inherit it
    if conf.listeners.reuse_port:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        bound.bind((address.host, address.port))
        bound.listen(conf.listeners.backlog)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            found = f"{address.host}:{address.port}, which another process is listening on"
        else:
            found = f"{address.host}:{address.port} ({error.strerror or error})"
        raise conf.error(
            key, found, "an address of this machine with a free port; port 0 picks one"
        ) from None
    bound.setblocking(False)
    return bound


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
