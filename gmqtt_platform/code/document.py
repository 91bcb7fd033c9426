"""A YAML file as plain values, with the line of each. Safe types; no key twice; no aliases that multiply."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

MOST: Final = 2_000_000  # values in a file
LARGEST: Final = 64 << 20  # bytes


class BadDocument(Exception):
    """What is wrong, where: `file:line: key: found; allowed`. Several are a line each."""


@dataclass(frozen=True)
class Place:
    file: str
    line: int
    key: str  # such as clients[3].groups

    def bad(self, text: str) -> BadDocument:
        return BadDocument(
            f"{self.file}:{self.line}: {self.key}: {text}" if self.key else f"{self.file}:{self.line}: {text}"
        )


@dataclass
class Value:
    """A mapping, a list, or a scalar."""

    plain: Any  # dict[str, Value], list[Value], or the scalar
    place: Place


class _Loader(yaml.SafeLoader):
    pass


def load(path: Path) -> Value:
    """BadDocument; OSError."""
    if path.stat().st_size > LARGEST:
        raise BadDocument(f"{path}: larger than {LARGEST >> 20} MiB")
    name = str(path)
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
    except UnicodeDecodeError:
        raise BadDocument(f"{name}: not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise BadDocument(f"{name}:{mark.line + 1 if mark else 1}: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise BadDocument(f"{name}: not YAML: {str(error).splitlines()[0]}") from None
    if node is None:
        return Value({}, Place(name, 1, ""))
    return _Walk(name, loader).value(node, "", ())


class _Walk:
    def __init__(self, name: str, loader: _Loader) -> None:
        self._name = name
        self._loader = loader
        self._count = 0

    def value(self, node: yaml.Node, key: str, above: tuple[int, ...]) -> Value:
        place = Place(self._name, node.start_mark.line + 1, key)
        self._count += 1
        if self._count > MOST:
            raise place.bad(f"more than {MOST} values, counting those that aliases repeat")
        if id(node) in above or len(above) > 20:
            raise place.bad("nested too deeply, or in itself")
        inside = (*above, id(node))
        if isinstance(node, yaml.SequenceNode):
            items = [self.value(each, f"{key}[{index}]", inside) for index, each in enumerate(node.value)]
            return Value(items, place)
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Value] = {}
            for name_node, value_node in node.value:
                name = name_node.value if isinstance(name_node, yaml.ScalarNode) else None
                where = Place(self._name, name_node.start_mark.line + 1, f"{key}.{name}".lstrip("."))
                if name is None:
                    raise where.bad("a key is text")
                if name in found:
                    raise where.bad(f"twice; first in line {found[name].place.line}")
                found[name] = self.value(value_node, where.key, inside)
            return Value(found, place)
        try:
            return Value(self._loader.construct_object(node), place)
        except (yaml.YAMLError, ValueError) as error:
            raise place.bad(str(getattr(error, "problem", error))) from None
