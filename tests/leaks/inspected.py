"""`python -m tests.leaks.inspected SOCKET`: a node without the cyclic collector that counts its objects.

Whoever connects to the Unix socket SOCKET reads one JSON object, type name -> how many are tracked by the
collector, and the connection closes. What start-up made does not count: the node freezes it.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import threading
from collections import Counter


def counted() -> dict[str, int]:
    kinds = Counter(map(type, gc.get_objects()))
    return {f"{kind.__module__}.{kind.__qualname__}": count for kind, count in kinds.items()}


def answer(listener: socket.socket) -> None:
    while True:
        asker, _ = listener.accept()
        with asker:
            asker.sendall(json.dumps(counted()).encode())


def main() -> None:
    gc.disable()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    threading.Thread(target=answer, args=(listener,), daemon=True).start()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gmqtt_platform.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", "rungateway"])


if __name__ == "__main__":
    main()
