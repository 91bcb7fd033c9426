"""Static files of the admin, straight from the installed packages: no collectstatic step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise for a node that runs on an event loop.

    WhiteNoise's own middleware is synchronous, which would push every request through a thread, and streams
    files, which Django warns about under ASGI. The files are small: a thread reads one whole.
    """

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        super().__init__(get_response)
        markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        static_file = self.files.get(request.path_info)
        if static_file is None:
            return await self.get_response(request)  # type: ignore[no-any-return]
        return await sync_to_async(_read, thread_sensitive=False)(static_file, request)


def _read(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
    found = static_file.get_response(request.method, request.META)
    body = b""
    if found.file is not None:
        with found.file:
            body = found.file.read()
    response = HttpResponse(body, status=int(found.status))
    del response["content-type"]  # WhiteNoise names every header itself
    for name, value in found.headers:
        response[name] = value
    return response
