"""What every HTTP request meets, by way of the ASGI application as the server calls it."""

from __future__ import annotations

import pytest
from channels.testing import HttpCommunicator
from django.test import AsyncClient, Client

from gmqtt_platform.asgi import application

CSS = "/static/admin/css/base.css"
Headers = dict[bytes, bytes]


async def get(path: str, headers: Headers | None = None) -> tuple[int, Headers, bytes]:
    sent = {b"host": b"localhost"} if headers is None else headers
    communicator = HttpCommunicator(application, "GET", path, headers=list(sent.items()))
    response = await communicator.get_response()
    await communicator.wait()
    return response["status"], dict(response["headers"]), response["body"]


@pytest.mark.parametrize("host", [b"127.0.0.1:8000", b"10.1.2.3", b"evil.example.com", None])
async def test_healthz_needs_neither_database_nor_host(host: bytes | None) -> None:
    """No django_db mark: without it pytest-django fails a test that touches the database."""
    status, headers, body = await get("/healthz", {b"host": host} if host else {})
    assert (status, body) == (200, b'{"status": "ok"}')
    assert headers[b"Content-Type"] == b"application/json"


async def test_healthz_is_only_read() -> None:
    response = await AsyncClient().post("/healthz")
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"localhost", 302),
        (b"127.0.0.1:8000", 302),
        (b"[::1]:9", 302),
        (b"evil.example.com", 400),
        (b"10.1.2.3", 400),
    ],
)
async def test_an_unknown_host_is_refused(host: bytes, status: int) -> None:
    assert (await get("/", {b"host": host}))[0] == status


async def test_the_root_leads_to_the_admin() -> None:
    status, headers, _ = await get("/")
    assert (status, headers[b"Location"]) == (302, b"/admin/")


@pytest.mark.django_db
def test_the_login_page_is_guarded() -> None:
    response = Client(headers={"host": "localhost"}).get("/admin/login/")
    assert response.status_code == 200
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    cookie = response.cookies["csrftoken"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Strict"


@pytest.mark.django_db
@pytest.mark.parametrize(("language", "word"), [("en", "Log in"), ("zh-hans", "登录")])
def test_the_admin_speaks_both_languages(language: str, word: str) -> None:
    client = Client(headers={"host": "localhost", "accept-language": language})
    assert word in client.get("/admin/login/").content.decode()


async def test_static_files_need_no_collecting() -> None:
    status, headers, body = await get(CSS)
    assert status == 200
    assert headers[b"Content-Type"] == b'text/css; charset="utf-8"'
    assert int(headers[b"Content-Length"]) == len(body) > 1000
    assert b"Access-Control-Allow-Origin" not in headers

    known = {b"host": b"localhost", b"if-modified-since": headers[b"Last-Modified"]}
    status, _, again = await get(CSS, known)
    assert (status, again) == (304, b"")

    status, _, part = await get(CSS, {b"host": b"localhost", b"range": b"bytes=10-19"})
    assert (status, part) == (206, body[10:20])


@pytest.mark.parametrize(
    "path", ["/static/admin/css/none.css", "/static/../manage.py", "/static/%2e%2e/manage.py"]
)
async def test_nothing_else_is_static(path: str) -> None:
    assert (await get(path))[0] == 404
