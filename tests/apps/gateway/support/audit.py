"""The node's gauges counted again from what there is, and what must hold between its parts at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.gateway.broker.retained import kept_size
from apps.gateway.broker.states import CONNECTED

if TYPE_CHECKING:
    from apps.gateway.broker.node import Node
    from apps.gateway.broker.routing import Route, Router
    from tests.apps.gateway.support.client import Client


def gauges(node: Node, clients: list[Client]) -> dict[str, int]:
    """What `node.stats` should say."""
    held = queued = 0
    for session in node.sessions.values():
        held += session.held + session.weight
        held += sum(subscription.size for subscription in session.subscriptions.values())
        held += session.will.size if session.will is not None else 0
        held += session.replay.held if session.replay is not None else 0
        queued += session.backlog
    connections = [client.connection for client in clients]
    for connection in connections:
        held += (
            connection.aliases_held
            + connection.unsent
            + (connection.will.size if connection.will is not None else 0)
        )
    held += routes_held(node)
    return {
        "held": held,
        "queued": queued,
        "inbound": sum(connection._partial_size for connection in connections),
        "connections": sum(connection.state == CONNECTED for connection in connections),
    }


def routes_held(node: Node) -> int:
    """Bytes of the routes that clients have caused."""
    return sum(route.size for route in cached(node.router) if route.charge is not None)


def cached(router: Router) -> list[Route]:
    """By age; each stands in the tree, and with who bears it."""
    found: list[Route] = []
    route = router._oldest
    while route is not None:
        assert route.cached and router._routes.get(route.topic) is route
        assert route.charge is None or route in route.charge.routes
        found.append(route)
        route = route.newer
    assert len(found) == len(router._routes)
    return found


def check(node: Node, clients: list[Client]) -> None:
    stats = node.stats
    counted = gauges(node, clients)
    assert {name: getattr(stats, name) for name in counted} == counted
    assert node.retained.bytes == sum(map(kept_size, node.retained.values()))
    subscriptions = 0
    for client_id, session in node.sessions.items():
        assert session.client_id == client_id
        inside = [each.size for each in session.unacked.values()]
        waiting = [each.size for each in session.queue or ()]
        assert session.held == sum(inside) + sum(waiting)
        assert session.queue_bytes == sum(waiting)
        assert session.queue is None or session.queue  # an empty one is none
        assert not set(session.unacked) & set(session.released)
        assert session.held <= node.limits.max_queued_bytes
        subscriptions += len(session.subscriptions)
        connection = session.connection
        if connection is not None:
            assert connection.session is session and connection.state == CONNECTED
            in_flight = len(session.unacked) + len(session.released) - len(session.repeats or ())
            assert in_flight <= max(connection.window, len(session.released))
            idle = session.backlog == 0 and session.repeats is None
            assert idle or connection.congested or in_flight >= connection.window
    assert node.router.trie.count == subscriptions
