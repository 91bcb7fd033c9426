"""Commands of a node, run and looked at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.properties import Properties

from tests.wire.nodes import Node, until

Run = Callable[..., Any]


@contextmanager
def connected(node: Node, client_id: str, *filters: str, expiry: int = 0) -> Iterator[paho.Client]:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5)
    client.user_data_set([])
    client.on_message = lambda client, got, message: got.append(message)
    properties = Properties(1)
    properties.SessionExpiryInterval = expiry
    client.connect("127.0.0.1", node.tcp, properties=properties)
    client.loop_start()
    until(client.is_connected)
    for filter in filters:
        client.subscribe(filter, 1)
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def listed(run: Run, *command: str, count: int = 1) -> list[dict[str, Any]]:
    """The rows of a list when there are so many, which is two seconds after it happened at the latest."""
    deadline = time.monotonic() + 15
    while len(found := run(*command)) != count:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return list(found)
