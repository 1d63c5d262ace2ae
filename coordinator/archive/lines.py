"""Lines of the history as rows of an archive, and back."""

from __future__ import annotations

import json
from typing import Any

from coordinator.history import Line
from coordinator.messages import to_json
from coordinator.reads import Item
from coordinator.streams import Source

Row = tuple[Any, ...]

PUT_EPOCH = "INSERT OR REPLACE INTO epochs VALUES (?, ?, ?, ?, ?)"
PUT_GAP = "INSERT INTO gaps VALUES (?, ?, ?, ?, ?)"
PUT_MESSAGE = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
PUT_EVENT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)"

_HEAD = ("message_id", "sender_id", "message_type", "timestamp")


def epoch_row(line: Line) -> Row:
    return (line.epoch, line.ms, line.n, line.data["events_n"], line.data.get("forgot", 0))


def epoch_line(row: Item) -> Line:
    data = {"events_n": row["events_n"], "forgot": row["forgot"]}
    return Line("epoch", "log", row["log_n"], row["log_n"], row["ms"], row["epoch"], data)


def gap_row(line: Line) -> Row:
    return (line.source, line.epoch, line.first, line.n, line.ms)


def gap_line(row: Item) -> Line:
    return Line("gap", row["source"], row["first_n"], row["last_n"], row["ms"], row["epoch"])


def message_row(line: Line, message: Item) -> Row:
    target = message["target_ai"]
    return (
        *(line.source, line.epoch, line.n, line.ms),
        *(_text(message[name]) for name in _HEAD),
        None if target is None else _text(target),
        to_json(message["payload"]),
    )


def message_line(row: Item) -> Line:
    """Of a message to one AI the event that told of it."""
    source: Source = row["source"]
    n, ms, epoch = row["n"], row["ms"], row["epoch"]
    head, target = {name: row[name] for name in _HEAD}, row["target_ai"]
    if source == "log":
        message = head | {"payload": json_or_text(row["payload"]), "target_ai": target}
        return Line("message", source, n, n, ms, epoch, message)
    # What is stored is compact JSON, as messages are.
    encoded = f'{to_json(head)[:-1]},"payload":{row["payload"]},"target_ai":{to_json(target)}}}'
    data = {"message_id": row["message_id"], "message": encoded}
    text = f"{row['sender_id']} sent {row['message_type']} to {target}"
    told = {"event": "message", "ai": target, "text": text, "data": data}
    return Line("event", source, n, n, ms, epoch, told)


def event_row(line: Line) -> Row:
    event = line.data
    told = (event["event"], event["ai"], event["text"], to_json(event["data"]))
    return (line.epoch, line.n, line.ms, *told)


def event_line(row: Item) -> Line:
    told = {"event": row["kind"], "ai": row["ai"], "text": row["text"]}
    data = told | {"data": json_or_text(row["data"])}
    return Line("event", "events", row["n"], row["n"], row["ms"], row["epoch"], data)


def json_or_text(stored: Any) -> Any:
    """What JSON says; what is none, since somebody has changed it, as it is."""
    try:
        if not isinstance(stored, str):
            return stored
        value = json.loads(stored, parse_constant=_no_constant)
        if "\\u" in stored:
            to_json(value).encode()
    except (ValueError, RecursionError):
        return stored
    return value


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _text(value: object) -> str:
    return value if isinstance(value, str) else to_json(value)
