"""Topics as a tree, their rates, slow subscribers and Kafka, as the console shows them."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from apps.cluster.bridge.librdkafka import create_topics
from apps.cluster.bridge.operators import KafkaLog
from apps.cluster.bridge.overview import KafkaOverview
from apps.cluster.directory import topic_tree
from apps.gateway.operator.rates import LEASE
from tests.apps.cluster.admin.pages import ADMIN, browser, row
from tests.apps.cluster.bridge.confs import kafka_conf
from tests.apps.cluster.factories import NodeFactory, SubscriptionFactory
from tests.apps.cluster.support.running import RunningNode
from tests.apps.gateway.support.world import World
from tests.support.node_services import provide

pytestmark = pytest.mark.django_db(transaction=True)
TOPICS, SLOW, KAFKA = (f"{ADMIN}/sessioninfo/{page}/" for page in ("topics", "slow", "kafka"))


def subscribe(*filters: str) -> None:
    for filter in filters:
        SubscriptionFactory(filter=filter)


def test_the_tree_of_topics() -> None:
    subscribe("a", "a", "a-b", "a/x", "a/y/z", "a/y/#", "b/+", "/c", "+/d", "#")
    page = browser("view_subscriptioninfo")
    branches = page.get(TOPICS).context["branches"]
    assert [
        (each["branch"].level, each["branch"].subscribers, each["branch"].below) for each in branches
    ] == [
        ("#", 1, 0),
        ("+", 0, 1),
        ("", 0, 1),
        ("a", 2, 3),
        ("a-b", 1, 0),
        ("b", 0, 1),
    ]
    below = page.get(branches[3]["open"].replace("?", f"{TOPICS}?")).context["branches"]
    assert [(each["branch"].filter, each["branch"].subscribers) for each in below] == [("a/x", 1), ("a/y", 0)]
    content = page.get(TOPICS, {"under": "a/y"}).content.decode()
    assert ">z<" in content.replace("\n", "").replace(" ", "") and "?under=a%2Fy" in content
    empty = page.get(TOPICS, {"under": ""}).context["branches"]
    assert [each["branch"].filter for each in empty] == ["/c"]


def test_a_level_with_many_children_has_pages(django_assert_max_num_queries: object) -> None:
    subscribe(*(f"{number:03d}/{deep}" for number in range(120) for deep in range(3)), "059")
    page = browser("view_subscriptioninfo")
    found: list[str] = []
    url = TOPICS
    while url:
        with django_assert_max_num_queries(5 * topic_tree.PAGE):  # type: ignore[operator]
            context = page.get(url).context
        found += [each["branch"].level for each in context["branches"]]
        url = f"{TOPICS}{context['next']}" if context["next"] else ""
    assert found == [f"{number:03d}" for number in range(120)]


def test_hostile_places_in_the_tree() -> None:
    subscribe("<b>/x", "é/x")
    page = browser("view_subscriptioninfo")
    assert "&lt;b&gt;" in page.get(TOPICS).content.decode()
    for parameters in ({"under": "\0"}, {"after": "\0"}, {"under": "x" * 2000}, {"watch": "a/#/b"}):
        answer = page.get(TOPICS, parameters)
        assert answer.status_code == 200
    assert "a/#/b" in answer.content.decode()  # and why it is not watched
    assert page.get(TOPICS, {"after": "z" * 5}).context["branches"] != ()


@pytest.mark.parametrize("url", [TOPICS, SLOW, KAFKA])
def test_not_without_the_right(url: str) -> None:
    assert browser().get(url).status_code == 403


def test_rates_are_counted_while_somebody_looks(node: RunningNode) -> None:
    writer = node.do(lambda: node.world.join("w"))
    page = browser("view_subscriptioninfo")
    watched = {"rates": "", "watch": ["a/#", "b", "a/+"]}

    def counts() -> dict[str, list[int]]:
        return dict(page.get(TOPICS, watched).json()["nodes"]["test"]["counts"])

    assert counts() == {"a/#": [0, 0], "b": [0, 0], "a/+": [0, 0]}
    for topic, payload in (("a/1", b"12"), ("a/1/2", b"3"), ("b", b""), ("c", b"x"), ("a/1", b"4567")):
        node.do(lambda topic=topic, payload=payload: writer.publish(topic, payload))
    assert counts() == {"a/#": [3, 7], "b": [1, 0], "a/+": [2, 6]}
    route = node.world.node.router.route("a/1")
    assert route.bus
    node.do(lambda: node.world.advance(LEASE + 1))
    assert not node.world.node.router.route("a/1").bus  # nobody looks: it costs nothing again
    assert counts()["a/#"] == [0, 0]


def test_what_cannot_be_watched(node: RunningNode) -> None:
    page = browser("view_subscriptioninfo")
    for page_number in range(6):
        watched = [f"{page_number}/{number}" for number in range(30)]
        found = page.get(TOPICS, {"rates": "", "watch": watched}).json()
    assert not found["nodes"] and "looked at already" in found["missing"]["test"]


def test_a_node_that_is_silent_is_named(node: RunningNode) -> None:
    NodeFactory(name="mute")
    page = browser("view_subscriptioninfo", "view_sessioninfo")
    found = page.get(TOPICS, {"rates": "", "watch": "a"}).json()
    assert list(found["nodes"]) == ["test"] and list(found["missing"]) == ["mute"]
    assert "mute" in page.get(SLOW).content.decode()


def test_slow_subscribers(node: RunningNode) -> None:
    world: World = node.world
    writer = node.do(lambda: world.join("w"))
    fast, slow = node.do(lambda: world.join("fast")), node.do(lambda: world.join("<b>slow"))
    stuck = node.do(lambda: world.join("stuck"))
    for client in (fast, slow, stuck):
        node.do(lambda client=client: client.subscribe("a", qos=1))
    fast.polite = True
    row("<b>slow")
    node.do(stuck.stall)
    for number in range(1100):  # more than fit into the window
        node.do(lambda number=number: writer.publish("a", b"%d" % number, qos=1))
        node.do(fast.take)
    node.do(lambda: world.advance(3))
    answer = browser("view_sessioninfo").get(SLOW)
    assert [each["client_id"] for each in answer.context["rows"]] == ["stuck", "<b>slow"]
    waits = answer.context["rows"][1]
    assert waits["window_full"] and not waits["congested"] and waits["queued"] == 76 and waits["oldest"] > 0
    assert answer.context["rows"][0]["congested"]
    assert "&lt;b&gt;slow" in answer.content.decode()


def test_without_kafka() -> None:
    assert "runs without Kafka" in browser("view_clusternode").get(KAFKA).content.decode()


def test_kafka_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    provide(monkeypatch, {KafkaLog: KafkaOverview(kafka_conf("127.0.0.1:9", "x."))})
    assert 'role="alert"' in browser("view_clusternode").get(KAFKA).content.decode()


def test_kafka(kafka: str, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = kafka_conf(kafka, kafka_prefix)
    topic, group = f"{kafka_prefix}telemetry", f"{kafka_prefix}live-a"
    create_topics(conf, [topic])
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(10):
        producer.produce(topic, b"x", partition=number % 2)
    assert producer.flush(20) == 0
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topic, 0, 2), TopicPartition(topic, 1, 5)], asynchronous=False)
    consumer.close()
    provide(monkeypatch, {KafkaLog: KafkaOverview(conf)})
    found = browser("view_clusternode").get(KAFKA).context["found"]
    assert len(found["brokers"]) == 1
    assert found["topics"] == [{"name": topic, "partitions": 2, "replicas": 1, "in_sync": 1, "records": 10}]
    assert [(each["name"], each["lag"], each["members"]) for each in found["groups"]] == [(group, 3, 0)]
    assert found["groups"][0]["topics"] == [{"topic": topic, "lag": 3}]
