"""``coord validator``: one validator, in this process."""

from __future__ import annotations

from typing import get_args

from rich.console import Console
from rich.text import Text

from cli.foreground import LogJsonOption
from cli.options import (
    AiArgument,
    JsonOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    check_ai_id,
    load_settings,
)
from cli.output import show
from cli.trainer import MinutesOption
from coordinator.payloads import VerdictWord
from workers.launch import server_for
from workers.validator_worker import run_validator

COUNTED = (*get_args(VerdictWord), "skipped", "died")
"""How a validation can end, in the order in which it is shown."""


def validator(
    ai_id: AiArgument,
    minutes: MinutesOption = None,
    log_json: LogJsonOption = False,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Measure what others share, in a sandbox, until Ctrl-C or for some minutes.

    It must be enrolled in that role: coord enroll Validator_1 --role validator. At its end it says
    how many of what it was asked for came to which verdict, were skipped since they had changed or
    were its own, or died with its process.

    Example: coord validator Validator_1
    """
    ai_id = check_ai_id(ai_id)
    settings = load_settings(redis, namespace, state_dir, log_json=log_json or None)
    counts = run_validator(ai_id, server_for(settings, "validator"), settings, minutes)
    shown = dict.fromkeys(COUNTED, 0) | counts

    def render(console: Console) -> None:
        for name, count in shown.items():
            console.print(Text(f"{name:<26}{count}"))

    show({"ai_id": ai_id} | shown, json, render)
