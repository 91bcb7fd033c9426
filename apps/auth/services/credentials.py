"""What a client proves itself by: add, rotate, end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from apps.auth import announce, passwords, permissions
from apps.auth.models import Client, Credential
from apps.auth.services import names, upkeep
from apps.auth.services.writing import invalid, locked, save, writing
from apps.common.actors import Actor
from apps.common.errors import Duplicate

LONGEST_OVERLAP = timedelta(days=90)


@dataclass(frozen=True)
class NewCredential:
    """Which fields are wanted depends on `kind`; see Credential."""

    kind: str = Credential.Kind.SECRET
    username: str = ""  # secret, password; "": the client id
    client_ids: str = ""  # secret, password; other client ids that may connect by it, a pattern
    password: str = field(default="", repr=False)  # password
    hashed: str = field(default="", repr=False)  # password: its hash instead, from another broker
    subject: str = ""  # x509
    claim: str = ""  # jwt
    claim_value: str = ""  # jwt
    valid_until: datetime | None = None


_ROTATING = (Credential.Kind.SECRET, Credential.Kind.PASSWORD)
_FIELDS = {
    Credential.Kind.SECRET: (),
    Credential.Kind.PASSWORD: ("password",),
    Credential.Kind.X509: ("subject",),
    Credential.Kind.JWT: ("claim", "claim_value"),
}


def add(actor: Actor, client: Client, new: NewCredential) -> tuple[Credential, str | None]:
    """The credential, and its secret if the platform made one.

    ValidationError, PermissionDenied, Duplicate.
    """
    _check_fields(new, client)
    credential = Credential(
        client=client,
        kind=new.kind,
        subject=new.subject,
        claim=new.claim,
        claim_value=new.claim_value,
        valid_until=new.valid_until,
    )
    if new.kind in _ROTATING:
        credential.username = new.username or client.client_id
        credential.client_ids = new.client_ids
    secret = None
    if new.hashed:
        credential.secret = new.hashed
    else:
        secret = _make_secret(credential, new.password)
    with writing(actor):
        actor.require(permissions.ADD_CREDENTIAL, group_ids(locked(client)))
        _save(credential)
        announce.changed("credentials", [client.client_id])
    return credential, secret


def rotate(
    actor: Actor, credential: Credential, overlap: timedelta = timedelta(), password: str = ""
) -> tuple[Credential, str | None]:
    """A new secret (or `password`) under the same username; the old one stays valid for `overlap`."""
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise invalid("overlap", f"From 0 to {LONGEST_OVERLAP.days} days.", "out_of_range")
    client = credential.client
    if credential.kind not in _ROTATING:
        raise invalid(
            "kind", "Only secrets and passwords rotate: add another, end this one.", "not_rotatable"
        )
    if password:
        check_password(password, client)
    kind = Credential.Kind.PASSWORD if password else Credential.Kind.SECRET
    fresh = Credential(
        client=client, kind=kind, username=credential.username, client_ids=credential.client_ids
    )
    secret = _make_secret(fresh, password, like=credential.scram)
    with writing(actor):
        old = locked(credential)
        actor.require(permissions.CHANGE_CREDENTIAL, group_ids(locked(client)))
        if not old.is_valid:
            raise invalid("valid_until", "This credential has ended.", "ended")
        now = timezone.now()
        upkeep.forget_credentials(client, now)
        end = now + overlap
        old.valid_until = min(end, old.valid_until or end)
        old.save(update_fields=["valid_until"])
        _save(fresh)
        announce.changed("credentials", [client.client_id])
    return fresh, secret


def rotate_client(
    actor: Actor, client: Client, overlap: timedelta = timedelta(), username: str = ""
) -> tuple[Credential, str | None]:
    """`rotate` the one secret or password of the client, or of the ones it has the one under `username`."""
    current = Credential.objects.filter(client=client, valid_until=None, kind__in=_ROTATING)
    found = list(current.filter(username=username) if username else current[:2])
    if not found:
        raise invalid("username", "There is no secret to rotate.", "no_secret")
    if len(found) > 1:
        raise invalid("username", "The client has several secrets: say which.", "ambiguous")
    return rotate(actor, found[0], overlap)


def rotate_many(actor: Actor, rows: Iterable[Credential]) -> list[tuple[Credential, str | None]]:
    """All or none."""
    with writing(actor):
        return [rotate(actor, row) for row in rows]


def rotate_clients(actor: Actor, clients: Iterable[Client]) -> list[tuple[Credential, str | None]]:
    """All or none."""
    with writing(actor):
        return [rotate_client(actor, client) for client in clients]


def remove(actor: Actor, credential: Credential) -> None:
    """From now on it proves nothing; a client that is connected by it is asked again."""
    with writing(actor):
        client = locked(credential.client)
        credential = locked(credential)
        actor.require(permissions.DELETE_CREDENTIAL, group_ids(client))
        credential.delete()
        announce.changed("credentials", [client.client_id])


def change_client_ids(actor: Actor, credential: Credential, client_ids: str) -> Credential:
    """For which other client ids it is. ValidationError, PermissionDenied, Gone."""
    with writing(actor):
        client = locked(credential.client)
        credential = locked(credential)
        actor.require(permissions.CHANGE_CREDENTIAL, group_ids(client))
        credential.client_ids = client_ids
        credential.clean_fields()
        credential.save(update_fields=["client_ids"])
        announce.changed("credentials", [client.client_id])
    return credential


def keep_verifiers(verifiers: Mapping[int, str]) -> None:
    """By the credential's id. Not audited, nor announced: what a credential proves stays the same."""
    with transaction.atomic():
        for credential_id, verifier in verifiers.items():
            Credential.objects.filter(pk=credential_id, kind=Credential.Kind.PASSWORD).update(
                verifier=verifier
            )


