"""`python -m gmqtt_platform`: the command `gmqtt`."""

from __future__ import annotations

from gmqtt_platform.command import main

main()
