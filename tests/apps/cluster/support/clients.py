"""Clients of a cluster of processes."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tools.cluster import Cluster, Process

TIMEOUT = 30.0


@contextmanager
def client(node: Process, level: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5) -> Iterator[Any]:
    one = paho.Client(CallbackAPIVersion.VERSION2, f"c-{secrets.token_hex(4)}", protocol=level)
    connected: Queue[Any] = Queue()
    one.on_connect = lambda *args: connected.put(args[3])
    one.connect("127.0.0.1", node.mqtt)
    one.loop_start()
    connected.get(timeout=TIMEOUT)
    yield one
    one.disconnect()
    one.loop_stop()


@contextmanager
def subscriber(node: Process, filter: str, qos: int = 1) -> Iterator[Queue[Any]]:
    with client(node) as one:
        messages: Queue[Any] = Queue()
        done: Queue[Any] = Queue()
        one.on_message = lambda *args: messages.put(args[2])
        one.on_subscribe = lambda *args: done.put(args[3])
        one.subscribe(filter, qos)
        done.get(timeout=TIMEOUT)
        yield messages


def until(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + TIMEOUT
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return found


def prefix(cluster: Cluster) -> str:
    return str(cluster._settings["BROKER__KAFKA__PREFIX"])
