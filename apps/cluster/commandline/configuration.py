"""`gmqtt config` and `gmqtt dump`."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from apps.cluster.commandline.client import Api
from apps.cluster.commandline.nouns import Verbs, node_of, noun, verb
from apps.cluster.commandline.output import Output
from gmqtt_platform.config.loader import ConfError, load

REFUSED = 1


def config(nouns: Verbs) -> None:
    verbs = noun(nouns, "config", "the configuration: of a file, and of nodes that run")
    checking = verb(verbs, "check", "is this file, with the environment, one that a node takes?", check)
    checking.add_argument("file", nargs="?", default="", help="default: the file of this configuration")
    for name, help, run in (
        ("show", "what is in force on a node, and the source of each value", show),
        ("diff", "what a node's file and environment say that is not in force", diff),
        ("reload", "have a node read its file again, as kill -HUP does", reload),
    ):
        verb(verbs, name, help, run).add_argument("node", nargs="?", default="", help="default: this one")


def dump(nouns: Verbs) -> None:
    writing = verb(nouns, "dump", "have a node write its state to a file, for support", write_dump)
    writing.add_argument("node", nargs="?", default="", help="default: this one")


def check(api: Api, out: Output, options: argparse.Namespace) -> None:
    checked(out, options.file)


def checked(out: Output, file: str) -> None:
    """No node is asked."""
    environ = os.environ | ({"GMQTT_CONF": file} if file else {})
    try:
        conf = load(environ)
    except ConfError as error:
        raise CommandError(f"configuration error: {error}", returncode=2) from None
    out.done(f"{conf.file} can be used.", {"file": conf.file, "ok": True})


def _path(api: Api, options: argparse.Namespace, rest: str) -> str:
    name = options.node or settings.GMQTT.node.name
    return f"cluster/nodes/{node_of(api, name)['id']}/{rest}"


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def show(api: Api, out: Output, options: argparse.Namespace) -> None:
    found = api.get(_path(api, options, "configuration/"))
    rows = [row | {"value": _written(row["value"])} for row in found["rows"]]
    out.table(found["rows"] if out.as_json else rows, ("key", "value", "source", "live", "needs_restart"))
    _complain(out, found["error"])


def diff(api: Api, out: Output, options: argparse.Namespace) -> None:
    found = api.get(_path(api, options, "configuration/diff/"))
    _complain(out, found["error"])
    rows = [row | {name: _written(row[name]) for name in ("in_force", "in_file")} for row in found["rows"]]
    columns = ("key", "in_force", "in_file", "source", "live")
    out.table(found["rows"] if out.as_json else rows, columns, "The file says what is in force.")


def reload(api: Api, out: Output, options: argparse.Namespace) -> None:
    found = api.post(_path(api, options, "configuration/reload/"))
    _complain(out, found["error"])
    lines = []
    if found["in_force"]:
        lines.append(f"In force: {', '.join(found['in_force'])}.")
    if found["needs_restart"]:
        lines.append(f"Needs a restart: {', '.join(found['needs_restart'])}.")
    out.done(" ".join(lines) or "Nothing has changed.", found)


def _complain(out: Output, error: str) -> None:
    if error:
        raise CommandError(f"{error}; everything is as it was", returncode=REFUSED)


def write_dump(api: Api, out: Output, options: argparse.Namespace) -> None:
    found = api.post(_path(api, options, "dump/"))
    out.done(f"Written to {found['path']} ({found['bytes']} bytes) on the node's machine.", found)
