"""What `manage.py gmqtt` knows: nouns, and what can be done to them."""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from apps.cluster.commandline.client import Api, ApiRefused
from apps.cluster.commandline.output import Output

Run = Callable[[Api, Output, argparse.Namespace], None]
Verbs = Any  # argparse's subparsers

SESSION: Final = (
    "client_id",
    "online",
    "node",
    "username",
    "address",
    "transport",
    "subscriptions",
    "queued",
)
SUBSCRIPTION: Final = ("client_id", "filter", "share", "qos", "node")
MESSAGE: Final = ("topic", "qos", "retain", "size", "publisher", "expires_in", "payload")
MEMORY: Final = ("node", "part", "bytes", "of_rss", "bound", "holds")
LIST_FILTERS: Final = ("node", "prefix", "username", "address", "transport")


def noun(nouns: Verbs, name: str, help: str) -> Verbs:
    parser = nouns.add_parser(name, help=help)
    return parser.add_subparsers(dest="verb", required=True, metavar="VERB")


def verb(verbs: Verbs, name: str, help: str, run: Run) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=help)
    parser.set_defaults(run=run)
    return parser


def _listing(parser: argparse.ArgumentParser, *filters: str) -> argparse.ArgumentParser:
    for name in filters:
        parser.add_argument("--" + name.replace("_", "-"), default="")
    parser.add_argument("--limit", type=int, default=100, help="rows at most; 0: all (default: 100)")
    return parser


def _given(options: argparse.Namespace, *filters: str) -> dict[str, Any]:
    return {name: getattr(options, name) for name in filters}


def _session(api: Api, client_id: str) -> dict[str, Any]:
    found = api.get("cluster/sessions/", client_id=client_id)["results"]
    if not found:
        raise ApiRefused(404, "not_found", f"There is no session of client {client_id!r}.")
    return dict(found[0])


# ---------------------------------------------------------------- clients, sessions


def clients(nouns: Verbs) -> None:
    verbs = noun(nouns, "clients", "clients that are connected")
    _listing(verb(verbs, "list", "who is connected", list_clients), *LIST_FILTERS)
    verb(verbs, "show", "one client, with live counters", show_session).add_argument("client_id")
    kick = verb(verbs, "kick", "disconnect clients; they may come back", kick_clients)
    kick.add_argument("client_id", nargs="+")
    kick.add_argument("--text", default="", help="told to MQTT 5.0 clients")


def list_clients(api: Api, out: Output, options: argparse.Namespace) -> None:
    out.table(api.pages("cluster/clients/", options.limit, **_given(options, *LIST_FILTERS)), SESSION)


def show_session(api: Api, out: Output, options: argparse.Namespace) -> None:
    session = api.get(f"cluster/sessions/{_session(api, options.client_id)['id']}/")
    live, missing = session.pop("live") or {}, session.pop("missing")
    out.item(session | live | ({"live": missing} if missing else {}))


def kick_clients(api: Api, out: Output, options: argparse.Namespace) -> None:
    answers = {}
    for client_id in options.client_id:
        path = f"cluster/sessions/{_session(api, client_id)['id']}/kick/"
        answers[client_id] = api.post(path, {"text": options.text})
    offline = [client_id for client_id, answer in answers.items() if not answer["was_online"]]
    text = f"Kicked {len(answers) - len(offline)}."
    out.done(text + (f" Not connected: {', '.join(offline)}." if offline else ""), answers)


def sessions(nouns: Verbs) -> None:
    verbs = noun(nouns, "sessions", "sessions, online and offline")
    listing = _listing(verb(verbs, "list", "all sessions", list_sessions), *LIST_FILTERS)
    listing.add_argument("--online", action=argparse.BooleanOptionalAction, default=None)
    listing.add_argument("--queued", action=argparse.BooleanOptionalAction, default=None)
    verb(verbs, "show", "one session, with live counters", show_session).add_argument("client_id")
    end = verb(verbs, "end", "end a session with its subscriptions and queue", end_session)
    end.add_argument("client_id")
    queue = verb(verbs, "queue", "the first messages that wait for a client", show_queue)
    queue.add_argument("client_id")
    queue.add_argument("--payload", action="store_true")
    queue.add_argument("--limit", type=int, default=100)
    verb(verbs, "purge", "empty a queue", purge_queue).add_argument("client_id")
    replay = verb(verbs, "replay", "give another client copies of what waits", replay_queue)
    replay.add_argument("client_id")
    replay.add_argument("--to", required=True, metavar="CLIENT_ID")
    replay.add_argument("--limit", type=int, default=1000)


