"""Many clients at once: register from JSON or CSV, export as CSV or JSON lines."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from apps.auth import permissions, selectors
from apps.auth.api.clients import (
    IDEMPOTENCY_KEY,
    ClientFilter,
    ClientIn,
    ClientOut,
    WarningOut,
    registered,
    warnings_of,
)
from apps.auth.api.idempotency import once
from apps.auth.models import Client
from apps.auth.services import registering
from apps.auth.services.registering import NewClient, Outcome, Registered
from apps.common.api.base import ApiView, Strict
from apps.common.api.limits import DeepJSONParser
from apps.common.api.problems import Problem, document
from apps.common.errors import BadRows

MAX_ROWS = 20_000
COLUMNS = (
    "client_id",
    "display_name",
    "owner",
    "groups",
    "enabled",
    "transports",
    "username",
    "password",
    "client_ids",
    "scram",
)
EXPORTED = (
    "id",
    "client_id",
    "display_name",
    "owner",
    "groups",
    "enabled",
    "transports",
    "last_seen",
    "created_at",
)

# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def guard(cell: str) -> str:
    """With a quote before it where a spreadsheet would compute it. `unguard` takes it off again."""
    return "'" + cell if _FORMULA.match(cell) else cell


def unguard(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


# ---------------------------------------------------------------- register


class CsvParser(BaseParser):
    """The columns are COLUMNS, in any order, any left out; several groups or transports by `;`."""

    media_type = "text/csv"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return {"clients": read_csv(stream.read())}


class UploadParser(MultiPartParser):
    """A form whose `file` is such a CSV."""

    def parse(  # type: ignore[override]
        self, stream: IO[Any], media_type: str | None = None, context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        form = super().parse(stream, media_type, context)
        if "file" not in form.files:
            raise ParseError("The form has no file.")
        return {"clients": read_csv(form.files["file"].read()), **form.data.dict()}  # type: ignore[union-attr]


def read_csv(raw: bytes) -> list[dict[str, Any]]:
    """ParseError when it is no CSV, or has a column that nobody knows."""
    try:
        reader = csv.DictReader(
            io.StringIO(raw.decode("utf-8-sig"), newline=""),
            restkey="more columns than the header",
            strict=True,
        )
        if unknown := set(reader.fieldnames or ()) - set(COLUMNS):
            raise ParseError(f"Unknown columns: {', '.join(sorted(unknown))}. Known: {', '.join(COLUMNS)}.")
        return [_row(cells) for cells in reader]
    except UnicodeDecodeError:
        raise ParseError("The CSV is not UTF-8.") from None
    except csv.Error as error:
        raise ParseError(f"This is no CSV: {error}.") from None


def _row(cells: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, cell in cells.items():
        if isinstance(cell, str):
            cell = unguard(cell)
            row[name] = (
                [part for part in cell.split(";") if part] if name in ("groups", "transports") else cell
            )
        elif cell is not None:
            row[name] = cell
    return {name: value for name, value in row.items() if value not in ("", [])}


class BulkIn(Strict):
    clients = serializers.ListField(child=serializers.JSONField(), max_length=MAX_ROWS, allow_empty=False)
    all_or_nothing = serializers.BooleanField(default=False)


class BulkDocument(serializers.Serializer[Any]):
    """As the schema shows it: BulkIn reads the rows one by one, so that each has its own errors."""

    clients = ClientIn(many=True)
    all_or_nothing = serializers.BooleanField(default=False, help_text="One bad row, and nothing is written.")


class RowOut(serializers.Serializer[Any]):
    """What registering one client answers, or the problem with it."""

    row = serializers.IntegerField(help_text="From 1.")
    status = serializers.IntegerField(help_text="201, or what is wrong with the row.")
    id = serializers.IntegerField(required=False)
    client_id = serializers.CharField(required=False)
    username = serializers.CharField(required=False)
    secret = serializers.CharField(required=False, allow_null=True)
    warnings = WarningOut(many=True, required=False)
    code = serializers.CharField(required=False)
    detail = serializers.CharField(required=False)
    errors = serializers.ListField(child=serializers.DictField(), required=False)  # type: ignore[assignment]
    existing_id = serializers.IntegerField(required=False)


class BulkOut(serializers.Serializer[Any]):
    registered = serializers.IntegerField()
    failed = serializers.IntegerField()
    rows = RowOut(many=True)


class BulkView(ApiView):
    max_body = 16 << 20
    throttle_scope = "bulk"
    parser_classes = (DeepJSONParser, CsvParser, UploadParser)

    @extend_schema(
        summary="Register many clients",
        description=f"At most {MAX_ROWS}. CSV columns: {', '.join(COLUMNS)}; several in a cell by `;`.",
        parameters=[
            IDEMPOTENCY_KEY,
            OpenApiParameter(
                "all_or_nothing", bool, description="For CSV; in JSON it is a member of the body."
            ),
        ],
        request={
            "application/json": BulkDocument,
            "text/csv": OpenApiTypes.STR,
            "multipart/form-data": {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary"}},
            },
        },
        responses=BulkOut,
    )
    def post(self, request: Request) -> Response:
        sent = request.data
        body = BulkIn(data=request.query_params.dict() | sent if isinstance(sent, dict) else sent)
        body.is_valid(raise_exception=True)
        return once(request, self.actor, lambda: self._register(**body.validated_data))

    def _register(self, clients: list[Any], all_or_nothing: bool) -> Response:
        try:
            outcomes = registering.register_many(self.actor, list(_read(clients)), all_or_nothing)
        except BadRows as error:
            bad = [row for row in _rows(error.rows) if row["status"] != 201]
            raise Problem(
                400, "bad_rows", f"{len(bad)} rows are wrong; nothing was written.", rows=bad
            ) from None
        rows = list(_rows(outcomes))
        done = sum(row["status"] == 201 for row in rows)
        return Response({"registered": done, "failed": len(rows) - done, "rows": rows})


def _read(rows: list[Any]) -> Iterator[NewClient | Exception]:
    serializer = ClientIn()
    for row in rows:
        try:
            yield NewClient(**serializer.run_validation(row))
        except serializers.ValidationError as error:
            yield error


def _rows(outcomes: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    warnings = warnings_of([each for each in outcomes if isinstance(each, Registered)])
    for number, outcome in enumerate(outcomes, 1):
        if isinstance(outcome, Registered):
            about = warnings.get(outcome.client.client_id, [])
            yield {"row": number, "status": 201, **registered(outcome, about)}
        else:
            problem = document(outcome) or {}
            shown = ("status", "code", "detail", "errors", "existing_id")
            yield {"row": number, **{name: problem[name] for name in shown if name in problem}}


# ---------------------------------------------------------------- export


class CsvRenderer(JSONRenderer):
    """The file is streamed; only errors are rendered, and those are JSON."""

    media_type = "text/csv"
    format = "csv"


class LinesRenderer(JSONRenderer):
    media_type = "application/x-ndjson"
    format = "jsonl"


class ExportView(ApiView):
    throttle_scope = "bulk"
    filterset_class = ClientFilter
    paged = False
    renderer_classes = (CsvRenderer, LinesRenderer, JSONRenderer)

    def get_queryset(self) -> QuerySet[Client]:
        return selectors.clients(self.actor, permissions.EXPORT_CLIENTS).prefetch_related("groups")

    @extend_schema(
        summary="Export clients",
        description="CSV, or with `Accept: application/x-ndjson` one JSON object a line. No secrets.",
        responses={(200, "text/csv"): OpenApiTypes.STR, (200, "application/x-ndjson"): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        as_csv = request.accepted_renderer.format == "csv"
        rows = self.filter_queryset(self.get_queryset())
        chunks = export_csv(rows) if as_csv else _lines(_pages(rows))
        asynchronous = isinstance(request._request, ASGIRequest)
        response = StreamingHttpResponse(
            _awaited(chunks) if asynchronous else chunks,
            content_type="text/csv; charset=utf-8" if as_csv else "application/x-ndjson",
        )
        response["Content-Disposition"] = f'attachment; filename="clients.{"csv" if as_csv else "jsonl"}"'
        return response


def _pages(rows: QuerySet[Client], size: int = 2000) -> Iterator[list[dict[str, Any]]]:
    last = 0
    while page := list(rows.filter(pk__gt=last).order_by("pk")[:size]):
        last = page[-1].pk
        yield [dict(ClientOut(client).data) for client in page]


def export_csv(rows: QuerySet[Client]) -> Iterator[str]:
    """The file in pieces. `rows` has the groups prefetched."""
    yield ",".join(EXPORTED) + "\r\n"
    for page in _pages(rows):
        sheet = io.StringIO()
        writer = csv.writer(sheet)
        writer.writerows([_cell(client[name]) for name in EXPORTED] for client in page)
        yield sheet.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, list):
        value = ";".join(value)
    elif isinstance(value, bool):
        value = str(value).lower()
    return guard("" if value is None else str(value))


def _lines(pages: Iterator[list[dict[str, Any]]]) -> Iterator[str]:
    for page in pages:
        yield "".join(json.dumps({name: client[name] for name in EXPORTED}) + "\n" for client in page)


async def _awaited(chunks: Iterator[str]) -> AsyncIterator[str]:
    """The event loop serves others while the database answers."""
    while (chunk := await sync_to_async(lambda: next(chunks, None))()) is not None:
        yield chunk
