"""paho-mqtt, in each version, over TCP and WebSocket."""

from __future__ import annotations

import asyncio
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from steps import walk, where

AT = where()
VERSION = AT.version


class Paho:
    def __init__(self, client_id: str, clean: bool, password: str, tls: bool, will: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.door = door = AT.door(tls)
        options: dict[str, Any] = {} if VERSION == 5 else {"clean_session": clean}
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id,
            protocol=VERSION,
            transport="websockets" if door.web else "tcp",
            **options,
        )
        self.client.username_pw_set(AT.user, password)
        if door.web:
            self.client.ws_set_options(door.path)
        if door.tls:
            self.client.tls_set(AT.ca)
        if will is not None:
            self.client.will_set(*will, qos=1)
        self.clean = clean
        self.messages: asyncio.Queue[tuple[str, bytes, bool]] = asyncio.Queue()
        self.done: asyncio.Queue[Any] = asyncio.Queue()
        self.client.on_connect = lambda c, u, f, reason, p: self.tell(reason)
        self.client.on_subscribe = lambda c, u, mid, reasons, p: self.tell(reasons[0])
        self.client.on_message = lambda c, u, m: self.loop.call_soon_threadsafe(
            self.messages.put_nowait, (m.topic, bytes(m.payload), m.retain)
        )

    def tell(self, what: Any) -> None:
        self.loop.call_soon_threadsafe(self.done.put_nowait, what)

    async def heard(self) -> None:
        reason = await asyncio.wait_for(self.done.get(), 15)
        if reason.is_failure:
            self.client.loop_stop()
            raise ConnectionError(str(reason))

    async def start(self) -> None:
        options: dict[str, Any] = {}
        if VERSION == 5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 0 if self.clean else 3600
            options = {"clean_start": self.clean, "properties": properties}
        await asyncio.to_thread(self.client.connect, "localhost", self.door.port, **options)
        self.client.loop_start()
        await self.heard()

    async def subscribe(self, topic: str, qos: int) -> None:
        self.client.subscribe(topic, qos)
        await self.heard()

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> None:
        info = self.client.publish(topic, payload, qos, retain)
        await asyncio.to_thread(info.wait_for_publish, 15)

    async def message(self) -> tuple[str, bytes, bool]:
        return await asyncio.wait_for(self.messages.get(), 15)

    async def close(self) -> None:
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)


async def connect(
    client_id: str, clean: bool = True, password: str = "", tls: bool = False, will: Any = None
) -> Paho:
    client = Paho(client_id, clean, password, tls, will)
    await client.start()
    return client


asyncio.run(walk(AT, connect))
