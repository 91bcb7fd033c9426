"""What may be done with clients, credentials, rules, bans and accounts, and by which route or RPC method."""

from __future__ import annotations

from typing import Final

from apps.common import rbac
from apps.common.rbac import GROUP_MANAGE, GROUP_RULES, GROUP_VIEW

APP: Final = "mqtt_auth"

VIEW_CLIENT, REGISTER, CHANGE_CLIENT, UNREGISTER = rbac.names(APP, "client")
EXPORT_CLIENTS, KICK_CLIENT = rbac.names(APP, "client", "export kick")
DECIDE_CONNECT, DECIDE_PUBLISH, DECIDE_SUBSCRIBE = (
    f"{APP}.decide_{action}" for action in ("connect", "publish", "subscribe")
)
READ_MESSAGES, PUBLISH_MESSAGES = rbac.names(APP, "messages", "read publish")
VIEW_CREDENTIAL, ADD_CREDENTIAL, CHANGE_CREDENTIAL, DELETE_CREDENTIAL = rbac.names(APP, "credential")
VIEW_GROUP, ADD_GROUP, CHANGE_GROUP, DELETE_GROUP = rbac.names(APP, "clientgroup")
VIEW_RULE, ADD_RULE, CHANGE_RULE, DELETE_RULE = rbac.names(APP, "aclrule")
VIEW_BAN, ADD_BAN, CHANGE_BAN, DELETE_BAN = rbac.names(APP, "ban")
VIEW_ACCOUNT, ADD_ACCOUNT, CHANGE_ACCOUNT, DELETE_ACCOUNT = rbac.names(APP, "serviceaccount")
VIEW_ROLE, ADD_ROLE, CHANGE_ROLE, DELETE_ROLE = rbac.names(APP, "role")
(VIEW_REFUSAL,) = rbac.names(APP, "refusal", "view")
VIEW_AUDIT: Final = "auditlog.view_logentry"

MODELS: Final = ("client", "credential", "clientgroup", "aclrule", "ban", "serviceaccount", "role")

# RPC method -> permission. A method that is not here is refused.
RPC_METHODS: Final = {
    "Auth": DECIDE_CONNECT,
    "PubAuth": DECIDE_PUBLISH,
    "SubAuth": DECIDE_SUBSCRIBE,
    "Register": REGISTER,
    "Unregister": UNREGISTER,
}

rbac.declare(
    permissions={
        *(name for model in MODELS for name in rbac.names(APP, model)),
        EXPORT_CLIENTS,
        KICK_CLIENT,
        DECIDE_CONNECT,
        DECIDE_PUBLISH,
        DECIDE_SUBSCRIBE,
        READ_MESSAGES,
        PUBLISH_MESSAGES,
        VIEW_REFUSAL,
        VIEW_AUDIT,
    },
    endpoints={
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
        "token": {"POST": rbac.OPEN},
        "auth-connect": {"POST": DECIDE_CONNECT},
        "auth-publish": {"POST": DECIDE_PUBLISH},
        "auth-subscribe": {"POST": DECIDE_SUBSCRIBE},
        "schema": {"GET": rbac.OPEN},
        "docs": {"GET": rbac.OPEN},
    },
    in_a_group={
        VIEW_CLIENT: GROUP_VIEW,
        EXPORT_CLIENTS: GROUP_VIEW,
        VIEW_CREDENTIAL: GROUP_VIEW,
        VIEW_GROUP: (*GROUP_VIEW, *GROUP_RULES),
        VIEW_RULE: (*GROUP_VIEW, *GROUP_RULES),
        REGISTER: GROUP_MANAGE,
        CHANGE_CLIENT: GROUP_MANAGE,
        UNREGISTER: GROUP_MANAGE,
        KICK_CLIENT: GROUP_MANAGE,
        READ_MESSAGES: ("read_members",),
        PUBLISH_MESSAGES: ("command_members",),
        ADD_CREDENTIAL: GROUP_MANAGE,
        CHANGE_CREDENTIAL: GROUP_MANAGE,
        DELETE_CREDENTIAL: GROUP_MANAGE,
        ADD_RULE: GROUP_RULES,
        CHANGE_RULE: GROUP_RULES,
        DELETE_RULE: GROUP_RULES,
    },
    roles={
        "gateway": frozenset({DECIDE_CONNECT, DECIDE_PUBLISH, DECIDE_SUBSCRIBE}),
        "registrar": frozenset({REGISTER, UNREGISTER}),
    },
)
