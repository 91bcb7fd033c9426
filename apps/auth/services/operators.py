"""Tokens by which operators connect to MQTT as themselves, in the web client."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Final

from django.core.exceptions import PermissionDenied

from apps.auth.providers import console
from apps.auth.selectors.reach import reach
from apps.common import actors, audit

TOKEN_SECONDS: Final = 600
_RANDOM: Final = 6  # bytes, behind the name in a client id


@dataclass(frozen=True)
class OperatorToken:
    token: str = field(repr=False)
    client_id: str
    username: str
    expires_in: int  # seconds
    left_out: int  # clients whose topics did not fit into the token


def issue(user: Any, address: str, client_id: str = "") -> OperatorToken:
    """For the Django user, who asks from the IP address. PermissionDenied where he may do nothing by MQTT.

    `client_id`: that of his earlier token, to go on with its session; anybody else's is not taken.
    """
    actor = actors.of_user(user, address)
    rules, left_out = reach(actor)
    if not rules:
        raise PermissionDenied(f"{actor.name} may neither read nor publish messages")
    name = _name(user)
    goes_on = re.fullmatch(rf"console-{re.escape(name)}-[0-9a-f]{{{2 * _RANDOM}}}", client_id)
    if not goes_on:
        client_id = f"console-{name}-{secrets.token_hex(_RANDOM)}"
        with audit.by(actor):
            audit.note(user, f"web client token for {client_id}")
    claims = {
        "sub": client_id,
        "name": actor.name,
        "uid": user.pk,
        "exp": int(time.time()) + TOKEN_SECONDS,
        "acl": list(rules),
    }
    return OperatorToken(console.encode(claims), client_id, actor.name, TOKEN_SECONDS, left_out)


def _name(user: Any) -> str:
    """What tells operators apart in a client id: their name, as far as a topic may hold it, too."""
    name: str = user.get_username()
    return name if re.fullmatch(r"[\w.@-]+", name) else f"#{user.pk}"
