from __future__ import annotations

import json
import logging
import logging.config
from datetime import datetime

import pytest

from gmqtt_platform.config.loader import LogConf
from gmqtt_platform.log import KINDS, BoundedHandler, JsonFormatter, logging_config


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("gmqtt").makeRecord(
        "gmqtt", logging.WARNING, "file.py", 1, message, arguments, None, extra=extra
    )


def test_one_json_object_a_line() -> None:
    text = JsonFormatter().format(record("two\nlines of %s", "é", client_id="a", peer=object))
    line = json.loads(text)
    assert "\n" not in text
    assert line.pop("peer").startswith("<class")
    assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
    assert line == {"level": "warning", "logger": "gmqtt", "message": "two\nlines of é", "client_id": "a"}


def test_an_exception_is_part_of_its_line() -> None:
    try:
        raise RuntimeError("gone")
    except RuntimeError as error:
        failed = record("broken")
        failed.exc_info = (RuntimeError, error, error.__traceback__)
    assert "RuntimeError: gone" in json.loads(JsonFormatter().format(failed))["exception"]


@pytest.mark.parametrize("kind", ["text", "json"])
def test_the_table_makes_a_working_configuration(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logging.config.dictConfig(logging_config(LogConf(level="warning", format=kind)))
        logging.getLogger("gmqtt.test").info("unseen")
        logging.getLogger("django.request").warning("seen")
    finally:
        root.handlers, root.level = handlers, level
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    if kind == "json":
        assert json.loads(err)["message"] == "seen"
    else:
        assert err.endswith("WARNING django.request: seen\n")


def test_strangers_cannot_fill_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    handler = BoundedHandler(3, lambda: now[0])
    for number in range(100):
        handler.handle(record("client %r was refused", f"c{number}"))
        handler.handle(record(f"a text of its own {number}"))
    handler.handle(record("something else"))
    now[0] = 60.0
    handler.handle(record("client %r was refused", "later"))
    handler.close()
    said = capsys.readouterr().err.splitlines()
    assert said[::2][:3] == [f"client 'c{number}' was refused" for number in range(3)]
    assert said[-3:] == [
        "something else",
        "97 more lines of gmqtt were left out: client %r was refused",
        "client 'later' was refused",
    ]


def test_lines_of_many_kinds_are_bounded_too(capsys: pytest.CaptureFixture[str]) -> None:
    handler = BoundedHandler(3, lambda: 0.0)
    for number in range(KINDS + 100):
        handler.handle(record(f"a text of its own {number}"))
    assert len(capsys.readouterr().err.splitlines()) == KINDS + 3


def test_all_lines_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    handler = BoundedHandler(0)
    for _ in range(100):
        handler.handle(record("again"))
    assert len(capsys.readouterr().err.splitlines()) == 100
