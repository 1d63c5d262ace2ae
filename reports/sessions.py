"""A session in a few words. ``item`` is one as ``coordinator.session_reads`` gives it; what AIs
wrote is in them as it is."""

from __future__ import annotations

import json
from typing import Any

from coordinator.reads import Item
from coordinator.work import FEATURE_REQUEST


def kind_of(item: Item) -> str:
    """What it is for: the type of a collaboration, or the feature that was asked for."""
    if item["type"] == FEATURE_REQUEST:
        return f"feature {item['requirements'].get('feature', '')}"
    return str(item["type"])


def workers_of(item: Item) -> str:
    """Who works on it; of a feature also for whom."""
    workers = ", ".join(item["participants"])
    return f"{workers} for {item['initiator']}" if item["type"] == FEATURE_REQUEST else workers


def progress_of(item: Item) -> str:
    """How many of its units are completed; "" while it has none."""
    total = len(item["units"])
    return f"{round(item['progress'] * total)}/{total} units" if total else ""


def outcome_of(item: Item) -> str:
    """What came out of it, as whoever did the work tells it; or why nothing did."""
    result = item["result"]
    if not result:
        return str(item["reason"] or item["component_id"] or "")
    if isinstance(result.get("text"), str):
        return str(result["text"])
    return ", ".join(f"{name}={_short(value)}" for name, value in result.items())


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
