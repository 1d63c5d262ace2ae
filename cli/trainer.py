"""``coord trainer``: one trainer, in this process."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from cli.foreground import LogJsonOption
from cli.options import (
    SPECIALIZATIONS,
    AiArgument,
    JsonOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    check_ai_id,
    load_settings,
    warn_of_near_miss,
)
from cli.output import ExitCode, complain, show
from workers.launch import server_for, training_environment
from workers.lines import METRICS
from workers.trainer_worker import run_trainer

OwnSpecializationOption = Annotated[
    str | None,
    typer.Option(
        "--specialization",
        "-s",
        metavar="NAME",
        help=f"What it is good at. {SPECIALIZATIONS}",
        show_default="COORD_SPECIALIZATION, else general",
    ),
]
TrainerOption = Annotated[
    str | None,
    typer.Option(
        "--trainer",
        metavar="MODULE:CLASS",
        help="Train by a class of your own that has `async def run_comprehensive_demo(self)`."
        " It may lie in the current directory; it is imported once to look, once to train.",
        show_default="COORD_TRAINER, else by the specialization",
    ),
]
MinutesOption = Annotated[
    float | None,
    typer.Option("--minutes", "-m", metavar="M", min=0, help="How long; else until Ctrl-C."),
]


def trainer(
    ai_id: AiArgument,
    specialization: OwnSpecializationOption = None,
    trainer: TrainerOption = None,
    minutes: MinutesOption = None,
    log_json: LogJsonOption = False,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Run one trainer until Ctrl-C or for some minutes, and print what it made.

    Ends with 1 if another live trainer holds the id; the error names it.

    Example: coord trainer AI_Node_1 --specialization file_system --minutes 2
    """
    ai_id = check_ai_id(ai_id)
    own = {"specialization": specialization, "trainer": trainer, "log_json": log_json or None}
    settings = load_settings(redis, namespace, state_dir, **own)
    url = server_for(settings)
    warn_of_near_miss(settings.specialization)
    if settings.trainer:
        _check_trainer(ai_id, settings.trainer)
    metrics = run_trainer(ai_id, url, settings, minutes)
    shown = {name: metrics.get(name, 0) for name in METRICS} | metrics

    def render(console: Console) -> None:
        for name, value in shown.items():
            console.print(Text(f"{name:<26}{value}"))

    show({"ai_id": ai_id} | shown, json, render)


def _check_trainer(ai_id: str, reference: str) -> None:
    """Exit with one line if there is no such class: before anything is joined, and in a process
    that finds it as training will."""
    check = [sys.executable, "-m", "workers.own_training", "--check", ai_id, reference]
    done = subprocess.run(
        check,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=training_environment(),
    )
    if done.returncode:
        how = f"--trainer {reference}: importing it ended with exit code {done.returncode}"
        complain(done.stdout.strip() or how)
        raise typer.Exit(ExitCode.USAGE)
