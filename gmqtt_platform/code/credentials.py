"""Credentials of a client in a file: what is missing, what has another secret, and how it is made.

A generated secret is made once and shown once. A hash (`password_hash`, from another broker) is taken as it
is when the credential is made; it is not compared later, for the first login replaces it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.contrib.auth.hashers import check_password, identify_hasher
from django.core.exceptions import ValidationError
from django.db import transaction

from apps.auth import passwords
from apps.auth.models import Client, Credential
from apps.auth.services import credentials, registering
from apps.common.actors import Actor
from gmqtt_platform.code.desired import Row

Make = Callable[[Actor, Callable[[str, str, str], None]], None]
ROTATING = ("secret", "password")


def check(row: Row, errors: list[str]) -> bool:
    """Note what is wrong with a credential of the file."""
    hashed = row.values.get("password_hash", "")
    try:
        if hashed and not hashed.startswith("keyed$"):
            identify_hasher(hashed)
        password = row.values["password"]
        if password:
            credentials.check_password(password, Client(client_id="-"))
        Credential(**_columns(row)).clean_fields(exclude=["client", "secret"])
    except ValueError:
        errors.append(str(row.at("password_hash").bad("not a hash that this platform can check")))
        return False
    except ValidationError as error:
        errors.append(str(row.place.bad("; ".join(error.messages))))
        return False
    return True


def _columns(row: Row) -> dict[str, Any]:
    names = ("kind", "username", "client_ids", "subject", "claim", "claim_value")
    return {name: row.values[name] for name in names if name in row.values}


def register(actor: Actor, row: Row, shown: Callable[[str, str, str], None]) -> None:
    """Make a client with its credentials. Without any in the file it gets a generated secret."""
    wanted = row.values.get("credentials")
    first = next((each for each in wanted or () if each.values["kind"] in ROTATING), None)
    names = ("client_id", "display_name", "owner", "groups", "enabled", "transports")
    values = {name: row.values[name] for name in names if name in row.values}
    if first is not None:
        values |= {name: first.values.get(name, "") for name in ("username", "client_ids", "password")}
        values["hashed"] = first.values.get("password_hash", "")
    with transaction.atomic():
        made = registering.register(actor, registering.NewClient(**values))
        if wanted is not None and first is None:
            credentials.remove(actor, made.credential)
        for each in wanted or ():
            if each is not first:
                _add(actor, made.client, each, shown)
    if made.secret and not (wanted is not None and first is None):
        shown(made.client.client_id, made.credential.username, made.secret)


def differences(row: Row, client: Client, prune: bool) -> Iterator[tuple[str, str, Make]]:
    if "credentials" not in row.values:
        return
    known = {_key(each): each for each in client.credentials.all()}
    for each in row.values["credentials"]:
        key = ("username", each.values.get("username") or client.client_id, "", "")
        key = key if each.values["kind"] in ROTATING else each.key
        found = known.pop(key, None)
        name = f"{client.client_id} {'='.join(part for part in key[1:] if part)}"
        if found is None:
            yield "add", name, lambda actor, shown, each=each: _add(actor, client, each, shown)
        elif found.client_ids != each.values.get("client_ids", found.client_ids):
            wanted = each.values["client_ids"]
            yield "change", name, lambda actor, _, found=found, wanted=wanted: _extend(actor, found, wanted)
        elif each.values["password"] and not _fits(each.values["password"], found):
            password = each.values["password"]
            yield (
                "change",
                name,
                lambda actor, _, found=found, password=password: _rotate(actor, found, password),
            )
    for key, found in known.items() if prune else ():
        name = f"{client.client_id} {'='.join(part for part in key[1:] if part)}"
        yield "remove", name, lambda actor, _, found=found: credentials.remove(actor, found)


def _key(credential: Credential) -> tuple[str, str, str, str]:
    if credential.kind in ROTATING:
        return "username", credential.username, "", ""
    return credential.kind, credential.subject, credential.claim, credential.claim_value


def _fits(password: str, credential: Credential) -> bool:
    raw = password.encode()
    if passwords.matches_keyed(raw, credential.verifier) or passwords.matches_keyed(raw, credential.secret):
        return True
    if credential.kind != Credential.Kind.PASSWORD or credential.secret.startswith("keyed$"):
        return False
    return bool(check_password(password, credential.secret))


def _add(actor: Actor, client: Client, row: Row, shown: Callable[[str, str, str], None]) -> None:
    values = _columns(row) | {
        "password": row.values["password"],
        "hashed": row.values.get("password_hash", ""),
    }
    credential, secret = credentials.add(actor, client, credentials.NewCredential(**values))
    if secret:
        shown(client.client_id, credential.username, secret)


def _rotate(actor: Actor, found: Credential, password: str) -> None:
    credentials.rotate(actor, found, password=password)


def _extend(actor: Actor, found: Credential, client_ids: str) -> None:
    credentials.change_client_ids(actor, found, client_ids)
