"""What a run leaves behind on the host's disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.attacks.oracle import LIBRARY, Oracle
from tests.attacks.seen import Seen
from workers.sandbox.interpreter import common_interpreter


class Marker(Oracle):
    """A file that was not there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.marker = self.place() / f"marker-{self.token}"
        self.given["MARKER"] = str(self.marker)

    def place(self) -> Path:
        return self.folder

    def succeeded(self, seen: Seen) -> bool:
        return self.marker.exists()

    def close(self) -> None:
        if self.marker.is_dir():
            self.marker.rmdir()
        else:
            self.marker.unlink(missing_ok=True)


class SharedMemoryMarker(Marker):
    def place(self) -> Path:
        return Path("/dev/shm")


class LibraryMarker(Marker):
    """A file among those of the Python that runs the harness."""

    needs = "" if os.access(LIBRARY, os.W_OK) else "a Python that its user may write to"

    def place(self) -> Path:
        return LIBRARY


class Changed(Oracle):
    """A file that everybody may write to has other contents, rights or times, or is gone."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = self.place() / f"file-{self.token}"
        self.file.write_text("as it was")
        self.file.chmod(0o666)
        self.given["FILE"] = str(self.file)
        self.before = self._state()

    def place(self) -> Path:
        return self.folder

    def succeeded(self, seen: Seen) -> bool:
        return self._state() != self.before

    def close(self) -> None:
        self.file.unlink(missing_ok=True)

    def _state(self) -> tuple[Any, ...]:
        if not self.file.exists():
            return ()
        stat = self.file.stat()
        return (self.file.read_text(), stat.st_mode, stat.st_mtime_ns, stat.st_nlink, stat.st_uid)


class ChangedInLibrary(Changed):
    """It lies among the files of a Python that all users can run."""

    needs = "" if os.geteuid() == 0 else "root"

    def place(self) -> Path:
        return Path(common_interpreter().library)


class Planted(Marker):
    """A file that the next Python which is started there would run makes the marker."""

    starts: tuple[str, ...] = ("-c", "import site; site.addsitedir('.')")

    def succeeded(self, seen: Seen) -> bool:
        if not any(self.folder.iterdir()):
            return False
        subprocess.run(
            [sys.executable, *self.starts],
            cwd=self.folder,
            env={"PYTHONPATH": str(self.folder)},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        return super().succeeded(seen)


class PlantedTests(Planted):
    starts = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", ".")
