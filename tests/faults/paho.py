"""paho's client, as a publisher that does not publish twice."""

from __future__ import annotations

from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.client import mqtt_ms_resend_pubrel, mqtt_ms_wait_for_pubcomp


class Client(mqtt.Client):
    """Mends paho 2.2.0 at QoS 2: of what had its PUBREC, each attempt to connect after the first (a node that
    is killed takes a moment to start) would send PUBLISH again, and not PUBREL as it must [MQTT-4.3.3-5].
    """

    def _messages_reconnect_reset_out(self) -> None:
        with self._out_message_mutex:
            for message in self._out_messages.values():
                if message.state == mqtt_ms_resend_pubrel:
                    message.state = mqtt_ms_wait_for_pubcomp
        parent: Any = super()
        parent._messages_reconnect_reset_out()
