"""Examples in other languages, run as a person runs them: a program, a token's file, a URL."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self

import pytest

from coordinator.processes import tied_to_parent
from tests.servers import REPOSITORY, wait_for

EXAMPLES = REPOSITORY / "examples"
LIMIT_S = 30.0


def program(name: str) -> str:
    """Where ``name`` is installed. Without it a test that needs it is left out, and named in the
    summary; in CI, where .ci/run installs it, the test fails."""
    path = shutil.which(name)
    if path is None and "CI" not in os.environ:
        pytest.skip(f"{name} is not installed; .ci/run installs it")
    assert path, f"{name} is not installed"
    return path


def token_file(directory: Path, token: str) -> Path:
    path = directory / "token"
    path.write_text(f"{token}\n")
    path.chmod(0o600)
    return path


class ExampleRun:
    """One of ``examples/``, until the block ends; then all that it started ends too."""

    def __init__(self, directory: Path, *command: str, **environment: str) -> None:
        self.log = directory / f"log-{len(list(directory.glob('log-*')))}"
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                tied_to_parent([program(command[0]), *command[1:]]),
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(LIMIT_S)

    def said(self) -> str:
        """All that it has printed."""
        return self.log.read_text(errors="replace")

    def wait_until_said(self, text: str) -> None:
        wait_for(lambda: text in self.said(), LIMIT_S, f"{text!r} in: {self.said()}")

    def wait_for_end(self) -> int:
        """Its exit code."""
        return self.process.wait(LIMIT_S)
