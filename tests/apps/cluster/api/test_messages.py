"""Publish, retained messages, and nodes that do not answer."""

from __future__ import annotations

import base64

import pytest
from auditlog.models import LogEntry
from django.utils import timezone
from rest_framework.test import APIClient

from apps.cluster import node_rpc
from tests.apps.cluster.factories import NodeFactory, SessionFactory
from tests.apps.cluster.support.running import RunningNode

pytestmark = pytest.mark.django_db
V1 = "/api/v1/cluster/"


def test_publish(api: APIClient, node: RunningNode) -> None:
    pump = node.do(lambda: node.world.join("pump"))
    node.do(lambda: pump.subscribe("a/+", qos=1))
    body = {"topic": "a/b", "payload": "hé", "qos": 1, "properties": {"user_properties": [["k", "v"]]}}
    answer = api.post(V1 + "publish/", body, format="json")
    assert answer.json() == {"subscribed": True, "recipients": 1, "elsewhere": False}
    node.do(lambda: None)
    [got] = node.do(pump.take_publishes)
    assert got.payload == "hé".encode()
    empty = api.post(V1 + "publish/", {"topic": "x", "payload_base64": ""}, format="json")
    assert empty.json()["subscribed"] is False
    entry = LogEntry.objects.get(object_repr="a/b")
    assert entry.changes["published"][1] == {"topic": "a/b", "size": 3, "qos": 1, "retain": False}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"topic": "a/#"}, 400),
        ({"topic": ""}, 400),
        ({"topic": "a", "payload": "x", "payload_base64": "eA=="}, 400),
        ({"topic": "a", "payload_base64": "???"}, 400),
        ({"topic": "a", "qos": 3}, 400),
        ({"topic": "a", "properties": {"response_topic": "a/+"}}, 400),
        ({"topic": "a", "properties": {"user_properties": [["k"]]}}, 400),
        ({"topic": "a", "properties": {"message_expiry": -1}}, 400),
        ({"topic": "a", "wrong": 1}, 400),
        ({"topic": "$SYS/a"}, 400),
        ({"topic": "a\u0000b"}, 400),
        ({"topic": "a", "payload": "x" * (3 << 20)}, 413),
    ],
)
def test_what_cannot_be_published(api: APIClient, node: RunningNode, body: object, status: int) -> None:
    assert api.post(V1 + "publish/", body, format="json").status_code == status


def test_retained_messages_page_by_page(api: APIClient, node: RunningNode) -> None:
    def fill() -> None:
        tap = node.world.join("tap")
        for number in range(30):
            tap.publish(f"r/{number:02}", b"x", retain=True)

    node.do(fill)
    seen: list[str] = []
    url: str | None = V1 + "retained/?filter=r/%2B&page_size=7&payload=true"
    while url:
        page = api.get(url).json()
        seen += [row["topic"] for row in page["results"]]
        assert all(base64.b64decode(row["payload"]) == b"x" for row in page["results"])
        url = page["next"]
    assert seen == [f"r/{number:02}" for number in range(30)]
    assert api.get(V1 + "retained/message/?topic=r/00").json()["payload"] == "eA=="
    assert api.delete(V1 + "retained/message/?topic=r/00").status_code == 204
    assert api.get(V1 + "retained/message/?topic=r/00").status_code == 404
    for query in ("filter=a/%23/b", "cursor=%FF", "cursor=!!", "page_size=101", "wrong=1"):
        assert api.get(f"{V1}retained/?{query}").status_code == 400, query


def test_without_a_node_there_is_a_clear_answer(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = api.post(V1 + "publish/", {"topic": "a"}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (503, "node_away")
    monkeypatch.setattr(node_rpc, "TIMEOUT", 0.2)
    NodeFactory(name="elsewhere")
    session = SessionFactory(node="elsewhere")
    detail = api.get(f"{V1}sessions/{session.pk}/").json()
    assert detail["live"] is None and "elsewhere" in detail["missing"]
    kicked = api.post(f"{V1}sessions/{session.pk}/kick/", {}, format="json")
    assert (kicked.status_code, kicked.json()["code"]) == (503, "node_away")
    assert not LogEntry.objects.filter(object_repr=session.client_id).exists()


def test_a_client_that_left_meanwhile(api: APIClient, node: RunningNode) -> None:
    session = SessionFactory(client_id="gone")
    kicked = api.post(f"{V1}sessions/{session.pk}/kick/", {}, format="json")
    assert (kicked.status_code, kicked.json()["code"]) == (404, "not_here")
    assert api.get(f"{V1}sessions/{session.pk}/").json()["live"] is None
    assert api.post(f"{V1}sessions/{session.pk + 1}/kick/", {}, format="json").status_code == 404


def test_no_bridge(api: APIClient, node: RunningNode) -> None:
    for method, path in (
        ("get", "bridges/"),
        ("post", "bridges/test/pause/"),
        ("post", "bridges/test/resume/"),
    ):
        answer = getattr(api, method)(V1 + path)
        assert (answer.status_code, answer.json()["code"]) == (503, "no_bridge")


def test_a_node_that_is_up_is_not_forgotten(api: APIClient) -> None:
    up, down = NodeFactory(name="up", seen_at=timezone.now()), NodeFactory(name="down", state="down")
    assert api.delete(f"{V1}nodes/{up.pk}/").status_code == 409
    assert api.delete(f"{V1}nodes/{down.pk}/").status_code == 204
    assert api.delete(f"{V1}nodes/{down.pk}/").status_code == 404
