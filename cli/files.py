"""Files that people asked for, written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from secrets import token_hex

from cli.output import plain
from coordinator.errors import CoordError


def write_file(path: Path, content: bytes, option: str) -> None:
    """Write it beside ``path``, which ``option`` named, and put it there whole; a link goes on
    leading where it leads. CoordError if that cannot be done."""
    check_writable(path, option)
    target = path.resolve()
    beside = target.with_name(f".coord-{token_hex(8)}")
    try:
        _create(beside, content)
        if target.exists():
            beside.chmod(stat.S_IMODE(target.stat().st_mode))
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise _unwritable(path, error.strerror or "no reason was given", option) from None


def check_writable(path: Path, option: str) -> None:
    """CoordError if no file can be written at ``path``, before the work is done."""
    directory = path.resolve().parent
    try:
        is_there = path.exists()
    except OSError as error:  # its name is too long, or it leads through what is no directory
        raise _unwritable(path, error.strerror or "no reason was given", option) from None
    if path.is_dir():
        raise _unwritable(path, "it is a directory", option)
    if is_there and not path.is_file():
        raise _unwritable(path, "it is there already, and no regular file", option)
    if not directory.is_dir():
        raise _unwritable(path, "its directory is missing", option)
    if not os.access(directory, os.W_OK):
        raise _unwritable(path, "its directory may not be written", option)


def _create(path: Path, content: bytes) -> None:
    """A new file; FileExistsError if something is there."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
        file.write(content)


def _unwritable(path: Path, reason: str, option: str) -> CoordError:
    return CoordError(f"{plain(path)} cannot be written ({reason}): name another file by {option}")
