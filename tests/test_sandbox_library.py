"""All of the standard library can be used in the sandbox, less what needs what is not there."""

from __future__ import annotations

import pytest

from tests.sandboxes import RUNG_NAMES, failure, rung_named
from workers.sandbox import Limits, Rung, Sandbox

OUTSIDE = {
    *("_curses", "_curses_panel", "_dbm", "_gdbm", "_tkinter", "curses", "nis", "readline"),
    *("tkinter", "turtle"),
}
"""What docs/components.md says that there is not: terminals, windows, dbm and NIS."""
OTHER_SYSTEMS = {
    *("_msi", "_overlapped", "_scproxy", "_winapi", "msilib", "msvcrt", "nt", "winreg"),
    "winsound",
}
NOISY = {"antigravity", "idlelib", "this", "turtledemo"}
SOURCE = """
import importlib
import signal
import sys

class Policy:
    def missing(self, left_out):
        return [name for name in sys.stdlib_module_names
                if name not in left_out and not self.has(name)]

    def has(self, name):
        try:
            importlib.import_module(name)
        except ImportError:
            return False
        return True

    def use(self):
        import _ssl, ctypes, hashlib, lzma, sqlite3, uuid
        [answer] = sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()
        text = lzma.decompress(lzma.compress(b"text")).decode()
        digest = hashlib.new("sha256", b"").hexdigest()[:4]
        maths = ctypes.CDLL("libm.so.6").abs(-3)
        return [answer, text, digest, maths, uuid.uuid4().version]

    def ignore(self, number):
        signal.signal(number, signal.SIG_IGN)

    def block(self, number):
        signal.pthread_sigmask(signal.SIG_BLOCK, [number])
"""


@pytest.fixture(params=RUNG_NAMES)
def rung(request: pytest.FixtureRequest) -> Rung:
    return rung_named(request.param)


def test_every_module_can_be_imported(rung: Rung) -> None:
    with Sandbox(rung, Limits(), SOURCE) as box:
        box.load()
        box.make(0, [])
        assert set(box.ask(0, "missing", sorted(NOISY | OTHER_SYSTEMS))) <= OUTSIDE


@pytest.mark.parametrize(
    "name", ["json.tool", "ctypes.wintypes", "encodings.cp1252", "collections.abc", "zoneinfo"]
)
def test_parts_of_packages_that_were_there_before_are_found(rung: Rung, name: str) -> None:
    with Sandbox(rung, Limits(), SOURCE) as box:
        box.load()
        box.make(0, [])
        assert box.ask(0, "has", name)


def test_what_needs_libraries_of_the_machine_works(rung: Rung) -> None:
    with Sandbox(rung, Limits(), SOURCE) as box:
        box.load()
        box.make(0, [])
        assert box.ask(0, "use") == [42, "text", "e3b0", 3, 4]


@pytest.mark.parametrize("method", ["ignore", "block"])
def test_nobody_is_deaf_to_the_end_of_his_processor_time(rung: Rung, method: str) -> None:
    with Sandbox(rung, Limits(), SOURCE) as box:
        box.load()
        box.make(0, [])
        kind, detail = failure(box.ask, 0, method, 24)
    assert kind == "raised"
    assert detail.startswith("PermissionError")
