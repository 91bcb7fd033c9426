"""Static files of the admin, straight from the installed packages, and the documentation at /docs/."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from asgiref.sync import markcoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

DOCUMENTATION = "/docs/"
# The theme sets styles; the search works in a worker. No script but files of this node, and none from text.
DOCUMENTATION_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


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
        if settings.DOCUMENTATION is not None:
            self.index_file = "index.html"
            self.add_files(settings.DOCUMENTATION, DOCUMENTATION)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        static_file = self.files.get(request.path_info)
        if static_file is None:
            return await self.get_response(request)  # type: ignore[no-any-return]
        response = await sync_to_async(_read, thread_sensitive=False)(static_file, request)
        if request.path_info.startswith(DOCUMENTATION):
            response["Content-Security-Policy"] = DOCUMENTATION_POLICY
        return response


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


def no_documentation(request: HttpRequest) -> HttpResponse:
    """What is below /docs/ and is no page of it."""
    text = "There is no such page." if settings.DOCUMENTATION else "The documentation is not built: make docs"
    return HttpResponseNotFound(f"{text}\n", content_type="text/plain; charset=utf-8")
