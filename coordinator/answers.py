"""Answers to queries: reads, made after the batch is committed, pushed once and kept nowhere."""

from __future__ import annotations

from typing import Any

import redis

from coordinator.access import is_operator
from coordinator.context import Context, Incoming
from coordinator.effects import Ask, Effect
from coordinator.errors import BadMessage
from coordinator.keys import KINDS, Kind
from coordinator.messages import encode_push, one_line, to_json
from coordinator.payloads import Query, parse_payload
from coordinator.reads import (
    Page,
    read_ais,
    read_benchmarks,
    read_counts,
    read_record,
    read_records,
)
from coordinator.record_search import Wanted
from coordinator.session_reads import read_sessions, read_units_page, read_workspace

KIND_OF: dict[str, Kind] = {f"{kind}s": kind for kind in KINDS}
FILTERS = {
    "ais": {"specialization", "capability"},
    "patterns": {"specialization", "id"},
    "components": {"specialization", "id"},
    "features": {"specialization", "id"},
    "benchmarks": {"component_id"},
    "sessions": {"state", "type", "ai"},
    "units": {"session_id"},
    "workspace": {"session_id"},
    "counts": set[str](),
}

NEEDED_FILTERS = {
    "benchmarks": "component_id",
    "units": "session_id",
    "workspace": "session_id",
}


def query(message: Incoming, context: Context) -> list[Effect]:
    """Have a question answered once its batch is committed."""
    asked = parse_payload(Query, message.envelope.payload)
    check_query(asked)
    return [Ask(message.sender, message.instance, message.envelope.message_id, asked)]


def check_query(asked: Query) -> None:
    """BadMessage unless every filter is one that ``what`` knows."""
    known = FILTERS[asked.what]
    for name in asked.filter:
        if name not in known:
            rule = f"known are {', '.join(sorted(known))}" if known else "it takes none"
            field = f"payload.filter.{one_line(name, 100)}"
            raise BadMessage("bad_payload", f"{field} is no filter of {asked.what}; {rule}", field)
    needed = NEEDED_FILTERS.get(asked.what)
    if needed is not None and needed not in asked.filter:
        raise BadMessage(
            "bad_payload",
            f"payload.filter.{needed} is missing; it says of which {needed[:-3]}",
            "payload.filter",
        )


def answer(connection: redis.Redis, asked: Ask, context: Context) -> None:
    """Push the query_result, cut to the size of a message."""
    payload: dict[str, Any]
    try:
        page = read_page(connection, asked, context)
        items = _fitting(page, context.settings.message_max_bytes - 4096)
        cursor = page.cursor if len(items) == len(page.items) else _cursor_after(items[-1])
        payload = {"what": asked.query.what, "items": items, "cursor": cursor, "total": page.total}
        message_type = "query_result"
    except BadMessage as error:
        payload = {"code": error.code, "detail": error.detail, "field": error.field}
        message_type = "error"
    _push(connection, asked, context, message_type, payload)


def answer_failed(connection: redis.Redis, asked: Ask, context: Context) -> None:
    """Push an error in place of a query_result that could not be made."""
    detail = "the coordinator could not answer; its log says why"
    _push(connection, asked, context, "error", {"code": "internal", "detail": detail})


def _push(
    connection: redis.Redis,
    asked: Ask,
    context: Context,
    message_type: str,
    payload: dict[str, Any],
) -> None:
    payload["in_reply_to"] = asked.in_reply_to
    message = context.hub_message(message_type, payload, asked.ai)
    push = encode_push(message, epoch=context.fleet.epoch, instance=asked.instance)
    connection.publish(context.keys.channel(asked.ai), push)


def read_page(connection: redis.Redis, ask: Ask, context: Context) -> Page:
    """The page of items that is asked for. BadMessage for a cursor that is gone, and for what is
    not for who asks."""
    asked = ask.query
    keys, wanted = context.keys, asked.filter
    if asked.what == "counts":
        return Page([read_counts(connection, keys)], None, 1)
    if asked.what == "benchmarks":
        component_id = wanted["component_id"]
        reports = read_benchmarks(connection, keys, [component_id], asked.limit)
        items = reports.get(component_id, [])
        return Page(items, None, len(items))
    if asked.what == "sessions":
        return read_sessions(connection, keys, asked.limit, wanted, asked.cursor)
    if asked.what == "units":
        return read_units_page(connection, keys, wanted["session_id"], asked.limit, asked.cursor)
    if asked.what == "workspace":
        reader = None if is_operator(ask.ai, context) else ask.ai
        session_id = wanted["session_id"]
        return read_workspace(connection, keys, session_id, reader, asked.limit, asked.cursor)
    if asked.what == "ais":
        return read_ais(
            connection,
            keys,
            asked.limit,
            wanted.get("specialization"),
            wanted.get("capability"),
            asked.cursor,
        )
    if "id" in wanted:
        return read_record(connection, keys, KIND_OF[asked.what], wanted["id"])
    return read_records(
        connection,
        keys,
        KIND_OF[asked.what],
        asked.limit,
        Wanted(wanted.get("specialization")),
        asked.cursor,
        context.settings.message_max_bytes,
    )


def _fitting(page: Page, max_bytes: int) -> list[dict[str, Any]]:
    """The first items that fit into ``max_bytes``, at least one; the next page goes on behind."""
    size_bytes = 0
    for count, item in enumerate(page.items):
        size_bytes += len(to_json(item).encode())
        if size_bytes > max_bytes and count:
            return page.items[:count]
    return page.items


def _cursor_after(item: dict[str, Any]) -> str | None:
    """Reports have no ids: of these only the newest that fit can be had."""
    return item.get("id", item.get("ai_id", item.get("key")))
