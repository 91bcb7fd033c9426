"""Topic names, filters and the matching rules, by the specification's own examples (section 4.7)."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import topics
from apps.gateway.mqtt.errors import MqttError

MATCHES = [
    ("sport/tennis/player1/#", "sport/tennis/player1"),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
    ("sport/#", "sport"),
    ("#", "a"),
    ("#", "/"),
    ("#", "a/$b"),
    ("sport/tennis/+", "sport/tennis/player1"),
    ("sport/+", "sport/"),
    ("+", "finance"),
    ("+/+", "/finance"),
    ("/+", "/finance"),
    ("+/tennis/#", "sport/tennis"),
    ("foo/+/#", "foo/bar"),
    ("foo/+/#", "foo/bar/baz"),
    ("foo/+/#", "foo/"),
    ("$SYS/#", "$SYS/broker"),
    ("$SYS/#", "$SYS"),
    ("$SYS/monitor/+", "$SYS/monitor/Clients"),
    ("a/+/b", "a//b"),
    ("a//b", "a//b"),
    ("//", "//"),
    ("+/+/+", "//"),
    ("Accounts payable", "Accounts payable"),
    ("a/$x/+", "a/$x/b"),
]
DIFFERS = [
    ("sport/tennis/+", "sport/tennis/player1/ranking"),
    ("sport/+", "sport"),
    ("+", "/finance"),
    ("#", "$SYS/broker"),
    ("+/monitor/Clients", "$SYS/monitor/Clients"),
    ("+", "$SYS"),
    ("+/#", "$SYS/x"),
    ("foo/+/#", "foo"),
    ("ACCOUNTS", "Accounts"),
    ("/A", "A"),
    ("a", "a/"),
    ("a/", "a"),
    ("a/b", "a"),
    ("a/b/#", "a"),
    ("a/+/b", "a/b"),
]


@pytest.mark.parametrize(("filter", "topic"), MATCHES)
def test_matches(filter: str, topic: str) -> None:
    topics.check_filter(filter)
    topics.check_name(topic)
    assert topics.matches(filter, topic)


@pytest.mark.parametrize(("filter", "topic"), DIFFERS)
def test_differs(filter: str, topic: str) -> None:
    """[MQTT-4.7.1-1], [MQTT-4.7.2-1], [MQTT-4.7.3-4]"""
    topics.check_filter(filter)
    assert not topics.matches(filter, topic)


@pytest.mark.parametrize(
    "filter",
    [
        "",
        "sport/tennis#",
        "sport/tennis/#/ranking",
        "#/a",
        "##",
        "a/#/",
        "sport+",
        "+a",
        "a/++/b",
        "a/b+",
        "+#",
        "a\0",
    ],
)
def test_malformed_filters(filter: str) -> None:
    """[MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1], [MQTT-4.7.3-2]"""
    with pytest.raises(MqttError) as caught:
        topics.check_filter(filter)
    assert caught.value.reason == 0x8F


@pytest.mark.parametrize("topic", ["", "+", "#", "a/+", "a#b", "a/#"])
def test_malformed_names(topic: str) -> None:
    """[MQTT-3.3.2-2], [MQTT-4.7.3-1]"""
    with pytest.raises(MqttError) as caught:
        topics.check_name(topic)
    assert caught.value.reason == 0x90


def test_length_is_in_bytes() -> None:
    """[MQTT-4.7.3-3]"""
    for good in ("x" * 10, "é" * 5, "😀" * 2 + "xx"):
        topics.check_name(good, 10)
        topics.check_filter(good, 10)
    for bad in ("x" * 11, "é" * 5 + "x", "😀" * 3):
        with pytest.raises(MqttError):
            topics.check_name(bad, 10)
        with pytest.raises(MqttError):
            topics.check_filter(bad, 10)


def test_levels() -> None:
    topics.check_name("a/b/c", max_levels=3)
    for bad in ("a/b/c/d", "a/b/c/", "/a/b/c"):
        with pytest.raises(MqttError):
            topics.check_name(bad, max_levels=3)
        with pytest.raises(MqttError):
            topics.check_filter(bad, max_levels=3)


def test_shares() -> None:
    """[MQTT-4.8.2-1], [MQTT-4.8.2-2]"""
    assert topics.split_share("a/b") == ("", "a/b")
    assert topics.split_share("$share/g/a/b") == ("g", "a/b")
    assert topics.split_share("$share/g//") == ("g", "/")
    assert topics.split_share("$share/g/#") == ("g", "#")
    assert topics.split_share("$share") == ("", "$share")
    assert topics.split_share("$SHARE/g/a") == ("", "$SHARE/g/a")
    for bad in ("$share/", "$share//a", "$share/g", "$share/g/", "$share/+/a", "$share/#", "$share/a#/b"):
        with pytest.raises(MqttError) as caught:
            topics.split_share(bad)
        assert caught.value.reason == 0x8F
