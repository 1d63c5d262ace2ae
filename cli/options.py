"""The options that every command has, and from them the settings and the server."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote, urlsplit

import redis
import typer
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings
from redis.exceptions import NoPermissionError

from cli.inputs import did_you_mean
from cli.output import complain, plain
from coordinator.connection import connect, redact, resolve_url, unusable
from coordinator.errors import ServerUnusable
from coordinator.keys import Keys
from coordinator.messages import ID_RULE, RESERVED_IDS, is_ai_id
from coordinator.settings import Settings
from coordinator.specializations import CAPABILITIES

RedisOption = Annotated[
    str | None,
    typer.Option(
        "--redis",
        metavar="URL",
        help="Server to use: redis://\\[user:password@]host:port/db, rediss://… or unix:///path."
        " Rather put one with a password into COORD_REDIS_URL: `ps` shows this.",
        show_default="COORD_REDIS_URL, else RQ_REDIS_URL, else the embedded server",
    ),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        metavar="NAME",
        help="Fleet to use; keeps two fleets on one server apart.",
        show_default="COORD_NAMESPACE, else coord",
    ),
]
StateDirOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        metavar="DIR",
        help="Directory of the embedded server and of `coord up`.",
        show_default="COORD_STATE_DIR, else ~/.local/state/coord",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
OnceOption = Annotated[
    bool, typer.Option("--once", help="Only what there is now: then it ends by itself.")
]
FromOption = Annotated[
    int | None,
    typer.Option(
        "--from", metavar="N", min=0, help="Begin at this number of the log, not at its end."
    ),
]
ArchiveOption = Annotated[
    Path | None,
    typer.Option(
        "--archive",
        metavar="FILE",
        help="Read an archive, as `coord archive` writes it.",
        show_default="what the server still keeps",
    ),
]
ArchiveArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="An archive, as `coord archive` writes it.")
]
LimitOption = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=100_000, help="At most so many.")
]
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Again every second.")]
AiOption = Annotated[
    str | None, typer.Option("--ai", metavar="AI", help="Only what concerns this AI.")
]
SessionArgument = Annotated[
    str, typer.Argument(metavar="SESSION", help="Its id, or as much of it as tells it from others.")
]
SPECIALIZATIONS = f"Built in are {', '.join(CAPABILITIES)}; any other word is one of your own."
AiArgument = Annotated[str, typer.Argument(metavar="AI_ID", help=f"{ID_RULE}.")]

ListenOption = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        help="Where AIs come in; a port of 0 takes a free one.",
        show_default="COORD_GATEWAY_LISTEN, else 127.0.0.1:6000",
    ),
]
HttpOption = Annotated[
    str | None,
    typer.Option(
        "--http",
        metavar="HOST:PORT",
        help="Where the dashboard and the HTTP API listen; a port of 0 takes a free one.",
        show_default="COORD_HTTP_LISTEN, else 127.0.0.1:8600",
    ),
]
KeepInOption = Annotated[
    Path | None,
    typer.Option(
        "--archive", metavar="FILE", help="Keep all that happens in this archive (`coord archive`)."
    ),
]
NoHttpOption = Annotated[bool, typer.Option("--no-http", help="No dashboard, and no HTTP API.")]
TlsCertOption = Annotated[
    Path | None,
    typer.Option("--tls-cert", metavar="FILE", help="Certificate chain (PEM): TLS 1.2 or newer."),
]
TlsKeyOption = Annotated[
    Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key (PEM).")
]
TlsClientCaOption = Annotated[
    Path | None,
    typer.Option(
        "--tls-client-ca",
        metavar="FILE",
        help="Only clients with a certificate of this authority (PEM) get in.",
    ),
]
InsecureBindOption = Annotated[
    bool,
    typer.Option("--insecure-bind", help="Any address without TLS: tokens can be read on the way."),
]

S = TypeVar("S", bound=BaseSettings)

_OPTIONS = {"COORD_REDIS_URL": "--redis", "COORD_HTTP_LISTEN": "--http"}
"""By variable, where the option has another name."""


def load_settings(
    redis_url: str | None, namespace: str | None, state_dir: Path | None, **others: Any
) -> Settings:
    """The settings of this command, as ``settings_of`` finds them."""
    secret_url = SecretStr(redis_url) if redis_url is not None else None
    return settings_of(
        Settings, redis_url=secret_url, namespace=namespace, state_dir=state_dir, **others
    )


def settings_of(model: type[S], **options: Any) -> S:
    """The settings of a command: its ``options``, else COORD_…, else the defaults. An option that
    is None, or a flag that is False, was not given.

    Exits with a usage error that names the option or variable that is wrong.
    """
    given = {
        name: value for name, value in options.items() if value is not None and value is not False
    }
    try:
        return model(**given)
    except ValidationError as error:
        raise typer.BadParameter(_fault(error, given, model.model_config["env_prefix"])) from None


def _fault(error: ValidationError, given: Container[str], prefix: str) -> str:
    """What is wrong with the first setting at fault: an option that was ``given``, or a variable
    that begins with ``prefix``."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = str(first["loc"][0])
    source = variable = prefix + name.upper()
    if name in given:
        source = _OPTIONS.get(variable, "--" + name.replace("_", "-"))
    rule = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return f"{source}: {rule}"


def check_ai_id(ai_id: str) -> str:
    """``ai_id``, if an AI may be called so; else a usage error."""
    if not is_ai_id(ai_id):
        reserved = " and ".join(sorted(RESERVED_IDS))
        raise typer.BadParameter(f"{ai_id!r} is no AI's id: {ID_RULE}; {reserved} are reserved")
    return ai_id


def warn_of_near_miss(specialization: str) -> None:
    """A word on what looks like a built-in specialization, and is none."""
    question = did_you_mean(specialization, CAPABILITIES)
    if question and specialization not in CAPABILITIES:
        complain(
            f"warning: {plain(specialization)} is no built-in specialization, and is taken for one"
            f" of your own: {question}"
        )


@dataclass(frozen=True)
class OpenFleet:
    """A fleet that a command works on: its server, the server's URL for people, its keys."""

    connection: redis.Redis
    place: str
    keys: Keys

    @property
    def where(self) -> str:
        return f"the server at {self.place}"


@contextmanager
def open_fleet(settings: Settings) -> Iterator[OpenFleet]:
    """The fleet of ``settings``; what Redis raises inside becomes one sentence for people.

    Raises NoServer, ServerUnusable.
    """
    url = resolve_url(settings)
    with connect(url) as connection, explained(url):
        yield OpenFleet(connection, redact(url), Keys(settings.namespace))


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Redis errors as ServerUnusable."""
    try:
        yield
    except redis.RedisError as error:
        raise explanation(url, error) from error


def explanation(url: str, error: redis.RedisError) -> ServerUnusable:
    """What an error of the server at ``url`` means to whoever gave a command."""
    user = unquote(urlsplit(url).username or "")
    _, colon, ai = user.partition(":")
    if colon and isinstance(error, NoPermissionError):
        return ServerUnusable(
            f"{user} is {ai}'s own Redis user, which only runs {ai}: operators' commands need the"
            " operator's login, by COORD_REDIS_URL"
        )
    return unusable(f"the server at {redact(url)}", error)
