"""Traffic while something is killed."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

from paho.mqtt.enums import CallbackAPIVersion

from tests.faults.paho import Client

TIMEOUT = 90.0


WINDOW = 20  # publishes of one publisher that may be unacknowledged


class Peer:
    """A client with a persistent session that connects again whenever it has to, to the node it is told."""

    def __init__(self, name: str, ports: list[int]) -> None:
        self.name = name
        self.got: list[str] = []
        self.took: list[tuple[float, float]] = []  # when a message came, seconds after it was sent
        self.online = threading.Event()
        self.subscribed = threading.Event()
        self.lost_session = 0
        self._ports = ports
        self._filter: tuple[str, int] | None = None
        self.client = Client(CallbackAPIVersion.VERSION2, name, clean_session=False)
        self.client.max_inflight_messages_set(WINDOW)
        self.client.reconnect_delay_set(0.05, 0.5)
        self.client.on_message = self._message
        self.client.on_connect = self._connected
        self.client.on_disconnect = lambda *_: self.online.clear()
        self.client.on_subscribe = lambda *_: self.subscribed.set()

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            return
        self.online.set()
        if self._filter is not None and self.subscribed.is_set() and not flags.session_present:
            self.lost_session += 1
        if self._filter is not None and not self.subscribed.is_set():
            client.subscribe(*self._filter)

    def _message(self, client: Any, data: Any, message: Any) -> None:
        number, sent = message.payload.decode().split()
        now = time.time()
        self.got.append(number)
        self.took.append((now, now - float(sent)))

    def start(self, node: int = 0) -> None:
        self.client.connect_async("127.0.0.1", self._ports[node % len(self._ports)], 10)
        self.client.loop_start()

    def move(self, node: int) -> None:
        """To another node, without a word to the first."""
        self.client._host, self.client._port = "127.0.0.1", self._ports[node % len(self._ports)]
        sock = self.client.socket()
        if sock is not None:
            sock.shutdown(socket.SHUT_RDWR)

    def subscribe(self, filter: str, qos: int) -> None:
        self._filter = filter, qos
        if self.online.is_set():
            self.client.subscribe(filter, qos)
        assert self.subscribed.wait(TIMEOUT), self.name

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.online.clear()


class Publisher(Peer):
    """Publishes 0, 1, 2, ... to a topic of its own."""

    def __init__(self, number: int, qos: int, ports: list[int]) -> None:
        super().__init__(f"writer-{qos}-{number}", ports)
        self.qos = qos
        self.topic = f"durable/{qos}/{number}"
        self.sent = self.acknowledged = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.client.on_publish = self._published

    def _published(self, *_: Any) -> None:
        self.acknowledged += 1

    def start(self, node: int = 0) -> None:
        super().start(node)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(0.01):
            if self.sent - self.acknowledged < WINDOW:
                payload = f"{self.topic}/{self.sent} {time.time()}"
                self.sent += self.client.offer(self.topic, payload, self.qos)

    def finish(self) -> None:
        self._stopping.set()
        self._thread.join()
        wait(lambda: self.acknowledged >= self.sent, lambda: f"{self.name}: {self.acknowledged}/{self.sent}")


def wait(condition: Any, what: Any) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)
