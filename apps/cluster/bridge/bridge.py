"""The bridge of a host: serves every node that connects to its Unix socket."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apps.cluster.bridge.node_consumer import DeadLetters, NodeConsumer, Sizes
from apps.cluster.bridge.queue_consumer import QUEUES, QueueConsumer
from apps.cluster.bridge.records import Reader
from apps.cluster.bridge.topic_names import TopicNames

logger = logging.getLogger("gmqtt.bridge")


class InUse(Exception):
    """Another bridge listens on the socket."""


class Bridge:
    def __init__(
        self,
        path: Path,
        names: TopicNames,
        sizes: Sizes,
        reader_of: Callable[[str], Reader],
        dead_letters: DeadLetters,
        queueing_of: Callable[[], QueueConsumer] | None = None,
    ) -> None:
        """`reader_of` makes a reader for the node of that name; `queueing_of` what fills sessions' queues,
        where the cluster keeps any: it can ask for a node that is served here.
        """
        self._queueing_of = queueing_of
        self._queueing: QueueConsumer | None = None
        self._path = path
        self._names = names
        self._sizes = sizes
        self._reader_of = reader_of
        self._dead_letters = dead_letters
        self._lock = threading.Lock()
        self._serving: dict[str, NodeConsumer] = {}
        self._threads: set[NodeConsumer] = set()
        self._paused: set[str] = set()  # nodes; "" = all
        self._listener: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Listen. Raises `InUse`, or OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._take_over(listener)
            listener.listen(128)
        except BaseException:
            listener.close()
            raise
        self._listener = listener
        self._accepting = threading.Thread(target=self._accept, name="bridge-accept", daemon=True)
        self._accepting.start()
        if self._queueing_of is not None:
            self._queueing = self._queueing_of()
            self._queueing.start()
        logger.info("the bridge listens on %s", self._path)

    def _take_over(self, listener: socket.socket) -> None:
        """Bind; a socket that a dead bridge left behind is removed."""
        with contextlib.suppress(FileNotFoundError), socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._path))
            except ConnectionRefusedError:
                self._path.unlink()
            else:
                raise InUse(str(self._path))
        mask = os.umask(0o177)  # nobody but this user: who may connect here reads messages
        try:
            listener.bind(str(self._path))
        finally:
            os.umask(mask)

    def stop(self) -> None:
        """Stop serving and wait for the threads; what was not acknowledged is handed over another time."""
        self._stopping = True
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._path.unlink(missing_ok=True)
        with self._lock:
            threads = list(self._threads)
        for each in threads:
            each.stop()
        if self._queueing is not None:
            self._queueing.stop()
        for thread in (*threads, self._accepting, self._queueing):
            if thread is not None:
                thread.join(10)

    def _accept(self) -> None:
        assert self._listener is not None
        while True:
            try:
                link_socket, _ = self._listener.accept()
            except OSError as error:
                if self._stopping:
                    return
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED):
                    logger.exception("the bridge does not listen any longer")
                    return
                continue
            serving = NodeConsumer(
                link_socket,
                self._names,
                self._sizes,
                self._reader_of,
                self._dead_letters,
                self._admit,
                self._ended,
            )
            with self._lock:
                self._threads.add(serving)
                serving.start()

    def _admit(self, serving: NodeConsumer) -> str:
        with self._lock:
            if serving.node in self._serving:
                return f"another node with the name {serving.node!r} is served here"
            self._serving[serving.node] = serving
            serving.paused = bool(self._paused & {"", serving.node})
            return ""

    def _ended(self, serving: NodeConsumer) -> None:
        with self._lock:
            self._threads.discard(serving)
            if self._serving.get(serving.node) is serving:
                del self._serving[serving.node]

    # Operators ------------------------------------------------------------------------------------

    def status(self) -> dict[str, dict[str, Any]]:
        """By node; `QUEUES` is what fills the queues of persistent sessions."""
        with self._lock:
            found = {node: serving.status() for node, serving in sorted(self._serving.items())}
        if self._queueing is not None:
            found[QUEUES] = self._queueing.status()
        return found

    def pause(self, node: str = "") -> list[str]:
        """Read no more for `node`, "" = for all, also those that come later; the nodes concerned."""
        with self._lock:
            self._paused.add(node)
            return self._apply()

    def resume(self, node: str = "") -> list[str]:
        with self._lock:
            self._paused = self._paused - {node} if node else set()
            return self._apply()

    def _apply(self) -> list[str]:
        for node, serving in self._serving.items():
            serving.paused = bool(self._paused & {"", node})
        if self._queueing is not None:
            self._queueing.paused = bool(self._paused & {"", QUEUES})
        return sorted(node for node, serving in self._serving.items() if serving.paused)
