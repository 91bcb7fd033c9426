"""How long calls of the auth service take."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc import aio

from apps.auth.rpc.access import SERVICE


class Counting(aio.ServerInterceptor):
    def __init__(self, observe: Callable[[str, float], None]) -> None:
        self._observe = observe

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(details)
        service, _, method = details.method.lstrip("/").partition("/")
        if handler is None or service != SERVICE or handler.unary_unary is None:
            return handler

        async def timed(request: Any, context: Any) -> Any:
            began = time.monotonic()
            try:
                return await handler.unary_unary(request, context)
            finally:
                self._observe(method, time.monotonic() - began)

        return grpc.unary_unary_rpc_method_handler(
            timed, handler.request_deserializer, handler.response_serializer
        )
