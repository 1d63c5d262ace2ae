"""What a run leaves behind in the kernel, or gets from it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
from pathlib import Path

from tests.attacks.oracle import Oracle
from tests.attacks.seen import Seen, looked_at

LIBC = ctypes.CDLL(None, use_errno=True)
KEY_CALLS = (
    {"add_key": 217, "keyctl": 219}
    if os.uname().machine == "aarch64"
    else {"add_key": 248, "keyctl": 250}
)


def _opens(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


class Core(Oracle):
    """An image of the process's memory is left behind."""

    needs = (
        "a kernel.core_pattern that is a file's name"
        if Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "/"))
        else ""
    )

    def succeeded(self, seen: Seen) -> bool:
        return any(self.folder.glob("core*"))


class SystemVMemory(Oracle):
    """A segment of System V's shared memory is there under the key."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.key = secrets.randbelow(2**30) + 1
        self.given["KEY"] = self.key

    def succeeded(self, seen: Seen) -> bool:
        return self._segment() >= 0

    def close(self) -> None:
        LIBC.shmctl(self._segment(), 0, None)  # IPC_RMID

    def _segment(self) -> int:
        return int(LIBC.shmget(self.key, 0, 0))


class KernelLog(Oracle):
    """The kernel's log has the token."""

    needs = "" if _opens("/dev/kmsg") else "a kernel log that can be read"

    def succeeded(self, seen: Seen) -> bool:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError), open(log, "rb", buffering=0) as lines:
            while line := lines.read(8192):
                if self.token.encode() in line:
                    return True
        return False


class Keyring(Oracle):
    """The session's keyring, which a child inherits, has a key of that name."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        LIBC.syscall(KEY_CALLS["keyctl"], 1, None)  # KEYCTL_JOIN_SESSION_KEYRING, a new one
        self.session = ctypes.c_long(-3)
        self.search = 10
        self.given["KEY_CALLS"] = KEY_CALLS

    needs = "" if Path("/proc/keys").exists() else "a kernel with keyrings"

    def succeeded(self, seen: Seen) -> bool:
        return self._key() >= 0

    def close(self) -> None:
        if self._key() >= 0:
            LIBC.syscall(KEY_CALLS["keyctl"], 9, self._key(), self.session)  # KEYCTL_UNLINK

    def _key(self) -> int:
        name = self.token.encode()
        return int(LIBC.syscall(KEY_CALLS["keyctl"], self.search, self.session, b"user", name, 0))


class Mount(Oracle):
    """A file system is mounted under the token's name, for the host or where the probe ran."""

    def succeeded(self, seen: Seen) -> bool:
        shown = [Path("/proc/self/mounts").read_text()]
        return any(self.token in text for text in shown + [one.mounts for one in seen.processes])

    def close(self) -> None:
        LIBC.umount2(str(self.folder).encode(), 2)  # MNT_DETACH


class Session(Oracle):
    """The probe runs in the session of the harness, whose terminal is then its own."""

    def succeeded(self, seen: Seen) -> bool:
        own = os.getsid(0)
        return any(one.session == own for one in seen.processes)


class Namespaces(Oracle):
    """A process has a user namespace that only it can have made."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.note([])

    def succeeded(self, seen: Seen) -> bool:
        return len({name for one in seen.processes for name in one.namespaces} - self.before) > 0

    def note(self, pids: list[int]) -> None:
        before = looked_at([os.getpid(), *pids])
        self.before = {name for one in before for name in one.namespaces}
