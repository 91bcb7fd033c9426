"""What was found elsewhere, into this platform: what cannot be made is left out and told."""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

from apps.cluster.commandline.client import Api, ApiRefused
from apps.common.actors import Actor
from gmqtt_platform.code import changes
from gmqtt_platform.importing.found import Found


def make(actor: Actor, found: Found, api: Api | None, dry_run: bool) -> Counter[str]:
    """How many were made, by kind. `api`: of a node that takes the retained messages, where there are any."""
    count: Counter[str] = Counter()
    for change in changes.plan(found.desired()):
        if not dry_run:
            try:
                changes.apply(actor, [change], lambda *_: None)
            except changes.CannotApply as error:
                found.without.append(str(error))
                continue
        count[change.what if change.do == changes.ADD else f"{change.what} changed"] += 1
    for message in found.retained:
        if dry_run or (api is not None and _retain(api, found, message.topic, _body(message))):
            count["retained"] += 1
    return count


def _body(message: Any) -> dict[str, Any]:
    properties = dict(message.properties)
    if message.expires_in:
        properties["message_expiry"] = message.expires_in
    return {
        "topic": message.topic,
        "payload_base64": base64.b64encode(message.payload).decode(),
        "qos": message.qos,
        "retain": True,
        "properties": properties,
    }


def _retain(api: Api, found: Found, topic: str, body: dict[str, Any]) -> bool:
    try:
        api.post("cluster/publish/", body)
    except ApiRefused as error:
        found.note("retained", f"{topic!r} is left out: {error}")
        return False
    return True
