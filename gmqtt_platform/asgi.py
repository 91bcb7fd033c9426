"""The ASGI application: one entry for each kind of connection that the server hands over."""

from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gmqtt_platform.settings")

application = ProtocolTypeRouter({"http": get_asgi_application()})
