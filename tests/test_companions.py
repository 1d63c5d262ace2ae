"""What `coord serve` runs beside its coordinator is begun again, as soon as that may help."""

from __future__ import annotations

from typing import Any, cast

import pytest

from cli.companions import Companion
from cli.output import ExitCode
from coordinator.waiting import comes_true
from tests.fleet import ManualClock


class Ended:
    """A program that ends at once, and its process."""

    name = "the archive"

    def __init__(self, code: int) -> None:
        self._code = code

    def start(self) -> Ended:
        return self

    def wait(self) -> int:
        return self._code

    def terminate(self) -> None:
        """There is nothing to end."""


@pytest.mark.parametrize(
    ("code", "pause"), [(ExitCode.FAILED, "in 1 s"), (ExitCode.USAGE, "in 600 s")]
)
def test_what_cannot_be_done_is_not_tried_again_at_once(
    caplog: pytest.LogCaptureFixture, code: int, pause: str
) -> None:
    companion = Companion("archive", lambda: cast(Any, Ended(code)), ManualClock())
    companion.start()
    assert comes_true(lambda: "begun again" in caplog.text, 5)
    companion.stop()
    assert f"the archive has ended with exit code {code:d}: begun again {pause}" in caplog.text
