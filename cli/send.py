"""``coord send`` and ``coord retract``: messages in the operator's name."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.inputs import json_in, json_of
from cli.options import (
    JsonOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.orders import order, tell
from cli.output import say, say_json

TypeArgument = Annotated[str, typer.Argument(metavar="TYPE", help="The message type.")]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="AI", help="For this AI alone, not for everybody.")
]
PayloadOption = Annotated[
    str,
    typer.Option(
        "--payload", "-p", metavar="JSON", help="A JSON object; @FILE reads a file, - the input."
    ),
]
WaitOption = Annotated[
    float,
    typer.Option("--wait", metavar="S", min=0.1, help="How long to wait for a coordinator."),
]
RecordArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Of a pattern, component, feature.")
]


def send(
    message_type: TypeArgument,
    to: ToOption = None,
    payload: PayloadOption = "{}",
    wait: WaitOption = 10,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Send a message of any type in the operator's name, and print its message_id.

    Ends with 1 and the reason if the coordinator refuses it.

    Example: coord send pattern_share -p '{"pattern": {"id": "p1", "type": "note"}}'
    """
    values = _object(payload)
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        message_id = tell(fleet, message_type, values, to, wait)
    if json:
        say_json({"message_id": message_id})
    else:
        say(message_id)


def retract(
    record_id: RecordArgument,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Take a pattern, component or feature back: it is shown and offered to nobody any more.

    Example: coord retract p1
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        order(fleet, "retract", {"id": record_id}, "retracted", record_id, json)


def _object(text: str) -> dict[str, Any]:
    """The JSON object that --payload gives, or a usage error."""
    from_file = text == "-" or text.startswith("@")
    value = json_in(text.removeprefix("@")) if from_file else json_of(text, "--payload")
    if not isinstance(value, dict):
        raise typer.BadParameter('--payload must be a JSON object, such as {"id": "p1"}')
    return value
