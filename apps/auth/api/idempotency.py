"""Idempotency-Key: a caller that did not hear the answer asks again, and is given the first answer."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from apps.auth.models import IdempotentRequest
from apps.auth.services import upkeep
from apps.common import sealing
from apps.common.actors import Actor
from apps.common.api.problems import Problem

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_PURPOSE = "idempotent answer"


def once(request: Request, actor: Actor, produce: Callable[[], Response]) -> Response:
    """`produce()`, unless an equal request with the same Idempotency-Key has its answer already.

    An answer is kept for `upkeep.ANSWERS_KEPT` if it was a success. Write and answer are one transaction,
    which begins by taking the key: an equal request that comes meanwhile waits for it.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return produce()
    if not _KEY.fullmatch(key):
        raise Problem(400, "invalid_idempotency_key", "1 to 255 visible ASCII characters.")
    same = {"caller": actor.key, "key_hash": hashlib.sha256(key.encode()).hexdigest()}
    fingerprint = _fingerprint(request, key)
    upkeep.forget_answers(timezone.now())
    if (kept := IdempotentRequest.objects.filter(**same).first()) is not None:
        return _again(kept, key, fingerprint)
    try:
        with transaction.atomic():
            taken = IdempotentRequest.objects.create(**same, request_hash=fingerprint, status=0)
            response = produce()
            taken.status = response.status_code
            taken.answer = sealing.seal(_PURPOSE, json.dumps(response.data, cls=JSONEncoder), key)
            taken.save()
            return response
    except IntegrityError:
        if (kept := IdempotentRequest.objects.filter(**same).first()) is None:
            raise
        return _again(kept, key, fingerprint)


def _fingerprint(request: Request, key: str) -> str:
    """Keyed, because a password may be in what was asked."""
    asked: Any = [request.method, request.get_full_path(), request.data]
    text = json.dumps(asked, sort_keys=True, default=str)
    return hmac.new(sealing.key(_PURPOSE, key), text.encode(), hashlib.sha256).hexdigest()


def _again(kept: IdempotentRequest, key: str, fingerprint: str) -> Response:
    if not hmac.compare_digest(kept.request_hash, fingerprint):
        raise Problem(422, "idempotency_key_reused", "This Idempotency-Key came with another request.")
    try:
        answer = json.loads(sealing.unseal(_PURPOSE, kept.answer, key))
    except sealing.CannotUnseal:
        raise Problem(409, "answer_lost", "It was done, but its answer can no longer be read.") from None
    return Response(answer, kept.status, headers={"Idempotent-Replayed": "true"})
