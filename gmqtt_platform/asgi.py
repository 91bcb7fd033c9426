"""HTTP as an ASGI application; routing.py puts MQTT, over TCP and over WebSocket, beside it."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gmqtt_platform.settings")

application = get_asgi_application()
