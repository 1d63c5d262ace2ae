"""The ``coord`` command: all commands under one name, and every error made one line."""

from __future__ import annotations

import signal
import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import redis
import typer
from typer.core import TyperGroup

from cli.commands import PANELS
from cli.lazy import LazyCommand
from cli.output import ExitCode, complain
from coordinator.connection import unusable
from coordinator.errors import CoordError, NoServer, NotAnswered, ServerUnusable

_EXIT_CODES = "; ".join(f"{code.value} {code.meaning}" for code in ExitCode)


class Commands(TyperGroup):
    """All commands; an error that is foreseen ends as one line and an exit code."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {
            place.name: LazyCommand(place, panel)
            for panel, places in PANELS.items()
            for place in places
        }

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CoordError as error:
            complain(error.detail)
            raise typer.Exit(_code_of(error)) from None
        except redis.RedisError as error:
            complain(unusable("the server", error).detail)
            raise typer.Exit(ExitCode.NO_SERVER) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


def _code_of(error: CoordError) -> ExitCode:
    if isinstance(error, NoServer | ServerUnusable):
        return ExitCode.NO_SERVER
    return ExitCode.NO_COORDINATOR if isinstance(error, NotAnswered) else ExitCode.FAILED


app = typer.Typer(
    name="coord",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Gets a fleet of AIs working together: registry, messages that are not lost, shared"
    " knowledge, on Redis.\n\nBegin with `coord demo`; then `coord serve` in one terminal and"
    " `coord status --watch` in another.",
    epilog=f"Exit codes: {_EXIT_CODES}.",
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"coord {version('coord')}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point; what nobody foresaw is one line too, which says where it happened."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as `cli/__init__.py` left it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        complain(
            f"a fault of coord's own, please report it: {type(error).__name__}: {error}"
            f" ({Path(place.filename).name}:{place.lineno})"
        )
        sys.exit(ExitCode.FAILED)


if __name__ == "__main__":
    main()
