"""Tells every node, after commit, what changed, so that live sessions follow within a second.

A message to the channel layer's group GROUP:

    {"type": "auth.changed", "what": WHAT, "client_ids": [client ids] or None for all}

WHAT is one of
    client         registered, enabled, disabled, moved to other groups, allowed other transports
    credentials    one was added, rotated or removed; they may no longer connect by the old one
    rules          an access rule was added, changed or removed
    bans           a ban was added, changed or lifted; client ids cannot be told, so always None
    unregistered   gone: end the session, remove its subscriptions and queue
    kicked         end the session; it may come back
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

GROUP: Final = "gmqtt.auth"
# More names than this say less than "all" costs.
MOST = 1000


def changed(what: str, client_ids: Iterable[str] | None) -> None:
    """Announce when (and only if) the transaction commits. No client ids, nothing to say."""
    named = None if client_ids is None else sorted(set(client_ids))
    if named == []:
        return
    # Ends of sessions name every client: "all" would end those of clients that nobody touched.
    chunks: list[list[str] | None]
    if named is None or (len(named) > MOST and what not in ("unregistered", "kicked")):
        chunks = [None]
    else:
        chunks = [named[start : start + MOST] for start in range(0, len(named), MOST)]
    for chunk in chunks:
        message = {"type": "auth.changed", "what": what, "client_ids": chunk}
        transaction.on_commit(lambda message=message: _send(message), robust=True)


def _send(message: dict[str, object]) -> None:
    layer = get_channel_layer()
    if layer is not None:
        async_to_sync(layer.group_send)(GROUP, message)