def replace_hash(credential_id: int, encoded: str, secret: str, scram: str) -> None:
    """In the place of another broker's hash, or of a keyed digest that has its keys for SCRAM already.

    Not audited, nor announced: the password is the same.
    """
    rows = Credential.objects.filter(pk=credential_id, kind=Credential.Kind.PASSWORD, secret=encoded)
    rows.update(secret=secret, **({} if passwords.is_keyed(encoded) else {"scram": scram}))


def group_ids(client: Client) -> set[int]:
    return set(client.groups.values_list("pk", flat=True))


def check_password(password: str, client: Client) -> None:
    """ValidationError unless it is one that a human may choose (Django's AUTH_PASSWORD_VALIDATORS)."""
    if passwords.looks_generated(password):
        raise invalid("password", "This looks like a generated secret.", "looks_generated")
    try:
        validate_password(password, client)  # type: ignore[arg-type]  # any object with such fields
    except ValidationError as error:
        raise ValidationError({"password": error.error_list}) from None


def _check_fields(new: NewCredential, client: Client) -> None:
    if new.kind not in _FIELDS:
        raise invalid("kind", f"One of {', '.join(_FIELDS)}.", "invalid_choice")
    wanted = _FIELDS[Credential.Kind(new.kind)]
    for name in ("password", "subject", "claim", "claim_value"):
        if name in wanted and not getattr(new, name) and not (name == "password" and new.hashed):
            raise invalid(name, f"A credential of kind {new.kind} needs it.", "required")
        if name not in wanted and getattr(new, name):
            raise invalid(name, f"A credential of kind {new.kind} has none.", "not_allowed")
    for name in ("username", "client_ids"):
        if getattr(new, name) and new.kind not in _ROTATING:
            raise invalid(name, f"A credential of kind {new.kind} has none.", "not_allowed")
    if new.valid_until is not None and new.valid_until <= timezone.now():
        raise invalid("valid_until", "This is in the past.", "in_the_past")
    if new.password:
        check_password(new.password, client)


def _make_secret(credential: Credential, password: str, like: str = "") -> str | None:
    """Slow for passwords: done before the transaction, which on SQLite keeps every other writer out.

    `like`: the `scram` of the credential beside which this one is valid for a while.
    """
    if credential.kind == Credential.Kind.PASSWORD:
        credential.secret = passwords.encode_password(password)
        credential.scram = passwords.encode_scram(password, like=like)
    elif credential.kind == Credential.Kind.SECRET:
        secret = passwords.generate()
        credential.secret = passwords.encode_generated(secret)
        credential.scram = passwords.encode_scram(secret, like=like)
        return secret
    return None


def _save(credential: Credential) -> None:
    """Nobody else may use the same username, subject or claim now, or by a credential that will end."""
    name: dict[str, object]
    if credential.username:
        name = {"username": credential.username}
    elif credential.subject:
        name = {"kind": credential.kind, "subject": credential.subject}
    else:
        name = {"kind": credential.kind, "claim": credential.claim, "claim_value": credential.claim_value}
    names.hold(["/".join(map(str, name.values()))])
    others = Credential.objects.filter(**name, valid_until__gt=timezone.now())
    existing = others.exclude(client=credential.client).values_list("pk", flat=True).first()
    if existing is not None:
        raise Duplicate("credential", existing)
    save(credential, "credential", {"valid_until": None, **name})
