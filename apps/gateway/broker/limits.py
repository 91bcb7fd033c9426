"""What one client, and all of them together, may cost. The values come from `[limits]`."""

from __future__ import annotations

from typing import Final

from apps.gateway.mqtt import topics, wire

DROP_NEWEST: Final = "drop_newest"
DROP_OLDEST: Final = "drop_oldest"
DISCONNECT: Final = "disconnect"
FULL: Final = 1024  # `Session.fill` of a queue at its limit
HALF: Final = FULL // 2  # above, publishers are slowed down for a client that is online
QUARTER: Final = FULL // 4  # below, they are not any more
FEW: Final = 128  # messages: a queue shorter than that fills and empties too fast to slow anybody down
NO_LIMIT: Final = wire.MAX_VARINT + 5  # the largest packet there can be


class Limits:
    """Bytes, seconds and counts; see conf/conf.toml for each."""

    def __init__(
        self,
        max_packet_size: int = 16_777_216,
        max_topic_length: int = topics.MAX_LENGTH,
        max_topic_levels: int = 32,
        max_subscriptions: int = 10_000,
        max_wildcard_subscriptions: int = 1000,
        max_subscribe_filters: int = 1000,
        receive_maximum: int = 1024,
        inflight_window: int = 1024,
        max_queued_messages: int = 100_000,
        max_queued_bytes: int = 67_108_864,
        queue_full_policy: str = DROP_NEWEST,
        node_bytes: int = 1_073_741_824,
        max_retained_messages: int = 1_000_000,
        max_retained_bytes: int = 268_435_456,
        topic_alias_maximum: int = 64,
        connect_timeout: float = 10.0,
        min_keepalive: int = 0,
        max_keepalive: int = 65_535,
        session_expiry_max: int = 604_800,
        max_connections: int = 100_000,
        max_http_connections: int = 1000,
        max_http_connections_per_address: int = 200,
        http_body_timeout: int = 60,
        max_http_body: int = 16_777_216,
        max_http_bodies: int = 67_108_864,
        max_sessions: int = 1_000_000,
        connect_rate: int = 10_000,
        publish_rate: int = 0,
        route_cache: int = 100_000,
        route_cache_per_client: int = 10_000,
    ) -> None:
        self.max_packet_size = max_packet_size
        self.max_topic_length = max_topic_length
        self.max_topic_levels = max_topic_levels
        self.max_subscriptions = max_subscriptions
        self.max_wildcard_subscriptions = max_wildcard_subscriptions
        self.max_subscribe_filters = max_subscribe_filters
        self.receive_maximum = receive_maximum
        self.inflight_window = inflight_window
        self.max_queued_messages = max_queued_messages
        self.max_queued_bytes = max_queued_bytes
        self.queue_full_policy = queue_full_policy
        self.node_bytes = node_bytes
        self.max_retained_messages = max_retained_messages
        self.max_retained_bytes = max_retained_bytes
        self.topic_alias_maximum = topic_alias_maximum
        self.connect_timeout = connect_timeout
        self.min_keepalive = min_keepalive
        self.max_keepalive = max_keepalive
        self.session_expiry_max = session_expiry_max
        self.max_connections = max_connections
        self.max_http_connections = max_http_connections
        self.max_http_connections_per_address = max_http_connections_per_address
        self.http_body_timeout = http_body_timeout
        self.max_http_body = max_http_body
        self.max_http_bodies = max_http_bodies
        self.max_sessions = max_sessions
        self.connect_rate = connect_rate
        self.publish_rate = publish_rate
        self.route_cache = route_cache
        self.route_cache_per_client = route_cache_per_client
