"""Two nodes, a bridge worker, Kafka and Redis: one broker to devices and to back-end services."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from queue import Queue
from typing import Any

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.apps.cluster.support.asking import ask
from tests.apps.cluster.support.clients import TIMEOUT, client, prefix, subscriber, until
from tools.cluster import ROOT, Cluster


def test_a_device_here_reaches_a_device_there(cluster: Cluster) -> None:
    a, b = cluster.nodes
    properties = Properties(PacketTypes.PUBLISH)
    properties.ContentType = "text/plain"
    properties.UserProperty = [("k", "1"), ("k", "2")]
    with subscriber(b, "telemetry/+") as messages, client(a) as publisher:
        for n in range(200):
            info = publisher.publish("telemetry/1", b"%d" % n, 1, properties=properties)
        info.wait_for_publish(TIMEOUT)
        found = [messages.get(timeout=TIMEOUT) for _ in range(200)]
    assert [message.payload for message in found] == [b"%d" % n for n in range(200)]
    assert found[0].properties.ContentType == "text/plain"
    assert found[0].properties.UserProperty == [("k", "1"), ("k", "2")]


def test_a_service_reads_devices_and_reaches_them(cluster: Cluster) -> None:
    a, b = cluster.nodes
    topic = prefix(cluster) + "commands"
    with subscriber(a, "commands/#") as here, subscriber(b, "commands/#") as there, client(a) as publisher:
        publisher.publish("commands/1", b"from a device", 1).wait_for_publish(TIMEOUT)
        assert here.get(timeout=TIMEOUT).payload == there.get(timeout=TIMEOUT).payload == b"from a device"

        quiet = {"bootstrap.servers": cluster.servers, "group.id": secrets.token_hex(4)}
        consumer = Consumer(quiet | {"auto.offset.reset": "earliest"})
        consumer.subscribe([topic])
        record = until(lambda: consumer.poll(0.5), "no record")
        consumer.close()
        headers = dict(record.headers())
        assert (record.key(), record.value()) == (b"commands/1", b"from a device")
        assert headers["mqtt-topic"] == b"commands/1" and headers["node"] == b"node-a"
        assert headers["client-id"].startswith(b"c-")

        producer = Producer({"bootstrap.servers": cluster.servers, "partitioner": "murmur2_random"})
        sent = [("mqtt-topic", b"commands/2"), ("qos", b"1"), ("user.from", b"erp")]
        producer.produce(topic, b"from a service", b"commands/2", headers=sent)
        assert producer.flush(TIMEOUT) == 0
        for messages in (here, there):
            message = messages.get(timeout=TIMEOUT)
            assert (message.topic, message.payload, message.qos) == ("commands/2", b"from a service", 1)
            assert message.properties.UserProperty == [("from", "erp")]


def test_what_is_no_message_is_a_dead_letter_once(cluster: Cluster) -> None:
    a, b = cluster.nodes
    with subscriber(a, "#") as here, subscriber(b, "#") as there:
        producer = Producer({"bootstrap.servers": cluster.servers})
        producer.produce(prefix(cluster) + "default", b"value", b"key", headers=[("mqtt-topic", b"a/#")])
        producer.produce(prefix(cluster) + "default", b"good", b"ok", headers=[("mqtt-topic", b"ok")])
        assert producer.flush(TIMEOUT) == 0
        assert here.get(timeout=TIMEOUT).payload == there.get(timeout=TIMEOUT).payload == b"good"
        quiet = {"bootstrap.servers": cluster.servers, "group.id": secrets.token_hex(4)}
        consumer = Consumer(quiet | {"auto.offset.reset": "earliest"})
        consumer.subscribe([prefix(cluster) + "deadletter"])
        record = until(lambda: consumer.poll(0.5), "no dead letter")
        assert record.value() == b"value" and dict(record.headers())["dead-reason"] == b"bad_topic"
        assert consumer.poll(1.0) is None  # of the two readers one wrote it
        consumer.close()


def test_many_records_that_are_no_messages_hardly_delay_one_that_is(cluster: Cluster) -> None:
    """Stored one by one they delayed it by 32 s."""
    a, b = cluster.nodes
    with subscriber(a, "attacked") as here, subscriber(b, "attacked") as there:
        producer = Producer({"bootstrap.servers": cluster.servers})
        for number in range(30_000):
            producer.produce(prefix(cluster) + "default", b"%d" % number, b"attacked")
        producer.produce(
            prefix(cluster) + "default", b"good", b"attacked", headers=[("mqtt-topic", b"attacked")]
        )
        assert producer.flush(TIMEOUT) == 0
        start = time.monotonic()
        assert here.get(timeout=TIMEOUT).payload == there.get(timeout=TIMEOUT).payload == b"good"
        assert time.monotonic() - start < 15


def test_nobody_elsewhere_means_no_record(cluster: Cluster) -> None:
    a, _ = cluster.nodes
    topic = f"local-{secrets.token_hex(4)}"
    with subscriber(a, topic) as messages, client(a) as publisher:
        publisher.publish(topic, b"x", 1).wait_for_publish(TIMEOUT)
        assert messages.get(timeout=TIMEOUT).payload == b"x"
    consumer = Consumer(
        {"bootstrap.servers": cluster.servers, "group.id": "g", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([prefix(cluster) + "default"])
    keys = set()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        record = consumer.poll(0.2)
        if record is not None:
            keys.add(record.key())
    consumer.close()
    assert topic.encode() not in keys


def test_unsigned_remote_control_is_refused(cluster: Cluster) -> None:
    """Who writes to Redis, where Celery's messages go, neither steers the bridge nor stops its worker."""

    def control(*words: str) -> list[dict[str, Any]]:
        command = [sys.executable, "-m", "celery", "-A", "gmqtt_platform", "control", "--json", *words]
        done = subprocess.run(
            command, cwd=ROOT, env=cluster.environ(0), capture_output=True, text=True, timeout=60
        )
        return [answer for found in json.loads(done.stdout or "[]") for answer in found.values()]

    b = cluster.nodes[1]
    with subscriber(b, "telemetry/#") as messages, client(cluster.nodes[0]) as publisher:
        assert "error" in control("bridge", "pause")[0]
        control("shutdown")
        publisher.publish("telemetry/1", b"x", 1).wait_for_publish(TIMEOUT)
        assert messages.get(timeout=TIMEOUT).payload == b"x"
    assert not cluster.bridge.has_ended


