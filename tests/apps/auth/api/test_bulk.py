"""POST clients/bulk/ and GET clients/export/."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from apps.auth import passwords
from apps.auth.api.bulk import COLUMNS, guard, unguard
from apps.auth.models import Client, Credential
from gmqtt_platform.asgi import application
from tests.apps.auth.api.conftest import token_of
from tests.apps.auth.factories import AccountFactory, ClientFactory, CredentialFactory, GroupFactory

pytestmark = pytest.mark.django_db
BULK = "/api/v1/clients/bulk/"
EXPORT = "/api/v1/clients/export/"


def test_ten_thousand_clients_in_one_call(api: APIClient) -> None:
    GroupFactory(name="fleet")
    rows = [{"client_id": f"d{n}", "groups": ["fleet"], "scram": False} for n in range(10_000)]
    response = api.post(BULK, {"clients": rows, "all_or_nothing": True}, format="json")
    assert response.status_code == 200
    answer = response.json()
    assert (answer["registered"], answer["failed"]) == (10_000, 0)
    assert Client.objects.filter(groups__name="fleet").count() == 10_000
    last = answer["rows"][-1]
    assert (last["row"], last["client_id"], last["username"]) == (10_000, "d9999", "d9999")
    encoded = Credential.objects.get(client=last["id"]).secret
    assert passwords.verify_generated(last["secret"].encode(), [encoded])


def test_every_bad_row_says_what_is_wrong(api: APIClient) -> None:
    known = ClientFactory(client_id="known")
    rows: list[Any] = [
        {"client_id": "a"},
        {"client_id": "known"},
        {"client_id": "a"},
        {"client_id": "b\u0007"},
        {"client_id": "c", "colour": "red"},
        {"client_id": "d", "groups": ["none"]},
        7,
    ]
    answer = api.post(BULK, {"clients": rows}, format="json").json()
    assert (answer["registered"], answer["failed"]) == (1, 6)
    assert [(row["row"], row["status"]) for row in answer["rows"]] == [
        (1, 201),
        (2, 409),
        (3, 400),
        (4, 400),
        (5, 400),
        (6, 400),
        (7, 400),
    ]
    assert answer["rows"][1]["existing_id"] == known.pk
    assert [row["errors"][0]["code"] for row in answer["rows"][2:]] == [
        "duplicate_in_request",
        "control_character",
        "unknown_field",
        "unknown_group",
        "invalid",
    ]
    assert [row["errors"][0]["field"] for row in answer["rows"][2:6]] == [
        "client_id",
        "client_id",
        "colour",
        "groups",
    ]

    response = api.post(BULK, {"clients": [{"client_id": "n"}, *rows], "all_or_nothing": True}, format="json")
    assert (response.status_code, response.json()["code"]) == (400, "bad_rows")
    assert [row["row"] for row in response.json()["rows"]] == [2, 3, 4, 5, 6, 7, 8]
    assert "secret" not in response.content.decode()
    assert set(Client.objects.values_list("client_id", flat=True)) == {"known", "a"}


def test_csv(api: APIClient) -> None:
    GroupFactory(name="red")
    GroupFactory(name="blue")
    sheet = (
        "\ufeffclient_id,owner,groups,enabled,transports,username,password\r\n"
        'c1,"Smith, Ann",red;blue,false,tls;wss,,\r\n'
        "'-c2,,,,,u2,a long passphrase\r\n"
        "\r\n"
        "c3,,,maybe,,,\r\n"
        "c4,,,,,,,too,many\r\n"
        "c5\r\n"
    )
    answer = api.post(BULK, sheet.encode(), content_type="text/csv").json()
    assert [row["status"] for row in answer["rows"]] == [201, 201, 400, 400, 201]
    one = Client.objects.get(client_id="c1")
    assert (one.owner, one.enabled, one.transports) == ("Smith, Ann", False, ["tls", "wss"])
    assert {group.name for group in one.groups.all()} == {"red", "blue"}
    two = Credential.objects.get(client__client_id="-c2")
    assert (two.kind, two.username, answer["rows"][1]["secret"]) == ("password", "u2", None)


def test_csv_with_credentials_for_many_client_ids(api: APIClient) -> None:
    sheet = (
        "client_id,username,password,client_ids\r\n"
        "house,house,,home-*\r\n"
        "tools,,a long passphrase,*\r\n"
        "alone,,,\r\n"
        f"wrong,,,{'a' * 300}\r\n"
    )
    answer = api.post(BULK, sheet.encode(), content_type="text/csv").json()
    assert [row["status"] for row in answer["rows"]] == [201, 201, 201, 400]
    assert [each["field"] for each in answer["rows"][3]["errors"]] == ["client_ids"]
    kept = dict(Credential.objects.values_list("client__client_id", "client_ids"))
    assert kept == {"house": "home-*", "tools": "*", "alone": ""}


def test_csv_as_an_uploaded_file_all_or_nothing(api: APIClient) -> None:
    upload = SimpleUploadedFile("clients.csv", b"client_id\na\na\n")
    response = api.post(BULK + "?all_or_nothing=true", {"file": upload}, format="multipart")
    assert (response.status_code, response.json()["code"]) == (400, "bad_rows")
    upload = SimpleUploadedFile("clients.csv", b"client_id\na\nb\n")
    response = api.post(BULK + "?all_or_nothing=true", {"file": upload}, format="multipart")
    assert response.json()["registered"] == 2


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"client_id,colour\na,red\n", "Unknown columns: colour"),
        (b"client_id\n\xff\n", "not UTF-8"),
        (b'client_id\n"a\n', "no CSV"),
        (b"", ""),
        (b"client_id\n", ""),
        (b"client_id\n" + b"a" * 200_000 + b"\n", "no CSV"),
    ],
)
def test_what_is_no_csv(api: APIClient, raw: bytes, said: str) -> None:
    response = api.post(BULK, raw, content_type="text/csv")
    assert response.status_code == 400
    assert said in response.json()["detail"]


def test_more_rows_than_one_call_may_have(api: APIClient) -> None:
    response = api.post(
        BULK, b"client_id\n" + b"\n".join(b"%d" % n for n in range(20_001)), content_type="text/csv"
    )
    assert response.status_code == 400
    assert response.json()["errors"][0]["code"] == "max_length"


def test_the_same_bulk_request_again(api: APIClient) -> None:
    first = api.post(BULK, b"client_id\na\n", content_type="text/csv", HTTP_IDEMPOTENCY_KEY="k")
    again = api.post(BULK, b"client_id\na\n", content_type="text/csv", HTTP_IDEMPOTENCY_KEY="k")
    other = api.post(BULK, b"client_id\nb\n", content_type="text/csv", HTTP_IDEMPOTENCY_KEY="k")
    assert first.json() == again.json()
    assert first.json()["registered"] == 1
    assert other.status_code == 422


# ---------------------------------------------------------------- export


def export(api: APIClient, query: str = "", **headers: str) -> tuple[Any, str]:
    response = api.get(EXPORT + query, **headers)
    return response, b"".join(response.streaming_content).decode()


def test_export_can_be_imported_again(api: APIClient) -> None:
    group = GroupFactory(name="red")
    for client_id in ("=1+1", "'=1", "-1", "@a", "plain, with comma", 'quo"te', "+49"):
        ClientFactory(client_id=client_id, groups=[group], owner="=cmd|' /C calc'!A0")
    CredentialFactory(client=Client.objects.first())
    response, text = export(api)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == 'attachment; filename="clients.csv"'
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == 7
    assert not any(cell[:1] in "=+-@" and cell for row in rows for cell in row.values())
    assert "sha256$" not in text

    wanted = set(Client.objects.values_list("client_id", "owner"))
    Client.objects.all().delete()
    sheet = io.StringIO()
    writer = csv.DictWriter(sheet, [name for name in rows[0] if name in COLUMNS], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    assert api.post(BULK, sheet.getvalue().encode(), content_type="text/csv").json()["failed"] == 0
    assert set(Client.objects.values_list("client_id", "owner")) == wanted


@given(st.text("=+-@\t\r'a", max_size=6))
def test_guarding_a_cell_is_undone_exactly(cell: str) -> None:
    assert unguard(guard(cell)) == cell
    assert guard(cell)[:1] not in tuple("=+-@\t\r")


def test_export_as_json_lines_with_filters(api: APIClient) -> None:
    ClientFactory(client_id="a", owner="ann")
    ClientFactory(client_id="b", owner="ben")
    response, text = export(api, "?owner=ann", HTTP_ACCEPT="application/x-ndjson")
    assert response["Content-Type"] == "application/x-ndjson"
    (line,) = text.splitlines()
    assert json.loads(line)["client_id"] == "a"
    wrong = api.get(EXPORT + "?onwer=ann")
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid")
    assert wrong["Content-Type"] == "application/problem+json"


@pytest.mark.django_db(transaction=True)
async def test_export_streams_on_the_event_loop(alice: User) -> None:
    def prepare() -> str:
        ClientFactory(client_id="a")
        account = AccountFactory()
        account.roles.create(name="exporter", permissions=["mqtt_auth.export_client"])
        return token_of(account)

    token = await sync_to_async(prepare)()
    headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "http", "method": "GET", "path": EXPORT, "query_string": b"", "headers": headers}
    communicator = ApplicationCommunicator(application, scope)
    await communicator.send_input({"type": "http.request"})
    assert (await communicator.receive_output())["status"] == 200
    body, more = b"", True
    while more:
        event = await communicator.receive_output()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    await communicator.wait()
    assert body.startswith(b"id,client_id,")
    assert b",a," in body
