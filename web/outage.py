"""Whether the server of the fleet can be reached, in the log."""

from __future__ import annotations

import logging

log = logging.getLogger("coord.http")


class OutageLog:
    """Says once that the server cannot be reached, and once that it is back."""

    def __init__(self) -> None:
        self._is_on = False

    def begin(self, error: Exception) -> None:
        if not self._is_on:
            log.warning("the server of the fleet cannot be reached: %s", error)
        self._is_on = True

    def end(self) -> None:
        if self._is_on:
            log.info("the server of the fleet is back")
        self._is_on = False
