"""The ``coord`` command: all commands wired together, and every error made one line."""

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

from cli import (
    acl,
    ask,
    audit,
    dead,
    demo,
    dev_cert,
    doctor,
    enroll,
    experiment,
    gateway,
    lineage,
    members,
    problems,
    records,
    revoke,
    send,
    serve,
    sessions,
    status,
    steer,
    tail,
    trainer,
    up,
    validate,
    validator,
)
from cli.output import ExitCode, complain
from coordinator.connection import unusable
from coordinator.errors import CoordError, NoServer, NotAnswered, ServerUnusable

_EXIT_CODES = "; ".join(f"{code.value} {code.meaning}" for code in ExitCode)


class Commands(TyperGroup):
    """A group in which an error that is foreseen ends as one line and an exit code."""

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


app.command("demo")(demo.demo)
app.command("serve")(serve.serve)
app.command("stop")(serve.stop)
app.command("up")(up.up)
app.command("down")(up.down)
app.command("trainer")(trainer.trainer)
app.command("validator")(validator.validator)
app.command("status")(status.status)
app.command("ais")(records.ais)
app.command("patterns")(records.patterns)
app.command("components")(records.components)
app.command("problems")(problems.problems)
app.command("lineage")(lineage.lineage)
app.command("sessions")(sessions.sessions)
app.command("session")(sessions.session)
app.command("request-feature")(ask.request_feature)
app.command("collaborate")(ask.collaborate)
app.command("cancel")(steer.cancel)
app.command("retry")(steer.retry)
app.command("kick")(steer.kick)
app.command("drain")(steer.drain)
app.command("enroll")(enroll.enroll)
app.command("rotate")(enroll.rotate)
app.command("revoke")(revoke.revoke)
app.command("members")(members.members)
app.command("acl")(acl.acl)
app.command("audit")(audit.audit)
app.command("gateway")(gateway.gateway)
app.command("dev-cert")(dev_cert.dev_cert)
app.command("tail")(tail.tail)
app.command("send")(send.send)
app.command("retract")(send.retract)
app.add_typer(dead.app, name="dead")
app.add_typer(experiment.app, name="experiment")
app.command("doctor")(doctor.doctor)
app.command("validate")(validate.validate_command)


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
