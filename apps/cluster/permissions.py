"""What may be done with nodes, sessions, topics, messages and export rules, and by which route."""

from __future__ import annotations

from typing import Final

from apps.common import rbac
from apps.common.rbac import GROUP_MANAGE, GROUP_VIEW

APP: Final = "cluster"

VIEW_NODE, DELETE_NODE = rbac.names(APP, "clusternode", "view delete")
DRAIN_NODE, CONTROL_BRIDGE, TRACE = (f"{APP}.{name}" for name in ("drain_node", "control_bridge", "trace"))
VIEW_CONFIGURATION, RELOAD_CONFIGURATION = rbac.names(APP, "configuration", "view reload")
DUMP_STATE = f"{APP}.dump_state"
VIEW_SESSION, END_SESSION = rbac.names(APP, "sessioninfo", "view delete")
KICK_SESSION, SUBSCRIBE_FOR = f"{APP}.kick_session", f"{APP}.subscribe_for"
VIEW_QUEUE, PURGE_QUEUE = rbac.names(APP, "queue", "view purge")
VIEW_RETAINED, DELETE_RETAINED = rbac.names(APP, "retained", "view delete")
VIEW_PAYLOAD, PUBLISH_MESSAGE = f"{APP}.view_payload", f"{APP}.publish_message"
(VIEW_SUBSCRIPTION,) = rbac.names(APP, "subscriptioninfo", "view")
(VIEW_DROP,) = rbac.names(APP, "drop", "view")
VIEW_EXPORT, ADD_EXPORT, CHANGE_EXPORT, DELETE_EXPORT = rbac.names(APP, "exportrule")

rbac.declare(
    permissions={
        *(VIEW_NODE, DELETE_NODE, DRAIN_NODE, CONTROL_BRIDGE, TRACE),
        *(VIEW_CONFIGURATION, RELOAD_CONFIGURATION, DUMP_STATE),
        *(VIEW_SESSION, END_SESSION, KICK_SESSION, SUBSCRIBE_FOR, VIEW_QUEUE, PURGE_QUEUE),
        *(VIEW_RETAINED, DELETE_RETAINED, VIEW_PAYLOAD, PUBLISH_MESSAGE, VIEW_SUBSCRIPTION, VIEW_DROP),
        *(VIEW_EXPORT, ADD_EXPORT, CHANGE_EXPORT, DELETE_EXPORT),
    },
    contents={VIEW_QUEUE, VIEW_PAYLOAD, VIEW_CONFIGURATION},
    endpoints={
        "cluster-status": {"GET": VIEW_NODE},
        "cluster-nodes": {"GET": VIEW_NODE},
        "cluster-node": {"GET": VIEW_NODE, "DELETE": DELETE_NODE},
        "cluster-node-drain": {"GET": VIEW_NODE, "POST": DRAIN_NODE, "DELETE": DRAIN_NODE},
        "cluster-node-configuration": {"GET": VIEW_CONFIGURATION},
        "cluster-node-configuration-diff": {"GET": VIEW_CONFIGURATION},
        "cluster-node-configuration-reload": {"POST": RELOAD_CONFIGURATION},
        "cluster-node-dump": {"POST": DUMP_STATE},
        "cluster-traces": {"GET": TRACE, "POST": TRACE},
        "cluster-trace": {"GET": TRACE, "DELETE": TRACE},
        "cluster-trace-stop": {"POST": TRACE},
        "cluster-clients": {"GET": VIEW_SESSION},
        "cluster-sessions": {"GET": VIEW_SESSION},
        "cluster-session": {"GET": VIEW_SESSION, "DELETE": END_SESSION},
        "cluster-session-kick": {"POST": KICK_SESSION},
        "cluster-session-subscribe": {"POST": SUBSCRIBE_FOR},
        "cluster-session-unsubscribe": {"POST": SUBSCRIBE_FOR},
        "cluster-session-queue": {"GET": VIEW_QUEUE},
        "cluster-session-purge": {"POST": PURGE_QUEUE},
        "cluster-session-replay": {"POST": PURGE_QUEUE},
        "cluster-topics": {"GET": VIEW_SUBSCRIPTION},
        "cluster-subscriptions": {"GET": VIEW_SUBSCRIPTION},
        "cluster-recipients": {"GET": VIEW_SUBSCRIPTION},
        "cluster-retained": {"GET": VIEW_RETAINED},
        "cluster-retained-message": {"GET": VIEW_RETAINED, "DELETE": DELETE_RETAINED},
        "cluster-drops": {"GET": VIEW_DROP},
        "cluster-publish": {"POST": PUBLISH_MESSAGE},
        "cluster-bridges": {"GET": VIEW_NODE},
        "cluster-bridge-pause": {"POST": CONTROL_BRIDGE},
        "cluster-bridge-resume": {"POST": CONTROL_BRIDGE},
    },
    in_a_group={
        VIEW_SESSION: GROUP_VIEW,
        VIEW_SUBSCRIPTION: GROUP_VIEW,
        VIEW_DROP: GROUP_VIEW,
        KICK_SESSION: GROUP_MANAGE,
        END_SESSION: GROUP_MANAGE,
        SUBSCRIBE_FOR: GROUP_MANAGE,
        VIEW_QUEUE: GROUP_MANAGE,
        PURGE_QUEUE: GROUP_MANAGE,
    },
)
