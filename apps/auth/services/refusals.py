"""Keep what was refused, the latest of it."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Max

from apps.auth.models import Refusal

# Rows kept. About 300 bytes each.
KEPT = 100_000


def record(refusals: Sequence[Refusal], kept: int = KEPT) -> None:
    """Add these (unsaved) rows in one statement and drop the oldest beyond `kept`.

    Not audited, no permission asked: the node writes here, in batches. Texts that are too long are cut.
    """
    for refusal in refusals:
        for field in ("client_id", "username", "address", "reason", "topic", "node"):
            longest = getattr(Refusal._meta.get_field(field), "max_length", None)
            setattr(refusal, field, getattr(refusal, field).replace("\0", "")[:longest])
    Refusal.objects.bulk_create(refusals, batch_size=1000)
    newest = Refusal.objects.aggregate(newest=Max("id"))["newest"] or 0
    Refusal.objects.filter(id__lte=newest - kept).order_by().delete()
