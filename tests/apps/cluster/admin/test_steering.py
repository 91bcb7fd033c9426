"""What operators do from the console reaches the node, and is written down."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User

from apps.cluster.models import ClusterNode
from tests.apps.cluster.admin.pages import ADMIN, audited, browser, row
from tests.apps.cluster.support.running import RunningNode

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_client_is_disconnected(node: RunningNode) -> None:
    client = node.do(lambda: node.world.join("c"))
    session = row("c")
    page = browser("view_sessioninfo", "kick_session")
    assert page.post(f"{ADMIN}/sessioninfo/{session.pk}/change/", {"verb": "kick"}).status_code == 302
    assert client.closed and "kicked" in audited()


def test_not_without_the_right(node: RunningNode) -> None:
    client = node.do(lambda: node.world.join("c"))
    session = row("c")
    page = browser("view_sessioninfo")
    url = f"{ADMIN}/sessioninfo/{session.pk}/change/"
    assert "Disconnect" not in page.get(url).content.decode().replace("Disconnected", "")
    for verb in ("kick", "end", "subscribe", "unsubscribe", "purge", "replay", "look", "detail", ""):
        assert page.post(url, {"verb": verb, "filter": "a", "to": "c"}).status_code in (302, 403)
    assert not client.closed and "c" in node.world.node.sessions
    assert not node.world.node.sessions["c"].subscriptions


def test_several_at_once_and_one_that_has_gone(node: RunningNode) -> None:
    client = node.do(lambda: node.world.join("c"))
    chosen = [row("c").pk, row("gone").pk]
    page = browser("view_sessioninfo", "kick_session")
    form = {"action": "kick_all", "_selected_action": chosen}
    content = page.post(f"{ADMIN}/sessioninfo/", form, follow=True).content.decode()
    assert client.closed and "1 client disconnected" in content and "gone:" in content


def test_subscribing_for_a_client(node: RunningNode) -> None:
    client = node.do(lambda: node.world.join("c"))
    url = f"{ADMIN}/sessioninfo/{row('c').pk}/change/"
    page = browser("view_sessioninfo", "subscribe_for")
    page.post(url, {"verb": "subscribe", "filter": "a/+", "qos": "1"}, follow=True)
    assert list(node.world.node.sessions["c"].subscriptions) == ["a/+"]
    content = page.post(url, {"verb": "subscribe", "filter": "a/#/b"}, follow=True).content.decode()
    assert len(node.world.node.sessions["c"].subscriptions) == 1 and "Subscribed." not in content
    page.post(url, {"verb": "unsubscribe", "filter": "a/+"})
    assert not node.world.node.sessions["c"].subscriptions and not client.closed


def test_live_counters_or_why_they_are_missing(node: RunningNode) -> None:
    node.do(lambda: node.world.join("c").publish("x", b"1"))
    page = browser("view_sessioninfo")
    content = page.get(f"{ADMIN}/sessioninfo/{row('c').pk}/change/").content.decode()
    assert "Last heard of" in content and 'role="alert"' not in content
    content = page.get(f"{ADMIN}/sessioninfo/{row('gone').pk}/change/").content.decode()
    assert 'role="alert"' in content


def test_a_message_is_published(node: RunningNode) -> None:
    reader = node.do(lambda: node.world.join("r"))
    node.do(lambda: reader.subscribe("a/b", qos=1))
    page = browser("publish_message", "view_sessioninfo")
    url = f"{ADMIN}/sessioninfo/publish/"
    form = {"topic": "a/b", "payload": "00ff", "encoding": "hex", "qos": "1"}
    assert "Published." in page.post(url, form).content.decode()
    node.do(lambda: None)
    assert reader.payloads() == [b"\x00\xff"]
    assert "nobody is subscribed" in page.post(url, {**form, "topic": "z"}).content.decode()
    for bad in ({"topic": "a/#"}, {"payload": "xyz"}, {"qos": "3"}):
        assert "errorlist" in page.post(url, {**form, **bad}).content.decode()
    assert audited().count("published") == 2


def test_retained_messages_are_looked_at_and_deleted(node: RunningNode) -> None:
    writer = node.do(lambda: node.world.join("w"))
    node.do(lambda: writer.publish("keep/<b>", b'{"a": [1]}', retain=True))
    url = f"{ADMIN}/sessioninfo/retained/"
    page = browser("view_retained")
    content = page.get(url).content.decode()
    assert "keep/&lt;b&gt;" in content and "<b>" not in content.split("<body")[1]
    assert "You may not see payloads." in page.get(url, {"topic": "keep/<b>"}).content.decode()
    assert page.post(url, {"topic": "keep/<b>"}).status_code == 403
    assert len(node.world.node.retained) == 1
    User.objects.all().delete()
    page = browser("view_retained", "view_payload", "delete_retained")
    assert "&quot;a&quot;: [" in page.get(url, {"topic": "keep/<b>"}).content.decode()
    page.post(url, {"topic": "keep/<b>"})
    assert len(node.world.node.retained) == 0 and "deleted retained" in audited()


def test_retained_messages_are_exported(node: RunningNode) -> None:
    writer = node.do(lambda: node.world.join("=w"))
    for number in range(130):
        node.do(lambda number=number: writer.publish(f"keep/{number}", b"x", retain=True))
    page = browser("view_retained")
    url = f"{ADMIN}/sessioninfo/retained/export/"
    lines = b"".join(page.get(url, {"filter": "keep/+"})).decode().splitlines()
    assert len(lines) == 131 and lines[1] == "keep/0,0,1,'=w,"
    assert page.get(url, {"filter": "a/#/b"}).status_code == 302


def test_a_node_is_drained_and_takes_clients_again(node: RunningNode) -> None:
    client = node.do(lambda: node.world.join("c"))
    url = f"{ADMIN}/clusternode/{ClusterNode.objects.get().pk}/change/"
    assert browser("view_clusternode").post(url, {"verb": "drain"}).status_code == 302
    assert node.world.node.drain is None
    User.objects.all().delete()
    page = browser("view_clusternode", "drain_node")
    page.post(url, {"verb": "drain"})
    node.do(lambda: node.world.advance(1))
    assert client.closed and "Draining: 1 of 1 clients disconnected" in page.get(url).content.decode()
    page.post(url, {"verb": "cancel_drain"})
    assert node.world.node.drain is None and audited() == ["drained", "stopped draining"]


def test_a_trace_from_its_start_to_its_end(node: RunningNode) -> None:
    page = browser("trace", superuser=False)
    url = f"{ADMIN}/sessioninfo/traces/"
    bad = page.post(url, {"verb": "start", "kind": "topic", "value": "a/#/b", "seconds": "60"})
    assert bad.status_code == 200
    form = {"verb": "start", "kind": "client", "value": "c", "seconds": "60", "payloads": "on"}
    where = page.post(url, form).headers["Location"]
    client = node.do(lambda: node.world.join("c"))
    node.do(lambda: client.publish("a", b"secret"))
    answer = page.get(where, {"after": "{}"}).json()
    types = [entry.get("type") for entry in answer["entries"]]
    assert types[0] == "CONNECT" and "PUBLISH" in types and not answer["ended"]
    assert not any("payload" in entry for entry in answer["entries"])  # for which this operator has no right
    node.do(lambda: client.publish("b", b"x"))
    later = page.get(where, {"after": json.dumps(answer["next"])}).json()["entries"]
    assert [entry["topic"] for entry in later] == ["b"]
    assert page.get(where, {"after": "[["}).status_code == 400
    assert len(page.get(where, {"download": ""}).content.splitlines()) == len(types) + 1
    trace_id = where.rstrip("/").rpartition("/")[2]
    page.post(url, {"verb": "stop", "id": trace_id})
    assert page.get(where, {"after": "{}"}).json()["ended"] and not client.connection.traced
    page.post(url, {"verb": "forget", "id": trace_id})
    assert page.get(where, {"after": "{}"}).json()["missing"]
