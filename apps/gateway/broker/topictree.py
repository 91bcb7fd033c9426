"""Values under topic names, found by name or by filter: the retained messages, the cached routes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

LEVEL: Final = 256  # bytes that a level of a topic or filter costs in a tree


def levels_size(topic: str) -> int:
    """Bytes that a topic or filter costs in a tree, at most: some of its levels may be others', too."""
    return LEVEL * (topic.count("/") + 1)


class _Node(Generic[T]):
    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.children: dict[str, _Node[T]] | None = None
        self.value: T | None = None

    def idle(self) -> bool:
        return self.value is None and not self.children


class TopicTree(Generic[T]):
    """A dict by topic, and beside it a tree by level that answers filters."""

    def __init__(self) -> None:
        self._values: dict[str, T] = {}
        self._root: _Node[T] = _Node()
        self.levels = 0  # nodes below the root: what the tree costs in memory beside its values

    def __len__(self) -> int:
        return len(self._values)

    def get(self, topic: str) -> T | None:
        return self._values.get(topic)

    def values(self) -> list[T]:
        return list(self._values.values())

    def set(self, topic: str, value: T) -> None:
        self._values[topic] = value
        node = self._root
        for level in topic.split("/"):
            if node.children is None:
                node.children = {}
            child = node.children.get(level)
            if child is None:
                child = _Node()
                node.children[level] = child
                self.levels += 1
            node = child
        node.value = value

    def pop(self, topic: str) -> T | None:
        value = self._values.pop(topic, None)
        if value is None:
            return None
        node = self._root
        path: list[tuple[_Node[T], str]] = []
        for level in topic.split("/"):
            if node.children is None:
                return value
            path.append((node, level))
            node = node.children[level]
        node.value = None
        while path and node.idle():
            node, level = path.pop()
            if node.children is not None:
                del node.children[level]
                self.levels -= 1
        return value

    def clear(self) -> None:
        self._values.clear()
        self._root = _Node()
        self.levels = 0

    def match(self, filter: str) -> list[T]:
        """The values of all topics that `filter` matches, by the rules of section 4.7."""
        if "+" not in filter and "#" not in filter:
            value = self._values.get(filter)
            return [] if value is None else [value]
        found: list[T] = []
        nodes: list[_Node[T]] = [self._root]
        first = True
        for level in filter.split("/"):
            if level == "#":
                for node in nodes:
                    self._below(node, first, found)
                return found
            after: list[_Node[T]] = []
            for node in nodes:
                if node.children is None:
                    continue
                if level != "+":
                    child = node.children.get(level)
                    if child is not None:
                        after.append(child)
                elif first:  # [MQTT-4.7.2-1]
                    after.extend([child for name, child in node.children.items() if not name.startswith("$")])
                else:
                    after.extend(node.children.values())
            nodes = after
            first = False
        for node in nodes:
            if node.value is not None:
                found.append(node.value)
        return found

    def few(self, filter: str, most: int, visits: int) -> list[T] | None:
        """As `match`; None: there are more than `most`, or it takes more than `visits` levels to say so."""
        if "+" not in filter and "#" not in filter:
            value = self._values.get(filter)
            return [] if value is None else [value]
        levels = filter.split("/")
        found: list[T] = []
        stack: list[tuple[_Node[T], int]] = [(self._root, 0)]
        while stack:
            node, depth = stack.pop()
            level = levels[depth] if depth < len(levels) else ""
            below = level == "#"
            if depth == len(levels) or below:
                value = node.value
                if value is not None:
                    if len(found) == most:
                        return None
                    found.append(value)
                if not below:
                    continue
            if node.children is None:
                continue
            if level not in ("+", "#"):
                child = node.children.get(level)
                if child is not None:
                    stack.append((child, depth + 1))
                continue
            visits -= len(node.children)
            if visits < 0:
                return None
            after = depth if below else depth + 1
            outermost = node is self._root  # [MQTT-4.7.2-1]
            for name, child in node.children.items():
                if not (outermost and name.startswith("$")):
                    stack.append((child, after))
        return found

    def walk(self, filter: str) -> Iterator[T]:
        """As `match`, one by one: the tree may change meanwhile, and what does then may be missed."""
        levels = filter.split("/")
        stack: list[tuple[_Node[T], int]] = [(self._root, 0)]
        while stack:
            node, depth = stack.pop()
            level = levels[depth] if depth < len(levels) else ""
            below = level == "#"
            if depth == len(levels) or below:
                value = node.value
                if value is not None:
                    yield value
                if not below:
                    continue
            if node.children is None:
                continue
            if level not in ("+", "#"):
                child = node.children.get(level)
                if child is not None:
                    stack.append((child, depth + 1))
                continue
            after = depth if below else depth + 1
            outermost = node is self._root  # [MQTT-4.7.2-1]
            for name, child in list(node.children.items()):
                if not (outermost and name.startswith("$")):
                    stack.append((child, after))

    def _below(self, start: _Node[T], first: bool, found: list[T]) -> None:
        """Everything at and under `start`; at the root without the $-topics."""
        stack: list[_Node[T]] = [start]
        if first:
            stack = [child for name, child in (start.children or {}).items() if not name.startswith("$")]
        while stack:
            node = stack.pop()
            if node.value is not None:
                found.append(node.value)
            if node.children is not None:
                stack.extend(node.children.values())
