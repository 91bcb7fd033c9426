"""Publishers of QoS 1 and 2 are slowed down for readers that are online and cannot follow.

A session whose queue is more than half full is crowded: connections that publish to it are not read until it
is down to a quarter. That ends after `TIMEOUT`, or sooner where the reader acknowledges nothing; from then
on, until the queue is down to a quarter, its limits and `queue_full_policy` hold. No reader stops a publisher
for long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from apps.gateway.broker.connection import Connection
    from apps.gateway.broker.session import Session

TIMEOUT: Final = 5.0  # seconds that publishers wait for a reader
STUCK: Final = 1.0  # the same, for one that acknowledges nothing


class Crowd:
    """One crowded session and who waits for it."""

    def __init__(self, session: Session, now: float) -> None:
        self.session = session
        self.since = now
        self.moved = now  # when its queue was last seen to change
        self.level = 0
        self.given_up = False
        self.publishers: list[Connection] = []

    def release(self) -> None:
        publishers, self.publishers = self.publishers, []
        for publisher in publishers:
            publisher.pressed -= 1
            publisher.read_on()


class Pressure:
    def __init__(self) -> None:
        self.fresh: list[Session] = []  # those that the publishes under way have crowded
        self._crowds: dict[str, Crowd] = {}  # by client id

    def rise(self, session: Session, now: float) -> None:
        """Something more is queued for a session that is online and more than half full."""
        crowd = session.crowd
        if crowd is None:
            crowd = Crowd(session, now)
            session.crowd = crowd
            self._crowds[session.client_id] = crowd
        if not crowd.given_up and session not in self.fresh:
            self.fresh.append(session)

    def hold_back(self, publisher: Connection) -> None:
        """What this connection sent has crowded the sessions in `fresh`."""
        fresh, self.fresh = self.fresh, []
        for session in fresh:
            crowd = session.crowd
            if crowd is None or session.connection is publisher or publisher in crowd.publishers:
                continue
            crowd.publishers.append(publisher)
            publisher.pressed += 1
            publisher.hold_reading()

    def fall(self, session: Session) -> None:
        """The session has emptied to a quarter, or its client is gone."""
        crowd = session.crowd
        if crowd is not None:
            session.crowd = None
            self._crowds.pop(session.client_id, None)
            crowd.release()

    def tick(self, now: float) -> None:
        for crowd in list(self._crowds.values()):
            level = crowd.session.fill
            if level != crowd.level:
                crowd.level = level
                crowd.moved = now
            if now - crowd.since >= TIMEOUT or now - crowd.moved >= STUCK:
                crowd.given_up = True
                crowd.release()
