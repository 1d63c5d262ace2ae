"""Showing something again every second, on a terminal in place."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import redis
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from cli.options import OpenFleet
from cli.output import console, plain, say_json
from coordinator.connection import unusable
from coordinator.reads import Item

EVERY_S = 1.0


def watch(
    fleet: OpenFleet,
    read: Callable[[], Item],
    page: Callable[[Item], RenderableType],
    as_json: bool,
    is_over: Callable[[Item], bool] = lambda _: False,
) -> None:
    """Show what ``read`` gives until it ``is_over``, or until Ctrl-C.

    Survives an outage of the server: says so, and goes on when it is back.
    """
    shown = console()
    is_live = shown.is_terminal and not as_json
    live = Live(console=shown, auto_refresh=False, screen=False)
    with suppress(KeyboardInterrupt), live if is_live else nullcontext():
        while True:
            found: Item | None = None
            try:
                found = read()
                value: Any = found if as_json else page(found)
            except redis.RedisError as error:
                text = plain(unusable(fleet.where, error).detail)
                value = {"error": text} if as_json else Text(text, style="red")
            if as_json:
                say_json(value, one_line=True)
            elif is_live:
                live.update(value, refresh=True)
            else:
                shown.print(value)
            if found is not None and is_over(found):
                return
            time.sleep(EVERY_S)
