"""Who may call what, as tables: permissions, the built-in roles, RPC methods, endpoints.

A permission is a Django permission, so operators get theirs as Django users and groups do, service accounts
get theirs from roles, and both mean the same by it. `apps.common.actors` asks these tables.
"""

from __future__ import annotations

from typing import Final

APP: Final = "mqtt_auth"
CLUSTER: Final = "cluster"


def _of(model: str, verbs: str = "view add change delete", app: str = APP) -> tuple[str, ...]:
    return tuple(f"{app}.{verb}_{model}" for verb in verbs.split())


VIEW_CLIENT, REGISTER, CHANGE_CLIENT, UNREGISTER = _of("client")
EXPORT_CLIENTS, KICK_CLIENT = _of("client", "export kick")
DECIDE_CONNECT, DECIDE_PUBLISH, DECIDE_SUBSCRIBE = (
    f"{APP}.decide_{a}" for a in ("connect", "publish", "subscribe")
)
READ_MESSAGES, PUBLISH_MESSAGES = (f"{APP}.{verb}_messages" for verb in ("read", "publish"))
VIEW_CREDENTIAL, ADD_CREDENTIAL, CHANGE_CREDENTIAL, DELETE_CREDENTIAL = _of("credential")
VIEW_GROUP, ADD_GROUP, CHANGE_GROUP, DELETE_GROUP = _of("clientgroup")
VIEW_RULE, ADD_RULE, CHANGE_RULE, DELETE_RULE = _of("aclrule")
VIEW_BAN, ADD_BAN, CHANGE_BAN, DELETE_BAN = _of("ban")
VIEW_ACCOUNT, ADD_ACCOUNT, CHANGE_ACCOUNT, DELETE_ACCOUNT = _of("serviceaccount")
VIEW_ROLE, ADD_ROLE, CHANGE_ROLE, DELETE_ROLE = _of("role")
(VIEW_REFUSAL,) = _of("refusal", "view")
VIEW_AUDIT: Final = "auditlog.view_logentry"

VIEW_NODE, DELETE_NODE = _of("clusternode", "view delete", CLUSTER)
DRAIN_NODE, CONTROL_BRIDGE, TRACE = (f"{CLUSTER}.{p}" for p in ("drain_node", "control_bridge", "trace"))
VIEW_SESSION, END_SESSION = _of("sessioninfo", "view delete", CLUSTER)
KICK_SESSION, SUBSCRIBE_FOR = f"{CLUSTER}.kick_session", f"{CLUSTER}.subscribe_for"
VIEW_QUEUE, PURGE_QUEUE = _of("queue", "view purge", CLUSTER)
VIEW_RETAINED, DELETE_RETAINED = _of("retained", "view delete", CLUSTER)
VIEW_PAYLOAD, PUBLISH_MESSAGE = f"{CLUSTER}.view_payload", f"{CLUSTER}.publish_message"
(VIEW_SUBSCRIPTION,) = _of("subscriptioninfo", "view", CLUSTER)
(VIEW_DROP,) = _of("drop", "view", CLUSTER)
VIEW_EXPORT, ADD_EXPORT, CHANGE_EXPORT, DELETE_EXPORT = _of("exportrule", app=CLUSTER)

# What messages say is for fewer people than what is going on.
_CONTENTS: Final = frozenset({VIEW_QUEUE, VIEW_PAYLOAD})
_CLUSTER: Final = frozenset(
    {VIEW_NODE, DELETE_NODE, DRAIN_NODE, CONTROL_BRIDGE, TRACE, VIEW_SESSION, END_SESSION, KICK_SESSION}
    | {SUBSCRIBE_FOR, PURGE_QUEUE, VIEW_RETAINED, DELETE_RETAINED, PUBLISH_MESSAGE}
    | {VIEW_SUBSCRIPTION, VIEW_DROP, VIEW_EXPORT, ADD_EXPORT, CHANGE_EXPORT, DELETE_EXPORT}
    | _CONTENTS
)

PERMISSIONS: Final = frozenset(
    {
        EXPORT_CLIENTS,
        KICK_CLIENT,
        DECIDE_CONNECT,
        DECIDE_PUBLISH,
        DECIDE_SUBSCRIBE,
        READ_MESSAGES,
        PUBLISH_MESSAGES,
        VIEW_REFUSAL,
        VIEW_AUDIT,
    }
    | _CLUSTER
).union(
    *(
        _of(model)
        for model in ("client", "credential", "clientgroup", "aclrule", "ban", "serviceaccount", "role")
    )
)

# The built-in roles. `migrate` writes them into the database; there are custom ones beside them.
ROLES: Final = {
    "gateway": frozenset({DECIDE_CONNECT, DECIDE_PUBLISH, DECIDE_SUBSCRIBE}),
    "registrar": frozenset({REGISTER, UNREGISTER}),
    "viewer": frozenset(p for p in PERMISSIONS if p.partition(".")[2].startswith("view_")) - _CONTENTS,
    "admin": PERMISSIONS,
}

