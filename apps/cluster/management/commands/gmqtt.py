"""`manage.py gmqtt NOUN VERB`: look after a running platform from the command line."""

from __future__ import annotations

import argparse
import sys
from typing import Any, TextIO, cast

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.cluster.commandline import configuration, maintenance
from apps.cluster.commandline.client import Api, ApiRefused, NoNode
from apps.cluster.commandline.nouns import NOUNS
from apps.cluster.commandline.output import Output, visible
from gmqtt_platform import local, operating

REFUSED = 1  # the platform said no
NO_NODE = 3  # nobody answered; 2 is argparse's, for a command that cannot be understood


class Command(BaseCommand):
    help = "Look after a running platform: clients, sessions, topics, messages, nodes. Talks to its REST API."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", default="", help="of a node: http://10.0.0.7:8000 (default: this one)")
        parser.add_argument("--json", action="store_true", help="JSON in place of tables")
        nouns = parser.add_subparsers(
            dest="noun", required=True, metavar="NOUN", parser_class=argparse.ArgumentParser
        )
        for add in (
            *NOUNS,
            maintenance.drain,
            maintenance.trace,
            configuration.config,
            configuration.dump,
            *operating.COMMANDS,
        ):
            add(nouns)

    def handle(self, *args: Any, **options: Any) -> None:
        given = argparse.Namespace(**options)
        if (given.noun, getattr(given, "verb", "")) == ("config", "check"):  # whatever listens, or not
            configuration.checked(Output(cast("TextIO", self.stdout._out), given.json), given.file)
            return
        if hasattr(given, "operate"):  # without a node
            code = given.operate(Output(cast("TextIO", self.stdout._out), given.json), given)
            if code:
                sys.exit(code)
            return
        url, reach = given.url, []
        if not url:
            found = local.node(settings.GMQTT)
            url, reach = found.url, found.handlers()
        elif not url.startswith(("http://", "https://")):
            raise CommandError("--url begins with http:// or https://", returncode=2)
        api = Api(url, local.token, reach)
        try:
            given.run(api, Output(cast("TextIO", self.stdout._out), given.json), given)
        except ApiRefused as error:
            raise CommandError(f"{visible(str(error))} ({error.code})", returncode=REFUSED) from None
        except NoNode as error:
            raise CommandError(
                f"{error}. Is it running? `manage.py rungateway` or `make run` starts one.",
                returncode=NO_NODE,
            ) from None
        except OSError as error:  # --file
            raise CommandError(str(error), returncode=2) from None
