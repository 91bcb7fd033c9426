"""Which consumer serves which kind of connection."""

from __future__ import annotations

import re
from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.conf import settings
from django.http.request import validate_host
from django.urls import re_path

from apps.console.feed import DashboardFeed
from apps.gateway.consumers import MqttConsumer, WebSocketConsumer, refuse_websocket
from apps.gateway.http.admission import Admission
from apps.gateway.http.cycles import CyclesFreed
from apps.gateway.http.origins import OriginCheck
from apps.gateway.http.peer import BehindProxies
from apps.gateway.runtime import Runtime
from gmqtt_platform.asgi import application as http
from gmqtt_platform.config.loader import HttpConf, ListenersConf


def _console(consumer: Any) -> Any:
    """For people: from our own pages only, with the session of their login."""
    return AllowedHostsOriginValidator(AuthMiddlewareStack(consumer))


def application(runtime: Runtime, listeners: ListenersConf, proxies: HttpConf | None = None) -> Any:
    """The ASGI application of a node: HTTP, MQTT over WebSocket, MQTT. `proxies` may forward HTTP."""
    path = rf"^{re.escape(listeners.websocket_path.lstrip('/'))}/?$"
    required = listeners.tls_client_auth == "required"
    origins = OriginCheck(
        listeners.websocket_origins, lambda host: validate_host(host, settings.ALLOWED_HOSTS)
    )
    mqtt = WebSocketConsumer.as_asgi(runtime=runtime, origins=origins, certificate_required=required)
    router = ProtocolTypeRouter(
        {
            "http": Admission(CyclesFreed(http)),
            "websocket": URLRouter(
                [
                    re_path(path, mqtt),
                    re_path(r"^console/feed/$", _console(DashboardFeed.as_asgi())),
                    re_path("", refuse_websocket),  # type: ignore[arg-type]
                ]
            ),
            "mqtt": MqttConsumer.as_asgi(runtime=runtime),
        }
    )
    proxies = proxies or HttpConf()
    return BehindProxies(router, proxies.trusted_proxies, proxies.proxy_header == "forwarded")
