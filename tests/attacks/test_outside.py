"""Every attack succeeds where nothing is in its way: the suite would notice it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

from tests.attacks.oracle import lacking
from tests.attacks.outside import run_outside
from tests.attacks.probes import PROBES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandbox: only on Linux")


@pytest.mark.parametrize("name", [name for name, one in PROBES.items() if not one.not_shown])
def test_it_succeeds_outside(name: str, open_folder: Path) -> None:
    probe = PROBES[name]
    with contextlib.closing(probe.oracle(open_folder)) as oracle:
        if oracle.needs:
            pytest.skip(lacking(oracle))

        seen = run_outside(probe, oracle)

        succeeded = oracle.succeeded(seen)
        if probe.refusable and not succeeded:
            pytest.skip("sandbox: the attack is refused here even outside")
        assert succeeded, seen
