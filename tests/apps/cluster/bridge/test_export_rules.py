"""Export rules: what they match, which key they make, and which cannot be saved."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from apps.cluster.bridge import export_sync
from apps.cluster.bridge.export_rules import Export, Exports
from apps.cluster.models import ExportRule


def test_one_record_for_each_kafka_topic() -> None:
    exports = Exports()
    wide, narrow, other = Export("a/#", "x"), Export("a/b", "x"), Export("+/b", "y")
    assert exports.load([wide, narrow, other]) == {"a/#", "a/b", "+/b"}
    assert [rule.kafka_topic for rule in exports.match("a/b")] == ["x", "y"]
    assert exports.match("$SYS/b") == exports.match("c") == ()
    assert exports.load([wide]) == {"a/b", "+/b"}
    assert exports.match("a/b") == (wide,)


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("${topic}", "a/b/c"),
        ("${clientid}", "dev-1"),
        ("${username}", "alice"),
        ("${2}", "b"),
        ("${1}-${3}-${9}", "a-c-"),
        ("fixed", "fixed"),
        ("${clientid}/${topic}", "dev-1/a/b/c"),
    ],
)
def test_keys(template: str, key: str) -> None:
    assert Export("#", "x", template).key("a/b/c", "dev-1", "alice") == key.encode()


def test_what_a_client_calls_itself_is_no_template() -> None:
    assert Export("#", "x", "${clientid}").key("t", "${username}", "alice") == b"${username}"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("filter", {"filter": "a/#/b"}),
        ("kafka_topic", {"kafka_topic": "no spaces"}),
        ("kafka_topic", {"kafka_topic": "gmqtt.deadletter"}),
        ("kafka_topic", {"kafka_topic": "gmqtt.default", "filter": "#", "levels": ("l",)}),
        ("key_template", {"key_template": "${user}"}),
        ("key_template", {"key_template": "${0}"}),
        ("key_template", {"kafka_topic": "gmqtt.default", "filter": "a/#", "key_template": "${clientid}"}),
    ],
)
def test_cannot_be_saved(field: str, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    if values.pop("levels", None):  # else the default topic is everything's, and `#` may go there
        names = export_sync.TopicNames("gmqtt.", ("l",))
        monkeypatch.setattr(export_sync, "TopicNames", lambda *_: names)
    with pytest.raises(ValidationError) as caught:
        export_sync.save(ExportRule(**({"filter": "a/b", "kafka_topic": "erp"} | values)))
    assert list(caught.value.message_dict) == [field]
    assert not ExportRule.objects.exists()


@pytest.mark.django_db
def test_the_nodes_own_topic_may_be_the_target_of_its_own_filters() -> None:
    export_sync.save(ExportRule(filter="a/#", kafka_topic="gmqtt.default"))
    export_sync.save(ExportRule(filter="b/#", kafka_topic="erp", enabled=False))
    assert export_sync.read() == [Export("a/#", "gmqtt.default")]
