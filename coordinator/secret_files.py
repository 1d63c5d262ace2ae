"""Secrets in files that only their user can read: the pepper, a token."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from coordinator.errors import CoordError, NotAnswered


def read_secret(path: Path) -> str:
    """The secret at ``path``, which is one line; the line's end is no part of it.

    FileNotFoundError if there is no such file, CoordError if it holds something else.
    """
    try:
        secret = path.read_text("utf-8").removesuffix("\n").removesuffix("\r")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CoordError(
            f"{path} cannot be read ({error.strerror}): it must hold a secret"
        ) from error
    except UnicodeDecodeError:
        raise _no_secret(path) from None
    if not secret or not secret.isprintable():
        raise _no_secret(path)
    return secret


def ensure_secret(path: Path, make: Callable[[], str]) -> str:
    """The secret at ``path``, made if there is none; of several that make it one wins."""
    with suppress(FileNotFoundError):
        return read_secret(path)
    temporary = _write_beside(path, make())
    try:
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    return read_secret(path)


@contextmanager
def handing_over(path: Path, secret: str) -> Iterator[None]:
    """Puts ``secret`` into the file at ``path`` once what is done meanwhile has made it valid, or
    will (NotAnswered); else the file stays what it was. CoordError, before, if that cannot be."""
    if path.exists() and not path.is_file():
        raise CoordError(f"{path} is no file: name one that may be written")
    temporary = _write_beside(path, secret)
    try:
        try:
            yield
        except NotAnswered:
            temporary.replace(path)
            raise
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_beside(path: Path, secret: str) -> Path:
    """A file of this user's alone that holds ``secret``, in the directory of ``path``."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{secret}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CoordError(
            f"{path} cannot be written ({error.strerror}): name a file in a directory of yours"
        ) from error
    return Path(name)


def _no_secret(path: Path) -> CoordError:
    return CoordError(f"{path} must hold a secret: one line of printable characters")
