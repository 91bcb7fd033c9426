"""Who may connect: clients, what they show at the door, and the groups they are in."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from apps.auth.facts import TRANSPORTS
from apps.common.validators import group_name, plain_text, topic_prefixes

ALL_TRANSPORTS = sum(TRANSPORTS.values())


class ClientGroup(models.Model):
    """Clients with something in common: rules apply to it, operators are put in charge of it.

    A tag is a group that no rule names. The object permissions (django-guardian) are what an operator
    may do with the clients of this group; the model permissions of Client do the same for all clients.

    `namespace` bounds what they give by that to topics below some prefixes (`apps.auth.scopes`). It does not
    bound rules that somebody with a model permission makes for the group.
    """

    name = models.CharField(max_length=128, validators=[group_name])
    description = models.CharField(max_length=1024, blank=True)
    namespace = models.JSONField(
        default=list,
        blank=True,
        validators=[topic_prefixes],
        help_text='Topic prefixes such as ["acme"]: what operators of the group allow, subscribe, replay and '
        "read by their rights on it stays inside. Empty: they allow nothing that its clients may not do "
        "already.",
    )
    created_at = models.DateTimeField(auto_now_add=True, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["name"], name="one_group_per_name"),
            models.CheckConstraint(condition=~Q(name=""), name="group_has_a_name"),
        ]
        permissions = [
            ("view_members", "Can see the clients of the group"),
            (
                "manage_members",
                "Can register, change and unregister clients of the group, and subscribe them to what the "
                "access rules and the group's namespace allow",
            ),
            (
                "manage_rules",
                "Can change the access rules of the group and its clients: inside the group's namespace, or "
                "without one only to what they may do already",
            ),
            (
                "read_members",
                "Can read what the clients of the group publish and receive, inside its namespace "
                "(web client)",
            ),
            (
                "command_members",
                "Can publish to what the clients of the group subscribe to, inside its namespace "
                "(web client)",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Client(models.Model):
    """A device or program that may connect by one MQTT client id."""

    client_id = models.CharField(max_length=256, validators=[plain_text])
    display_name = models.CharField(max_length=256, blank=True, validators=[plain_text])
    owner = models.CharField(
        max_length=256, blank=True, validators=[plain_text], help_text="Person or tenant, free text."
    )
    groups = models.ManyToManyField(ClientGroup, related_name="clients", blank=True)
    enabled = models.BooleanField(default=True)
    transport_mask = models.PositiveSmallIntegerField(
        "allowed transports", default=ALL_TRANSPORTS, help_text="Sum of tcp 1, tls 2, ws 4, wss 8."
    )
    last_seen = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True, editable=False)
    updated_at = models.DateTimeField(auto_now=True, editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["client_id"], name="one_client_per_client_id"),
            models.CheckConstraint(condition=~Q(client_id=""), name="client_has_a_client_id"),
            models.CheckConstraint(
                condition=Q(transport_mask__gte=1, transport_mask__lte=ALL_TRANSPORTS),
                name="client_has_a_transport",
            ),
        ]
        indexes = [
            models.Index(fields=["owner", "id"], name="clients_by_owner"),
            models.Index(fields=["created_at", "id"], name="clients_by_registration"),
            models.Index(fields=["last_seen"], name="clients_by_last_seen"),
        ]
        permissions = [
            ("export_client", "Can export clients"),
            ("kick_client", "Can end a client's session"),
            ("decide_connect", "Can ask whether a client may connect"),
            ("decide_publish", "Can ask whether a client may publish"),
            ("decide_subscribe", "Can ask whether a client may subscribe"),
            ("read_messages", "Can read all messages (web client)"),
            ("publish_messages", "Can publish to all topics (web client)"),
        ]

    def __str__(self) -> str:
        return self.client_id

    @property
    def transports(self) -> list[str]:
        return [name for name, bit in TRANSPORTS.items() if self.transport_mask & bit]

    @transports.setter
    def transports(self, names: list[str]) -> None:
        self.transport_mask = sum({TRANSPORTS[name] for name in names})


class Credential(models.Model):
    """One way for a client to prove who it is. Several may be valid at once.

    Rotation makes a new row and gives the old one a `valid_until`. A row with `valid_until` in the past
    proves nothing. Which columns are filled depends on `kind`; the database checks it.
    """

    class Kind(models.TextChoices):
        SECRET = "secret", "generated secret"
        PASSWORD = "password", "password"
        X509 = "x509", "X.509 subject"
        JWT = "jwt", "JWT claim"

    client = models.ForeignKey(Client, models.CASCADE, related_name="credentials", db_index=False)
    kind = models.CharField(max_length=8, choices=Kind)
    # kinds secret and password
    username = models.CharField(max_length=256, blank=True, validators=[plain_text])
    # for which client ids besides the client's own: text with `*` and `?`; "": for none
    client_ids = models.CharField(
        "client ids",
        max_length=256,
        blank=True,
        validators=[plain_text],
        help_text=(
            "Other client ids that may connect by it: a pattern with * (any text) and ? (one character), "
            "such as home-*; * alone is for any id. Ids that are registered belong to their own clients. "
            "Empty: only the client's own id."
        ),
    )
    # secret: "sha256$<salt>$<hex of SHA-256(salt + secret)>"
    # password: Django's encoded hash; where many were registered at once, the same as `verifier`
    secret = models.CharField(max_length=256, blank=True, editable=False)
    # password: "keyed$<salt>$<hex>", by a key derived from SECRET_KEY; "": it was not checked yet
    verifier = models.CharField(max_length=160, blank=True, editable=False)
    # "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>", the last three in base64 (RFC 5803)
    scram = models.CharField(max_length=256, blank=True, editable=False)
    # kind x509: the subject's RFC 4514 name, as `Peer.tls_subject`
    subject = models.CharField(max_length=512, blank=True, validators=[plain_text])
    # kind jwt: the token's claim of this name has this value
    claim = models.CharField(max_length=64, blank=True, validators=[plain_text])
    claim_value = models.CharField(max_length=512, blank=True, validators=[plain_text])
    valid_until = models.DateTimeField(null=True, blank=True, help_text="Empty: without end.")
    created_at = models.DateTimeField(auto_now_add=True, editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=(
                    Q(kind__in=["secret", "password"], subject="", claim="", claim_value="")
                    & ~Q(username="")
                    & ~Q(secret="")
                )
                | (
                    Q(kind="x509", username="", secret="", scram="", claim="", claim_value="")
                    & ~Q(subject="")
                )
                | (
                    Q(kind="jwt", username="", secret="", scram="", subject="")
                    & ~Q(claim="")
                    & ~Q(claim_value="")
                ),
                name="credential_fits_its_kind",
            ),
            # ${username} in a rule must mean one client, so a name in use is nobody else's.
            models.UniqueConstraint(
                fields=["username"],
                condition=Q(valid_until=None, kind__in=["secret", "password"]),
                name="one_client_per_username",
                violation_error_message="This username exists already.",
            ),
            models.UniqueConstraint(
                fields=["subject"],
                condition=Q(valid_until=None, kind="x509"),
                name="one_client_per_subject",
                violation_error_message="This subject exists already.",
            ),
            models.UniqueConstraint(
                fields=["claim", "claim_value"],
                condition=Q(valid_until=None, kind="jwt"),
                name="one_client_per_claim",
                violation_error_message="This claim exists already.",
            ),
        ]
        indexes = [
            models.Index(fields=["client"], name="credentials_of_client"),
            models.Index(fields=["username"], condition=~Q(username=""), name="credentials_by_username"),
            models.Index(fields=["valid_until"], condition=~Q(valid_until=None), name="credentials_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.shown_name}"

    @property
    def shown_name(self) -> str:
        return self.username or self.subject or f"{self.claim}={self.claim_value}"

    @property
    def is_valid(self) -> bool:
        return self.valid_until is None or self.valid_until > timezone.now()

    def get_additional_data(self) -> dict[str, Any]:
        """For the audit trail, which has to say whose credential it was after both are gone."""
        return {"client_id": self.client.client_id}
