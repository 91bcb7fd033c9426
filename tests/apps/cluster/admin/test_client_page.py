"""A client's page: what it does now, what happened to it, its rules; and what is done to many at once."""

from __future__ import annotations

import pytest

from apps.auth.models import AclRule, Ban
from apps.cluster.models import SessionInfo
from apps.gateway.mqtt import properties as props
from apps.gateway.operator.events import MAX_BYTES, OF_CLIENT, RecentEvents
from tests.apps.cluster.admin.pages import ADMIN, audited, browser, row
from tests.apps.cluster.factories import NodeFactory
from tests.apps.cluster.support.running import RunningNode

pytestmark = pytest.mark.django_db(transaction=True)


def page_of(session: SessionInfo) -> str:
    return f"{ADMIN}/sessioninfo/{session.pk}/change/"


def test_live_counters(node: RunningNode) -> None:
    client = node.do(lambda: node.world.join("c"))
    session = row("c")
    page = browser("view_sessioninfo")
    url = f"{ADMIN}/sessioninfo/{session.pk}/now/"
    assert url in page.get(page_of(session)).content.decode()
    assert page.get(url).json()["publishes_in"] == 0
    node.do(lambda: client.publish("a", b"x"))
    assert page.get(url).json()["publishes_in"] == 1
    node.do(client.disconnect)
    assert page.get(url).status_code == 503 and page.get(url).json()["code"] == "not_here"
    assert page.get(f"{ADMIN}/sessioninfo/{session.pk + 1}/now/").status_code == 404


def test_live_counters_are_for_those_who_may_see_the_client(node: RunningNode) -> None:
    session = row("c")
    assert browser().get(f"{ADMIN}/sessioninfo/{session.pk}/now/").status_code == 404


def test_recent_events(node: RunningNode) -> None:
    NodeFactory(name="mute")
    first = node.do(lambda: node.world.join("c"))
    node.do(first.disconnect)
    node.do(lambda: node.world.join("c"))
    node.do(lambda: node.world.join("<b>other"))
    content = browser("view_sessioninfo").get(page_of(row("c"))).content.decode()
    events = content.split('id="events"')[1].split("</section>")[0]
    assert events.count("<td>connected</td>") == 2 and events.count("<td>disconnected</td>") == 1
    assert "192.0.2.1:50000 (tcp)" in events and "other" not in events
    assert events.count("<td>test</td>") == 3


def test_events_are_bounded() -> None:
    clock = iter(range(10_000_000))
    events = RecentEvents(lambda: float(next(clock)))
    for number in range(OF_CLIENT + 5):
        events.disconnected("c", 0, f"for the {number}th time")
    kept = events.of("c")["events"]
    assert len(kept) == OF_CLIENT and kept[0]["text"] == f"for the {OF_CLIENT + 4}th time"
    for _ in range(100_000):
        events.dropped("c", "queue_full", "a", 1)
    assert len(events.of("c")["events"]) == OF_CLIENT and kept[0]["text"] in str(events.of("c"))
    for number in range(100):
        events.disconnected(f"{number}" * 60_000, 0, "x" * 60_000)
    assert events.bytes <= MAX_BYTES
    assert not events.of("c")["events"]  # of whom nothing was heard for longest
    assert events.of("99" * 60_000)["events"][0]["text"] == "x" * 256


def test_which_rule_decides(node: RunningNode) -> None:
    other = AclRule.objects.create(effect="allow", action="publish", filter="b/#", priority=1)
    rule = AclRule.objects.create(effect="allow", action="publish", filter="a/${clientid}/<i>")
    session = row("c")
    page = browser("view_sessioninfo", "view_aclrule")
    form = {"verb": "explain", "action": "publish", "topic": "a/c/<i>"}
    content = page.post(page_of(session), form).content.decode()
    assert "Yes: allow publish a/${clientid}/&lt;i&gt;" in content and f"/aclrule/{rule.pk}/" in content
    assert "b/# does not match the topic" in content and other.filter in content
    content = page.post(page_of(session), {**form, "topic": "z"}).content.decode()
    assert "No (no rule matches: by default)" in content
    content = page.post(page_of(session), {**form, "action": "subscribe", "topic": "a/#"}).content.decode()
    assert "is about publish only" in content
    for topic in ("", "a/#"):
        assert 'role="alert"' in page.post(page_of(session), {**form, "topic": topic}).content.decode()


