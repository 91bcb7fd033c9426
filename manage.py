#!/usr/bin/env python3
"""Django's command line; a configuration that cannot be used ends it with a message and exit code 2."""

from __future__ import annotations

import os
import sys

from gmqtt_platform.config.loader import ConfError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gmqtt_platform.settings")
    try:
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    except ConfError as error:
        print(f"configuration error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
