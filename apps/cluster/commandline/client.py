"""The REST API as a command needs it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

TIMEOUT: Final = 15  # seconds
TOO_MANY: Final = 429  # requests in a second: this one was not heard


class NoNode(Exception):
    """Nobody answers at the address."""


class ApiRefused(Exception):
    """The API's answer was an error."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        self.status = status
        self.code = code
        super().__init__(detail)


class Api:
    def __init__(self, url: str, token: Callable[[], str], reach: Sequence[Any] = ()) -> None:
        """`url` of a node, without a path; `token` makes one for each request, as they do not last.

        `reach`: urllib's handlers that reach the node.
        """
        self._url = url.rstrip("/")
        self._token = token
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects(), *reach)

    def get(self, path: str, **query: Any) -> Any:
        return self._call("GET", self._address(path, query))

    def post(self, path: str, body: Any = None) -> Any:
        return self._call("POST", self._address(path, {}), body if body is not None else {})

    def delete(self, path: str, **query: Any) -> None:
        self._call("DELETE", self._address(path, query))

    def pages(self, path: str, limit: int, largest: int = 1000, **query: Any) -> Iterator[dict[str, Any]]:
        """At most `limit` rows of a list, 0: all, in pages of `largest` rows."""
        address = self._address(path, {"page_size": min(limit, largest) if limit else largest, **query})
        count = 0
        while True:
            page = self._call("GET", address)
            for row in page["results"]:
                yield row
                count += 1
                if count == limit:
                    return
            if not page.get("next"):
                return
            cursor = urllib.parse.urlsplit(page["next"]).query  # its host may be another name of the node
            address = f"{self._address(path, {})}?{cursor}"

    def _address(self, path: str, query: dict[str, Any]) -> str:
        given = {name: _text(value) for name, value in query.items() if value not in (None, "")}
        return f"{self._url}/api/v1/{path}" + (f"?{urllib.parse.urlencode(given)}" if given else "")

    def _call(self, method: str, address: str, body: Any = None, tries: int = 10) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(address, data, method=method)  # noqa: S310  # http and https alone
        request.add_header("Authorization", f"Bearer {self._token()}")
        request.add_header("Accept", "application/json")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(request, timeout=TIMEOUT) as response:
                answer = response.read()
            return json.loads(answer) if answer else None
        except urllib.error.HTTPError as error:
            if error.code == TOO_MANY and tries > 1:
                time.sleep(min(int(error.headers.get("Retry-After") or 1), TIMEOUT))
                return self._call(method, address, body, tries - 1)
            raise _refused(error) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise NoNode(f"No node answers at {self._url}: {reason}") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The token is for this address alone."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refused(error: urllib.error.HTTPError) -> ApiRefused:
    try:
        problem = json.loads(error.read())
        details = [f"{each['field']}: {each['detail']}" for each in problem.get("errors", ())]
        return ApiRefused(error.code, problem["code"], "; ".join(details) or problem["detail"])
    except (ValueError, KeyError, TypeError):
        return ApiRefused(error.code, "http_error", f"The answer is {error.code} {error.reason}.")
