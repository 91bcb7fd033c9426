"""GET clients/ and the other lists: filters, ordering, pages."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from apps.auth.models import Client
from tests.apps.auth.factories import ClientFactory, CredentialFactory, GroupFactory, RefusalFactory

pytestmark = pytest.mark.django_db
CLIENTS = "/api/v1/clients/"


def ids(api: APIClient, query: str, path: str = CLIENTS) -> list[str]:
    response = api.get(path + query)
    assert response.status_code == 200, response.content
    return [row["client_id"] for row in response.json()["results"]]


def test_pages_by_cursor_lose_and_repeat_nothing(api: APIClient) -> None:
    wanted = [ClientFactory(client_id=f"c{n:03}", owner=f"o{n % 3}").client_id for n in range(25)]
    for ordering in ("client_id", "-client_id", "owner", "created_at", "id"):
        seen: list[str] = []
        url: str | None = f"{CLIENTS}?page_size=4&ordering={ordering}"
        while url:
            page = api.get(url).json()
            seen += [row["client_id"] for row in page["results"]]
            url = page["next"]
        assert sorted(seen) == wanted
        if "client_id" in ordering:
            assert seen == sorted(wanted, reverse=ordering.startswith("-"))


def test_what_a_row_shows(api: APIClient) -> None:
    client = ClientFactory(client_id="a", groups=[GroupFactory(name="red")], transport_mask=6)
    CredentialFactory(client=client)
    (row,) = api.get(CLIENTS).json()["results"]
    assert {key: row[key] for key in ("id", "client_id", "groups", "transports", "enabled", "last_seen")} == {
        "id": client.pk,
        "client_id": "a",
        "groups": ["red"],
        "transports": ["tls", "ws"],
        "enabled": True,
        "last_seen": None,
    }
    assert "secret" not in str(row)


def test_a_list_costs_the_same_however_long_it_is(api: APIClient, django_assert_max_num_queries) -> None:  # type: ignore[no-untyped-def]
    group = GroupFactory()
    for _ in range(20):
        ClientFactory(groups=[group])
    with django_assert_max_num_queries(6):
        assert len(api.get(CLIENTS).json()["results"]) == 20


def test_filters(api: APIClient) -> None:
    red = GroupFactory(name="red")
    ClientFactory(client_id="pump_1", owner="ann", groups=[red])
    ClientFactory(client_id="pumpX1", owner="ben", enabled=False)
    ClientFactory(client_id="100%", display_name="Pumpe")
    assert ids(api, "?client_id=pump_1") == ["pump_1"]
    assert ids(api, "?prefix=pump&ordering=id") == ["pump_1", "pumpX1"]
    assert ids(api, "?owner=ben") == ["pumpX1"]
    assert ids(api, "?group=red") == ["pump_1"]
    assert ids(api, "?enabled=false") == ["pumpX1"]
    assert ids(api, "?registered_after=2100-01-01T00:00:00Z") == []
    assert len(ids(api, "?registered_before=2100-01-01T00:00:00Z")) == 3
    assert set(ids(api, "?search=pump")) == {"pump_1", "pumpX1", "100%"}


def test_wildcards_of_sql_stand_for_themselves(api: APIClient) -> None:
    for client_id in ("pump_1", "pumpX1", "100%", "back\\slash"):
        ClientFactory(client_id=client_id)
    assert ids(api, "?search=p_1") == ["pump_1"]
    assert ids(api, "?search=%25") == ["100%"]
    assert ids(api, "?search=_") == ["pump_1"]
    assert ids(api, "?search=k%5Cs") == ["back\\slash"]
    assert ids(api, "?prefix=pump_") == ["pump_1"]
    assert ids(api, "?search=%27%20OR%201%3D1") == []


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("?onwer=ann", "onwer", "unknown_parameter"),
        ("?enabled=perhaps", "enabled", "invalid_choice"),
        ("?registered_after=yesterday", "registered_after", "invalid"),
        ("?search=%00", "search", "null_characters_not_allowed"),
        ("?ordering=secret", "ordering", "invalid_ordering"),
        ("?ordering=credentials__secret", "ordering", "invalid_ordering"),
        ("?page_size=0", "page_size", "out_of_range"),
        ("?page_size=1001", "page_size", "out_of_range"),
        ("?page_size=ten", "page_size", "out_of_range"),
        ("?page_size=%C2%B2", "page_size", "out_of_range"),
        ("?cursor=nonsense", "cursor", "invalid_cursor"),
        ("?cursor=cD1ub3doZXJl&ordering=created_at", "cursor", "invalid_cursor"),
        ("?format=csv", "format", "unknown_parameter"),
    ],
)
def test_what_means_nothing_is_refused(api: APIClient, query: str, field: str, code: str) -> None:
    ClientFactory()
    response = api.get(CLIENTS + query)
    assert response.status_code == 400, response.content
    problem = response.json()
    assert [(error["field"], error["code"]) for error in problem["errors"]] == [(field, code)]


def test_a_time_before_all_times_is_not_blamed_on_a_cursor(api: APIClient) -> None:
    """PostgreSQL knows years before 1, SQLite does not."""
    ClientFactory()
    response = api.get(f"{CLIENTS}?registered_after=0001-01-01T00:00:00%2B14:00")
    if response.status_code != 200:
        assert response.status_code == 400
        (error,) = response.json()["errors"]
        assert (error["field"], error["code"]) == ("query", "out_of_range")


@pytest.mark.parametrize(
    "path",
    [
        "credentials/?client=99999999999999999999",
        "acl/rules/?client=1e400",
        "acl/rules/?everyone=true",
        "bans/?active=true",
        "bans/?active=false",
        "audit/?type=client&by=user:1&action=create",
        "audit/?object_id=99999999999999999999",
        "refusals/?reason_code=-1",
        "service-accounts/?role=admin",
        "groups/?search=%25",
        "roles/?ordering=name",
    ],
)
def test_lists_answer(api: APIClient, path: str, roles: None) -> None:
    assert api.get("/api/v1/" + path).status_code in (200, 400)


def test_refusals_are_listed_latest_first(api: APIClient) -> None:
    RefusalFactory(client_id="a")
    RefusalFactory(client_id="b", action="publish", topic="x", rule_id=7)
    assert ids(api, "", "/api/v1/refusals/") == ["b", "a"]
    assert ids(api, "?action=publish", "/api/v1/refusals/") == ["b"]


def test_a_number_that_no_row_can_have(api: APIClient) -> None:
    assert api.get(f"{CLIENTS}{10**30}/").status_code == 404
    assert api.delete(f"{CLIENTS}{10**30}/").status_code == 404
    assert not Client.objects.exists()
