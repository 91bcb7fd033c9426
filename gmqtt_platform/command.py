"""The command `gmqtt`: runs the parts of the platform, and manages one that runs (apps/cluster/commandline).

`manage.py` does the same and more of what Django has; `gmqtt manage ...` is manage.py of an installation.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import socket
import sys
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import shtab

from gmqtt_platform import __version__
from gmqtt_platform.config import loader
from gmqtt_platform.config.loader import ConfError
from gmqtt_platform.config.values import BUNDLE, CHECKOUT, ROOT

BRIDGE_VERBS = ("status", "pause", "resume")  # of a bridge that runs; `gmqtt bridge` alone is one


def main(argv: Sequence[str] | None = None) -> None:
    arguments = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gmqtt_platform.settings")
    try:
        sys.exit(run(arguments))
    except ConfError as error:
        print(f"configuration error: {error}", file=sys.stderr)
        sys.exit(2)


def run(arguments: list[str]) -> int:
    """The exit code of `gmqtt arguments`."""
    if arguments[:1] == ["bridge"] and not {*BRIDGE_VERBS, "-h", "--help"} & set(arguments[1:2]):
        return celery(["--bridge", "--hostname", f"bridge@{socket.gethostname()}", *arguments[1:]])
    if arguments[:1] == ["worker"]:
        return celery(["--hostname", f"worker@{socket.gethostname()}", *arguments[1:]])
    if arguments[:1] == ["manage"]:
        return django(arguments[1:])
    given = parser().parse_args(arguments)
    if hasattr(given, "start"):
        start: Callable[[argparse.Namespace], int] = given.start
        return start(given)
    return noun(given)


def parser() -> argparse.ArgumentParser:
    from apps.cluster.commandline import configuration, maintenance
    from apps.cluster.commandline.nouns import NOUNS
    from gmqtt_platform import operating

    top = argparse.ArgumentParser("gmqtt", description="Run gmqtt platform, and look after it.")
    top.add_argument("--version", action="version", version=f"gmqtt {__version__}")
    top.add_argument("--url", default="", help="of a node: http://10.0.0.7:8000 (default: this one)")
    top.add_argument("--json", action="store_true", help="JSON in place of tables")
    commands = top.add_subparsers(
        dest="noun", required=True, metavar="COMMAND", parser_class=argparse.ArgumentParser
    )

    def command(name: str, start: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help)
        made.set_defaults(start=start)
        return made

    node = command("run", run_node, "run a node in the foreground: prepare its database, then serve")
    node.add_argument("--no-prepare", action="store_true", help="neither migrate nor make an operator")
    command("auth", lambda _: django(["runauth"]), "run the auth service")
    commands.add_parser("worker", help="run a Celery worker for upkeep (options as of celery worker)")
    command("cluster", lambda _: cluster(), "run Redis, Kafka, two nodes and a bridge (in a checkout)")
    init = command("init", write_conf, "write gmqtt.toml with every key and its default")
    init.add_argument("--cluster", action="store_true", help="the configuration of a node of a cluster")
    command("migrate", lambda _: django(["migrate"]), "create or upgrade the database")
    command("create-operator", lambda _: django(["ensure_operator"]), "make the first operator")
    commands.add_parser("manage", help="any command of Django's manage.py")
    command("healthcheck", healthcheck, "exit code 0 if the node of this configuration answers /healthz")
    completion = command("completion", complete, "print a completion script for a shell")
    completion.add_argument("shell", choices=shtab.SUPPORTED_SHELLS)
    for add in (
        *NOUNS,
        maintenance.drain,
        maintenance.trace,
        configuration.config,
        configuration.dump,
        *operating.COMMANDS,
    ):
        add(commands)
    return top


def django(arguments: list[str]) -> int:
    from django.core.management import execute_from_command_line

    execute_from_command_line(["gmqtt manage", *arguments])
    return 0


def run_node(given: argparse.Namespace) -> int:
    import django as framework
    from django.core.management import call_command

    framework.setup()
    importlib.import_module("apps.gateway.management.commands.rungateway")  # installs Twisted's reactor
    if not given.no_prepare:
        call_command("migrate", verbosity=0)
        call_command("ensure_operator")
    call_command("rungateway")
    return 0


def celery(options: list[str]) -> int:
    """Run a Celery worker in the place of this process, which then gets its signals."""
    loader.load()  # says what is wrong with it before Celery does
    arguments = ["-m", "celery", "-A", "gmqtt_platform", "worker", "--pool", "solo"]
    arguments += ["--without-gossip", "--without-mingle", *options]
    os.execv(sys.executable, [sys.executable, *arguments])


def cluster() -> int:
    if not CHECKOUT:
        print("gmqtt cluster is for development: it runs in a checkout of the project only.", file=sys.stderr)
        return 2
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "tools.cluster"])


def write_conf(given: argparse.Namespace) -> int:
    target = Path("gmqtt.toml")
    if target.exists():
        print(f"{target} exists already; nothing was written.", file=sys.stderr)
        return 1
    name = "conf.cluster.toml" if given.cluster else "conf.toml"
    shutil.copyfile((ROOT if CHECKOUT else BUNDLE) / "conf" / name, target)
    use = "GMQTT_CONF=gmqtt.toml " if CHECKOUT else ""
    print(f"Wrote {target}. Start a node with: {use}gmqtt run")
    return 0


def healthcheck(_: argparse.Namespace) -> int:
    """Ask this node over HTTP. A container of another role serves no HTTP and has no such check."""
    from gmqtt_platform import local

    found = local.node(loader.load())
    try:
        opener = urllib.request.build_opener(*found.handlers())
        with opener.open(f"{found.url}/healthz", timeout=4) as answer:
            return 0 if answer.status == 200 else 1
    except OSError as error:
        print(f"gmqtt: {found.url}/healthz: {error}", file=sys.stderr)
        return 1


def complete(given: argparse.Namespace) -> int:
    print(shtab.complete(parser(), given.shell))
    return 0


def noun(given: argparse.Namespace) -> int:
    import django as framework
    from django.core.management.base import CommandError

    from apps.cluster.commandline import configuration
    from apps.cluster.commandline.output import Output

    try:
        if given.run is configuration.check:  # also where this process's own cannot be used
            configuration.checked(Output(sys.stdout, given.json), given.file)
            return 0
        framework.setup()
        from apps.cluster.management.commands.gmqtt import Command

        Command().handle(**vars(given))
    except CommandError as error:
        print(f"gmqtt: {error}", file=sys.stderr)
        return error.returncode
    return 0