def list_sessions(api: Api, out: Output, options: argparse.Namespace) -> None:
    given = _given(options, *LIST_FILTERS, "online", "queued")
    out.table(api.pages("cluster/sessions/", options.limit, **given), SESSION)


def end_session(api: Api, out: Output, options: argparse.Namespace) -> None:
    api.delete(f"cluster/sessions/{_session(api, options.client_id)['id']}/")
    out.done(f"Ended the session of {options.client_id}.")


def show_queue(api: Api, out: Output, options: argparse.Namespace) -> None:
    path = f"cluster/sessions/{_session(api, options.client_id)['id']}/queue/"
    found = api.get(path, limit=options.limit, payload=options.payload)
    out.table(found["messages"], ("age", *MESSAGE), "Nothing waits.")


def purge_queue(api: Api, out: Output, options: argparse.Namespace) -> None:
    answer = api.post(f"cluster/sessions/{_session(api, options.client_id)['id']}/queue/purge/")
    out.done(f"Purged {answer['purged']}.", answer)


def replay_queue(api: Api, out: Output, options: argparse.Namespace) -> None:
    path = f"cluster/sessions/{_session(api, options.client_id)['id']}/queue/replay/"
    answer = api.post(path, {"to": options.to, "limit": options.limit})
    out.done(f"Replayed {answer['replayed']}.", answer)


# ---------------------------------------------------------------- topics, subscriptions


def topics(nouns: Verbs) -> None:
    verbs = noun(nouns, "topics", "topic filters that are subscribed to")
    _listing(verb(verbs, "list", "with their subscribers by node", list_topics), "prefix", "node")


def list_topics(api: Api, out: Output, options: argparse.Namespace) -> None:
    found = api.pages("cluster/topics/", options.limit, **_given(options, "prefix", "node"))
    out.table(found, ("filter", "subscribers", "nodes"))


def subscriptions(nouns: Verbs) -> None:
    verbs = noun(nouns, "subscriptions", "who is subscribed to what")
    filters = ("client_id", "filter", "prefix", "share", "node")
    _listing(verb(verbs, "list", "all subscriptions", list_subscriptions), *filters)
    recipients = verb(verbs, "recipients", "who would receive a topic", list_recipients)
    _listing(recipients).add_argument("topic")


def list_subscriptions(api: Api, out: Output, options: argparse.Namespace) -> None:
    given = _given(options, "client_id", "filter", "prefix", "share", "node")
    out.table(api.pages("cluster/subscriptions/", options.limit, **given), SUBSCRIPTION)


def list_recipients(api: Api, out: Output, options: argparse.Namespace) -> None:
    found = api.pages("cluster/recipients/", options.limit, topic=options.topic)
    out.table(found, SUBSCRIPTION, "Nobody.")


def subscribe(nouns: Verbs) -> None:
    parser = verb(nouns, "subscribe", "subscribe a client", subscribe_client)
    parser.add_argument("client_id")
    parser.add_argument("filter")
    parser.add_argument("--qos", type=int, choices=(0, 1, 2), default=0)
    parser = verb(nouns, "unsubscribe", "unsubscribe a client", unsubscribe_client)
    parser.add_argument("client_id")
    parser.add_argument("filter")


def subscribe_client(api: Api, out: Output, options: argparse.Namespace) -> None:
    path = f"cluster/sessions/{_session(api, options.client_id)['id']}/subscribe/"
    answer = api.post(path, {"filter": options.filter, "qos": options.qos})
    out.done(f"Subscribed {options.client_id} to {options.filter} at QoS {answer['qos']}.", answer)


def unsubscribe_client(api: Api, out: Output, options: argparse.Namespace) -> None:
    path = f"cluster/sessions/{_session(api, options.client_id)['id']}/unsubscribe/"
    answer = api.post(path, {"filter": options.filter})
    out.done("Unsubscribed." if answer["existed"] else "It was not subscribed to that.", answer)


