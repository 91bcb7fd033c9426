"""/api/schema/ and /api/docs/: valid, complete, and served by this node alone."""

from __future__ import annotations

import re

import pytest
import yaml
from drf_spectacular.validation import validate_schema
from rest_framework.test import APIClient

from apps.common import rbac
from tests.apps.auth.api.table import TABLE
from tests.apps.cluster.api.table import TABLE as CLUSTER

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def schema() -> dict[str, object]:
    from drf_spectacular.generators import SchemaGenerator

    found: dict[str, object] = SchemaGenerator().get_schema(request=None, public=True)
    return found


def test_the_schema_is_valid_and_names_every_operation(schema: dict[str, object]) -> None:
    validate_schema(schema)
    paths = schema["paths"]
    assert isinstance(paths, dict)
    described = {(path, method.upper()) for path, methods in paths.items() for method in methods}
    wanted = set()
    cluster = [(f"cluster/{path}", method) for path, method in CLUSTER]
    for path, method in [*TABLE, *cluster]:
        if path not in ("schema/", "docs/"):
            spoken = "/api/v1/" + re.sub(r"<\w+:(\w+)>", r"{\1}", path).replace("{pk}", "{id}")
            wanted.add((spoken if spoken.endswith("/") else spoken + "/", method))
    assert described == wanted
    for methods in paths.values():
        for operation in methods.values():
            assert operation["summary"]
            assert "application/problem+json" in operation["responses"]["default"]["content"]
    assert len(described) + 2 == sum(len(methods) for methods in rbac.ENDPOINTS.values())


def test_the_schema_is_served() -> None:
    response = APIClient().get("/api/schema/")
    assert response.status_code == 200
    assert yaml.safe_load(response.content)["info"]["title"] == "gmqtt platform"


def test_the_docs_need_no_outside_network() -> None:
    page = APIClient().get("/api/docs/").content.decode()
    outside = [
        url for url in re.findall(r'(?:src|href)="([^"]+)"', page) if not url.startswith(("/", "data:"))
    ]
    assert outside == []
    for url in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        assert "drf_spectacular_sidecar" in url
    assert "https://" not in page.replace("https://www.w3.org", "")
