"""paho's client, as a publisher that publishes in order, and nothing twice."""

from __future__ import annotations

import threading
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.client import mqtt_ms_resend_pubrel, mqtt_ms_wait_for_pubcomp


class Client(mqtt.Client):
    """Mends paho 2.2.0 at QoS 2: of what had its PUBREC, each attempt to connect after the first (a node that
    is killed takes a moment to start) would send PUBLISH again, and not PUBREL as it must [MQTT-4.3.3-5].

    And what is published between a new connection and its CONNACK goes out before what has to be sent again:
    `offer` does not.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._gate = threading.Lock()
        self._has_repeated = False

    def offer(self, topic: str, payload: str, qos: int) -> bool:
        """Publish; False: not while there is no connection on which everything was sent again."""
        with self._gate:
            if self._has_repeated:
                self.publish(topic, payload, qos)
            return self._has_repeated

    def reconnect(self) -> Any:
        with self._gate:
            self._has_repeated = False
            return super().reconnect()

    def _handle_connack(self) -> Any:
        parent: Any = super()
        answer = parent._handle_connack()
        self._has_repeated = self.is_connected()
        return answer

    def _messages_reconnect_reset_out(self) -> None:
        with self._out_message_mutex:
            for message in self._out_messages.values():
                if message.state == mqtt_ms_resend_pubrel:
                    message.state = mqtt_ms_wait_for_pubcomp
        parent: Any = super()
        parent._messages_reconnect_reset_out()
