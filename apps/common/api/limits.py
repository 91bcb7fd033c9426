"""How much a caller may send, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from apps.common.actors import Actor
from apps.common.api.callers import address_of
from apps.common.api.problems import Problem


def check_length(request: Request, most: int) -> None:
    """Before anything reads the body."""
    if "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        raise Problem(411, "length_required", "Send the body with a Content-Length.")
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise Problem(400, "invalid_length", "Content-Length is not a number.") from None
    if length > most:
        raise Problem(413, "too_large", f"The body has {length} bytes, at most {most} are taken.")


class DeepJSONParser(JSONParser):
    """JSON that is nested too deeply is the caller's mistake, not a failure of ours."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return super().parse(stream, media_type, context)
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None


class CallerThrottle(SimpleRateThrottle):
    """A rate for each caller and each `throttle_scope` of a view; the rates stand in the settings."""

    def __init__(self) -> None:
        """The rate is known when the view is."""

    def allow_request(self, request: Request, view: Any) -> bool:
        self.scope = getattr(view, "throttle_scope", "api")
        self.rate = self.get_rate()
        self.num_requests, self.duration = self.parse_rate(self.rate)
        return bool(super().allow_request(request, view))

    def get_cache_key(self, request: Request, view: Any) -> str:
        caller = request.user
        if isinstance(caller, Actor):
            who = caller.key
        elif caller and caller.is_authenticated:
            who = f"user:{caller.pk}"
        else:
            who = address_of(request)
        return f"throttle:{self.scope}:{who}"