# What an operator may do who holds an object permission on a client group (django-guardian), with the clients
# of that group and the group itself: permission -> object permissions, any of which gives it.
_SEES = ("view_members", "manage_members")
_MANAGES = ("manage_members",)
_RULES = ("manage_rules",)
IN_A_GROUP: Final = {
    VIEW_CLIENT: _SEES,
    VIEW_SESSION: _SEES,
    VIEW_SUBSCRIPTION: _SEES,
    VIEW_DROP: _SEES,
    KICK_SESSION: _MANAGES,
    END_SESSION: _MANAGES,
    SUBSCRIBE_FOR: _MANAGES,
    VIEW_QUEUE: _MANAGES,
    PURGE_QUEUE: _MANAGES,
    EXPORT_CLIENTS: _SEES,
    VIEW_CREDENTIAL: _SEES,
    VIEW_GROUP: (*_SEES, *_RULES),
    VIEW_RULE: (*_SEES, *_RULES),
    REGISTER: _MANAGES,
    CHANGE_CLIENT: _MANAGES,
    UNREGISTER: _MANAGES,
    KICK_CLIENT: _MANAGES,
    READ_MESSAGES: ("read_members",),
    PUBLISH_MESSAGES: ("command_members",),
    ADD_CREDENTIAL: _MANAGES,
    CHANGE_CREDENTIAL: _MANAGES,
    DELETE_CREDENTIAL: _MANAGES,
    ADD_RULE: _RULES,
    CHANGE_RULE: _RULES,
    DELETE_RULE: _RULES,
}

# RPC method -> permission. A method that is not here is refused.
RPC_METHODS: Final = {
    "Auth": DECIDE_CONNECT,
    "PubAuth": DECIDE_PUBLISH,
    "SubAuth": DECIDE_SUBSCRIBE,
    "Register": REGISTER,
    "Unregister": UNREGISTER,
}

# What takes no permission: whoever calls proves itself in the request, or there is nothing to protect.
OPEN: Final = ""

# Route name -> method -> permission. A route or method that is not here is refused.
ENDPOINTS: Final[dict[str, dict[str, str]]] = {
    "clients": {"GET": VIEW_CLIENT, "POST": REGISTER},
    "clients-bulk": {"POST": REGISTER},
    "clients-export": {"GET": EXPORT_CLIENTS},
    "client": {"GET": VIEW_CLIENT, "PATCH": CHANGE_CLIENT, "DELETE": UNREGISTER},
    "client-enable": {"POST": CHANGE_CLIENT},
    "client-disable": {"POST": CHANGE_CLIENT},
    "client-rotate": {"POST": CHANGE_CREDENTIAL},
    "client-kick": {"POST": KICK_CLIENT},
    "credentials": {"GET": VIEW_CREDENTIAL, "POST": ADD_CREDENTIAL},
    "credential": {"GET": VIEW_CREDENTIAL, "DELETE": DELETE_CREDENTIAL},
    "credential-rotate": {"POST": CHANGE_CREDENTIAL},
    "groups": {"GET": VIEW_GROUP, "POST": ADD_GROUP},
    "group": {"GET": VIEW_GROUP, "PATCH": CHANGE_GROUP, "DELETE": DELETE_GROUP},
    "rules": {"GET": VIEW_RULE, "POST": ADD_RULE},
    "rule": {"GET": VIEW_RULE, "PATCH": CHANGE_RULE, "DELETE": DELETE_RULE},
    "explain": {"POST": VIEW_RULE},
    "bans": {"GET": VIEW_BAN, "POST": ADD_BAN},
    "ban": {"GET": VIEW_BAN, "PATCH": CHANGE_BAN, "DELETE": DELETE_BAN},
    "service-accounts": {"GET": VIEW_ACCOUNT, "POST": ADD_ACCOUNT},
    "service-account": {"GET": VIEW_ACCOUNT, "PATCH": CHANGE_ACCOUNT, "DELETE": DELETE_ACCOUNT},
    "service-account-rotate": {"POST": CHANGE_ACCOUNT},
    "roles": {"GET": VIEW_ROLE, "POST": ADD_ROLE},
    "role": {"GET": VIEW_ROLE, "PATCH": CHANGE_ROLE, "DELETE": DELETE_ROLE},
    "refusals": {"GET": VIEW_REFUSAL},
    "audit": {"GET": VIEW_AUDIT},
    "token": {"POST": OPEN},
    "auth-connect": {"POST": DECIDE_CONNECT},
    "auth-publish": {"POST": DECIDE_PUBLISH},
    "auth-subscribe": {"POST": DECIDE_SUBSCRIBE},
    "cluster-status": {"GET": VIEW_NODE},
    "cluster-nodes": {"GET": VIEW_NODE},
    "cluster-node": {"GET": VIEW_NODE, "DELETE": DELETE_NODE},
    "cluster-node-drain": {"GET": VIEW_NODE, "POST": DRAIN_NODE, "DELETE": DRAIN_NODE},
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
    "schema": {"GET": OPEN},
    "docs": {"GET": OPEN},
}
