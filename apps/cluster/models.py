"""What the cluster knows of its nodes, sessions and subscriptions: metadata for people and services.

The nodes themselves never read it to deliver a message. They write it in batches (directory/recorder.py), so
it is up to 2 s old. `directory/names.py` shortens long client ids, topics and filters; all compare
case-sensitively.
"""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from apps.cluster.bridge import export_sync
from apps.cluster.directory import names
from apps.cluster.directory.fields import KeyField
from apps.gateway.mqtt import topics
from apps.gateway.mqtt.errors import MqttError


def topic_filter(value: str) -> None:
    try:
        topics.check_filter(value)
    except MqttError as error:
        raise ValidationError(
            "Not a topic filter: %(reason)s.", code="invalid_topic_filter", params={"reason": str(error)}
        ) from None


class ClusterNode(models.Model):
    """A node, as it last said of itself."""

    class State(models.TextChoices):
        UP = "up"
        DRAINING = "draining"
        DOWN = "down"

    name = models.CharField(max_length=64)
    incarnation = models.CharField(max_length=32, help_text="Of the process: another one after each start.")
    state = models.CharField(max_length=8, choices=State, default=State.UP)
    version = models.CharField(max_length=32, blank=True)
    host = models.CharField(max_length=255, blank=True)
    listeners = models.JSONField(default=list, help_text='URLs such as "tcp://127.0.0.1:1883".')
    stats = models.JSONField(default=dict, help_text="Connections, rates, load: what the node last counted.")
    bridge = models.JSONField(default=dict, help_text="State and lag of its bridge; empty: it has none.")
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(help_text="When it last wrote here.")

    class Meta:
        verbose_name = "node"
        ordering = ["name"]
        default_permissions = ("view", "delete")
        permissions = [
            ("drain_node", "Can drain nodes"),
            ("control_bridge", "Can pause and resume bridges"),
            ("trace", "Can record traces"),
            ("view_configuration", "Can see the configuration of nodes"),
            ("reload_configuration", "Can have nodes read their configuration again"),
            ("dump_state", "Can have nodes write their state to a file, for support"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["name"], name="one_node_per_name"),
            models.CheckConstraint(condition=~Q(name=""), name="node_has_a_name"),
            models.CheckConstraint(
                condition=Q(state__in=["up", "draining", "down"]), name="node_state_is_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class SessionInfo(models.Model):
    """A client's session, connected or not; the row goes when the session ends."""

    client_id = KeyField(max_length=names.CLIENT_ID)
    node = models.CharField(max_length=64, help_text="Where it is, or was last, connected.")
    epoch = models.BigIntegerField(
        default=0, help_text="Of the ownership in the cluster; the highest one holds."
    )
    online = models.BooleanField()
    username = models.CharField(max_length=256, blank=True)  # cut
    address = models.CharField(max_length=45, blank=True)
    port = models.PositiveIntegerField(default=0)
    transport = models.CharField(max_length=3, blank=True)
    level = models.PositiveSmallIntegerField(help_text="Protocol level: 3 (MQTT 3.1), 4 (3.1.1), 5.")
    clean_start = models.BooleanField(default=True)
    keepalive = models.PositiveIntegerField(default=0, help_text="Seconds; 0: none.")
    created_at = models.DateTimeField(help_text="When the session began.")
    connected_at = models.DateTimeField(null=True)
    disconnected_at = models.DateTimeField(null=True)
    reason_code = models.PositiveSmallIntegerField(default=0, help_text="Of the last disconnection.")
    reason = models.CharField(max_length=256, blank=True)
    expiry_interval = models.BigIntegerField(default=0, help_text="Seconds; 4294967295: does not expire.")
    expires_at = models.DateTimeField(null=True)
    subscriptions = models.BigIntegerField(default=0)
    inflight = models.BigIntegerField(default=0)
    queued = models.BigIntegerField(default=0, help_text="Messages.")
    queued_bytes = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = "session"
        ordering = ["client_id"]
        default_permissions = ("view", "delete")
        permissions = [
            ("kick_session", "Can disconnect clients"),
            ("subscribe_for", "Can subscribe and unsubscribe on behalf of clients"),
            ("publish_message", "Can publish messages"),
            ("view_queue", "Can look into queues"),
            ("purge_queue", "Can purge queues"),
            ("view_retained", "Can see retained messages"),
            ("delete_retained", "Can delete retained messages"),
            ("view_payload", "Can see payloads"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["client_id"], name="one_session_per_client_id"),
            models.CheckConstraint(condition=~Q(client_id=""), name="session_has_a_client_id"),
        ]
        indexes = [
            models.Index(fields=["online", "client_id"], name="sessions_by_online"),
            models.Index(fields=["node", "online", "client_id"], name="sessions_of_node"),
            models.Index(fields=["username", "client_id"], name="sessions_of_username"),
            models.Index(fields=["address", "client_id"], name="sessions_of_address"),
            models.Index(
                fields=["-queued", "client_id"], condition=Q(queued__gt=0), name="sessions_by_queue"
            ),
            models.Index(fields=["expires_at"], condition=~Q(expires_at=None), name="sessions_by_end"),
        ]

    def __str__(self) -> str:
        return self.client_id  # type: ignore[no-any-return]


class SubscriptionInfo(models.Model):
    """One subscription of a session."""

    client_id = KeyField(max_length=names.CLIENT_ID)
    node = models.CharField(max_length=64, help_text="The session's.")
    filter = KeyField(max_length=names.TOPIC, help_text="Without $share/<share>/.")
    share = KeyField(max_length=names.CLIENT_ID, blank=True, help_text="Empty: not shared.")
    shape = KeyField(max_length=names.CLIENT_ID, editable=False)  # `names.shape`
    qos = models.PositiveSmallIntegerField()
    no_local = models.BooleanField(default=False)
    retain_as_published = models.BooleanField(default=False)
    identifier = models.BigIntegerField(default=0, help_text="0: none.")

    class Meta:
        verbose_name = "subscription"
        ordering = ["id"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["client_id", "share", "filter"], name="one_subscription_per_filter"
            ),
            models.CheckConstraint(condition=Q(qos__lte=2), name="subscription_qos_is_a_qos"),
        ]
        indexes = [
            models.Index(fields=["filter", "node"], name="subscriptions_by_filter"),
            models.Index(
                fields=["share", "filter", "client_id"],
                condition=~Q(share=""),
                name="subscriptions_by_share",
            ),
            models.Index(fields=["shape"], name="subscriptions_by_shape"),
            models.Index(fields=["node", "id"], name="subscriptions_of_node"),
        ]

    def __str__(self) -> str:
        return f"$share/{self.share}/{self.filter}" if self.share else self.filter


class Drop(models.Model):
    """Dropped messages of one kind, counted: all of one reason, direction, topic and client in `bucket`."""

    class Direction(models.TextChoices):
        IN = "in", "from the client"
        OUT = "out", "to the client"

    bucket = models.DateTimeField(help_text="Beginning of the hour in which they were dropped.")
    node = models.CharField(max_length=64)
    reason = models.CharField(max_length=32)
    direction = models.CharField(max_length=3, choices=Direction)
    client_id = KeyField(max_length=names.CLIENT_ID, blank=True, help_text="Empty: no one client.")
    topic = KeyField(max_length=names.TOPIC, blank=True, help_text="Empty: several.")
    count = models.BigIntegerField()
    first = models.DateTimeField()
    last = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["bucket", "node", "reason", "direction", "client_id", "topic"],
                name="one_drop_row_per_kind_and_hour",
            ),
            models.CheckConstraint(condition=Q(direction__in=["in", "out"]), name="drop_direction_is_known"),
        ]
        indexes = [
            models.Index(fields=["client_id", "-id"], name="drops_of_client"),
            models.Index(fields=["topic", "-id"], name="drops_of_topic"),
            models.Index(fields=["reason", "-id"], name="drops_by_reason"),
            models.Index(fields=["node", "-id"], name="drops_of_node"),
            models.Index(fields=["last"], name="drops_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.count} x {self.reason}"


class ExportRule(models.Model):
    """Messages that `filter` matches go to a Kafka topic, for back-end services."""

    filter = models.CharField(max_length=names.TOPIC, validators=[topic_filter])
    kafka_topic = models.CharField(
        max_length=249,
        validators=[
            RegexValidator(
                r"^(?!\.{1,2}\Z)[A-Za-z0-9._-]+\Z",
                "Letters, digits, '.', '_' and '-'.",
                "invalid_kafka_topic",
            )
        ],
    )
    key_template = models.CharField(
        max_length=256,
        default="${topic}",
        blank=True,
        help_text="May hold ${topic}, ${clientid}, ${username} and ${1}, ${2} ... for levels of the topic.",
    )
    enabled = models.BooleanField(default=True)
    note = models.CharField(max_length=256, blank=True)
    failed = models.PositiveBigIntegerField("records lost", default=0, editable=False)
    last_error = models.CharField(max_length=256, blank=True, editable=False)
    failed_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True, editable=False)
    updated_at = models.DateTimeField(auto_now=True, editable=False)

    class Meta:
        verbose_name = "export rule"
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["filter", "kafka_topic"], name="one_export_rule_per_target"),
            models.CheckConstraint(condition=~Q(filter=""), name="export_rule_has_a_filter"),
            models.CheckConstraint(condition=~Q(kafka_topic=""), name="export_rule_has_a_target"),
        ]

    def __str__(self) -> str:
        return f"{self.filter} -> {self.kafka_topic}"

    def clean(self) -> None:
        """The template, and that nodes do not read what is meant for services (`export_sync.check`)."""
        export_sync.check(self)
