"""Bob manages the clients of one group. What he sees and does ends where the group does."""

from __future__ import annotations

import pytest
from auditlog.models import LogEntry
from guardian.shortcuts import assign_perm
from rest_framework.test import APIClient

from apps.auth.models import ClientGroup
from apps.cluster.models import SessionInfo
from apps.gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL
from tests.apps.auth.factories import ClientFactory
from tests.apps.cluster.factories import DropFactory, SessionFactory, SubscriptionFactory
from tests.apps.cluster.support.running import RunningNode

pytestmark = pytest.mark.django_db
V1 = "/api/v1/cluster/"


@pytest.fixture
def mine(pumps: ClientGroup, node: RunningNode) -> SessionInfo:
    ClientFactory(client_id="pump", groups=[pumps])
    return _session("pump", node)


@pytest.fixture
def other(node: RunningNode) -> SessionInfo:
    ClientFactory(client_id="tap")
    return _session("tap", node)


def _session(client_id: str, node: RunningNode) -> SessionInfo:
    node.do(lambda: node.world.join(client_id, properties={SESSION_EXPIRY_INTERVAL: 100}))
    SubscriptionFactory(client_id=client_id, filter="a/#")
    DropFactory(client_id=client_id)
    session: SessionInfo = SessionFactory(client_id=client_id)
    return session


def test_lists_end_at_the_group(bobs: APIClient, mine: SessionInfo, other: SessionInfo) -> None:
    for path in ("clients/", "sessions/", "subscriptions/", "recipients/?topic=a/b", "drops/"):
        rows = bobs.get(V1 + path).json()["results"]
        assert [row["client_id"] for row in rows] == ["pump"], path
    assert bobs.get(V1 + "sessions/?client_id=tap").json()["results"] == []
    [topic] = bobs.get(V1 + "topics/").json()["results"]
    assert topic["subscribers"] == 1


def test_others_sessions_are_not_there(bobs: APIClient, mine: SessionInfo, other: SessionInfo) -> None:
    tap = f"{V1}sessions/{other.pk}/"
    assert bobs.get(tap).status_code == 404
    assert bobs.delete(tap).status_code == 404
    for verb, body in (
        ("kick/", {}),
        ("subscribe/", {"filter": "a"}),
        ("unsubscribe/", {"filter": "a"}),
        ("queue/purge/", {}),
        ("queue/replay/", {"to": "pump"}),
    ):
        assert bobs.post(tap + verb, body, format="json").status_code == 404, verb
    assert bobs.get(tap + "queue/").status_code == 404
    replay = bobs.post(f"{V1}sessions/{mine.pk}/queue/replay/", {"to": "tap"}, format="json")
    assert replay.status_code == 400 and replay.json()["errors"][0]["code"] == "unknown_client"


def test_who_may_see_may_not_do(
    charlies: APIClient, charlie: object, pumps: ClientGroup, mine: SessionInfo, node: RunningNode
) -> None:
    assign_perm("view_members", charlie, pumps)
    pump = f"{V1}sessions/{mine.pk}/"
    assert charlies.get(pump).status_code == 200
    assert charlies.post(pump + "kick/", {}, format="json").status_code == 403
    assert charlies.get(pump + "queue/").status_code == 403
    assert node.world.node.stats.connections == 1


def test_what_bob_does_is_noted(bobs: APIClient, mine: SessionInfo, node: RunningNode) -> None:
    done = bobs.post(f"{V1}sessions/{mine.pk}/kick/", {"text": "go"}, format="json")
    assert done.json() == {"was_online": True}
    assert node.world.node.stats.connections == 0
    entry = LogEntry.objects.get(object_repr="pump", content_type__model="sessioninfo")
    assert entry.changes == {"kicked": [None, {"text": "go"}]}
    assert entry.additional_data["name"] == "bob"


def test_payloads_are_for_those_who_may_see_them(
    bobs: APIClient, api: APIClient, node: RunningNode, mine: SessionInfo
) -> None:
    def fill() -> None:
        world = node.world
        pump = world.clients[0]
        pump.subscribe("q", qos=1)
        pump.drop()
        world.join("sender").publish("q", b"secret", 1)

    node.do(fill)
    queue = f"{V1}sessions/{mine.pk}/queue/?payload=true"
    assert bobs.get(queue).json()["messages"][0]["payload"] is None
    assert api.get(queue).json()["messages"][0]["payload"] == "c2VjcmV0"
