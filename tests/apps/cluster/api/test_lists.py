"""What lists find, how they page, and what they make of hostile queries."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from rest_framework.test import APIClient

from apps.cluster import selectors
from apps.cluster.directory import names
from apps.gateway.mqtt import topics
from tests.apps.cluster.factories import DropFactory, NodeFactory, SessionFactory, SubscriptionFactory

pytestmark = pytest.mark.django_db
V1 = "/api/v1/cluster/"


def found(api: APIClient, path: str, column: str = "client_id") -> list[Any]:
    """That column of every row, over all pages."""
    rows: list[Any] = []
    url: str | None = V1 + path
    while url:
        response = api.get(url)
        assert response.status_code == 200, response.json()
        rows += [row[column] for row in response.json()["results"]]
        url = response.json()["next"]
    return rows


def problem(api: APIClient, path: str) -> tuple[int, str]:
    answer = api.get(V1 + path).json()
    return answer["status"], answer["errors"][0]["code"] if "errors" in answer else answer["code"]


def test_clients_are_those_who_are_online(api: APIClient) -> None:
    SessionFactory(client_id="b", online=False)
    SessionFactory(client_id="c", transport="wss", level=4)
    SessionFactory(client_id="a", node="other", username="u", address="192.0.2.9", queued=3)
    assert found(api, "clients/") == ["a", "c"]
    assert found(api, "sessions/") == ["a", "b", "c"]
    assert found(api, "sessions/?online=false") == ["b"]
    assert found(api, "sessions/?queued=true") == ["a"]
    assert found(api, "sessions/?node=other") == ["a"]
    assert found(api, "sessions/?username=u&address=192.0.2.9") == ["a"]
    assert found(api, "sessions/?transport=wss&level=4") == ["c"]
    assert found(api, "sessions/?ordering=-queued")[0] == "a"


def test_pages_are_by_client_id_and_hold_while_others_come_and_go(api: APIClient) -> None:
    rows = [SessionFactory(client_id=f"c{number:03}") for number in range(25)]
    first = api.get(V1 + "sessions/?page_size=10").json()
    assert [row["client_id"] for row in first["results"]] == [f"c{number:03}" for number in range(10)]
    rows[3].delete()
    SessionFactory(client_id="c0005")
    second = api.get(first["next"]).json()
    assert [row["client_id"] for row in second["results"]] == [f"c{number:03}" for number in range(10, 20)]
    assert len(found(api, "sessions/?page_size=7")) == 25


@pytest.mark.parametrize(
    "prefix", ["%", "_", "a%", "a_", "\\", "'", "a' OR 1=1 --", "*", "[a-z]", "\U0010ffff"]
)
def test_a_prefix_has_no_wildcards(api: APIClient, prefix: str) -> None:
    SessionFactory(client_id="abc")
    SubscriptionFactory(filter="abc")
    assert found(api, f"sessions/?prefix={quote(prefix)}") == []
    assert found(api, f"subscriptions/?prefix={quote(prefix)}") == []
    SessionFactory(client_id=prefix + "x")
    assert found(api, f"sessions/?prefix={quote(prefix)}") == [prefix + "x"]


def test_client_ids_are_told_apart_by_case(api: APIClient) -> None:
    SessionFactory(client_id="Pump")
    SessionFactory(client_id="pump")
    assert found(api, "sessions/?client_id=Pump") == ["Pump"]
    assert found(api, "sessions/?prefix=pu") == ["pump"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("sessions/?cursor=x", "invalid_cursor"),
        ("sessions/?cursor=%FF%FE", "invalid_cursor"),
        ("sessions/?page_size=0", "out_of_range"),
        ("sessions/?page_size=1001", "out_of_range"),
        ("sessions/?ordering=username", "invalid_ordering"),
        ("sessions/?nodee=x", "unknown_parameter"),
        ("sessions/?transport=smoke", "invalid_choice"),
        ("sessions/?level=1e999", "invalid_choice"),
        ("sessions/?client_id=%00", "null_characters_not_allowed"),
        ("sessions/?prefix=a%00", "null_characters_not_allowed"),
        ("subscriptions/?qos=3", "invalid_choice"),
        ("subscriptions/?shared=perhaps", "invalid_choice"),
        ("recipients/", "required"),
        ("recipients/?topic=a/%23", "invalid_topic"),
        ("recipients/?topic=" + "a" * 70_000, "invalid_topic"),
        ("drops/?direction=up", "invalid_choice"),
        ("drops/?after=yesterday", "invalid"),
    ],
)
def test_what_makes_no_sense_is_refused(api: APIClient, query: str, code: str) -> None:
    assert problem(api, query) == (400, code)


def test_another_lists_cursor_does_no_harm(api: APIClient) -> None:
    for _ in range(5):
        SessionFactory()
        SubscriptionFactory()
    following = api.get(V1 + "sessions/?page_size=2").json()["next"].partition("cursor=")[2]
    for path in ("subscriptions/", "drops/", "topics/", "nodes/"):
        assert api.get(f"{V1}{path}?cursor={following}").status_code in (200, 400)


def test_huge_and_strange_filters_find_nothing(api: APIClient) -> None:
    SubscriptionFactory(filter="a")
    for value in ("x" * 60_000, "\x1b[2J", "\u202e", "a\nb", "\ud83d"):
        for path in ("sessions/?prefix=", "subscriptions/?filter=", "topics/?prefix=", "drops/?topic="):
            encoded = quote(value.encode("utf-8", "surrogatepass"))
            response = api.get(V1 + path + encoded)
            assert response.status_code in (200, 400)
            if response.status_code == 200:
                assert response.json()["results"] == []


def test_topics_count_their_subscribers_on_each_node(api: APIClient) -> None:
    for number in range(5):
        SubscriptionFactory(client_id=f"c{number}", filter="a/+", node="one" if number < 3 else "two")
    SubscriptionFactory(client_id="c0", filter="a/+", share="g", node="one")
    SubscriptionFactory(filter="b")
    rows = api.get(V1 + "topics/").json()["results"]
    assert rows[0] == {"filter": "a/+", "subscribers": 6, "nodes": {"one": 4, "two": 2}}
    assert found(api, "topics/?page_size=1", "filter") == ["a/+", "b"]
    assert found(api, "topics/?node=two", "filter") == ["a/+"]


def test_subscriptions_by_client_filter_and_group(api: APIClient) -> None:
    SubscriptionFactory(client_id="a", filter="x/#")
    SubscriptionFactory(client_id="b", filter="x/#", share="g")
    long = "l" * 2000
    SubscriptionFactory(client_id="c", filter=names.topic_key(long))
    assert found(api, "subscriptions/?client_id=a") == ["a"]
    assert found(api, "subscriptions/?filter=x/%23") == ["a", "b"]
    assert found(api, "subscriptions/?share=g") == ["b"]
    assert found(api, "subscriptions/?shared=false") == ["a", "c"]
    assert found(api, f"subscriptions/?filter={long}") == ["c"]


TOPICS = ["a", "a/b", "a/b/c", "/", "/a", "a/", "$SYS/x", "$SYS", "b//c", "é/b", "l" * 2000]
FILTERS = [
    *("#", "+", "+/#", "a", "a/#", "a/+", "a/b/#", "+/b", "+/+/c", "/", "/+", "+/", "a/b/c/#", "$SYS/#"),
    *("$SYS/+", "+/x", "b//c", "b/+/c", "b/#", "é/+", "l" * 2000, "l" * 1999 + "/#"),
]


@pytest.mark.parametrize("topic", TOPICS)
def test_who_would_receive_a_topic_is_what_the_broker_matches(api: APIClient, topic: str) -> None:
    for number, filter in enumerate(FILTERS):
        SubscriptionFactory(client_id=f"c{number}", filter=names.topic_key(filter), shape=names.shape(filter))
    wanted = [f"c{number}" for number, filter in enumerate(FILTERS) if topics.matches(filter, topic)]
    assert found(api, f"recipients/?topic={quote(topic)}") == wanted


def test_who_would_receive_asks_as_often_as_there_are_shapes(django_assert_max_num_queries: Any) -> None:
    for number in range(300):
        SubscriptionFactory(filter=f"a/{number}/+")
    with django_assert_max_num_queries(3):
        assert selectors.filters_matching("a/7/x") == ["a/7/+"]


def test_drops_newest_first(api: APIClient) -> None:
    DropFactory(client_id="a", reason="expired")
    DropFactory(client_id="b", topic=names.topic_key("t" * 2000), direction="in")
    assert found(api, "drops/") == ["b", "a"]
    assert found(api, "drops/?reason=expired") == ["a"]
    assert found(api, f"drops/?topic={'t' * 2000}") == ["b"]
    assert found(api, "drops/?direction=in&client_id=b") == ["b"]


def test_a_node_that_is_down_is_shown_as_it_last_was(api: APIClient) -> None:
    NodeFactory(name="gone", state="down", stats={"connections": 7})
    [row] = api.get(V1 + "nodes/").json()["results"]
    assert (row["live"], row["stats"]) == (False, {"connections": 7})
