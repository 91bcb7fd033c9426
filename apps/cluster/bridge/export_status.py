"""What export rules are short of: an export is a side effect, so its failures are counted at the rule."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from apps.cluster.bridge.export_rules import Export

logger = logging.getLogger("gmqtt.kafka")

SHARE: Final = 4  # of the producer's buffer a rule may fill one part of as many
PROBE: Final = 65_536  # bytes on their way of a rule that fails: enough to see that it works again


@dataclass(frozen=True, slots=True)
class Failures:
    """Of one rule since the last look."""

    count: int
    text: str


@dataclass
class _State:
    held: int = 0  # bytes on their way
    failing: bool = False
    count: int = 0  # failures that nobody was told of
    text: str = ""


class ExportStatus:
    """By rule. A rule that fails is tried with little, and nobody waits for its records."""

    def __init__(self, buffer_bytes: int) -> None:
        self._share = buffer_bytes // SHARE
        self._states: dict[Export, _State] = {}

    def has_room(self, rule: Export, size: int) -> bool:
        state = self._of(rule)
        most = PROBE if state.failing else self._share
        return not state.held or state.held + size <= most

    def is_failing(self, rule: Export) -> bool:
        state = self._states.get(rule)
        return state is not None and state.failing

    def sent(self, rule: Export, size: int) -> None:
        self._of(rule).held += size

    def settled(self, rule: Export, size: int) -> None:
        self._of(rule).held -= size

    def delivered(self, rule: Export) -> None:
        state = self._of(rule)
        if state.failing:
            state.failing = False
            logger.warning("the export of %s to %s works again", rule.filter, rule.kafka_topic)

    def failed(self, rule: Export, text: str, count: int = 1, lasting: bool = True) -> None:
        """`lasting`: the next record will fare no better, as far as is known."""
        state = self._of(rule)
        if lasting and not state.failing:
            logger.error("the export of %s to %s fails: %s", rule.filter, rule.kafka_topic, text)
        state.failing = state.failing or lasting
        state.count += count
        state.text = text

    @property
    def failing(self) -> list[str]:
        """Kafka topics."""
        return sorted({rule.kafka_topic for rule, state in self._states.items() if state.failing})

    def take(self) -> dict[Export, Failures]:
        """What failed since the last call."""
        found = {}
        for rule, state in list(self._states.items()):
            if state.count:
                found[rule] = Failures(state.count, state.text)
                state.count = 0
        return found

    def keep(self, rules: frozenset[Export]) -> None:
        """Forget the rules that are gone."""
        for rule in [each for each, state in self._states.items() if each not in rules and not state.held]:
            del self._states[rule]

    def _of(self, rule: Export) -> _State:
        state = self._states.get(rule)
        if state is None:
            state = self._states[rule] = _State()
        return state
