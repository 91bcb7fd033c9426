"""Shared subscriptions (section 4.8.2): each message to one member."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apps.gateway.broker.session import Subscription


class SharedGroup:
    """The members of `$share/<name>/<filter>`, taken in turn."""

    __slots__ = ("_places", "_turn", "filter", "key", "looked", "members", "name")

    def __init__(self, name: str, filter: str) -> None:
        self.name = name
        self.filter = filter
        self.key = f"{name}/{filter}"
        self.members: list[Subscription] = []
        self._places: dict[str, int] = {}  # client id -> index in members
        self._turn = 0
        self.looked = 0  # members that the last choice took

    def add(self, subscription: Subscription) -> Subscription | None:
        """What it replaces, where this client was a member already."""
        place = self._places.get(subscription.client_id)
        if place is not None:
            before = self.members[place]
            self.members[place] = subscription
            return before
        self._places[subscription.client_id] = len(self.members)
        self.members.append(subscription)
        return None

    def remove(self, subscription: Subscription) -> bool:
        place = self._places.get(subscription.client_id)
        if place is None or self.members[place] is not subscription:
            return False  # the client is a member anew, by its next session
        del self._places[subscription.client_id]
        last = self.members.pop()
        if last is not subscription:
            self.members[place] = last
            self._places[last.client_id] = place
        return True

    def anybody(self) -> bool:
        """Is a member online?"""
        return any(member.session.connection is not None for member in self.members)

    def choose(self, qos: int) -> Subscription | None:
        """The next member to which it can go out at once; else the next that is online; else, for QoS above
        0, the next with a session that will queue; else the next for whom a cluster does, which is not
        asked for those as long as there is another.
        """
        members = self.members
        count = len(members)
        busy: Subscription | None = None
        busy_turn = 0
        kept_turn = 0
        offline: Subscription | None = None
        kept: Subscription | None = None
        for step in range(count):
            index = (self._turn + step) % count
            member = members[index]
            self.looked = step + 1
            if member.session.ended:
                continue
            if qos and member.kept:
                if kept is None:
                    kept = member
                    kept_turn = index + 1
            elif member.session.has_room():
                self._turn = index + 1
                return member
            elif member.session.connection is not None:
                if busy is None:
                    busy = member
                    busy_turn = index + 1
            elif offline is None and qos and member.qos:
                offline = member
        if busy is not None:
            self._turn = busy_turn
            return busy
        if offline is None and kept is not None:
            self._turn = kept_turn
            return kept
        return offline
