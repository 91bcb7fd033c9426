"""One node, served by a bridge: a thread that reads Kafka and hands batches over the link."""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from apps.cluster.bridge import envelope, protocol
from apps.cluster.bridge.dead_letters import DeadLetter
from apps.cluster.bridge.envelope import BadRecord
from apps.cluster.bridge.proof import MessageProof
from apps.cluster.bridge.protocol import Frames, LinkError
from apps.cluster.bridge.records import Positions, Reader, Record, Unreachable
from apps.cluster.bridge.topic_names import TopicNames
from apps.gateway.broker.messages import Message

logger = logging.getLogger("gmqtt.bridge")

BATCH_SIZE: Final = 500  # records of one batch
BATCH_BYTES: Final = 1_048_576  # payloads of one batch, unless one is larger
WINDOW: Final = 8  # batches that the node has not acknowledged
WINDOW_BYTES: Final = 4_194_304
WAIT: Final = 0.02  # seconds for the next record; then the node is listened to
IDLE: Final = 0.5  # seconds to listen to a node that wants nothing now
REPORT: Final = 1.0  # seconds between commits and reports to the node
LOOK: Final = 30.0  # seconds between looks for new partitions
MAX_EXACT: Final = 20_000  # QoS 2 messages that are remembered
RETRY_DELAY: Final = 1.0  # seconds until a question that was not answered is asked again


@dataclass(frozen=True)
class Sizes:
    """What a message may have at most, as the nodes are configured, and how theirs are known."""

    packet: int  # bytes
    topic: int  # bytes
    levels: int
    proof: MessageProof


class DeadLetters(Protocol):
    def put(self, letters: list[DeadLetter], node: str) -> None:
        """Keep records that are no messages, once for the cluster. Returns when they are safe."""


