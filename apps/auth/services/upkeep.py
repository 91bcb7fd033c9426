"""What time has made useless goes. Called every few minutes, by a node or by Celery."""

from __future__ import annotations

from datetime import datetime, timedelta

from apps.auth.models import Ban, Credential, IdempotentRequest, UsedNonce

ANSWERS_KEPT = timedelta(hours=24)
# An ended credential or ban is shown to operators for this long.
ENDED_KEPT = timedelta(days=30)


def run(now: datetime) -> int:
    """Rows removed. Not audited: that they ended was."""
    stale = (
        UsedNonce.objects.filter(expires_at__lt=now),
        IdempotentRequest.objects.filter(created_at__lt=now - ANSWERS_KEPT),
        Credential.objects.filter(valid_until__lt=now - ENDED_KEPT),
        Ban.objects.filter(until__lt=now - ENDED_KEPT),
    )
    return sum(rows._raw_delete(rows.db) for rows in stale)
