"""``coord send`` and ``coord retract``: messages in the operator's name."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import (
    JsonOption,
    NamespaceOption,
    OpenFleet,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import plain, say, say_json
from coordinator.clock import RandomIds, SystemClock
from coordinator.operator import send_as_operator

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
        tell(fleet, "retract", {"id": record_id})
    if json:
        say_json({"retracted": record_id})
    else:
        say(f"retracted {plain(record_id)}")


def tell(
    fleet: OpenFleet,
    message_type: str,
    payload: dict[str, Any],
    to: str | None = None,
    wait_s: float = 10,
) -> str:
    """Send a message as the operator; its message_id. Raises Refused, NotAnswered, BadMessage."""
    return send_as_operator(
        fleet.connection,
        fleet.keys,
        SystemClock(),
        RandomIds(),
        message_type,
        payload,
        to,
        wait_s,
    )


def _object(text: str) -> dict[str, Any]:
    """The JSON object that --payload gives, or a usage error."""
    source = "--payload"
    try:
        if text == "-":
            source, text = "the input", sys.stdin.read()
        elif text.startswith("@"):
            source = plain(text[1:])
            text = Path(text[1:]).read_text("utf-8")
        value = json_module.loads(text)
    except OSError as error:
        raise typer.BadParameter(f"{source} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{source} is not JSON: {plain(error)}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f'{source} must be a JSON object, such as {{"id": "p1"}}')
    return value