# ---------------------------------------------------------------- messages


def publish(nouns: Verbs) -> None:
    parser = verb(nouns, "publish", "publish a message", publish_message)
    parser.add_argument("topic")
    payload = parser.add_mutually_exclusive_group(required=True)
    payload.add_argument("--message", help="the payload as text")
    payload.add_argument("--file", help="the file that holds the payload; -: standard input")
    parser.add_argument("--qos", type=int, choices=(0, 1, 2), default=0)
    parser.add_argument("--retain", action="store_true")
    parser.add_argument("--content-type")
    parser.add_argument("--response-topic")
    parser.add_argument("--expiry", type=int, metavar="SECONDS")
    parser.add_argument("--user-property", action="append", default=[], metavar="NAME=VALUE")


def publish_message(api: Api, out: Output, options: argparse.Namespace) -> None:
    if options.message is not None:
        payload = options.message.encode("utf-8", "surrogateescape")
    elif options.file == "-":
        payload = sys.stdin.buffer.read()
    else:
        payload = Path(options.file).read_bytes()
    properties = {
        "content_type": options.content_type,
        "response_topic": options.response_topic,
        "message_expiry": options.expiry,
        "user_properties": [list(each.partition("=")[::2]) for each in options.user_property] or None,
    }
    answer = api.post(
        "cluster/publish/",
        {
            "topic": options.topic,
            "payload_base64": base64.b64encode(payload).decode(),
            "qos": options.qos,
            "retain": options.retain,
            "properties": {name: value for name, value in properties.items() if value is not None},
        },
    )
    out.done("Published." if answer["subscribed"] else "Published; nobody is subscribed.", answer)


def retained(nouns: Verbs) -> None:
    verbs = noun(nouns, "retained", "retained messages")
    listing = _listing(verb(verbs, "list", "by topic filter", list_retained))
    listing.add_argument("filter", nargs="?", default="#")
    listing.add_argument("--payload", action="store_true", help="the beginning of each payload, base64")
    verb(verbs, "show", "one, with its payload in base64", show_retained).add_argument("topic")
    verb(verbs, "delete", "delete one, on every node", delete_retained).add_argument("topic")


def list_retained(api: Api, out: Output, options: argparse.Namespace) -> None:
    given = _given(options, "filter", "payload")
    out.table(api.pages("cluster/retained/", options.limit, 100, **given), MESSAGE)


def show_retained(api: Api, out: Output, options: argparse.Namespace) -> None:
    out.item(api.get("cluster/retained/message/", topic=options.topic))


def delete_retained(api: Api, out: Output, options: argparse.Namespace) -> None:
    api.delete("cluster/retained/message/", topic=options.topic)
    out.done(f"Deleted the retained message of {options.topic}.")


def drops(nouns: Verbs) -> None:
    verbs = noun(nouns, "drops", "messages that were dropped")
    filters = ("reason", "direction", "client_id", "topic", "node")
    _listing(verb(verbs, "list", "counted by kind and hour", list_drops), *filters)


def list_drops(api: Api, out: Output, options: argparse.Namespace) -> None:
    given = _given(options, "reason", "direction", "client_id", "topic", "node")
    columns = ("count", "reason", "direction", "client_id", "topic", "node", "last")
    out.table(api.pages("cluster/drops/", options.limit, **given), columns)


# ---------------------------------------------------------------- bans


def ban(nouns: Verbs) -> None:
    verbs = noun(nouns, "ban", "who may not connect")
    _listing(verb(verbs, "list", "all bans", list_bans), "kind", "value")
    add = verb(verbs, "add", "ban, and disconnect who fits", add_ban)
    add.add_argument("kind", choices=("client_id", "username", "address", "pattern"))
    add.add_argument("value")
    add.add_argument("--until", help="a time such as 2026-12-31T12:00:00Z; left out: for good")
    add.add_argument("--reason", default="")
    verb(verbs, "lift", "take a ban back", lift_ban).add_argument("id", type=int)


def list_bans(api: Api, out: Output, options: argparse.Namespace) -> None:
    columns = ("id", "kind", "value", "until", "active", "reason", "automatic")
    out.table(api.pages("bans/", options.limit, **_given(options, "kind", "value")), columns)


