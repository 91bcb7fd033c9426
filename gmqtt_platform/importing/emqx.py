"""EMQX' data export: the JSON file of version 4, the tar.gz of version 5 (`mnesia` backups inside).

4: auth_mnesia, acl_mnesia, blacklist 5: mnesia/emqx_authn_mnesia, emqx_acl, emqx_banned,
emqx_retainer_message; cluster.hocon says how passwords are hashed
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import tarfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from apps.auth import hashers, passwords
from gmqtt_platform.code.document import Place
from gmqtt_platform.importing import erlang
from gmqtt_platform.importing.found import BadSource, Found, RetainedMessage

SALT: Final = 4  # bytes, in version 4
LARGEST: Final = 1 << 30  # bytes of one table
ACTIONS: Final = {
    "pub": "publish",
    "sub": "subscribe",
    "pubsub": "both",
    "publish": "publish",
    "subscribe": "subscribe",
    "all": "both",
}
_PLACES: Final = {
    "%u": "${username}",
    "%c": "${clientid}",
    "${username}": "${username}",
    "${clientid}": "${clientid}",
    "${client_id}": "${clientid}",
}
BANS: Final = {"clientid": "client_id", "username": "username", "peerhost": "address"}
_ALGORITHM: Final = re.compile(r"password_hash_algorithm\s*[={:]\s*\{?([^}]*)\}")
_PAIR: Final = re.compile(r"\"?(\w+)\"?\s*[=:]\s*\"?([\w-]+)\"?")


def read(found: Found, path: Path, algorithm: dict[str, Any]) -> None:
    """`algorithm`: how passwords are hashed, where the file does not say. BadSource; OSError."""
    if tarfile.is_tarfile(path):
        _Five(found, path, algorithm).read()
        return
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or "version" not in document:
            raise BadSource(f"{path}: not EMQX' data export: it has no version")
        _four(found, document, str(path), algorithm)
    except (ValueError, RecursionError) as error:
        raise BadSource(f"{path}: neither EMQX' JSON nor its tar.gz: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise BadSource(f"{path}: not EMQX' data export: {type(error).__name__} {error}") from None


def allow_unmatched(found: Found) -> None:
    """What EMQX does by default (`no_match = allow`): where no rule matches the answer is yes."""
    place = Place("no_match", 0, "")
    found.add_rule(place, "allow", "both", "#", priority=-32_768)


class _Users:
    """Users who log in by user name, and clients who log in by client id."""

    def __init__(self, found: Found, algorithm: dict[str, Any]) -> None:
        self._found = found
        self._algorithm = algorithm
        self._has_noted = False

    def add(
        self, place: Place, kind: str, name: str, digest: str, salt: bytes, superuser: bool = False
    ) -> None:
        try:
            if self._algorithm.get("name") == "plain":
                hashed = passwords.encode_keyed(digest)
            else:
                hashed = hashers.from_emqx(self._algorithm, digest, salt)
        except hashers.BadHash as error:
            self._found.note(place, f"is left out: {error}")
            return
        if kind == "username":
            self._found.add_client(name, hashed, place)
        else:
            self._found.add_client(name, hashed, place, name, True)
            if not self._has_noted:
                self._has_noted = True
                self._found.note(
                    place, "clients that log in by client id have to send it as their user name, too"
                )
        if superuser and name in self._found.clients:
            self._found.note(place, "a superuser: it gets a rule that allows everything")
            self._found.add_rule(place, "allow", "both", "#", name, priority=32_767)


class _Rules:
    def __init__(self, found: Found) -> None:
        self._found = found

    def add(self, place: Place, kind: str, name: str, access: str, action: str, topic: str) -> None:
        """`kind`: username, clientid or all."""
        wanted = ACTIONS.get(action)
        if wanted is None or access not in ("allow", "deny"):
            self._found.note(place, f"is left out: {access} {action}")
            return
        if topic.startswith("eq "):
            self._found.note(place, f"{topic!r} is left out: no filter stands for itself alone here")
            return
        topic = re.sub(r"%[uc]|\$\{\w+\}", lambda match: _PLACES.get(match[0], match[0]), topic)
        if kind == "all":
            self._found.add_rule(place, access, wanted, topic)
        elif name in self._found.clients:
            own = self._found.clients[name].key[0] == name
            if own == (kind == "clientid"):
                self._found.add_rule(place, access, wanted, topic, name)
            else:
                self._found.note(
                    place, f"is left out: {name!r} logs in by the other of client id and user name"
                )
        else:
            self._found.note(place, f"is left out: there is no {kind} {name!r}")


def _ban(found: Found, place: Place, kind: str, value: str, until: Any, reason: str) -> None:
    if kind not in BANS:
        found.note(place, f"ban of {kind} {value!r} is left out: no such kind here")
        return
    end = None
    if isinstance(until, (int, float)) and not isinstance(until, bool):
        if until <= time.time():
            return  # it has ended
        end = datetime.fromtimestamp(min(until, 253_402_300_799), UTC)
    found.add_ban(place, BANS[kind], value, end, reason)


# ----------------------------------------------------------------------------------------- version 4


def _four(found: Found, document: dict[str, Any], file: str, algorithm: dict[str, Any]) -> None:
    for module in document.get("modules", ()):
        if module.get("type") == "mnesia_authentication":
            algorithm = {"name": module["config"]["password_hash"], "salt_position": "prefix"}
    users, rules = _Users(found, algorithm), _Rules(found)
    for index, row in enumerate(document.get("auth_mnesia", ())):
        kind, place = str(row.get("type", "username")), Place(f"{file}: auth_mnesia[{index}]", 0, "")
        raw = base64.b64decode(row["password"], validate=True)
        users.add(place, kind, str(row["login"]), raw[SALT:].decode("ascii"), raw[:SALT])
    for index, row in enumerate(document.get("acl_mnesia", ())):
        place = Place(f"{file}: acl_mnesia[{index}]", 0, "")
        kind, name = str(row.get("type", "username")), str(row.get("type_value", row.get("login", "")))
        rules.add(place, kind, name, str(row["access"]), str(row["action"]), str(row["topic"]))
    for index, row in enumerate(document.get("blacklist", ())):
        ((kind, value),) = row["who"].items()
        place = Place(f"{file}: blacklist[{index}]", 0, "")
        _ban(found, place, kind, str(value), row.get("until"), str(row.get("reason") or ""))
    for name in ("rules", "resources", "schemas"):
        if document.get(name):
            found.note(
                f"{file}: {name}", f"{len(document[name])} are left out: export rules to Kafka are made anew"
            )
    for name in ("apps", "users"):
        if document.get(name):
            found.note(
                f"{file}: {name}",
                f"{len(document[name])} are left out: make service accounts and operators anew",
            )


# ----------------------------------------------------------------------------------------- version 5


class _Five:
    def __init__(self, found: Found, path: Path, algorithm: dict[str, Any]) -> None:
        self._found = found
        self._path = path
        self._algorithm = algorithm

    def read(self) -> None:
        try:
            with tarfile.open(self._path) as archive:
                files = {Path(member.name).name: member for member in archive if member.isfile()}
                if "META.hocon" not in files:
                    raise BadSource(f"{self._path}: not EMQX' data export: it has no META.hocon")
                self._config(self._content(archive, files.get("cluster.hocon")).decode(errors="replace"))
                for table, add in (
                    ("emqx_authn_mnesia", self._users),
                    ("emqx_acl", self._rules),
                    ("emqx_banned", self._bans),
                    ("emqx_retainer_message", self._retained),
                ):
                    content = self._content(archive, files.pop(table, None))
                    add(Place(f"{self._path}: {table}", 0, ""), erlang.backup_rows(content, table))
                for name, member in files.items():
                    if "mnesia" in Path(member.name).parts:
                        self._found.note(f"{self._path}: {name}", "is left out")
        except (tarfile.TarError, EOFError, erlang.BadTerm) as error:
            raise BadSource(f"{self._path}: {error}") from None
        except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadSource(
                f"{self._path}: a table that cannot be read: {type(error).__name__} {error}"
            ) from None

    def _content(self, archive: tarfile.TarFile, member: tarfile.TarInfo | None) -> bytes:
        if member is None:
            return b""
        if member.size > LARGEST:
            raise BadSource(f"{self._path}: {member.name} is larger than {LARGEST >> 20} MiB")
        file = archive.extractfile(member)
        return file.read() if file is not None else b""

    def _config(self, text: str) -> None:
        self._kind = "clientid" if re.search(r"user_id_type\s*[=:]\s*\"?clientid", text) else "username"
        match = _ALGORITHM.search(text)
        if match:
            self._algorithm = dict(_PAIR.findall(match[1]))

    def _users(self, place: Place, rows: Iterator[Any]) -> None:
        users = _Users(self._found, self._algorithm)
        for _, (_, name), digest, salt, superuser in rows:
            where = Place(f"{place.file}: {_text(name)!r}", 0, "")
            users.add(where, self._kind, _text(name), _text(digest), salt, superuser == "true")

    def _rules(self, place: Place, rows: Iterator[Any]) -> None:
        rules = _Rules(self._found)
        for _, who, entries in rows:
            kind, name = ("all", "") if who == 0 else ({1: "username", 2: "clientid"}[who[0]], _text(who[1]))
            for entry in entries:
                where = Place(f"{place.file}: {kind} {name!r}", 0, "")
                if len(entry) > 3 and isinstance(entry[1], list | tuple):
                    self._found.note(where, "an entry with conditions is left out")
                    continue
                access, action, topic = entry[0], entry[-2], entry[-1]
                if isinstance(action, dict):
                    limits = {key: value for key, value in action.items() if key != "action_type"}
                    action = action.get("action_type")
                    if limits.get("retain", "all") != "all" or sorted(limits.get("qos", [0, 1, 2])) != [
                        0,
                        1,
                        2,
                    ]:
                        self._found.note(
                            where, f"{_text(topic)!r}: its conditions on QoS and retain are left out"
                        )
                        if access == "deny":
                            continue
                topic = f"eq {_text(topic[1])}" if isinstance(topic, tuple) else _text(topic)
                rules.add(where, kind, name, str(access), str(action), topic)

    def _bans(self, place: Place, rows: Iterator[Any]) -> None:
        for _, (kind, value), _, reason, _, until in rows:
            if kind == "peerhost" and isinstance(value, tuple):
                size = 1 if len(value) == 4 else 2
                value = str(ipaddress.ip_address(b"".join(part.to_bytes(size, "big") for part in value)))
            _ban(
                self._found,
                place,
                str(kind),
                _text(value),
                until,
                _text(reason) if reason != "undefined" else "",
            )

    def _retained(self, place: Place, rows: Iterator[Any]) -> None:
        now = time.time()
        for _, _, message, expiry in rows:
            _, _, qos, _, _, headers, topic, payload, *_ = message
            left = int(expiry / 1000 - now) if expiry else 0
            if expiry and left <= 0:
                continue
            if _text(topic).startswith("$"):
                continue
            if isinstance(headers, dict) and headers.get("properties"):
                self._found.note(f"{place.file}: {_text(topic)!r}", "its MQTT 5.0 properties are left out")
            self._found.retained.append(RetainedMessage(_text(topic), payload, qos, left))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
