"""Files in a state directory, which only its user may enter: locks, and records of what runs."""

from __future__ import annotations

import fcntl
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from coordinator.errors import CoordError
from coordinator.waiting import comes_true

R = TypeVar("R", bound=BaseModel)


def is_there(path: Path) -> bool:
    """Whether ``path`` exists; a path that cannot be is not there."""
    try:
        return path.exists()
    except OSError:
        return False


def private_directory(path: Path) -> Path:
    """``path`` made absolute, created if missing. Raises CoordError unless it is ours alone."""
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise CoordError(
            f"the state directory {path} cannot be used ({error.strerror}): name another by"
            " COORD_STATE_DIR"
        ) from error
    if status.st_uid != os.geteuid():
        raise CoordError(
            f"the state directory {path} belongs to user id {status.st_uid}, and it must belong"
            f" to you ({os.geteuid()}): name another by COORD_STATE_DIR"
        )
    if status.st_mode & 0o077:
        raise CoordError(
            f"the state directory {path} is open to other users (mode"
            f" {status.st_mode & 0o777:o}), and only you may enter it: run"
            f" `chmod 700 {shlex.quote(str(path))}`"
        )
    return path


@contextmanager
def locked(path: Path, limit_s: float, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock at ``path``, which one process at a time does.

    While another has it ``check`` is called again and again; it may raise. CoordError when
    ``limit_s`` seconds are over.
    """

    def taken() -> bool:
        check()
        return try_lock(descriptor)

    descriptor = open_lock(path)
    try:
        if not comes_true(taken, limit_s):
            raise CoordError(
                f"another process has held {path} for {limit_s:.0f} s, and only one at a time may:"
                f" see which by `fuser {shlex.quote(str(path))}`"
            )
        yield
    finally:
        os.close(descriptor)


def open_lock(path: Path) -> int:
    """A descriptor of a lock file, which is made if it is missing."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int) -> bool:
    """Lock the open file unless another holds it. The lock ends with the descriptor's last copy."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_model(path: Path, kind: type[R]) -> R | None:
    """The model at ``path``; None if there is none, or none of this kind."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def write_model(path: Path, model: BaseModel) -> None:
    """Write it so that a reader sees the old model or the new one, and nothing else."""
    write_text(path, model.model_dump_json(indent=2))


def write_text(path: Path, text: str) -> None:
    """Write a file of this user's alone; a reader sees the old text or the new one."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
