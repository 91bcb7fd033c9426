from __future__ import annotations

import json
import logging
import logging.config
from datetime import datetime

import pytest

from gmqtt_platform.config.loader import LogConf
from gmqtt_platform.log import JsonFormatter, logging_config


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
