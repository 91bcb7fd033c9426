"""Filters with something behind each, found by topic. `mqtt.topics.matches` is the slow twin."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class _Level(Generic[T]):
    __slots__ = ("below", "children", "here")

    def __init__(self) -> None:
        self.children: dict[str, _Level[T]] = {}  # "+" among them
        self.here: list[T] = []
        self.below: list[T] = []  # of filters that end in "/#" here


class FilterTree(Generic[T]):
    def __init__(self) -> None:
        self._root: _Level[T] = _Level()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, filter: str, value: T) -> None:
        levels, below = _split(filter)
        level = self._root
        for name in levels:
            child = level.children.get(name)
            if child is None:
                child = level.children[name] = _Level()
            level = child
        (level.below if below else level.here).append(value)
        self._count += 1

    def remove(self, filter: str, value: T) -> None:
        """Take out what `add` put in; ValueError or KeyError where it is not there."""
        levels, below = _split(filter)
        path: list[_Level[T]] = []
        level = self._root
        for name in levels:
            path.append(level)
            level = level.children[name]
        (level.below if below else level.here).remove(value)
        self._count -= 1
        while path and not (level.children or level.here or level.below):
            level = path.pop()
            del level.children[levels[len(path)]]

    def match(self, topic: str) -> list[T]:
        """What stands behind the filters that match `topic`; twice what stands behind two of them."""
        names = topic.split("/")
        found: list[T] = []
        current = [self._root]
        hidden = topic.startswith("$")  # from filters that begin with a wildcard [MQTT-4.7.2-1]
        for name in names:
            after: list[_Level[T]] = []
            for level in current:
                if not hidden:
                    found += level.below
                for wanted in (name,) if hidden else (name, "+"):
                    child = level.children.get(wanted)
                    if child is not None:
                        after.append(child)
            if not after:
                return found
            current, hidden = after, False
        for level in current:
            found += level.here
            found += level.below  # "sport/#" matches "sport", too
        return found


def _split(filter: str) -> tuple[list[str], bool]:
    levels = filter.split("/")
    below = levels[-1] == "#"
    if below:
        levels.pop()
    return levels, below
