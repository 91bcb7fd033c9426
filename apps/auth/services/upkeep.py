"""What time has made useless goes when more of its kind is written, so nothing has to run for it.

Not audited: that it ended was.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from apps.auth.models import Ban, Client, Credential, IdempotentRequest, UsedNonce

ANSWERS_KEPT = timedelta(hours=24)
# An ended credential or ban is shown to operators for this long.
ENDED_KEPT = timedelta(days=30)


def forget_nonces(now: datetime) -> None:
    _forget(UsedNonce.objects.filter(expires_at__lt=now))


def forget_answers(now: datetime) -> None:
    _forget(IdempotentRequest.objects.filter(created_at__lt=now - ANSWERS_KEPT))


def forget_credentials(client: Client, now: datetime) -> None:
    _forget(Credential.objects.filter(client=client, valid_until__lt=now - ENDED_KEPT))


def forget_bans(now: datetime) -> None:
    _forget(Ban.objects.filter(until__lt=now - ENDED_KEPT))


def _forget(rows: QuerySet[Any]) -> None:
    """One DELETE, without signals."""
    rows._raw_delete(rows.db)