def test_a_bad_export_rule_fails_alone(cluster: Cluster) -> None:
    """Its topic is too narrow: the publisher is neither refused nor disconnected, and nothing comes twice."""
    a, b = cluster.nodes
    topic, first = f"erp-{secrets.token_hex(4)}", secrets.token_hex(4)
    admin = AdminClient({"bootstrap.servers": cluster.servers})
    narrow = NewTopic(topic, 1, 1, config={"max.message.bytes": "2000"})
    admin.create_topics([narrow])[topic].result(TIMEOUT)
    manage = "from apps.cluster.bridge import export_sync\nfrom apps.cluster.models import ExportRule\n"

    def shell(statement: str) -> str:
        command = [sys.executable, "manage.py", "shell", "-c", manage + statement]
        done = subprocess.run(
            command, cwd=ROOT, env=cluster.environ(0), check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout

    shell(f"export_sync.save(ExportRule(filter='{first}/#', kafka_topic='{topic}'))")
    time.sleep(1)
    try:
        with subscriber(b, f"{first}/#") as messages, client(a) as publisher:
            sent = [b"%d" % n + bytes(n % 2 * 5000) for n in range(20)]
            reasons: Queue[Any] = Queue()
            publisher.on_publish = lambda *args: reasons.put(args[3])
            for payload in sent:
                publisher.publish(f"{first}/x", payload, 1)
                assert not reasons.get(timeout=TIMEOUT).is_failure
            assert publisher.is_connected()
            assert [messages.get(timeout=TIMEOUT).payload for _ in sent] == sent
            assert messages.empty()
        row = f"print(ExportRule.objects.values_list('failed', 'last_error').get(kafka_topic='{topic}'))"
        until(lambda: "(10, " in shell(row), "the failures are not shown at the rule")
    finally:
        shell(f"export_sync.remove(ExportRule.objects.filter(kafka_topic='{topic}'))")


def test_a_bridge_that_is_killed_loses_and_repeats_nothing(cluster: Cluster) -> None:
    a, b = cluster.nodes
    with subscriber(b, "telemetry/#") as messages, client(a) as publisher:
        infos = []
        for n in range(3000):
            infos.append(publisher.publish("telemetry/k", b"%d" % n, 1))
            if n == 1000:
                cluster.bridge.kill()
            if n == 2000:
                cluster.bridge.start()
        for info in infos:
            info.wait_for_publish(TIMEOUT)
        found = [messages.get(timeout=TIMEOUT).payload for _ in range(3000)]
    assert found == [b"%d" % n for n in range(3000)]


def test_an_export_rule_is_in_force_within_a_second(cluster: Cluster) -> None:
    a, _ = cluster.nodes
    topic, first = f"erp-{secrets.token_hex(4)}", secrets.token_hex(4)

    def rule(statement: str) -> None:
        source = (
            "from apps.cluster.bridge import export_sync\n"
            f"from apps.cluster.models import ExportRule\n{statement}"
        )
        command = [sys.executable, "manage.py", "shell", "-c", source]
        subprocess.run(command, cwd=ROOT, env=cluster.environ(0), check=True, capture_output=True, timeout=60)

    values = f"filter='{first}/+', kafka_topic='{topic}', key_template='${{2}}-${{clientid}}'"
    rule(f"export_sync.save(ExportRule({values}))")
    consumer = Consumer(
        {"bootstrap.servers": cluster.servers, "group.id": topic, "auto.offset.reset": "earliest"}
        | {"topic.metadata.refresh.interval.ms": 500}
    )
    time.sleep(1)
    with client(a) as publisher:
        publisher.publish(f"{first}/pump", b"1", 1).wait_for_publish(TIMEOUT)
        consumer.subscribe([topic])
        record = until(lambda: _message(consumer.poll(0.5)), "no record")
        assert record.value() == b"1" and record.key().startswith(b"pump-c-")
        rule(f"export_sync.remove(ExportRule.objects.filter(kafka_topic='{topic}'))")
        time.sleep(1)
        publisher.publish(f"{first}/pump", b"2", 1).wait_for_publish(TIMEOUT)
        assert _message(consumer.poll(2.0)) is None
    consumer.close()


def _message(record: Any) -> Any:
    return record if record is not None and record.error() is None else None


def test_any_node_steers_every_bridge(cluster: Cluster) -> None:
    """By REST of the first node, and Celery."""
    a, b = cluster.nodes
    with subscriber(b, "telemetry/steered") as messages, client(a) as publisher:
        assert {row["node"] for row in ask(cluster, "bridge", "status")} == {"node-a", "node-b", "@queues"}
        ask(cluster, "bridge", "pause", "node-b")
        publisher.publish("telemetry/steered", b"x", 1).wait_for_publish(TIMEOUT)
        states = {row["node"]: row["state"] for row in ask(cluster, "bridge", "status")}
        assert states == {"node-a": "running", "node-b": "paused", "@queues": "running"}
        assert messages.empty()
        ask(cluster, "bridge", "resume", "node-b")
        assert messages.get(timeout=TIMEOUT).payload == b"x"
