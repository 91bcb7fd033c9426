"""Export rules, compiled: which Kafka topics of back-end services get a message, beside the cluster's own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from apps.common.filter_tree import FilterTree

_PLACE: Final = re.compile(r"\$\{(topic|clientid|username|[1-9][0-9]?)\}")
DEFAULT_KEY: Final = "${topic}"


class BadTemplate(ValueError):
    """The key template holds something that is not known."""


def check_template(template: str) -> None:
    rest = _PLACE.sub("", template)
    if "${" in rest:
        raise BadTemplate("known are ${topic}, ${clientid}, ${username}, ${1}, ${2} ... ${99}")


@dataclass(frozen=True, slots=True)
class Export:
    """One rule that is on."""

    filter: str
    kafka_topic: str
    key_template: str = DEFAULT_KEY

    def key(self, topic: str, client_id: str, username: str) -> bytes:
        """Of a record. A level that the topic does not have is empty."""
        if self.key_template == DEFAULT_KEY:
            return topic.encode()
        levels = topic.split("/")

        def value(found: re.Match[str]) -> str:
            name = found[1]
            if name.isdigit():
                return levels[int(name) - 1] if int(name) <= len(levels) else ""
            return {"topic": topic, "clientid": client_id, "username": username}[name]

        return _PLACE.sub(value, self.key_template).encode()


class Exports:
    """The rules in force on this node."""

    def __init__(self) -> None:
        self._rules: frozenset[Export] = frozenset()
        self._tree: FilterTree[Export] = FilterTree()

    def __len__(self) -> int:
        return len(self._rules)

    @property
    def rules(self) -> frozenset[Export]:
        return self._rules

    @property
    def topics(self) -> set[str]:
        return {rule.kafka_topic for rule in self._rules}

    def load(self, rules: Iterable[Export]) -> set[str]:
        """Put these in force; the filters for whose topics something has changed."""
        wanted = frozenset(rules)
        gone, new = self._rules - wanted, wanted - self._rules
        for rule in gone:
            self._tree.remove(rule.filter, rule)
        for rule in new:
            self._tree.add(rule.filter, rule)
        self._rules = wanted
        return {rule.filter for rule in gone | new}

    def match(self, topic: str) -> tuple[Export, ...]:
        """One rule for each Kafka topic that gets messages of `topic`."""
        if not self._rules:
            return ()
        by_topic = {rule.kafka_topic: rule for rule in self._tree.match(topic)}
        return tuple(by_topic[name] for name in sorted(by_topic))
