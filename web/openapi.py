"""The OpenAPI document of the endpoints (openapis.org, 3.1)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from web.answers import CODES
from web.endpoints import ROOT, STREAM, Endpoint, MonitoringPage
from web.parameters import Query, StreamQuery, names_in

Json = dict[str, Any]
REF = "#/components/schemas/{model}"
ABOUT = (
    "What a fleet says of itself: all is read, nothing can be changed. Lists come in pages: ask"
    " again with the `cursor` of the answer until it is null. Errors are"
    ' `{"error": {"code", "detail", "field"}}`.'
)


def document(endpoints: Sequence[Endpoint], pages: Iterable[MonitoringPage], version: str) -> Json:
    """All of it, as JSON can say it."""
    paths = {f"{ROOT}{plain_path(one.path)}": {"get": _operation(one)} for one in endpoints}
    paths[STREAM] = {"get": _operation_of_stream()}
    paths |= {page.path: {"get": _operation_of_page(page)} for page in pages}
    return {
        "openapi": "3.1.0",
        "info": {"title": "coord", "version": version, "description": ABOUT},
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**_schemas(one.schema for one in endpoints), "Error": _error()},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Of an observer or operator; on a loopback address none is"
                    " needed unless coord dashboard was told to ask for one.",
                }
            },
        },
    }


def plain_path(path: str) -> str:
    """``/patterns/{id}`` for ``/patterns/{id:path}``."""
    return re.sub(r":\w+\}", "}", path)


def parameters(endpoint: Endpoint) -> list[Json]:
    """Those of its path, then those behind the question mark."""
    return parameters_of(endpoint.query, endpoint.path)


def parameters_of(query: type[Query], path: str) -> list[Json]:
    """The same of whatever lies at ``path``."""
    schemas = query.model_json_schema()
    needed = schemas.get("required", [])
    in_path = names_in(path)
    found = []
    for name, schema in schemas.get("properties", {}).items():
        told = {key: value for key, value in schema.items() if key not in ("title", "description")}
        found.append(
            {
                "name": name,
                "in": "path" if name in in_path else "query",
                "required": name in needed or name in in_path,
                "description": schema.get("description", ""),
                "schema": told,
            }
        )
    return sorted(found, key=lambda one: one["in"])


def _operation(endpoint: Endpoint) -> Json:
    item: Json = {"$ref": REF.format(model=endpoint.schema.__name__)}
    summary = endpoint.summary + (" (operators only)" if endpoint.is_private else "")
    return {
        "operationId": endpoint.name,
        "summary": summary,
        "parameters": parameters(endpoint),
        "responses": {
            "200": _content("what was asked for", _list_of(item) if endpoint.is_list else item),
            **_errors(),
        },
    }


def _operation_of_stream() -> Json:
    answer = {"description": "events, until one side ends it", "content": {"text/event-stream": {}}}
    return {
        "operationId": "stream",
        "summary": "What happens, as server-sent events (lines are for operators only)",
        "parameters": parameters_of(StreamQuery, STREAM),
        "responses": {"200": answer, **_errors()},
    }


def _operation_of_page(page: MonitoringPage) -> Json:
    answer = {"description": page.summary, "content": {page.media_type: {}}}
    return {
        "operationId": page.path.strip("/"),
        "summary": page.summary,
        "responses": {"200": answer, **_errors()},
    }


def _list_of(item: Json) -> Json:
    return {
        "type": "object",
        "required": ["items", "cursor", "total"],
        "properties": {
            "items": {"type": "array", "items": item},
            "cursor": {
                "type": ["string", "null"],
                "description": "That of the next page; null at the end.",
            },
            "total": {
                "type": ["integer", "null"],
                "description": "How many there are in all; null where they are not counted.",
            },
        },
    }


def _errors() -> Json:
    by_status = defaultdict(list)
    for code, (status, meaning) in CODES.items():
        by_status[str(status)].append(f"{code}: {meaning}")
    schema = {"$ref": REF.format(model="Error")}
    return {status: _content("; ".join(told), schema) for status, told in by_status.items()}


def _content(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _schemas(models: Iterable[type[BaseModel]]) -> Json:
    named = [(model, "serialization") for model in dict.fromkeys(models)]
    _, schema = models_json_schema(named, ref_template=REF)  # type: ignore[arg-type]
    return dict(schema["$defs"])


def _error() -> Json:
    properties = {
        "code": {"type": "string", "enum": list(CODES)},
        "detail": {"type": "string", "description": "What is wrong, the rule, what to do."},
        "field": {"type": "string", "description": "The parameter at fault, or empty."},
    }
    inner = {"type": "object", "required": list(properties), "properties": properties}
    return {"type": "object", "required": ["error"], "properties": {"error": inner}}
