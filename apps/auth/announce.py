"""Tells every process, after commit, what changed, so that live sessions follow within a second.

An announcement is a row of `Change`, written in the transaction that it announces; `following.Changes` reads
it in every process that uses the database, twice a second. A message to the channel layer's group GROUP only
makes it quicker: whoever hears one reads the table at once, and believes the table alone.

    {"type": "auth.changed", "body": signed {"what": WHAT, "client_ids": [client ids] or None for all}}

WHAT is one of
    client         registered, enabled, disabled, moved to other groups, allowed other transports
    credentials    one was added, rotated or removed; they may no longer connect by the old one
    rules          an access rule was added, changed or removed
    bans           a ban was added, changed or lifted; client ids cannot be told, so always None
    operators      the permissions of operators changed; always None
    unregistered   gone: end the session, remove its subscriptions and queue
    kicked         end the session; it may come back
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Any, Final

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from django.utils import timezone

from apps.auth.models import Change
from apps.common.signed import sign

GROUP: Final = "gmqtt.auth"
PURPOSE: Final = "auth.changed"  # that messages are signed for
# More names than this say less than "all" costs.
MOST = 1000
KEPT: Final = timedelta(hours=1)  # a process that was deaf for longer takes everything for changed
TRIM: Final = 100  # announcements between two looks for rows that are too old


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
        row = Change.objects.create(what=what, client_ids=chunk)
        if row.pk % TRIM == 0:
            old = Change.objects.filter(at__lt=timezone.now() - KEPT).order_by()
            old._raw_delete(old.db)
        message = {"what": what, "client_ids": chunk}
        transaction.on_commit(partial(_send, message), robust=True)


def _send(message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    if layer is not None:
        async_to_sync(layer.group_send)(GROUP, {"type": "auth.changed", "body": sign(PURPOSE, message)})
