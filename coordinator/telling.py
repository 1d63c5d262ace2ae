"""A line of the history in words, and whom it concerns."""

from __future__ import annotations

from coordinator.history import Line
from coordinator.messages import one_line, to_json
from coordinator.reads import Item

SUMMARY_MAX = 200


def summary_of(line: Line) -> str:
    """What happened, on one line of SUMMARY_MAX characters at most: what AIs wrote cannot end it,
    or make a terminal obey. "" for a message that carries nothing."""
    if line.kind == "gap":
        summary = _gap(line)
    elif line.kind == "epoch":
        summary = _epoch(line)
    elif line.kind == "event":
        summary = line.data["text"]
    else:
        summary = _carried(line.data)
    return one_line(summary, SUMMARY_MAX)


def concerns(line: Line, ai: str | None, kind: str | None) -> bool:
    """Whether a line passes the filters; gaps and epochs always do."""
    if line.kind in ("gap", "epoch"):
        return True
    data = line.data
    if line.kind == "message":
        ais, kinds = {data["sender_id"], data["target_ai"]}, {data["message_type"]}
    else:
        ais, kinds = {data["ai"]}, {data["event"]}
    return (ai is None or ai in ais) and (kind is None or kind in kinds)


def _gap(line: Line) -> str:
    count = line.n - line.first + 1
    cut = f"{line.first} to {line.n}" if count > 1 else f"{line.n}"
    why = "is no entry of coord's" if line.data.get("unreadable") else "are no longer kept"
    return f"gap: {line.source} {cut} ({count}) {why}"


def _epoch(line: Line) -> str:
    text = f"epoch {line.epoch} began after log {line.n}"
    forgot = line.data.get("forgot", 0)
    return text + (f"; the server has forgotten {forgot} that came after it" if forgot else "")


def _carried(message: Item) -> str:
    """What a message carries, in a few words."""
    payload = message.get("payload")
    if not isinstance(payload, dict):
        return ""
    for name in ("pattern", "code", "component"):
        record = payload.get(name)
        if isinstance(record, dict):
            return f"{name} {record.get('id')}"
    if "component_id" in payload:
        return f"on {payload['component_id']}"
    return to_json(payload) if payload else ""
