"""Where attacks are run."""

from __future__ import annotations

import ctypes
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SET_CHILD_SUBREAPER = 36


@pytest.fixture(scope="module", autouse=True)
def _orphans() -> Iterator[None]:
    """Processes whose parent has ended become this one's, so that none is lost sight of."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A directory that everybody can reach and write into, as a careless host has."""
    folder = Path(tempfile.mkdtemp(prefix="coord-attack-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
