"""Sessions, queues and retained messages as records, from and to where this configuration keeps them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import tempfile
from collections.abc import Iterator
from typing import Any, Final

from apps.cluster.sessions.portable import RedisContents, RedisFilling
from apps.gateway.broker.messages import Delivery, Message
from apps.gateway.mqtt import topics
from apps.gateway.sessions.portable import (
    Contents,
    Filling,
    SavedMessage,
    SavedSession,
    SqliteContents,
    SqliteFilling,
)
from gmqtt_platform import datadir
from gmqtt_platform.backup.container import BadFile
from gmqtt_platform.config import providers
from gmqtt_platform.config.loader import Conf

RETAINED: Final = "retained"
SESSION: Final = "session"
MESSAGE: Final = "message"  # of several queues
QUEUED: Final = "queued"
KINDS: Final = (RETAINED, SESSION, MESSAGE, QUEUED)

Record = tuple[str, dict[str, Any]]


def contents(conf: Conf, now: float) -> Contents | None:
    """None: this configuration keeps nothing. StoreError, RedisError."""
    if providers.find("broker.provider", conf.broker.provider).cluster:
        return RedisContents(conf.redis.url, conf.cluster.prefix, now, _kept(conf) == "cluster")
    path = datadir.sessions_file(conf)
    return SqliteContents(path, now) if _kept(conf) == "node" and path.exists() else None


def filling(conf: Conf) -> Filling | None:
    """None: this configuration would keep nothing. StoreError, RedisError, `NotEmpty`."""
    if providers.find("broker.provider", conf.broker.provider).cluster:
        return RedisFilling(conf.redis.url, conf.cluster.prefix)
    return SqliteFilling(datadir.sessions_file(conf)) if _kept(conf) == "node" else None


# ------------------------------------------------------------------------------------------ records


def records(source: Contents) -> Iterator[Record]:
    """Retained messages by topic, then sessions by client id, each with its queue behind it."""
    for message in source.retained():
        yield RETAINED, _message(message)
    names: dict[str, str] = {}  # of messages of several queues: the store's -> the digest of what is in it
    told: set[str] = set()
    for session in source.sessions():
        yield (
            SESSION,
            {
                "client_id": session.client_id,
                "username": session.username,
                "created": session.created,
                "expiry": session.expiry,
                "expires_at": session.expires_at,
                "subscriptions": session.subscriptions,
                "incoming": session.incoming,
            },
        )
        for saved in source.queue(session.client_id):
            body = {} if saved.shared in names else _message(saved.delivery.message)
            if saved.shared:
                if saved.shared not in names:
                    text = repr(sorted(body.items())).encode()
                    names[saved.shared] = hashlib.sha256(text).hexdigest()[:32]
                name = names[saved.shared]
                if name not in told:
                    told.add(name)
                    yield MESSAGE, {"name": name, **body}
                body = {"message": name}
            yield QUEUED, {**_place(saved), **body}


def _message(message: Message) -> dict[str, Any]:
    return {
        "topic": message.topic,
        "payload": _text(message.payload),
        "qos": message.qos,
        "retain": message.retain,
        "properties": _text(message.properties),
        "expires": message.expires,
        "origin": message.origin,
    }


def _place(saved: SavedMessage) -> dict[str, Any]:
    delivery = saved.delivery
    return {
        "delivered_qos": delivery.qos,
        "delivered_retain": delivery.retain,
        "identifiers": _text(delivery.identifiers),
        "queued_at": int(delivery.queued_at),
        "packet_id": saved.packet_id,
        "state": saved.state,
    }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Shared:
    """Messages that several queues name: in a file, as there may be more of them than memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # as long as this object
        self._places: dict[str, tuple[int, int]] = {}
        self._last: tuple[str, Message] | None = None

    def add(self, name: str, values: dict[str, Any]) -> None:
        text = json.dumps(values).encode()
        self._places[name] = (self._file.seek(0, 2), len(text))
        self._file.write(text)

    def get(self, name: str) -> Message:
        """`BadFile` where it did not come."""
        if self._last is not None and self._last[0] == name:
            return self._last[1]
        place = self._places.get(name)
        if place is None:
            raise BadFile("a queue names a message that is not there")
        self._file.seek(place[0])
        message = _decoded(json.loads(self._file.read(place[1])), False)
        self._last = (name, message)
        return message


class Decoder:
    """Records as what they stand for. `BadFile` where one cannot be: so a file is checked beforehand."""

    def __init__(self) -> None:
        self._shared = Shared()
        self._client_id: str | None = None

    def fill(self, target: Filling | None, kind: str, values: dict[str, Any]) -> None:
        """Into `target`; None: only to see whether it can be."""
        try:
            if kind == RETAINED:
                message = _decoded(values, True)
                if target is not None:
                    target.retain(message)
            elif kind == SESSION:
                session = _session(values)
                self._client_id = session.client_id
                if target is not None:
                    target.session(session)
            elif kind == MESSAGE:
                _decoded(values, False)
                self._shared.add(str(values["name"]), values)
            elif kind == QUEUED:
                saved = self._saved(values)
                if self._client_id is None:
                    raise BadFile("a queue without a session")
                if target is not None:
                    target.message(self._client_id, saved)
        except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
            raise BadFile(f"a {kind} record that cannot be read ({type(error).__name__}: {error})") from None

    def _saved(self, values: dict[str, Any]) -> SavedMessage:
        shared = str(values.get("message", ""))
        message = self._shared.get(shared) if shared else _decoded(values, False)
        identifiers = base64.b64decode(values["identifiers"], validate=True)
        delivered = int(values["delivered_qos"])
        if delivered not in (0, 1, 2) or not 0 <= int(values["packet_id"]) < 65_536:
            raise ValueError("QoS or packet identifier")
        delivery = Delivery(message, delivered, bool(values["delivered_retain"]), identifiers)
        delivery.queued_at = float(values["queued_at"])
        return SavedMessage(delivery, int(values["packet_id"]), int(values["state"]), shared)


def _decoded(values: dict[str, Any], retained: bool) -> Message:
    topic, qos = values["topic"], int(values["qos"])
    if not isinstance(topic, str) or not topic or qos not in (0, 1, 2):
        raise ValueError("topic or QoS")
    payload = base64.b64decode(values["payload"], validate=True)
    properties = base64.b64decode(values["properties"], validate=True)
    retain = retained or bool(values["retain"])
    return Message(topic, payload, qos, retain, properties, float(values["expires"]), str(values["origin"]))


def _session(values: dict[str, Any]) -> SavedSession:
    subscriptions = []
    for name, qos, no_local, as_published, identifier in values["subscriptions"]:
        topics.split_share(name)
        subscriptions.append((str(name), int(qos), bool(no_local), bool(as_published), int(identifier)))
    if not values["client_id"]:
        raise ValueError("client id")
    return SavedSession(
        str(values["client_id"]),
        str(values["username"]),
        float(values["created"]),
        int(values["expiry"]),
        int(values["expires_at"]),
        subscriptions,
        [(int(packet_id), bool(there)) for packet_id, there in values["incoming"]],
    )


def _kept(conf: Conf) -> str:
    """Where sessions outlive their connections, as `Provider.kept`."""
    return providers.find("sessions.provider", conf.sessions.provider).kept
