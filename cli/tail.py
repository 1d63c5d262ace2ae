"""``coord tail``: what happens in the fleet, as it happens."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import Annotated

import redis as redis_py
import typer

from cli.options import (
    AiOption,
    FromOption,
    JsonOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import clock_time, complain, plain, say, say_json
from coordinator.connection import unusable
from coordinator.following import follow_lines
from coordinator.history import Follower, Line
from coordinator.telling import concerns, summary_of

TypeOption = Annotated[
    str | None, typer.Option("--type", metavar="T", help="Only this message type or event.")
]


def tail(
    begin: FromOption = None,
    ai: AiOption = None,
    kind: TypeOption = None,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Print what happens in the fleet, a line each, until Ctrl-C; --json prints JSON lines.

    What retention has cut is shown as a gap, a server that was started again as a new epoch.

    Example: coord tail --from 0 --type pattern_share
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        follower = Follower(fleet.connection, fleet.keys)
        if begin is not None:
            follower.begin_at(begin)
        with suppress(KeyboardInterrupt):
            for lines in follow_lines(follower, time.sleep, partial(_say_outage, fleet.where)):
                for line in lines:
                    if concerns(line, ai, kind):
                        say_json(line.as_json(), one_line=True) if json else say(text_of(line))


def text_of(line: Line) -> str:
    """The line as people read it; what AIs wrote cannot end it or colour it."""
    summary = summary_of(line)
    if line.kind in ("gap", "epoch"):
        return f"--------  {summary}"
    data = line.data
    head = f"{clock_time(line.ms)}  {line.source} {line.n:<6}"
    if line.kind == "event":
        return f"{head}  {plain(data['event'], 40)}: {summary}"
    to = data["target_ai"] or "all"
    route = f"{plain(data['sender_id'])} -> {plain(to)}  {plain(data['message_type'], 40)}"
    return f"{head}  {route}  {summary}".rstrip()


def _say_outage(where: str, error: redis_py.RedisError | None) -> None:
    if error is not None:
        complain(f"{unusable(where, error).detail}; waiting for it")
