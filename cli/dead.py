"""``coord dead``: messages that broke a handler, to be tried again or dropped."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from cli.options import (
    JsonOption,
    LimitOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.orders import order
from cli.output import show, table
from coordinator.letters import read_letters

app = typer.Typer(
    no_args_is_help=True,
    help="Messages that broke a handler: look at them, have them tried again, drop them.",
)
LetterArgument = Annotated[str, typer.Argument(metavar="ID", help="As `coord dead list` shows it.")]


@app.command("list")
def list_letters(
    limit: LimitOption = 100,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """List the dead letters, newest first.

    Example: coord dead list
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        letters = read_letters(fleet.connection, fleet.keys, limit)

    def render(shown: Console) -> None:
        if not letters:
            shown.print(Text("no dead letters"))
            return
        columns = ("id", "when", "from", "type", "error")
        rows = [
            (letter["id"], letter["at"], letter["owner"], letter["message_type"], letter["error"])
            for letter in letters
        ]
        shown.print(table("", columns, rows))

    show({"dead_letters": letters}, json, render)


@app.command("retry")
def retry(
    letter_id: LetterArgument,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Have a dead letter handled again, in its sender's name; it goes if that succeeds.

    Example: coord dead retry 1718000000000-0
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        order(fleet, "dead_retry", {"id": letter_id}, "retried", letter_id, json)


@app.command("drop")
def drop(
    letter_id: LetterArgument,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Delete a dead letter for good.

    Example: coord dead drop 1718000000000-0
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        order(fleet, "dead_drop", {"id": letter_id}, "dropped", letter_id, json)
