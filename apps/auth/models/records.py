"""What was refused, and what nodes have to hear of. The audit trail is django-auditlog's."""

from __future__ import annotations

from django.db import models


class Change(models.Model):
    """One announcement (`apps.auth.announce`), written in the transaction that it announces.

    Every process follows the table; it is bounded, the oldest rows make room.
    """

    what = models.CharField(max_length=16)
    client_ids = models.JSONField(null=True)  # None: all
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["at"], name="changes_by_time")]

    def __str__(self) -> str:
        return f"{self.what} {self.pk}"


class Refusal(models.Model):
    """A refused connection or a denied action. The table is bounded: the oldest rows make room."""

    class Action(models.TextChoices):
        CONNECT = "connect"
        PUBLISH = "publish"
        SUBSCRIBE = "subscribe"

    at = models.DateTimeField()
    action = models.CharField(max_length=9, choices=Action)
    client_id = models.CharField(max_length=256)  # cut, where a stranger sent a longer one
    username = models.CharField(max_length=256, blank=True)
    address = models.CharField(max_length=45, blank=True)
    transport = models.CharField(max_length=3, blank=True)
    reason_code = models.PositiveSmallIntegerField(help_text="As in CONNACK, PUBACK or SUBACK of MQTT 5.0.")
    reason = models.CharField(max_length=256, blank=True)
    topic = models.CharField(max_length=1024, blank=True)
    # The AclRule that decided, which may be gone by now; None: no rule matched, or it was not about rules.
    rule_id = models.BigIntegerField(null=True, blank=True)
    node = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["client_id", "-id"], name="refusals_of_client"),
            models.Index(fields=["address", "-id"], name="refusals_of_address"),
            models.Index(fields=["at"], name="refusals_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.client_id}"
