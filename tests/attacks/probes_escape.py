"""Attacks on the sandbox itself, by the kernel's less trodden paths."""

from __future__ import annotations

import os
from pathlib import Path

from tests.attacks import kernel
from tests.attacks.oracle import Oracle, saw_process
from tests.attacks.probe import Probe
from tests.attacks.seen import Process, Seen

LIBC = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
"""


def _is_privileged(one: Process) -> bool:
    """A Python (not bubblewrap, which is above it) that is root, or has a capability."""
    return "python" in os.path.basename(one.exe) and (0 in one.user_ids or one.capabilities != 0)


class HostName(Oracle):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.before = os.uname().nodename

    def succeeded(self, seen: Seen) -> bool:
        return os.uname().nodename != self.before


PROBES = (
    Probe(
        "keyring",
        kernel.Keyring,
        LIBC
        + """
text = TOKEN.encode()
libc.syscall(KEY_CALLS["add_key"], b"user", text, b"x", 1, ctypes.c_long(-3))
""",
        refusable=True,
    ),
    Probe(
        "io_uring",
        saw_process(lambda one: "anon_inode:[io_uring]" in one.open_files),
        LIBC + "libc.syscall(425, 8, ctypes.create_string_buffer(120))",
        refusable=True,
    ),
    Probe(
        "page_faults",
        saw_process(lambda one: "anon_inode:[userfaultfd]" in one.open_files),
        LIBC + "import os\nlibc.syscall(282 if os.uname().machine == 'aarch64' else 323, 1)",
        refusable=True,
    ),
    Probe(
        "kernel_program",
        saw_process(lambda one: "anon_inode:bpf-map" in one.open_files),
        LIBC
        + """
import os, struct
attributes = struct.pack("=IIIII100x", 2, 4, 8, 1, 0)  # BPF_MAP_CREATE of an array
libc.syscall(280 if os.uname().machine == "aarch64" else 321, 0, attributes, 120)
""",
        refusable=True,
    ),
    Probe(
        "user_namespace",
        kernel.Namespaces,
        LIBC + "libc.unshare(0x10000000)",
        refusable=True,
    ),
    Probe(
        "other_namespaces",
        kernel.Namespaces,
        LIBC + "libc.unshare(0x48000000)\nlibc.unshare(0x58000000)",
        refusable=True,
    ),
    Probe(
        "mount",
        kernel.Mount,
        LIBC + "libc.mount(TOKEN.encode(), FOLDER.encode(), b'tmpfs', 0, None)",
        refusable=True,
    ),
    Probe(
        "mount_in_its_own_namespace",
        kernel.Mount,
        LIBC
        + """
libc.unshare(0x10020000)
libc.mount(None, b"/", None, 0x44000, None)
for place in ("/tmp", "/", FOLDER):
    libc.mount(TOKEN.encode(), place.encode(), b"tmpfs", 0, None)
""",
        refusable=True,
    ),
    Probe(
        "set_user",
        saw_process(_is_privileged),
        LIBC
        + """
import os
for call in (lambda: os.setresuid(0, 0, 0), lambda: os.setuid(0), lambda: os.setreuid(0, 0)):
    try:
        call()
    except OSError:
        pass
""",
        refusable=True,
    ),
    Probe(
        "set_user_by_file",
        saw_process(lambda one: one.has_set_user_file),
        """
import os
held = []
for place in (FOLDER, ".", "/tmp", "/dev/shm", "/run"):
    try:
        held.append(os.open(f"{place}/set-user-{TOKEN}", os.O_CREAT | os.O_RDWR, 0o755))
        os.fchmod(held[-1], 0o4755)
        break
    except OSError:
        pass
held.append(os.memfd_create("held"))
os.fchmod(held[-1], 0o4755)
""",
    ),
    Probe(
        "priority",
        saw_process(lambda one: one.nice < os.nice(0)),
        "import os\nos.nice(-5)",
        refusable=True,
    ),
    Probe(
        "host_name",
        HostName,
        "import socket\nsocket.sethostname(TOKEN)",
        not_shown="it would rename the machine",
    ),
)
