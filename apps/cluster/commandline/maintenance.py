"""`manage.py gmqtt drain` and `trace`."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any, Final

from apps.cluster.commandline.client import Api, ApiRefused
from apps.cluster.commandline.nouns import Verbs, node_of, noun, verb
from apps.cluster.commandline.output import Output

TRACE: Final = ("id", "kind", "value", "ended", "entries", "left_out")
LOOK: Final = 1.0  # seconds between looks at a trace that is followed


def drain(nouns: Verbs) -> None:
    verbs = noun(nouns, "drain", "empty a node: nobody new, and those connected leave steadily")
    starting = verb(verbs, "start", "begin", start_drain)
    starting.add_argument("node")
    starting.add_argument("--rate", type=int, default=None, help="clients a second (default: as configured)")
    verb(verbs, "status", "how far it is", drain_status).add_argument("node")
    verb(verbs, "cancel", "let clients in again", cancel_drain).add_argument("node")


def _path(api: Api, name: str) -> str:
    return f"cluster/nodes/{node_of(api, name)['id']}/drain/"


def start_drain(api: Api, out: Output, options: argparse.Namespace) -> None:
    body = {} if options.rate is None else {"rate": options.rate}
    out.item(api.post(_path(api, options.node), body))


def drain_status(api: Api, out: Output, options: argparse.Namespace) -> None:
    out.item(api.get(_path(api, options.node)))


def cancel_drain(api: Api, out: Output, options: argparse.Namespace) -> None:
    api.delete(_path(api, options.node))
    out.done(f"{options.node} takes clients again.")


def trace(nouns: Verbs) -> None:
    verbs = noun(nouns, "trace", "record what a client, a topic or an address does")
    verb(verbs, "list", "traces that run and ran", list_traces)
    starting = verb(verbs, "start", "record, and follow", start_trace)
    starting.add_argument("kind", choices=("client", "topic", "address"))
    starting.add_argument("value")
    starting.add_argument("--seconds", type=int, default=300)
    starting.add_argument("--payloads", action="store_true")
    starting.add_argument("--detach", action="store_true", help="print the id and do not follow")
    verb(verbs, "show", "the entries of a trace", show_trace).add_argument("id")
    verb(verbs, "stop", "end a trace", stop_trace).add_argument("id")
    verb(verbs, "forget", "end a trace and throw it away", forget_trace).add_argument("id")


def list_traces(api: Api, out: Output, options: argparse.Namespace) -> None:
    out.table(api.get("cluster/traces/")["results"], TRACE, "No traces.")


def start_trace(api: Api, out: Output, options: argparse.Namespace) -> None:
    names = ("kind", "value", "seconds", "payloads")
    trace_id = api.post("cluster/traces/", {name: getattr(options, name) for name in names})["id"]
    if options.detach:
        out.done(trace_id, {"id": trace_id})
        return
    try:
        follow(api, out, trace_id)
    except KeyboardInterrupt:
        api.post(f"cluster/traces/{trace_id}/stop/")


def follow(api: Api, out: Output, trace_id: str) -> None:
    """Print entries as they come, one JSON object a line, until the trace has ended."""
    after: dict[str, Any] = {}
    while True:
        found = api.get(f"cluster/traces/{trace_id}/", after=json.dumps(after))
        for entry in found["entries"]:
            out.line(json.dumps(entry, ensure_ascii=True))
        after = found["next"]
        if found["ended"]:
            return
        time.sleep(LOOK)


def show_trace(api: Api, out: Output, options: argparse.Namespace) -> None:
    found = api.get(f"cluster/traces/{options.id}/")
    if found["missing"] and not found["entries"]:
        raise ApiRefused(404, "not_found", next(iter(found["missing"].values())))
    for entry in found["entries"]:
        out.line(json.dumps(entry, ensure_ascii=True))


def stop_trace(api: Api, out: Output, options: argparse.Namespace) -> None:
    api.post(f"cluster/traces/{options.id}/stop/")
    out.done("Stopped.")


def forget_trace(api: Api, out: Output, options: argparse.Namespace) -> None:
    api.delete(f"cluster/traces/{options.id}/")
    out.done("Forgotten.")
