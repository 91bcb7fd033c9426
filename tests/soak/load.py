"""What a soak does to a node all the while: each kind of use is a thread that repeats one round."""

from __future__ import annotations

import contextlib
import json
import random
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from gmqtt_platform.config.loader import ROOT
from tests.soak.console import Console
from tests.wire.nodes import Node
from tests.wire.raw import V5, V311, Closed, Raw, RawWebSocket, Refused, connect, open_raw, publish

TEN_SECONDS = b"\x11\0\0\0\x0a"  # session expiry interval
DISCONNECT = b"\xe0\0"
TRANSPORTS: Final = ("tcp", "tls", "ws", "wss")
IDS: Final = 500  # client ids of each
UNAUTHORIZED: Final = 401
TOO_MANY: Final = 429
Round = Callable[[random.Random, int], None]


class Load:
    """The threads. `account` is "key:secret" of a service account, for REST; `only`: of these kinds."""

    def __init__(
        self, node: Node, context: ssl.SSLContext, account: str, pause: float, only: str = ""
    ) -> None:
        self._node = node
        self._context = context
        self._account = account
        self._bearer = ""
        self._pause = pause  # seconds after each round
        self.counts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.errors: list[str] = []
        self._ending = threading.Event()
        rounds: dict[str, Round] = {
            **{f"connects over {each}": self._churn(each) for each in TRANSPORTS},
            "takeovers": self._take_over,
            "sessions that expire": self._session,
            "queues filled and drained": self._queue,
            "retained messages": self._retain,
            "refused CONNECTs": self._refused,
            "REST and metrics": self._rest,
            "traces": self._trace,
            "console": Console(node).look,
        }
        chosen = [name for name in rounds if name.startswith(tuple(only.split(",")))]
        self._threads = [
            threading.Thread(target=self._repeat, args=(name, rounds[name]), daemon=True) for name in chosen
        ]
        self.names = chosen

    def fill(self, times: int) -> None:
        """What a node remembers of these clients, up to a bound for each, is full after so many connects."""
        for number in range(times * IDS):
            for transport in TRANSPORTS:
                with self._open("tcp") as client:
                    client.connect(V311, f"{transport}-{number % IDS}")

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(60)

    def _repeat(self, name: str, act: Round) -> None:
        chance, number = random.Random(name), 0
        while not self._ending.wait(self._pause):
            number += 1
            try:
                act(chance, number)
                self.counts[name] += 1
            except (OSError, Closed, Refused, AssertionError) as error:
                self.failures[name] += 1
                self.errors.append(f"{name}: {error!r}")

    def _open(self, transport: str) -> Raw:
        return open_raw(self._node, transport, self._context, timeout=30.0)

    def _churn(self, transport: str) -> Round:
        def churn(chance: random.Random, number: int) -> None:
            client = self._open(transport)
            client.connect(chance.choice((V311, V5)), f"{transport}-{number % IDS}")
            version = V311 if chance.random() < 0.5 else V5
            client.close()
            client = self._open(transport)
            client.connect(version, f"{transport}-{number % IDS}")
            topic = f"soak/{transport}/{chance.getrandbits(48):x}"
            client.subscribe(version, topic, f"soak/{transport}/+/{number}", qos=1)
            client.send(publish(version, topic, chance.randbytes(chance.randrange(10, 2000)), 1, 7))
            for _ in range(2):
                client.packet()  # PUBACK and the message
            ending = chance.randrange(3)
            if ending == 0:
                client.send(DISCONNECT)
            elif ending == 1 and not isinstance(client.sock, ssl.SSLSocket):
                client.reset()
            client.close()

        return churn

    def _take_over(self, chance: random.Random, number: int) -> None:
        first, second = self._open("tcp"), self._open("ws")
        first.connect(V5, "taken")
        second.connect(V5, "taken")
        first.closing()
        first.close()
        second.close()

    def _session(self, chance: random.Random, number: int) -> None:
        with self._open("tcp") as client:
            client.connect(V5, f"away-{chance.getrandbits(48):x}", properties=TEN_SECONDS)
            client.subscribe(V5, f"away/{number % 50}/#", qos=1)

    def _queue(self, chance: random.Random, number: int) -> None:
        with self._open("tcp") as away:
            away.connect(V5, "queue", properties=TEN_SECONDS)
            away.subscribe(V5, "queue/+", qos=1)
        with self._open("tcp") as publisher:
            publisher.connect(V5, "publisher")
            for packet_id in range(1, 201):
                publisher.send(publish(V5, f"queue/{packet_id}", chance.randbytes(300), 1, packet_id))
            for _ in range(200):
                assert publisher.packet()[0] == 0x40
        with self._open("tcp") as back:
            back.send(connect(V5, "queue", clean=False, properties=TEN_SECONDS))
            assert back.packet()[0] == 0x20
            for _ in range(200):
                first, body = back.packet()
                assert first & 0xF0 == 0x30
                at = 2 + int.from_bytes(body[:2])
                back.send(b"\x40\x02" + body[at : at + 2])

    def _retain(self, chance: random.Random, number: int) -> None:
        with self._open("tcp") as client:
            client.connect(V311, "retains")
            for each in range(50):
                client.send(publish(V311, f"kept/{number}/{each}", chance.randbytes(200), retain=True))
                client.send(publish(V311, f"kept/{number - 20}/{each}", b"", retain=True))
            client.ping()

    def _refused(self, chance: random.Random, number: int) -> None:
        client = self._open(chance.choice(("tcp", "tls", "ws")))
        client.send(connect(V311, "", clean=False))
        client.closing()
        client.close()
        with contextlib.suppress(Refused):
            RawWebSocket(self._node.ws, origin="https://foreign.example").close()
            raise AssertionError("a foreign page was let in")

    def _ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        """The answer as JSON; None where it is none, or where there were too many requests."""
        try:
            return self._request(path, method, body)
        except urllib.error.HTTPError as error:
            if error.code == TOO_MANY:
                return None
            if error.code != UNAUTHORIZED:
                raise
        key, secret = self._account.split(":")
        found = self._request("/api/v1/auth/token/", "POST", {"access_key": key, "secret": secret})
        self._bearer = found["access_token"]
        return self._request(path, method, body)

    def _request(self, path: str, method: str, body: object) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._bearer:
            headers["Authorization"] = f"Bearer {self._bearer}"
        data = json.dumps(body).encode() if body is not None else None
        address = f"http://127.0.0.1:{self._node.ws}{path}"
        request = urllib.request.Request(address, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text[:1] in (b"{", b"[") else None

    def _rest(self, chance: random.Random, number: int) -> None:
        for path in ("sessions/", "nodes/", "topics/", "subscriptions/", "retained/", "drops/", "memory/"):
            self._ask(f"/api/v1/cluster/{path}")
        client = ("/client/",) if (ROOT / "build" / "webclient" / "app.js").exists() else ()  # make webclient
        for path in ("/healthz", "/readyz", "/admin/login/", *client):
            with contextlib.suppress(urllib.error.HTTPError):
                self._ask(path)
        time.sleep(3)

    def _trace(self, chance: random.Random, number: int) -> None:
        asked = {"kind": "topic", "value": "soak/#", "seconds": 10, "payloads": True}
        found = self._ask("/api/v1/cluster/traces/", "POST", asked)
        time.sleep(3)
        if found is None:
            return
        self._ask(f"/api/v1/cluster/traces/{found['id']}/")
        self._ask(f"/api/v1/cluster/traces/{found['id']}/", "DELETE")