def test_rules_are_for_those_who_may_see_them(node: RunningNode) -> None:
    page = browser("view_sessioninfo")
    session = row("c")
    assert "Access rules" not in page.get(page_of(session)).content.decode()
    form = {"verb": "explain", "action": "publish", "topic": "a"}
    assert page.post(page_of(session), form).status_code == 403


def test_a_client_is_banned(node: RunningNode) -> None:
    session = row("c")
    page = browser("view_sessioninfo", "add_ban")
    for said in ("The client is banned, for good.", "This ban exists already."):
        answer = page.post(page_of(session), {"verb": "ban"}, follow=True)
        assert said in answer.content.decode()
    ban = Ban.objects.get()
    assert (ban.kind, ban.value, ban.until) == ("client_id", "c", None) and "someone" in ban.reason


def test_many_are_banned_and_purged(node: RunningNode) -> None:
    world = node.world
    for name in ("a", "b"):
        client = node.do(
            lambda name=name: world.join(name, clean=False, properties={props.SESSION_EXPIRY_INTERVAL: 1000})
        )
        node.do(lambda client=client: client.subscribe("t", qos=1))
        node.do(client.drop)
    writer = node.do(lambda: world.join("w"))
    node.do(lambda: writer.publish("t", b"x", qos=1))
    assert world.node.sessions["a"].backlog == 1
    chosen = [row(name).pk for name in ("a", "b", "gone", "x" * 191 + "…" + "0" * 64)]
    page = browser("view_sessioninfo", "purge_queue", "add_ban")
    form = {"action": "purge_all", "_selected_action": chosen}
    content = page.post(f"{ADMIN}/sessioninfo/", form, follow=True).content.decode()
    assert "2 queues purged." in content and "gone:" in content
    assert world.node.sessions["a"].backlog == 0 and audited().count("purged") == 2
    content = page.post(f"{ADMIN}/sessioninfo/", {**form, "action": "ban_all"}, follow=True).content.decode()
    assert "3 clients banned." in content and "too long for a ban" in content
    assert sorted(Ban.objects.values_list("value", flat=True)) == ["a", "b", "gone"]


def test_a_queue_is_replayed_to_another_client(node: RunningNode) -> None:
    world = node.world
    client = node.do(lambda: world.join("c", clean=False, properties={props.SESSION_EXPIRY_INTERVAL: 1000}))
    node.do(lambda: client.subscribe("t", qos=1))
    node.do(client.drop)
    writer = node.do(lambda: world.join("w"))
    node.do(lambda: writer.publish("t", b"x", qos=1))
    spare = node.do(lambda: world.join("spare"))
    row("spare")
    url = f"{ADMIN}/sessioninfo/{row('c').pk}/change/"
    page = browser("view_sessioninfo", "purge_queue")
    assert "Replay the queue" in page.get(url).content.decode()
    content = page.post(url, {"verb": "replay", "to": "spare"}, follow=True).content.decode()
    assert "went to the other client" in content
    node.do(world.turn)
    assert node.do(spare.payloads) == [b"x"] and world.node.sessions["c"].backlog == 1
    assert audited() == ["replayed"]
    for to in ("nobody", "a\0b", "", "c"):
        content = page.post(url, {"verb": "replay", "to": to}, follow=True).content.decode()
        assert "went to the other client" not in content
    assert audited() == ["replayed"]


def test_nothing_in_bulk_without_the_right(node: RunningNode) -> None:
    chosen = [row("a").pk]
    page = browser("view_sessioninfo")
    for action in ("purge_all", "ban_all", "kick_all"):
        form = {"action": action, "_selected_action": chosen}
        page.post(f"{ADMIN}/sessioninfo/", form, follow=True)
    assert not Ban.objects.exists() and not audited()


def test_a_node_without_a_bridge(node: RunningNode) -> None:
    page = browser("view_clusternode", "control_bridge")
    url = f"{ADMIN}/clusternode/{NodeFactory(name='n').pk}/change/"
    content = page.post(url, {"verb": "pause_bridge"}, follow=True).content.decode()
    assert "without a bridge" in content
