"""The training process of a trainer whose class is somebody's own.

The class needs ``async def run_comprehensive_demo(self) -> dict`` with any of ``patterns_learned``,
``components_built`` (lists of objects, or how many there are) and ``performance_gain`` (a number).
It is run again and again; it may sleep in between. What is in those lists, or in lists
``patterns`` and ``components`` of the object, is shared: one JSON line each on standard output, as
``workers.training`` writes them. Each may say what it was ``derived_from``: an id in those lists,
or that of another AI's record.

With ``--check`` it only looks whether there is such a class, says in one line why not, and exits
with REFUSED_EXIT then. That is done in a process of its own, which finds modules as training will,
so that nothing that the module starts is left in a worker.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib
import inspect
import json
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Set
from typing import Any, TextIO

from coordinator.errors import CoordError
from coordinator.lineage import NAMED
from coordinator.messages import one_line
from coordinator.settings import Settings
from workers.lines import REFUSED_EXIT, write_line
from workers.logs import log_to_stderr

log = logging.getLogger("coord.trainer")

PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
LONGEST_FAULT = 400
LISTS = {"pattern": ("patterns_learned", "patterns"), "code": ("components_built", "components")}


class TrainerError(CoordError):
    """A trainer class cannot be used."""

    code = "trainer_error"


def find_trainer(reference: str) -> type[Any]:
    """The class ``package.module:Class``. Raises TrainerError."""
    module, _, name = reference.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:
        raise _unusable(reference, f"{type(error).__name__}: {error}") from error
    if not isinstance(found, type):
        raise _unusable(reference, "it is no class")
    if not inspect.iscoroutinefunction(getattr(found, "run_comprehensive_demo", None)):
        raise _unusable(reference, "the class needs `async def run_comprehensive_demo(self)`")
    return found


def make_trainer(reference: str) -> Any:
    """An object of the class ``package.module:Class``. Raises TrainerError."""
    found = find_trainer(reference)
    try:
        return found()
    except Exception as error:
        raise _unusable(reference, f"{type(error).__name__}: {error}") from error


def _unusable(reference: str, reason: str) -> TrainerError:
    return TrainerError(one_line(f"--trainer {reference}: {reason}", LONGEST_FAULT))


def learned(
    ai_id: str, trainer: Any, result: dict[str, Any], most_bytes: int
) -> Iterator[dict[str, Any]]:
    """The lines to share: one for each pattern and component; the gain is reported of each
    component. What cannot be sent is left out."""
    gain = result.get("performance_gain")
    made = list(_made(trainer, result))
    own = {str(r["id"]) for *_, r in made if isinstance(r, dict) and r.get("id")}
    for kind, name, record in made:
        fault = _fault(record, most_bytes)
        if fault:
            log.warning("%s: one of %s is not shared: %s", ai_id, name, fault)
            continue
        shared = record | {"id": _id_of(ai_id, kind, record)}
        if "derived_from" in record:
            shared["derived_from"] = _origin(ai_id, record["derived_from"], own)
        line = {kind: shared}
        if kind == "code" and _is_number(gain):
            line["performance"] = {"performance_gain": gain}
        yield line


def _made(trainer: Any, result: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """What is in the lists: its kind, the list's name, and it, whatever that is."""
    for kind, names in LISTS.items():
        for name in names:
            found = result.get(name, getattr(trainer, name, None))
            for record in found if isinstance(found, list) else ():
                yield kind, name, record


def _origin(ai_id: str, named: Any, own: Set[str]) -> Any:
    """A ``derived_from`` in which the class's ``own`` ids are those under which it shares."""
    if isinstance(named, list):
        return [_origin(ai_id, one, own) for one in named]
    if isinstance(named, dict):
        origins = {name: _origin(ai_id, named[name], own) for name in NAMED if name in named}
        return named | origins
    return f"{ai_id}.{named}" if isinstance(named, str) and named in own else named


def _fault(record: Any, most_bytes: int) -> str:
    """Why ``record`` cannot be sent; empty if it can."""
    if not isinstance(record, dict):
        return "it is no dict"
    try:
        size_bytes = len(json.dumps(record, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        return one_line(f"it is no JSON: {error}", LONGEST_FAULT)
    return f"it has {size_bytes} bytes; the most is {most_bytes}" * (size_bytes > most_bytes)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max


def _id_of(ai_id: str, kind: str, record: dict[str, Any]) -> str:
    """The same for the same record every time, so that it is shared once; and no other trainer's,
    though it be of the same class."""
    return f"{ai_id}.{record.get('id') or f'{kind}.{_digest(record)[:12]}'}"


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


async def train(
    ai_id: str,
    trainer: Any,
    lines: TextIO,
    most_bytes: int,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run the trainer for ever; what is new is shared after each run, on ``lines``.

    A run that fails is told, and tried again, ever more seldom.
    """
    shared: set[str] = set()
    pause_s = PAUSE_S
    while True:
        try:
            result = await trainer.run_comprehensive_demo()
            if not isinstance(result, dict):
                raise TypeError(f"it returned {result!r}, which is no dict")
            for line in learned(ai_id, trainer, result, most_bytes):
                digest = _digest(line)
                if digest not in shared:
                    shared.add(digest)
                    write_line(lines, line)
            pause_s = PAUSE_S
        except Exception as error:
            log.error("%s: run_comprehensive_demo: %s: %s", ai_id, type(error).__name__, error)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        await sleep(pause_s)


def _drain_input() -> None:
    """What others share is not for this trainer; when the input ends, so does the process."""
    for _ in sys.stdin:
        pass
    os._exit(0)


def _own_lines() -> TextIO:
    """Standard output for our lines alone: what the class prints, or any program that it starts,
    goes where errors go."""
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # shown at once
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="The training process of somebody's own trainer.")
    parser.add_argument("ai_id")
    parser.add_argument("trainer")
    parser.add_argument("--check", action="store_true", help="only look whether there is one")
    arguments = parser.parse_args()
    settings = Settings()
    log_to_stderr(settings.log_json, logging.INFO)
    lines = _own_lines()
    try:
        if arguments.check:
            find_trainer(arguments.trainer)
            return
        trainer = make_trainer(arguments.trainer)
        threading.Thread(target=_drain_input, daemon=True).start()
        most_bytes = settings.message_max_bytes
        asyncio.run(train(arguments.ai_id, trainer, lines, most_bytes))
    except TrainerError as error:
        if arguments.check:
            print(error, file=lines)
        else:
            log.error("%s", error)
        raise SystemExit(REFUSED_EXIT) from None


if __name__ == "__main__":
    main()
