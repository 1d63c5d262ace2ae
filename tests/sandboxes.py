"""Rungs of the sandbox for tests, how a call fails, and an eye on the processes that it starts."""

from __future__ import annotations

import functools
import os
import select
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from workers.sandbox import NoRung, PolicyFailed, Rung, find_rung
from workers.sandbox.ladder import RUNGS, tried

RUNG_NAMES = tuple(RUNGS)


@functools.cache
def _climbed(name: str) -> Rung | str:
    """The rung, or why this machine does not have it."""
    try:
        return tried(RUNGS[name]())
    except NoRung as error:
        return error.detail


def rung_named(name: str) -> Rung:
    """The rung; where it does not hold the test is skipped by name, and in CI it fails, unless the
    rung is root's alone and this is not root."""
    found = _climbed(name)
    if isinstance(found, Rung):
        return found
    is_possible = sys.platform == "linux" and (name == "bubblewrap" or os.geteuid() == 0)
    if "CI" in os.environ and is_possible:
        pytest.fail(f"sandbox: no rung {name}: {found}")
    pytest.skip(f"sandbox: no rung {name}: {found}")


def _why_none() -> str:
    """Why no rung holds here; "" if one does, or if one must."""
    try:
        find_rung()
    except NoRung as error:
        is_needed = "CI" in os.environ and sys.platform == "linux"
        return "" if is_needed else error.detail
    return ""


WHY_NONE = _why_none()
needs_sandbox = pytest.mark.skipif(bool(WHY_NONE), reason=f"sandbox: {WHY_NONE}")
"""For a test that runs components, on whatever rung there is."""


def failure(call: Callable[..., object], *arguments: Any) -> tuple[str, str]:
    """Kind and detail of the PolicyFailed that ``call`` raises."""
    with pytest.raises(PolicyFailed) as caught:
        call(*arguments)
    assert caught.value.detail.isprintable()
    return caught.value.kind, caught.value.detail


def held(pids: Iterable[int]) -> dict[int, int]:
    """A descriptor of each of these processes, by its id."""
    return {pid: os.pidfd_open(pid) for pid in pids}


def outlive(processes: dict[int, int], limit_s: float) -> list[int]:
    """Those of ``processes`` (and close them) that are still there after ``limit_s``."""
    left = []
    for pid, descriptor in processes.items():
        watched = select.poll()
        watched.register(descriptor, select.POLLIN)
        if not watched.poll(limit_s * 1000):
            left.append(pid)
        os.close(descriptor)
    return left
