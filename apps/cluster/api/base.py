"""What the views of the cluster share: nodes' answers and refusals as problems, and pages that nodes give."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from apps.cluster.bridge.operators import NoBridge
from apps.cluster.node_rpc import NodeRpcError
from apps.common.api.base import ApiView, Strict
from apps.common.api.problems import Problem

# What a node's refusal is to HTTP.
_STATUS: Final = {
    "node_away": 503,
    "busy": 503,
    "node_failed": 502,
    "answer_too_large": 502,
    "unknown_method": 501,
    "not_here": 404,
    "not_found": 404,
    "invalid_topic": 400,
    "invalid_topic_filter": 400,
    "invalid_properties": 400,
    "same_client": 400,
    "too_large": 413,
    "bad_trace": 400,
    "not_authorized": 409,
    "node_is_up": 409,
    "quota_exceeded": 507,
    "not_taken": 507,
}


class ClusterView(ApiView):
    def handle_exception(self, error: Exception) -> Response:
        if isinstance(error, NodeRpcError):
            error = Problem(_STATUS.get(error.code, 409), error.code, error.detail)
        elif isinstance(error, NoBridge):
            error = Problem(503, "no_bridge", str(error))
        return super().handle_exception(error)

    def asked(self, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The query, checked: a parameter that means nothing here is an error."""
        found = serializer(data=self.request.query_params.dict())
        found.is_valid(raise_exception=True)
        return dict(found.validated_data)


class Topic(serializers.CharField):
    """A topic name or filter as it came. What may stand in it the node says."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=65_535, trim_whitespace=False, **kwargs)


class Paged(Strict):
    """The query of a list that a node gives page by page."""

    cursor = serializers.CharField(required=False, default="", max_length=10_000)
    page_size = serializers.IntegerField(required=False, default=100, min_value=1, max_value=100)

    def validate_cursor(self, value: str) -> str:
        try:
            return base64.b64decode(value, b"-_", validate=True).decode()
        except (binascii.Error, ValueError):
            raise ValidationError("This cursor is not of this list.", "invalid_cursor") from None


def next_page(request: Request, after: str | None) -> str | None:
    """The address of the page behind `after`."""
    if after is None:
        return None
    cursor = base64.urlsafe_b64encode(after.encode()).decode()
    return replace_query_param(request.build_absolute_uri(), "cursor", cursor)


class NodePage(serializers.Serializer[Any]):
    """As the other lists have them; nodes go forward only."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class Empty(Strict):
    """A request without a body."""
