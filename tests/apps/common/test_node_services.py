"""What a process finds of its node."""

from __future__ import annotations

from apps.common import node_services
from apps.common.node_services import NodeServices
from apps.console import health


class Part:
    pass


def test_a_process_without_a_node_has_no_part_of_one() -> None:
    assert node_services.current() is None
    assert node_services.find(Part) is None
    assert health.summary() == {"status": "ok"}
    assert health.reasons() == {"node": "starting"}


def test_what_the_node_provides_is_found_until_it_stops() -> None:
    part = Part()
    services = NodeServices(
        "a", dict, checks={"store": lambda: {"ok": False}}, readiness={"store": lambda: ""}
    )
    services.provide(Part, part)
    node_services.install(services)
    try:
        assert node_services.find(Part) is part
        assert node_services.find(NodeServices) is None
        assert health.summary() == {"status": "degraded", "failing": ["store"]}
        assert health.reasons() == {}
    finally:
        node_services.install(None)
    assert node_services.find(Part) is None
