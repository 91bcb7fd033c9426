"""Every error of the API as RFC 9457 says: application/problem+json, with a `code` for programs.

{"type": "urn:gmqtt:problem:duplicate", "title": "Conflict", "status": 409, "code": "duplicate",
 "detail": "This client exists already.", "existing_id": 7}

Errors of single fields stand in `errors`, each with `field` ("groups.0"), `code` and `detail`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.core import exceptions as django
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions as rest
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import set_rollback

from apps.common.errors import BadRows, Duplicate, Gone, Unauthenticated

CONTENT_TYPE = "application/problem+json"


class Problem(rest.APIException):
    """An error that has a code of its own; `more` are further members of the document."""

    auth_header = ""  # WWW-Authenticate of the answer

    def __init__(self, status: int, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail, code)
        self.status_code = status
        self.more = more


class ProblemRenderer(JSONRenderer):
    media_type = CONTENT_TYPE
    format = "problem"


def handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER. None: not expected, so a 500 of Django's."""
    found = document(error)
    if found is None:
        return None
    set_rollback()
    response = Response(found, found["status"], content_type=CONTENT_TYPE)
    for name, attribute in (("WWW-Authenticate", "auth_header"), ("Retry-After", "wait")):
        value = getattr(error, attribute, None)
        if value:
            response[name] = str(value if name == "WWW-Authenticate" else int(value) + 1)
    return response


def document(error: Exception) -> dict[str, Any] | None:
    """The problem document of an exception that a view or a verb of `services` may raise."""
    match error:
        case Problem():
            return _problem(
                error.status_code, str(getattr(error.detail, "code", "")), str(error.detail), **error.more
            )
        case Duplicate():
            return _problem(409, "duplicate", str(error), existing_id=error.existing_id)
        case Gone() | Http404():
            return _problem(404, "not_found", "There is nothing here that you may see.")
        case BadRows():
            return _problem(400, "bad_rows", str(error))
        case Unauthenticated():
            return _problem(401, error.code, str(error))
        case django.PermissionDenied():
            return _problem(403, "permission_denied", str(error) or "You may not do this.")
        case django.ValidationError():
            return _invalid(list(_django_errors(error)))
        case rest.ValidationError():
            return _invalid(list(_rest_errors(error.detail)))
        case rest.APIException():
            detail = error.detail
            code = detail.code if isinstance(detail, rest.ErrorDetail) else error.default_code
            return _problem(error.status_code, str(code), str(detail))
    return None


@csrf_exempt  # it changes nothing, and 404 is what a POST should hear too
def not_found(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
    """What has no route under the API's path."""
    body = _problem(404, "not_found", "There is no such address in this API.")
    return JsonResponse(body, status=404, content_type=CONTENT_TYPE)


def _problem(status: int, code: str, detail: str, **more: Any) -> dict[str, Any]:
    return {
        "type": f"urn:gmqtt:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **more,
    }


def _invalid(errors: list[dict[str, str]]) -> dict[str, Any]:
    detail = errors[0]["detail"] if len(errors) == 1 else f"{len(errors)} errors."
    return _problem(400, "invalid", detail, errors=errors)


def _django_errors(error: django.ValidationError) -> Iterator[dict[str, str]]:
    named = error.error_dict if hasattr(error, "error_dict") else {"": error.error_list}
    for field, errors in named.items():
        for each in errors:
            yield {"field": field, "code": each.code or "invalid", "detail": " ".join(each.messages)}


def _rest_errors(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from _rest_errors(inner, _join(path, "" if name == "non_field_errors" else str(name)))
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            # A list of texts is about one field; a list of anything else has one entry for each item of it.
            yield from _rest_errors(inner, path if isinstance(inner, str) else _join(path, str(index)))
    else:
        yield {"field": path, "code": str(getattr(detail, "code", "invalid")), "detail": str(detail)}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name
