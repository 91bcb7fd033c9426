"""From a file into an empty platform. It is read and checked first; then all of it is written, or nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.models.signals import post_migrate

from apps.auth import announce
from apps.auth.models import Credential, ServiceAccount
from apps.auth.services.accounts import SIGNING
from apps.cluster.sessions.portable import NotEmpty
from apps.common import audit, sealing
from apps.common.actors import Actor
from apps.gateway.sessions.portable import Filling
from gmqtt_platform import __version__
from gmqtt_platform.backup import making, rows, stores
from gmqtt_platform.backup.container import MANIFEST, BadFile, read
from gmqtt_platform.config.loader import Conf

KEYED = "keyed$"  # what is checked with SECRET_KEY alone (`apps.auth.passwords`)


@dataclass
class Restored:
    manifest: dict[str, Any]
    counts: Counter[str] = field(default_factory=Counter)  # records by kind
    digest: str = ""  # of the records
    key: str = "same"  # as the backup's SECRET_KEY: same, old (among the fallbacks), other
    passwords: list[str] = field(default_factory=list)  # user names whose passwords have to be set again
    accounts: list[str] = field(default_factory=list)  # service accounts whose secrets have to be rotated
    left_out: Counter[str] = field(default_factory=Counter)  # permissions that this version does not have
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Refused(Exception):
    """The restore does not begin; the text says why, and what to do."""


def check(path: Path, passphrase: bytes = b"") -> Restored:
    """Read the whole file; `BadFile` when anything is wrong with it. Nothing is written."""
    found: Restored | None = None
    decoder = stores.Decoder()
    for kind, values in _records(path, passphrase):
        if kind == MANIFEST:
            found = Restored(values)
            _check_manifest(values)
            found.key = _key(str(values["secret_key"]))
            continue
        assert found is not None
        found.counts[kind] += 1
        if kind in rows.TABLES:
            rows.check(kind, values)
            _note_secrets(found, kind, values)
        elif kind in stores.KINDS:
            decoder.fill(None, kind, values)
        else:
            raise BadFile(f"it holds {kind!r} records, which this version does not know")
    assert found is not None
    return found


def restore(
    actor: Actor, conf: Conf, path: Path, passphrase: bytes = b"", new_secret_key: bool = False
) -> Restored:
    """BadFile and Refused before anything is written; StoreError, RedisError, DatabaseError."""
    began = time.monotonic()
    found = check(path, passphrase)
    if (found.passwords or found.accounts) and not new_secret_key:
        raise Refused(
            f"the backup was made with another secret key, by which {len(found.passwords)} passwords and "
            f"{len(found.accounts)} service accounts are kept. Bring that key here (the file secret_key "
            "of the data directory, or GMQTT_SECRET_KEY), or give these new ones afterwards: --new-secret-key"
        )
    call_command("migrate", verbosity=0)
    if occupied := rows.occupied():
        what = ", ".join(f"{count} {name}" for name, count in occupied.items())
        raise Refused(f"the database is not empty: {what}. Restore into a new one")
    with ExitStack() as undo:
        target = _target(conf) if any(found.counts[kind] for kind in stores.KINDS) else None
        if target is None and found.manifest["sessions"]:
            if any(found.counts[kind] for kind in stores.KINDS):
                found.warnings.append(
                    "sessions and retained messages were left out: sessions.provider keeps none"
                )
        elif target is not None:
            undo.callback(target.undo)
        with transaction.atomic():
            _write(path, passphrase, found, target)
            with audit.by(actor):
                about = get_user_model()(username=path.name[:150])
                audit.did(about, "restored", records=found.counts.total(), made=found.manifest["made"])
            for what in ("client", "credentials", "rules", "bans", "operators"):
                announce.changed(what, None)
        undo.pop_all()
    found.seconds = time.monotonic() - began
    return found


def _target(conf: Conf) -> Filling | None:
    try:
        return stores.filling(conf)
    except NotEmpty as error:
        raise Refused(f"the cluster's Redis is not empty: {error}") from None


def _write(path: Path, passphrase: bytes, found: Restored, target: Filling | None) -> None:
    rows.clear()
    writer, decoder = rows.Rows(), stores.Decoder()
    for kind, values in _records(path, passphrase):
        if kind in rows.TABLES:
            writer.add(kind, _for_this_key(found.key, kind, values))
        elif kind != MANIFEST and target is not None:
            decoder.fill(target, kind, values)
    writer.finish()
    found.left_out = writer.dropped
    # What each `migrate` sees to: roles and operators' groups that this version has beside the backup's.
    for app in ("mqtt_auth", "console"):
        config = apps.get_app_config(app)
        post_migrate.send(config, app_config=config, verbosity=0, interactive=False, using="default")
    if target is not None:
        target.finish()


def _records(path: Path, passphrase: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        yield from read(file, passphrase)


def _check_manifest(values: dict[str, Any]) -> None:
    try:
        migrations, version = dict(values["migrations"]), str(values["version"])
        str(values["secret_key"]), str(values["made"]), bool(values["sessions"])
    except (KeyError, TypeError, ValueError):
        raise BadFile("its manifest cannot be read") from None
    known = MigrationLoader(connection, ignore_no_migrations=True).disk_migrations
    for app, name in migrations.items():
        if name and (app, name) not in known:
            raise BadFile(
                f"it was made by version {version}, whose database is newer than that of {__version__} "
                f"({app} {name}): use that version"
            )


# ---------------------------------------------------------------------------------------- SECRET_KEY


def _key(fingerprint: str) -> str:
    mine = making.fingerprints()
    if fingerprint == mine[0]:
        return "same"
    return "old" if fingerprint in mine else "other"


def _note_secrets(found: Restored, kind: str, values: dict[str, Any]) -> None:
    if found.key == "same":
        return
    if kind == Credential._meta.label and str(values.get("secret", "")).startswith(KEYED):
        found.passwords.append(str(values["username"]))
    if kind == ServiceAccount._meta.label and found.key == "other":
        found.accounts.append(str(values["name"]))


def _for_this_key(key: str, kind: str, values: dict[str, Any]) -> dict[str, Any]:
    """What another secret key made useless, anew where that can be."""
    if key != "same" and kind == Credential._meta.label:
        return {**values, "verifier": ""}  # made again at the next login
    if key == "old" and kind == ServiceAccount._meta.label:
        return {
            **values,
            "signing_key": sealing.seal(SIGNING, sealing.unseal(SIGNING, values["signing_key"])),
        }
    return values
