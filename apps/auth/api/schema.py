"""What the OpenAPI schema says beyond what the views say."""

from __future__ import annotations

from typing import Any

from apps.common.api.problems import CONTENT_TYPE

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "example": "urn:gmqtt:problem:duplicate"},
        "title": {"type": "string", "example": "Conflict"},
        "status": {"type": "integer", "example": 409},
        "code": {"type": "string", "example": "duplicate", "description": "For programs."},
        "detail": {"type": "string", "example": "This client exists already.", "description": "For people."},
        "existing_id": {"type": "integer", "nullable": True, "description": "With code duplicate."},
        "errors": {
            "type": "array",
            "description": "With code invalid.",
            "items": {
                "type": "object",
                "required": ["field", "code", "detail"],
                "properties": {name: {"type": "string"} for name in ("field", "code", "detail")},
            },
        },
    },
}


def add_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Every operation may answer a problem document; token and secret are what service accounts come with."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    components.setdefault("securitySchemes", {})["basic"] = {"type": "http", "scheme": "basic"}
    answer = {
        "description": "A problem",
        "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for operations in result.get("paths", {}).values():
        for operation in operations.values():
            operation["responses"].setdefault("default", answer)
    return result
