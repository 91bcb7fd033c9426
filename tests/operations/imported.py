"""What a node says to clients that were imported."""

from __future__ import annotations

from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.services import present
from tests.wire.nodes import until
from tools.servers import Missing

PASSWORDS = {"alice": "first secret", "bob": "zweites Geheimnis ä", "carol": "third"}


# User, action, topic.
QUESTIONS = [
    (user, action, topic)
    for user in PASSWORDS
    for action in ("publish", "subscribe")
    for topic in (
        *("alice/x", "alice/secret/x", "alice/inbox", "news/a", "news/a/b", "public/x", "both sides"),
        *("own/alice/x", "own/bob/x", "by/any-alice/up", "by/any-bob/up", "own/carol", "other"),
    )
]


def installed(name: str) -> str:
    import shutil

    with present():
        found = shutil.which(name) or (f"/usr/sbin/{name}" if Path(f"/usr/sbin/{name}").exists() else "")
        if not found:
            raise Missing(f"{name} is not installed")
    return found


def connects(port: int, client_id: str, username: str | None, password: str | None) -> bool | None:
    """None: nobody listens."""
    made = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5)
    made.username_pw_set(username, password)
    answers: list[bool] = []
    made.on_connect = lambda _c, _d, _f, reason, _p: answers.append(not reason.is_failure)
    try:
        made.connect("127.0.0.1", port)
    except OSError:
        return None
    made.loop_start()
    until(lambda: answers, 20)
    made.disconnect()
    made.loop_stop()
    return answers[0]


class Asked:
    """One user at one broker, and whether a message gets there or from there."""

    def __init__(self, port: int, user: str, password: str, client_id: str = "") -> None:
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id or f"any-{user}", protocol=paho.MQTTv5
        )
        self.client.username_pw_set(user, password)
        self.codes: dict[int, bool] = {}
        self.client.on_publish = lambda _c, _d, mid, reason, _p: self.codes.update(
            {mid: not reason.is_failure}
        )
        self.client.on_subscribe = lambda _c, _d, mid, reasons, _p: self.codes.update(
            {mid: not reasons[0].is_failure}
        )
        self.seen: list[str] = []
        self.client.on_message = lambda _c, _d, message: self.seen.append(message.topic)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        until(self.client.is_connected, 20)

    def publishes(self, topic: str) -> bool:
        mid = self.client.publish(topic, b"x", 1).mid
        until(lambda: mid in self.codes, 20)
        return self.codes[mid]

    def subscribes(self, topic: str) -> bool:
        mid = self.client.subscribe(topic, 1)[1]
        assert mid is not None
        until(lambda: mid in self.codes, 20)
        return self.codes[mid]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def answers(port: int) -> dict[tuple[str, str, str], bool]:
    users = {user: Asked(port, user, password) for user, password in PASSWORDS.items()}
    sender = Asked(port, "sender", "sends")
    found = {}
    for user, action, topic in QUESTIONS:
        asked = users[user]
        if action == "publish":
            found[user, action, topic] = asked.publishes(topic)
            continue
        if asked.subscribes(topic):
            sender.publishes(topic)
    sender.publishes("end")
    for user, asked in users.items():
        # What is delivered comes before the answer to what the same client asks next.
        asked.publishes(f"own/{user}/mark")
        for topic in {topic for name, action, topic in QUESTIONS if name == user and action == "subscribe"}:
            found[user, "subscribe", topic] = topic in asked.seen
    for asked in (*users.values(), sender):
        asked.close()
    return found
