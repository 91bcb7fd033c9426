"""Every route of the cluster's REST API, and the status that each role gets."""

from __future__ import annotations

from typing import Any

from tests.apps.auth.api.table import NO

# Status of nobody, gateway, registrar, viewer, admin, alice, bob, charlie.
TABLE: dict[tuple[str, str], tuple[int, ...]] = {
    ("status/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("memory/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("nodes/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("nodes/<int:pk>/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("nodes/<int:pk>/", "DELETE"): (NO, 403, 403, 403, 204, 204, 403, 403),
    ("clients/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("sessions/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("sessions/<int:pk>/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("sessions/<int:pk>/", "DELETE"): (NO, 403, 403, 403, 204, 204, 204, 403),
    ("sessions/<int:pk>/kick/", "POST"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("sessions/<int:pk>/subscribe/", "POST"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("sessions/<int:pk>/unsubscribe/", "POST"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("sessions/<int:pk>/queue/", "GET"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("sessions/<int:pk>/queue/purge/", "POST"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("sessions/<int:pk>/queue/replay/", "POST"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("topics/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("subscriptions/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("recipients/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("retained/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("retained/message/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("retained/message/", "DELETE"): (NO, 403, 403, 403, 204, 204, 403, 403),
    ("drops/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("publish/", "POST"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("nodes/<int:pk>/drain/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("nodes/<int:pk>/drain/", "POST"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("nodes/<int:pk>/drain/", "DELETE"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("nodes/<int:pk>/configuration/", "GET"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("nodes/<int:pk>/configuration/diff/", "GET"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("nodes/<int:pk>/configuration/reload/", "POST"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("nodes/<int:pk>/dump/", "POST"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("traces/", "GET"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("traces/", "POST"): (NO, 403, 403, 403, 201, 201, 403, 403),
    ("traces/<slug:trace>/", "GET"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("traces/<slug:trace>/", "DELETE"): (NO, 403, 403, 403, 204, 204, 403, 403),
    ("traces/<slug:trace>/stop/", "POST"): (NO, 403, 403, 403, 204, 204, 403, 403),
    ("bridges/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("bridges/<str:node>/pause/", "POST"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("bridges/<str:node>/resume/", "POST"): (NO, 403, 403, 403, 200, 200, 403, 403),
}


class Bridge:
    """A `BridgeControl` of a node that has one."""

    def status(self) -> list[dict[str, Any]]:
        return [{"node": "test", "state": "running", "lag": 3}]

    def pause(self, node: str) -> dict[str, Any]:
        return {"node": node, "state": "paused", "lag": 3}

    def resume(self, node: str) -> dict[str, Any]:
        return {"node": node, "state": "running", "lag": 3}
