"""Who may use the API and the RPC service: service accounts and their roles."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.common.validators import plain_text


class Role(models.Model):
    """A named set of permissions. `apps.common.rbac` has the built-in ones; migrate writes them here."""

    name = models.CharField(max_length=64, validators=[plain_text])
    description = models.CharField(max_length=256, blank=True)
    permissions = models.JSONField(default=list, help_text='A list such as ["mqtt_auth.view_client"].')
    builtin = models.BooleanField(default=False, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["name"], name="one_role_per_name"),
            models.CheckConstraint(condition=~Q(name=""), name="role_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.name


class ServiceAccount(models.Model):
    """A program that calls the API or the RPC service by access key and secret."""

    name = models.CharField(max_length=128, validators=[plain_text])
    description = models.CharField(max_length=256, blank=True)
    access_key = models.CharField(max_length=32, editable=False)
    # As Credential.secret: to check a secret that was shown.
    secret = models.CharField(max_length=256, editable=False)
    # The secret itself, encrypted by a key derived from SECRET_KEY: to check a request that it signed.
    signing_key = models.CharField(max_length=256, editable=False)
    # Counts rotations. A token names the generation it was issued for and dies with it.
    generation = models.PositiveIntegerField(default=1, editable=False)
    roles = models.ManyToManyField(Role, related_name="accounts", blank=True)
    enabled = models.BooleanField(default=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Empty: never.")
    created_at = models.DateTimeField(auto_now_add=True, editable=False)
    rotated_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["name"], name="one_service_account_per_name"),
            models.UniqueConstraint(fields=["access_key"], name="one_account_per_access_key"),
            models.CheckConstraint(
                condition=~Q(name="") & ~Q(access_key="") & ~Q(secret=""), name="account_is_complete"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class UsedNonce(models.Model):
    """A signed request that was accepted. Its nonce is refused until its timestamp is too old anyway."""

    account = models.ForeignKey(ServiceAccount, models.CASCADE, related_name="+", db_index=False)
    nonce = models.CharField(max_length=64)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "nonce"], name="one_request_per_nonce"),
        ]
        indexes = [models.Index(fields=["expires_at"], name="nonces_by_expiry")]

    def __str__(self) -> str:
        return self.nonce


class IdempotentRequest(models.Model):
    """A request that came with an Idempotency-Key, and its answer, for whoever asks again with the same key.

    Neither the key nor the answer (it holds secrets) is stored in clear: the answer is encrypted by a key
    derived from SECRET_KEY and the Idempotency-Key, of which only the hash stands here.
    """

    caller = models.CharField(max_length=64)  # Actor.key
    key_hash = models.CharField(max_length=64)
    request_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    answer = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["caller", "key_hash"], name="one_answer_per_key"),
        ]
        indexes = [models.Index(fields=["created_at"], name="answers_by_age")]

    def __str__(self) -> str:
        return f"{self.caller} {self.created_at}"
