"""What clients may do, and who may not come in at all."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.auth.models.clients import Client, ClientGroup
from apps.common.validators import plain_text, rule_filter


class AclRule(models.Model):
    """One line of the access control list of a client, of a group, or (neither set) of everyone.

    The first rule that matches decides; where none does, the answer is no. The order: `priority` from high
    to low; then rules of the client, of its groups, of everyone; then deny before allow; then by id.
    """

    class Effect(models.TextChoices):
        ALLOW = "allow"
        DENY = "deny"

    class Action(models.TextChoices):
        PUBLISH = "publish"
        SUBSCRIBE = "subscribe"
        BOTH = "both"

    effect = models.CharField(max_length=5, choices=Effect)
    action = models.CharField(max_length=9, choices=Action)
    filter = models.CharField(
        max_length=1024,
        validators=[rule_filter],
        help_text="Topic filter; may hold ${clientid}, ${username}, ${cert.cn}, ${group}.",
    )
    client = models.ForeignKey(
        Client, models.CASCADE, related_name="rules", null=True, blank=True, db_index=False
    )
    group = models.ForeignKey(
        ClientGroup, models.CASCADE, related_name="rules", null=True, blank=True, db_index=False
    )
    priority = models.SmallIntegerField(default=0, help_text="Higher is asked first.")
    max_qos = models.PositiveSmallIntegerField(
        "maximum QoS",
        default=2,
        help_text="Of an allow rule: publishing above it is denied, a subscription is granted no more.",
    )
    retain = models.BooleanField(
        "may retain",
        default=True,
        help_text="Of an allow rule: whether messages may be published as retained.",
    )
    note = models.CharField(max_length=256, blank=True)
    created_at = models.DateTimeField(auto_now_add=True, editable=False)
    updated_at = models.DateTimeField(auto_now=True, editable=False)

    class Meta:
        verbose_name = "access rule"
        ordering = ["-priority", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(client=None) | Q(group=None),
                name="rule_has_at_most_one_subject",
                violation_error_message="A rule is for a client, or a group, or (neither) everyone.",
            ),
            models.CheckConstraint(condition=Q(effect__in=["allow", "deny"]), name="rule_effect_is_known"),
            models.CheckConstraint(
                condition=Q(action__in=["publish", "subscribe", "both"]), name="rule_action_is_known"
            ),
            models.CheckConstraint(condition=~Q(filter=""), name="rule_has_a_filter"),
            models.CheckConstraint(condition=Q(max_qos__lte=2), name="rule_max_qos_is_a_qos"),
            models.CheckConstraint(
                condition=Q(effect="allow") | Q(max_qos=2, retain=True),
                name="deny_rule_has_no_limits",
                violation_error_message="Only allow rules have limits of QoS and retain.",
            ),
        ]
        indexes = [
            models.Index(fields=["client"], condition=~Q(client=None), name="rules_of_client"),
            models.Index(fields=["group"], condition=~Q(group=None), name="rules_of_group"),
            models.Index(fields=["id"], condition=Q(client=None, group=None), name="rules_of_everyone"),
        ]

    def __str__(self) -> str:
        return f"{self.effect} {self.action} {self.filter}"


class Ban(models.Model):
    """Nobody who fits it connects, until `until` (None: for good)."""

    class Kind(models.TextChoices):
        CLIENT_ID = "client_id", "client id"
        USERNAME = "username", "username"
        ADDRESS = "address", "address or network"
        PATTERN = "pattern", "client id pattern"

    kind = models.CharField(max_length=9, choices=Kind)
    value = models.CharField(
        max_length=256,
        validators=[plain_text],
        help_text="Address or network: 10.0.0.0/8, 2001:db8::1. Pattern: * is any text, ? one character.",
    )
    until = models.DateTimeField(null=True, blank=True, help_text="Empty: for good.")
    reason = models.CharField(max_length=256, blank=True)
    automatic = models.BooleanField(
        default=False, editable=False, help_text="Set by the node, after too many failed attempts."
    )
    created_at = models.DateTimeField(auto_now_add=True, editable=False)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["kind", "value"], name="one_ban_per_value"),
            models.CheckConstraint(condition=~Q(value=""), name="ban_has_a_value"),
            models.CheckConstraint(
                condition=Q(kind__in=["client_id", "username", "address", "pattern"]),
                name="ban_kind_is_known",
            ),
        ]
        indexes = [
            models.Index(fields=["until"], condition=~Q(until=None), name="bans_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.value}"

    @property
    def is_active(self) -> bool:
        return self.until is None or self.until > timezone.now()
