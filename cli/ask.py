"""``coord request-feature`` and ``coord collaborate``: the operator asks the fleet for work."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from cli.inputs import json_in, requirements_of
from cli.options import (
    JsonOption,
    NamespaceOption,
    OpenFleet,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.orders import tell
from cli.output import ExitCode, advise, age, complain, plain, say, say_json
from cli.sessions import gone
from coordinator.clock import SystemClock
from coordinator.errors import CoordError
from coordinator.outages import sit_out
from coordinator.payloads import MAX_PARTICIPANTS
from coordinator.plans import PLANS
from coordinator.reads import Item
from coordinator.session_reads import read_opened, read_progress
from coordinator.settings import Settings
from coordinator.work import ASSIGNED_STATES, FEATURE_REQUEST, OPEN_STATES
from reports.sessions import kind_of, outcome_of, progress_of

LOOK_EVERY_S = 0.25
OUTAGE_LIMIT_S = 60.0
"""The server may be away for this long while somebody waits for a session's end."""
LONGEST_TEXT = 200
TYPES = ", ".join(name for name in PLANS if name != FEATURE_REQUEST)

FeatureArgument = Annotated[str, typer.Argument(metavar="FEATURE", help="What it is called.")]
TypeArgument = Annotated[str, typer.Argument(metavar="TYPE", help=f"One of {TYPES}.")]
SeekOption = Annotated[
    list[str] | None,
    typer.Option(
        "--seek", metavar="WORD", help="A specialization or capability; as often as needed."
    ),
]
RequirementOption = Annotated[
    list[str] | None,
    typer.Option(
        "--requirement", "-r", metavar="NAME=VALUE", help="As often as needed; JSON or text."
    ),
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait for its end; ends with 0 only if it is completed.")
]
TargetOption = Annotated[
    str, typer.Option("--target", metavar="AI", help="Ask this AI alone, not everybody.")
]
DescriptionOption = Annotated[
    str, typer.Option("--description", "-d", metavar="TEXT", help="What it is about.")
]
ParticipantsOption = Annotated[
    int,
    typer.Option("--participants", min=1, max=MAX_PARTICIPANTS, help="How many are looked for."),
]
PlanOption = Annotated[
    str | None,
    typer.Option(
        "--plan",
        metavar="FILE",
        help="A JSON array of units (name, kind, needs, inputs, participant), in place of the"
        " type's own plan; - reads the input.",
    ),
]


def request_feature(
    feature: FeatureArgument,
    requirement: RequirementOption = None,
    wait: WaitOption = False,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Ask the fleet for a feature, and print the id of the request.

    It goes to the best of those who can develop it; with nobody there it waits for one to come.

    Example: coord request-feature file_cache --requirement capacity_blocks=512 --wait
    """
    payload = {"feature": feature, "requirements": requirements_of(requirement or [])}
    _ask(load_settings(redis, namespace, state_dir), "feature_request", payload, wait, json)


def collaborate(
    kind: TypeArgument,
    target: TargetOption = "",
    description: DescriptionOption = "",
    participants: ParticipantsOption = 2,
    seek: SeekOption = None,
    requirement: RequirementOption = None,
    plan: PlanOption = None,
    wait: WaitOption = False,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Have several AIs work on something together, and print the id of their session.

    The operator takes no part in it: those who say yes do, the first of them first.

    Example: coord collaborate performance_optimization --seek file_system -r rounds=8 --wait
    """
    payload = {
        "type": kind,
        "target_ai": target,
        "description": description,
        "participants": participants,
        "seeking_expertise": seek or [],
        "requirements": requirements_of(requirement or []),
        "plan": None if plan is None else json_in(plan),
    }
    _ask(load_settings(redis, namespace, state_dir), "collaboration_request", payload, wait, json)


def _ask(
    settings: Settings, message_type: str, payload: dict[str, Any], wait: bool, as_json: bool
) -> None:
    """Send a request, tell what it is called, and how it ended if that is waited for."""
    with open_fleet(settings) as fleet:
        message_id = tell(fleet, message_type, payload)
        session_id = read_opened(fleet.connection, fleet.keys, message_id)
        if session_id is None:
            raise CoordError("it was taken, but its answer is lost: see `coord sessions`")
        if not wait:
            say_json({"session_id": session_id}) if as_json else say(plain(session_id))
            return
        if not as_json:
            say(plain(session_id))
        ended = _wait_for_end(fleet, session_id)
    is_completed = ended["state"] == "completed"
    told = f"{kind_of(ended)} {ended['state']}: {outcome_of(ended)}".removesuffix(": ")
    if as_json:
        say_json(ended)
    elif is_completed:
        say(plain(told, LONGEST_TEXT))
        if ended["component_id"]:
            shown_by = f"`coord components {ended['component_id']}` shows it"
            advise(f"component {ended['component_id']}: {shown_by}")
    if not is_completed:
        complain(plain(told, LONGEST_TEXT))
        for ai, reason in ended["declined"].items():
            advise(plain(f"{ai} said no: {reason or 'no reason given'}", LONGEST_TEXT))
        raise typer.Exit(ExitCode.FAILED)


def _wait_for_end(fleet: OpenFleet, session_id: str) -> Item:
    """The session once it has ended; meanwhile, on a terminal, a line on how it goes."""
    clock = SystemClock()
    shown = Console(stderr=True, markup=False, emoji=False, highlight=False)
    with Live(console=shown, auto_refresh=False, transient=True) as live:
        while True:
            found = sit_out(
                lambda: read_progress(fleet.connection, fleet.keys, session_id),
                clock.elapsed_s() + OUTAGE_LIMIT_S,
                clock,
            )
            if found is None:
                raise gone(session_id)
            if found["state"] not in OPEN_STATES:
                return found
            if shown.is_terminal:
                live.update(Text(_how_it_goes(found), overflow="ellipsis"), refresh=True)
            time.sleep(LOOK_EVERY_S)


def _how_it_goes(item: Item) -> str:
    """Pending, or how far it is and who works on what."""
    waited = age(SystemClock().now_ms() - item["created_ms"])
    at_work = [
        f"{unit['attempts'][-1]['ai']} on {unit['kind']}"
        for unit in item["units"]
        if unit["state"] in ASSIGNED_STATES
    ]
    parts = [item["state"], waited, progress_of(item), ", ".join(at_work), item["reason"]]
    return plain("  ".join(part for part in parts if part), LONGEST_TEXT)