class NodeConsumer(threading.Thread):
    """From its first frame to the end of the link. `admit` answers why the node is not served, or ""."""

    def __init__(
        self,
        link_socket: socket.socket,
        names: TopicNames,
        sizes: Sizes,
        reader_of: Callable[[str], Reader],
        dead_letters: DeadLetters,
        admit: Callable[[NodeConsumer], str],
        ended: Callable[[NodeConsumer], None],
    ) -> None:
        super().__init__(name="bridge", daemon=True)
        self.node = ""
        self.paused = False
        self._socket = link_socket
        self._names = names
        self._sizes = sizes
        self._reader_of = reader_of
        self._dead_letters = dead_letters
        self._admit = admit
        self._ended = ended
        self._frames = Frames(protocol.MAX_FROM_NODE)
        self._stopping = False
        self._wanted: dict[str, int] = {}
        self._known: Positions = {}  # where the node was when it came
        self._positions: Positions = {}  # of the next record to read
        self._handed: Positions = {}  # of the next record after those acknowledged
        self._window: deque[tuple[int, int, Positions]] = deque()  # number, bytes, positions behind it
        self._window_bytes = 0
        self._unsent: deque[memoryview] = deque()
        self._number = 0
        self._moved = False  # what is wanted is not yet what is read
        self._next_move = self._next_report = 0.0
        self._next_look = time.monotonic() + LOOK
        self._trouble = ""
        self._exact: dict[str, tuple[str, int, int]] = {}  # the last QoS 2 messages: where each came first
        self._lag = 0
        self._places: list[dict[str, Any]] = []
        self._bad: list[DeadLetter] = []  # found, and not kept yet
        self.read = self.skipped = self.handed = self.dead = 0

    # The thread -----------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._greet()
            if self.node:
                self._serve()
        except (OSError, LinkError) as error:
            if not self._stopping:
                logger.info("node %r: the link ended: %s", self.node, error)
        except Exception:
            logger.exception("node %r: not served any longer", self.node)
        finally:
            self._socket.close()
            self._ended(self)

    def stop(self) -> None:
        """From any thread. What the node has not acknowledged is read again when it comes back."""
        self._stopping = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is over already

    def _greet(self) -> None:
        self._socket.settimeout(10)
        first: list[list[Any]] = []
        while not first:
            data = self._socket.recv(65536)
            if not data:
                return
            first = self._frames.feed(data)
        kind, *parts = first[0]
        if kind != protocol.HELLO or len(parts) < 4 or parts[0] != protocol.VERSION:
            self._socket.sendall(
                protocol.frame(protocol.REFUSED, f"version {protocol.VERSION} of the link is spoken here")
            )
            return
        _, node, wanted, known = parts[:4]
        self.node = str(node)
        refusal = self._admit(self)
        if refusal:
            self.node = ""
            self._socket.sendall(protocol.frame(protocol.REFUSED, refusal))
            return
        self._known = protocol.unpack_positions(known)
        self._want(protocol.unpack_topics(wanted))
        for each in first[1:]:
            self._heard(each)

    def _serve(self) -> None:
        self._socket.setblocking(False)
        reader = self._reader_of(self.node)
        logger.info("node %r is served", self.node)
        try:
            while not self._stopping:
                now = time.monotonic()
                if now >= self._next_report:
                    self._next_report = now + REPORT
                    self._report(reader)
                if self._moved and now >= self._next_move:
                    self._move(reader)
                elif now >= self._next_look:
                    self._moved, self._next_look = True, now + LOOK
                if self._may_read():
                    records = reader.read(BATCH_SIZE, WAIT)
                    if records:
                        self._hand(records)
                    self._listen(0)
                else:
                    if not self._positions:  # there are no records, only what librdkafka says for the log
                        reader.read(1, 0)
                    self._listen(IDLE)
        finally:
            if self._handed:
                reader.commit(self._handed)
            reader.close()

    def _may_read(self) -> bool:
        return bool(
            self._positions
            and not self.paused
            and len(self._window) < WINDOW
            and self._window_bytes < WINDOW_BYTES
        )

    @property
    def state(self) -> str:
        if self.paused:
            return "paused"
        if self._trouble:
            return "waiting for Kafka"
        if not self._wanted:
            return "idle"
        return "reading" if self._may_read() else "waiting for the node"

    # What the node says ---------------------------------------------------------------------------

    def _listen(self, wait: float) -> None:
        """Wait at most so many seconds for a word of the node, or for room to send; send, and hear it."""
        unsent = [self._socket] if self._unsent else []
        ready, room, _ = select.select([self._socket], unsent, [], wait)
        if room:
            self._push()
        if not ready:
            return
        data = self._socket.recv(65536)
        if not data:
            raise LinkError("the node closed it")
        for each in self._frames.feed(data):
            self._heard(each)

    def _heard(self, parts: list[Any]) -> None:
        if len(parts) < 2:
            raise LinkError(f"a frame of {len(parts)} parts")
        if parts[0] == protocol.ACK:
            number = int(parts[1])
            while self._window and self._window[0][0] <= number:
                _, size, positions = self._window.popleft()
                self._window_bytes -= size
                self._handed.update(positions)
        elif parts[0] == protocol.TOPICS:
            self._want(protocol.unpack_topics(parts[1]))

    def _want(self, wanted: dict[str, int]) -> None:
        allowed = {topic: since for topic, since in wanted.items() if topic in self._names.live}
        for topic in [each for each, since in self._wanted.items() if allowed.get(each) != since]:
            for places in (self._positions, self._handed, self._known):  # from its new beginning
                for place in [each for each in places if each[0] == topic]:
                    del places[place]
        self._wanted = allowed
        self._moved, self._next_move = True, 0.0

    # Kafka ----------------------------------------------------------------------------------------

    def _move(self, reader: Reader) -> None:
        """Read what is wanted: from where the node was, else from where its first subscription began."""
        self._trouble = ""
        positions: Positions = {}
        missing = False
        for topic, since in self._wanted.items():
            try:
                found = self._begin(reader, topic, since)
            except Unreachable as error:
                self._trouble = str(error)
                found = {each: at for each, at in self._positions.items() if each[0] == topic}
                missing = True
            missing = missing or not found
            positions |= found
        reader.move(positions)
        self._positions = positions
        self._moved, self._next_move = missing, time.monotonic() + RETRY_DELAY

    def _begin(self, reader: Reader, topic: str, since: int) -> Positions:
        there = reader.partitions(topic)
        mine = {number: at for (name, number), at in self._positions.items() if name == topic}
        if mine:  # others came later: from their beginning
            return {(topic, number): mine.get(number, 0) for number in there}
        # The node knows only those from which it has had something.
        found = reader.at(topic, since) if there else {}
        return found | {place: at for place, at in self._known.items() if place in found}

    def _hand(self, records: list[Record]) -> None:
        self.read += len(records)
        messages: list[tuple[Any, ...]] = []
        size = 0
        behind: Positions = {}
        for record in records:
            behind[record.topic, record.partition] = record.offset + 1
            row = self._row(record)
            if row is None:
                continue
            messages.append(row)
            size += len(row[1]) + len(row[4])
            if size >= BATCH_BYTES:
                self._keep_bad()
                self._send(messages, size, behind)
                messages, size, behind = [], 0, {}
        if behind:
            self._keep_bad()
            self._send(messages, size, behind)

    def _keep_bad(self) -> None:
        """Before the position moves behind them."""
        if self._bad:
            self._dead_letters.put(self._bad, self.node)
            self._bad = []

    def _row(self, record: Record) -> tuple[Any, ...] | None:
        """A message for the node; None: it has it already, or it is none."""
        sizes = self._sizes
        try:
            message, node, shares = envelope.message(
                record, sizes.packet, sizes.topic, sizes.levels, sizes.proof
            )
            if self._names.of_topic(message.topic) != record.topic:
                home = self._names.of_topic(message.topic)
                raise BadRecord("wrong_kafka_topic", f"{message.topic[:200]!r} belongs to {home}")
        except BadRecord as bad:
            self.dead += 1
            self._bad.append(DeadLetter(record, bad.reason, str(bad)))
            return None
        if node == self.node or (message.qos == 2 and message.once and self._is_repeated(message, record)):
            self.skipped += 1
            return None
        mine: list[str] | None = None
        where = ""
        if node:
            mine = [group for name, _, group in map(_partition, shares) if name == self.node]
        else:
            where = f"{record.topic}-{record.partition}-{record.offset}"
        return (
            message.topic,
            message.payload,
            message.qos,
            message.retain,
            message.properties,
            message.expires,
            message.origin,
            mine,
            where,
        )

    def _is_repeated(self, message: Message, record: Record) -> bool:
        """Does a publisher repeat what came before, or came this before in another record [MQTT-4.3.3-10]?"""
        place = (record.topic, record.partition, record.offset)
        known = self._exact.setdefault(message.once, place) != place
        if len(self._exact) > MAX_EXACT:
            del self._exact[next(iter(self._exact))]
        return known

    def _send(self, messages: list[tuple[Any, ...]], size: int, behind: Positions) -> None:
        self._positions.update(behind)
        self._number += 1
        self._window.append((self._number, size, behind))
        self._window_bytes += size
        self.handed += len(messages)
        self._say(protocol.frame(protocol.BATCH, self._number, messages, protocol.pack_positions(behind)))

    def _say(self, frame: bytes) -> None:
        """Never waits: the window bounds what is unsent."""
        self._unsent.append(memoryview(frame))
        self._push()

    def _push(self) -> None:
        unsent = self._unsent
        try:
            while unsent:
                sent = self._socket.send(unsent[0])
                if sent == len(unsent[0]):
                    unsent.popleft()
                else:
                    unsent[0] = unsent[0][sent:]
        except BlockingIOError:
            return

    # What is seen of it ---------------------------------------------------------------------------

    def _report(self, reader: Reader) -> None:
        if self._handed:
            reader.commit(self._handed)
        ends = reader.ends(self._positions)
        self._places = [
            {
                "topic": each[0],
                "partition": each[1],
                "position": at,
                "end": ends.get(each),
                "lag": _lag(at, ends.get(each)),
            }
            for each, at in sorted(self._positions.items())
        ]
        self._lag = sum(place["lag"] or 0 for place in self._places)
        if not self._unsent:  # news that waits is none
            self._say(protocol.frame(protocol.STATUS, self.status()))

    def status(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "topics": self._places,
            "lag": self._lag,
            "read": self.read,
            "handed": self.handed,
            "skipped": self.skipped,
            "dead": self.dead,
            "trouble": self._trouble,
        }


def _lag(position: int, end: int | None) -> int | None:
    return None if end is None else max(end - position, 0)


def _partition(share: str) -> tuple[str, str, str]:
    return share.partition(" ")
