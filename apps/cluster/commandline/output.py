"""What a command prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, TextIO

WIDEST: Final = 60  # characters of one cell


class Output:
    def __init__(self, stream: TextIO, as_json: bool) -> None:
        self._stream = stream
        self.as_json = as_json

    def table(self, rows: Iterable[dict[str, Any]], columns: Sequence[str], empty: str = "None.") -> None:
        """As JSON a list of whole rows."""
        found = list(rows)
        if self.as_json:
            self._dump(found)
            return
        if not found:
            self.line(empty)
            return
        cells = [[name.upper().replace("_", " ") for name in columns]]
        cells += [[_cell(row.get(name)) for name in columns] for row in found]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            self.line("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())

    def item(self, found: dict[str, Any]) -> None:
        """One thing, a line for each of its members."""
        if self.as_json:
            self._dump(found)
            return
        width = max(map(len, found), default=0)
        for name, value in found.items():
            if isinstance(value, dict):
                value = ", ".join(f"{key}: {each}" for key, each in value.items())
            self.line(f"{name.replace('_', ' ').ljust(width)}  {visible(_plain(value))}")

    def done(self, text: str, answer: Any = None) -> None:
        """Something was done; as JSON what the API answered."""
        if self.as_json:
            self._dump(answer if answer is not None else {})
        else:
            self.line(visible(text))

    def line(self, text: str) -> None:
        self._stream.write(text + "\n")

    def _dump(self, value: Any) -> None:
        self._stream.write(json.dumps(value, indent=2) + "\n")


def visible(text: str) -> str:
    """Clients choose their names: nothing in them may steer a terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _cell(value: Any) -> str:
    text = visible(_plain(value))
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _plain(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case dict():
            return " ".join(f"{key}:{each}" for key, each in value.items())
        case list():
            return " ".join(map(str, value))
        case _:
            return str(value)
