"""The OpenAPI document, the page and docs/api.md say what the table of endpoints does."""

from __future__ import annotations

import re
from typing import Any

import fakeredis
import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from coordinator.settings import Settings
from tests.fleet import ManualClock
from tests.servers import REPOSITORY
from tests.test_docs import table
from web.answers import CODES
from web.app import ACTION, DOCS, OPENAPI, SIGN_OUT, STATIC, make_app
from web.endpoints import ENDPOINTS, MONITORING_PAGES, ROOT, STREAM
from web.openapi import parameters, plain_path
from web.pages.urls import SIGN_IN
from web.pages.views import VIEWS
from web.parameters import names_in
from web.settings import WebSettings

API = REPOSITORY / "docs" / "api.md"


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = make_app(Settings(), WebSettings(), fakeredis.FakeRedis, ManualClock())
    return TestClient(app, "http://127.0.0.1:8600")


@pytest.fixture(scope="module")
def document(client: TestClient) -> Any:
    return client.get(OPENAPI).json()


def refs_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(refs_in, value.values()))
    return set().union(*map(refs_in, value)) if isinstance(value, list) else set()


def test_the_document_has_every_endpoint_with_its_parameters(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {
        STREAM,
        *(ROOT + plain_path(one.path) for one in ENDPOINTS),
        *(page.path for page in MONITORING_PAGES),
    }
    operations = [path["get"]["operationId"] for path in document["paths"].values()]
    assert len(set(operations)) == len(operations)
    for one in ENDPOINTS:
        operation = document["paths"][ROOT + plain_path(one.path)]["get"]
        in_path = [p["name"] for p in operation["parameters"] if p["in"] == "path"]
        assert in_path == names_in(one.path)
        assert all(p["description"] for p in operation["parameters"])
        assert set(operation["responses"]) == {
            "200",
            *(str(status) for status, _ in CODES.values()),
        }


def test_every_reference_in_the_document_leads_somewhere(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert refs_in(document) == {f"#/components/schemas/{name}" for name in schemas}


def test_the_routes_are_those_of_the_tables() -> None:
    app = make_app(Settings(), WebSettings(), fakeredis.FakeRedis, ManualClock())
    routes = {route.path for route in app.routes if isinstance(route, Route)}
    assert {path for path in routes if not path.startswith(STATIC)} == {
        *("/", DOCS, OPENAPI, STREAM, SIGN_IN, SIGN_OUT, ACTION),
        *(view.path for view in VIEWS),
        *(page.path for page in MONITORING_PAGES),
        *(ROOT + one.path for one in ENDPOINTS),
    }


def test_the_page_needs_no_script_and_shows_all(client: TestClient) -> None:
    text = client.get(DOCS).text
    assert not re.search(r"<script|https?://(?!127\.0\.0\.1|HOST)|<style|<img", text)
    for one in ENDPOINTS:
        assert f"<code>GET {ROOT}{plain_path(one.path)}</code>" in text
        assert all(f"<code>{p['name']}</code>" in text for p in parameters(one))
    assert all(f"<code>{code}</code>" in text for code in CODES)


def test_the_table_of_endpoints_equals_the_code() -> None:
    expected = []
    for one in ENDPOINTS:
        names = [
            f"`{p['name']}`" + (" (needed)" if p["required"] else "")
            for p in parameters(one)
            if p["in"] == "query"
        ]
        about = one.summary + (" (operators only)" if one.is_private else "")
        expected.append([f"`{plain_path(one.path)}`", about, ", ".join(names) or "none"])
    assert table(API, "path below `/api/v1`", "what it answers", "parameters") == expected


def test_the_table_of_errors_equals_the_code() -> None:
    assert table(API, "code", "status", "when") == [
        [f"`{code}`", str(status), meaning] for code, (status, meaning) in CODES.items()
    ]
