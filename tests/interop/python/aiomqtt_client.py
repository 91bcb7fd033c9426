"""aiomqtt, in each version, over TCP and WebSocket."""

from __future__ import annotations

import asyncio
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from steps import walk, where

AT = where()
VERSION = AT.version


class Aiomqtt:
    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client

    async def subscribe(self, topic: str, qos: int) -> None:
        await self.client.subscribe(topic, qos)

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> None:
        await self.client.publish(topic, payload, qos, retain)

    async def message(self) -> tuple[str, bytes, bool]:
        found = await asyncio.wait_for(anext(aiter(self.client.messages)), 15)
        return str(found.topic), bytes(found.payload), bool(found.retain)

    async def close(self) -> None:
        await self.client.__aexit__(None, None, None)


async def connect(
    client_id: str, clean: bool = True, password: str = "", tls: bool = False, will: Any = None
) -> Aiomqtt:
    door = AT.door(tls)
    options: dict[str, Any] = {"clean_session": clean}
    if VERSION == 5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0 if clean else 3600
        options = {"clean_start": clean, "properties": properties}
    if door.web:
        options |= {"transport": "websockets", "websocket_path": door.path}
    client = aiomqtt.Client(
        "localhost",
        door.port,
        username=AT.user,
        password=password,
        identifier=client_id,
        protocol=aiomqtt.ProtocolVersion(VERSION),
        will=aiomqtt.Will(*will, qos=1) if will is not None else None,
        tls_params=aiomqtt.TLSParameters(ca_certs=AT.ca) if door.tls else None,
        timeout=15,
        **options,
    )
    await client.__aenter__()
    return Aiomqtt(client)


asyncio.run(walk(AT, connect))