def add_ban(api: Api, out: Output, options: argparse.Namespace) -> None:
    body = {"kind": options.kind, "value": options.value, "until": options.until, "reason": options.reason}
    answer = api.post("bans/", {name: value for name, value in body.items() if value})
    out.done(f"Ban {answer['id']}: {answer['kind']} {answer['value']}.", answer)


def lift_ban(api: Api, out: Output, options: argparse.Namespace) -> None:
    api.delete(f"bans/{options.id}/")
    out.done(f"Lifted ban {options.id}.")


# ---------------------------------------------------------------- memory, nodes, bridges


def memory(nouns: Verbs) -> None:
    verb(nouns, "memory", "where the memory of each node is", show_memory)


def show_memory(api: Api, out: Output, options: argparse.Namespace) -> None:
    found = api.get("cluster/memory/")
    rows = [
        {"node": node["node"], "of_rss": f"{part['bytes'] / node['rss']:.1%}", **part}
        for node in found["results"]
        for part in [
            {"part": "resident", "bytes": node["rss"], "bound": "limits.memory", "holds": "all"},
            *node["parts"],
        ]
    ]
    out.table(rows, MEMORY)
    for node, why in found["missing"].items():
        print(f"{node}: {why}", file=sys.stderr)


def nodes(nouns: Verbs) -> None:
    verbs = noun(nouns, "nodes", "the nodes of the cluster")
    _listing(verb(verbs, "list", "all nodes", list_nodes), "state")
    verb(verbs, "show", "one node, with its counters", show_node).add_argument("name")
    verb(verbs, "forget", "take a node that is down out of the list", forget_node).add_argument("name")


def list_nodes(api: Api, out: Output, options: argparse.Namespace) -> None:
    rows = api.pages("cluster/nodes/", options.limit, state=options.state)
    figures = ("connections", "sessions", "subscriptions", "retained")
    shown = [row | {name: row["stats"].get(name) for name in figures} for row in rows]
    out.table(shown, ("name", "state", "live", "version", *figures, "seen_at"))


def node_of(api: Api, name: str) -> dict[str, Any]:
    found = api.get("cluster/nodes/", name=name)["results"]
    if not found:
        raise ApiRefused(404, "not_found", f"There is no node {name!r}.")
    return dict(found[0])


def show_node(api: Api, out: Output, options: argparse.Namespace) -> None:
    node = node_of(api, options.name)
    out.item(node | node.pop("stats"))


def forget_node(api: Api, out: Output, options: argparse.Namespace) -> None:
    api.delete(f"cluster/nodes/{node_of(api, options.name)['id']}/")
    out.done(f"Forgot node {options.name}.")


def bridge(nouns: Verbs) -> None:
    verbs = noun(nouns, "bridge", "the bridges to Kafka")
    verb(verbs, "status", "state and lag of each", bridge_status)
    verb(verbs, "pause", "stop reading for a node", pause_bridge).add_argument("node")
    verb(verbs, "resume", "read on", resume_bridge).add_argument("node")


def bridge_status(api: Api, out: Output, options: argparse.Namespace) -> None:
    out.table(api.get("cluster/bridges/")["results"], ("node", "state", "lag"))


def pause_bridge(api: Api, out: Output, options: argparse.Namespace) -> None:
    out.done(f"Paused the bridge of {options.node}.", api.post(f"cluster/bridges/{options.node}/pause/"))


def resume_bridge(api: Api, out: Output, options: argparse.Namespace) -> None:
    out.done(f"Resumed the bridge of {options.node}.", api.post(f"cluster/bridges/{options.node}/resume/"))


def status(nouns: Verbs) -> None:
    verb(nouns, "status", "the cluster at a glance", show_status)


def show_status(api: Api, out: Output, options: argparse.Namespace) -> None:
    out.item(api.get("cluster/status/"))


NOUNS: Final[tuple[Callable[[Verbs], None], ...]] = (
    *(
        status,
        memory,
        nodes,
        clients,
        sessions,
        subscriptions,
        topics,
        subscribe,
        publish,
        retained,
        drops,
        ban,
    ),
    bridge,
)
