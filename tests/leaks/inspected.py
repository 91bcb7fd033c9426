"""`python -m tests.leaks.inspected SOCKET`: a node without the cyclic collector that counts its objects.

Who connects to the Unix socket SOCKET sends one word and reads one JSON object, then the connection closes.
"count": type name -> how many are tracked by the collector; what start-up made does not count, for the node
freezes it. "collect": what the collector found. Any other word is a question to the node, as operators ask.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import threading
from collections import Counter
from typing import Any


def counted() -> dict[str, int]:
    kinds = Counter(map(type, gc.get_objects()))
    return {f"{kind.__module__}.{kind.__qualname__}": count for kind, count in kinds.items()}


def asked(word: str) -> dict[str, Any]:
    if word == "count":
        return counted()
    if word == "collect":
        return {"found": gc.collect()}
    from apps.cluster.node_rpc import rpc

    method, _, arguments = word.partition(" ")
    return rpc.call(rpc.local, method, **json.loads(arguments or "{}"))


def answer(listener: socket.socket) -> None:
    while True:
        asker, _ = listener.accept()
        with asker:
            asker.sendall(json.dumps(asked(asker.recv(1000).decode())).encode())


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
