"""Commands that work on what the configuration names, with or without a node: backup, restore, plan, apply,
import.

Exit codes: 0, 1 where it was refused (a target that is not empty, rows that cannot be), 2 where a file or
an option is wrong, 3 where a store or node does not answer.
"""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from apps.cluster.commandline.output import Output, visible

REFUSED: Final = 1
BAD: Final = 2
AWAY: Final = 3

Operate = Callable[[Output, argparse.Namespace], int]


def _command(nouns: Any, name: str, help: str, operate: Operate) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = nouns.add_parser(name, help=help, description=help)
    parser.set_defaults(operate=operate)
    return parser


def backup(nouns: Any) -> None:
    parser = _command(
        nouns, "backup", "write everything that has to outlive this platform into a file", do_backup
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", choices=("config",), help="neither sessions nor retained messages")
    _passphrase(parser)


def restore(nouns: Any) -> None:
    parser = _command(
        nouns, "restore", "fill an empty platform, whose nodes are stopped, from a backup", do_restore
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true", help="read the whole file and write nothing")
    parser.add_argument(
        "--new-secret-key",
        action="store_true",
        help="restore what another secret key protects, too: it has to be set anew",
    )
    _passphrase(parser)


def plan(nouns: Any) -> None:
    parser = _command(nouns, "plan", "show what `apply` would change, by a YAML file", do_plan)
    _desired(parser)
    parser.add_argument(
        "--detailed-exitcode", action="store_true", help="0: no change, 1: an error, 2: there are changes"
    )


def apply(nouns: Any) -> None:
    _desired(
        _command(
            nouns, "apply", "make clients, groups, rules, bans and export rules as a YAML file says", do_apply
        )
    )


def import_(nouns: Any) -> None:
    verbs = nouns.add_parser("import", help="take over clients, rules and messages of another broker")
    brokers = verbs.add_subparsers(dest="verb", required=True, metavar="BROKER")
    mosquitto = _command(brokers, "mosquitto", "take over from mosquitto", do_import)
    mosquitto.add_argument("--password-file", type=Path)
    mosquitto.add_argument("--acl-file", type=Path, help="without it everyone who logs in may do everything")
    mosquitto.add_argument("--dynamic-security", type=Path, metavar="JSON", help="instead of these two")
    mosquitto.add_argument("--retained", type=Path, metavar="mosquitto.db", help="its persistence file")
    emqx = _command(brokers, "emqx", "take over from EMQX", do_import)
    emqx.add_argument("file", type=Path, help="what `emqx ctl data export` wrote: JSON (4.x) or tar.gz (5.x)")
    emqx.add_argument(
        "--password-hash",
        default="sha256",
        help="where the file does not say it: plain, md5, sha, sha256, sha512 or bcrypt (default: sha256)",
    )
    emqx.add_argument("--salt-position", choices=("prefix", "suffix", "disable"), default="prefix")
    emqx.add_argument(
        "--allow-unmatched", action="store_true", help="what no rule matches is allowed, as by EMQX' default"
    )
    for parser in (mosquitto, emqx):
        parser.add_argument("--group", default=parser.prog.split()[-1], help="the group of all who come")
        parser.add_argument(
            "--dry-run", action="store_true", help="only tell what would be made and what not"
        )


def _desired(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--prune", action="store_true", help="remove what the file's sections do not have, too"
    )


def _passphrase(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-file", type=Path, help="its first line encrypts the backup (AES-256-GCM, scrypt)"
    )


COMMANDS: Final = (backup, restore, plan, apply, import_)


def actor() -> Any:
    """Whoever runs the command, in the audit trail: one who can read SECRET_KEY may do anything."""
    from dataclasses import replace

    from apps.common.actors import SYSTEM

    try:
        person = getpass.getuser()
    except (KeyError, OSError):
        person = "somebody"
    return replace(SYSTEM, name=f"command of {person}")


def do_backup(out: Output, given: argparse.Namespace) -> int:
    from django.conf import settings

    from gmqtt_platform.backup import making

    def work() -> int:
        if given.file.exists():
            return _failed(BAD, f"{given.file} exists already: name another file")
        made = making.make(
            actor(), settings.GMQTT, given.file, _read_passphrase(given), given.only == "config"
        )
        found = {"file": str(given.file), "records": dict(made.counts), "seconds": round(made.seconds, 1)}
        if not made.keeps and given.only is None:
            found["warning"] = "sessions.provider keeps neither sessions nor retained messages: none is in it"
        out.item(found)
        return 0

    return _guarded(work)


def do_restore(out: Output, given: argparse.Namespace) -> int:
    from django.conf import settings

    from gmqtt_platform.backup import restoring

    def work() -> int:
        passphrase = _read_passphrase(given)
        if given.check:
            found = restoring.check(given.file, passphrase)
        else:
            found = restoring.restore(actor(), settings.GMQTT, given.file, passphrase, given.new_secret_key)
        shown = asdict(found)
        manifest = shown.pop("manifest")
        shown = {"made": manifest["made"], "version": manifest["version"], "records": dict(found.counts)} | {
            name: value for name, value in shown.items() if value and name != "counts"
        }
        out.item(shown)
        return 0

    return _guarded(work)


def do_plan(out: Output, given: argparse.Namespace) -> int:
    error = REFUSED if given.detailed_exitcode else BAD

    def work() -> int:
        found = _changes(given)
        _show(out, found)
        return BAD if found and given.detailed_exitcode else 0

    return _coded(work, error)


def do_apply(out: Output, given: argparse.Namespace) -> int:
    from gmqtt_platform.code import changes

    secrets: list[dict[str, str]] = []

    def shown(client_id: str, username: str, secret: str) -> None:
        secrets.append({"client_id": client_id, "username": username, "secret": secret})

    def work() -> int:
        found = _changes(given)
        try:
            changes.apply(actor(), found, shown)
        except changes.CannotApply as error:
            _show(out, [], secrets)
            return _failed(REFUSED, str(error))
        _show(out, found, secrets)
        return 0

    return _coded(work, BAD)


def do_import(out: Output, given: argparse.Namespace) -> int:
    from django.conf import settings

    from apps.cluster.commandline.client import Api, NoNode
    from gmqtt_platform import local
    from gmqtt_platform.importing import making
    from gmqtt_platform.importing.found import BadSource, Found

    def work() -> int:
        found = Found(given.group)
        try:
            (_mosquitto if given.verb == "mosquitto" else _emqx)(found, given)
        except BadSource as error:
            return _failed(BAD, str(error))
        api = None
        if found.retained and not given.dry_run:
            node = None if given.url else local.node(settings.GMQTT)
            api = Api(node.url if node else given.url, local.token, node.handlers() if node else [])
            try:
                api.get("cluster/status/")  # before anything is made
            except NoNode as error:
                return _failed(AWAY, f"{error}. A node has to run, for the retained messages")
        made = making.make(actor(), found, api, given.dry_run)
        _report(out, found, made, given.dry_run)
        return 0

    return _coded(work, BAD)


def _mosquitto(found: Any, given: argparse.Namespace) -> None:
    from gmqtt_platform.importing import dynsec, mosquitto, mosquitto_db

    if bool(given.dynamic_security) == bool(given.password_file):
        raise _Option("one of --password-file and --dynamic-security is wanted")
    if given.dynamic_security:
        dynsec.read(found, given.dynamic_security)
    else:
        mosquitto.passwords(found, given.password_file)
    if given.acl_file:
        mosquitto.acl(found, given.acl_file)
    elif given.password_file:
        mosquitto.without_acl(found)
    if given.retained:
        mosquitto_db.read(found, given.retained)


def _emqx(found: Any, given: argparse.Namespace) -> None:
    from gmqtt_platform.importing import emqx

    emqx.read(found, given.file, {"name": given.password_hash, "salt_position": given.salt_position})
    if given.allow_unmatched:
        emqx.allow_unmatched(found)


def _report(out: Output, found: Any, made: Any, dry_run: bool) -> None:
    if out.as_json:
        out.item({"made": dict(made), "without_counterpart": found.without, "dry_run": dry_run})
        return
    out.line("Would be made:" if dry_run else "Made:")
    for name, count in sorted(made.items()):
        out.line(f"  {count} {name}")
    if found.without:
        out.line("Without a counterpart here:")
    for text in found.without:
        out.line(visible(f"  {text}"))


def _changes(given: argparse.Namespace) -> Any:
    from gmqtt_platform.code import changes, desired, document

    return changes.plan(desired.read(document.load(given.file)), given.prune)


def _show(out: Output, found: Any, secrets: Any = ()) -> None:
    if out.as_json:
        out.item({"changes": [change.shown() for change in found], "secrets": list(secrets)})
        return
    signs = {"add": "+", "change": "~", "remove": "-"}
    for change in found:
        out.line(visible(f"{signs[change.do]} {change.what} {change.name}"))
        for name, (before, after) in change.details.items():
            out.line(visible(f"    {name}: {before} -> {after}"))
    count = {do: sum(change.do == do for change in found) for do in signs}
    out.line(f"{count['add']} to add, {count['change']} to change, {count['remove']} to remove.")
    for each in secrets:  # not through `visible`: made by us
        out.line(f"secret of {visible(each['username'])} (shown only this once): {each['secret']}")


def _coded(work: Callable[[], int], error: int) -> int:
    from gmqtt_platform.code.document import BadDocument

    def checked() -> int:
        try:
            return work()
        except BadDocument as bad:
            return _failed(error, str(bad))

    return _guarded(checked)


class _Option(Exception):
    """An option is wrong."""


def _read_passphrase(given: argparse.Namespace) -> bytes:
    if given.passphrase_file is None:
        return b""
    try:
        lines = given.passphrase_file.read_bytes().splitlines()
    except OSError as error:
        raise _Option(f"--passphrase-file {given.passphrase_file}: {error.strerror}") from None
    if not lines or not lines[0]:
        raise _Option(f"--passphrase-file {given.passphrase_file}: its first line is empty")
    return bytes(lines[0])


def _guarded(work: Callable[[], int]) -> int:
    from django.db import DatabaseError
    from redis.exceptions import RedisError

    from apps.gateway.sessions.database import StoreError
    from gmqtt_platform.backup.container import BadFile
    from gmqtt_platform.backup.restoring import Refused

    try:
        return work()
    except _Option as error:
        return _failed(BAD, str(error))
    except BadFile as error:
        return _failed(BAD, f"the backup is refused: {error}")
    except Refused as error:
        return _failed(REFUSED, str(error))
    except StoreError as error:
        return _failed(REFUSED, f"the session store: {error}")
    except RedisError as error:
        return _failed(AWAY, f"Redis does not answer: {error}")
    except DatabaseError as error:
        return _failed(AWAY, f"the database: {error}")
    except OSError as error:
        return _failed(BAD, f"{error.filename}: {error.strerror}")


def _failed(code: int, text: str) -> int:
    from django.core.management.base import CommandError

    raise CommandError(text, returncode=code)
