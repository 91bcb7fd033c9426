"""amqtt's client: MQTT 3.1.1, over TCP and WebSocket."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from amqtt.client import MQTTClient
from steps import walk, where

AT = where()


class Amqtt:
    def __init__(self, client: MQTTClient) -> None:
        self.client = client

    async def subscribe(self, topic: str, qos: int) -> None:
        assert await self.client.subscribe([(topic, qos)]) == [qos]

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> None:
        await self.client.publish(topic, payload, qos, retain)

    async def message(self) -> tuple[str, bytes, bool]:
        message = await self.client.deliver_message(timeout_duration=15)
        assert message is not None
        packet = message.publish_packet
        return message.topic, bytes(message.data), packet.retain_flag

    async def close(self) -> None:
        await self.client.disconnect()


async def connect(
    client_id: str, clean: bool = True, password: str = "", tls: bool = False, will: Any = None
) -> Amqtt:
    config: dict[str, Any] = {"auto_reconnect": False, "cleansession": clean, "connection_timeout": 10}
    if will is not None:
        config["will"] = {"topic": will[0], "message": will[1].decode(), "qos": 1, "retain": False}
    client = MQTTClient(client_id=client_id, config=config)
    door = AT.door(tls)
    scheme = {"tcp": "mqtt", "tls": "mqtts"}.get(door.scheme, door.scheme)
    login = f"{quote(AT.user)}:{quote(password)}"
    more = {"cafile": AT.ca} if door.tls else {}
    await client.connect(f"{scheme}://{login}@localhost:{door.port}{door.path}", cleansession=clean, **more)
    return Amqtt(client)


asyncio.run(walk(AT, connect))
