"""Topic names and filters (section 4.7), shared subscriptions (4.8.2) and the slow, obvious matcher.

The broker matches with a trie; `matches` is its twin, kept naive so that tests can hold the two
against each other.
"""

from __future__ import annotations

from typing import Final

from apps.gateway.mqtt import reasons
from apps.gateway.mqtt.errors import MqttError

MAX_LENGTH: Final = 65_535  # bytes of UTF-8, by the two byte length of a string


def check_name(topic: str, max_length: int = MAX_LENGTH, max_levels: int = MAX_LENGTH) -> None:
    """Raise `MqttError` 0x90 unless `topic` may stand in a PUBLISH."""
    if not topic:
        raise MqttError(reasons.TOPIC_NAME_INVALID, "empty topic name")  # [MQTT-4.7.3-1]
    if "+" in topic or "#" in topic:
        raise MqttError(reasons.TOPIC_NAME_INVALID, "wildcard in a topic name")  # [MQTT-3.3.2-2]
    if _too_big(topic, max_length, max_levels):
        raise MqttError(reasons.TOPIC_NAME_INVALID, "topic name too long or too deep")


def check_filter(filter: str, max_length: int = MAX_LENGTH, max_levels: int = MAX_LENGTH) -> None:
    """Raise `MqttError` 0x8F unless `filter` (without a `$share/group/` prefix) is well formed."""
    if not filter:
        raise MqttError(reasons.TOPIC_FILTER_INVALID, "empty topic filter")  # [MQTT-4.7.3-1]
    if "\0" in filter:
        raise MqttError(reasons.TOPIC_FILTER_INVALID, "U+0000 in a topic filter")  # [MQTT-4.7.3-2]
    if _too_big(filter, max_length, max_levels):
        raise MqttError(reasons.TOPIC_FILTER_INVALID, "topic filter too long or too deep")
    if "+" not in filter and "#" not in filter:
        return
    levels = filter.split("/")
    last = len(levels) - 1
    for index, level in enumerate(levels):
        if "#" in level and (level != "#" or index != last):
            raise MqttError(reasons.TOPIC_FILTER_INVALID, "# must be the whole last level")  # [MQTT-4.7.1-1]
        if "+" in level and level != "+":
            raise MqttError(reasons.TOPIC_FILTER_INVALID, "+ must be a whole level")  # [MQTT-4.7.1-2]


def _too_big(topic: str, max_length: int, max_levels: int) -> bool:
    if len(topic) > max_length or topic.count("/") >= max_levels:
        return True
    return len(topic) * 4 > max_length and len(topic.encode("utf-8")) > max_length


def is_system(name: str) -> bool:
    """Is the topic or filter `$SYS` or below it? Only the node publishes there, and nothing leaves it."""
    return name == "$SYS" or name.startswith("$SYS/")


def split_share(filter: str) -> tuple[str, str]:
    """(group, filter) of a `$share/group/filter`; ("", filter) of any other one.

    Raises `MqttError` 0x8F for a malformed share (group empty or with a wildcard, no filter).
    """
    if not filter.startswith("$share/"):
        return "", filter
    group, slash, rest = filter[7:].partition("/")
    if not group or "+" in group or "#" in group:  # [MQTT-4.8.2-1]
        raise MqttError(reasons.TOPIC_FILTER_INVALID, "bad share name")
    if not slash or not rest:  # [MQTT-4.8.2-2]
        raise MqttError(reasons.TOPIC_FILTER_INVALID, "no filter behind the share name")
    return group, rest


def matches(filter: str, topic: str) -> bool:
    """Does `filter` match the topic name `topic`? Level by level, without any index."""
    if topic.startswith("$") and filter[0] in "+#":  # [MQTT-4.7.2-1]
        return False
    wanted = filter.split("/")
    levels = topic.split("/")
    for index, want in enumerate(wanted):
        if want == "#":  # also the parent level itself: "sport/#" matches "sport"
            return True
        if index == len(levels):
            return False
        if want != "+" and want != levels[index]:
            return False
    return len(wanted) == len(levels)
