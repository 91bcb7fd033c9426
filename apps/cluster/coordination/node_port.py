"""What the cluster needs of its node (`apps.gateway.node_adapter.ClusterView`), as a Protocol."""

from __future__ import annotations

from typing import Protocol

from apps.gateway.broker.messages import Message


class NodePort(Protocol):
    """Called on the node's loop. Times are UNIX seconds by this machine's clock."""

    def now(self) -> float: ...

    def changed(self, filter: str) -> None:
        """Other nodes want the topics that `filter` matches, or no longer do."""

    def client_ids(self) -> list[str]:
        """Of every session, as of the call."""

    def has(self, client_id: str) -> bool:
        """Is there a session?"""

    def will(self, client_id: str) -> tuple[Message, int, float] | None:
        """A session's will, its delay in seconds, and when it is due (0.0: after a death).

        The expiry of the message is a lifetime.
        """

    def evict(self, client_id: str, resumed: bool) -> None:
        """The client has connected to another node; `resumed`: to go on with its session."""

    def expel(self, client_id: str, reason: int, text: str) -> Message | None:
        """Disconnect a client without publishing its will, which is answered."""

    async def publish_wills(self, wills: list[Message]) -> int:
        """As `publish`, of those that their clients may still publish; the others are counted as dropped."""

    async def publish(self, messages: list[Message]) -> int:
        """Publish for the node itself; 0 as soon as they cannot be lost any more, or the reason why not."""

    def show(self, topic: str, value: str) -> None:
        """Retain a figure below $SYS on this node; "" takes it away."""

    def retained(self, topic: str) -> Message | None: ...

    def retained_topics(self) -> list[str]:
        """Those that begin with $ are the node's own, and not among them."""

    def keep(self, message: Message) -> None:
        """Take over a retained message from the cluster; an empty payload clears its topic."""
