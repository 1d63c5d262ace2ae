"""Landlock: the kernel refuses a process what it was not granted.

The numbers are those of Linux' ``include/uapi/linux/landlock.h``; the system calls have the same
numbers on every architecture. What a kernel does not know yet cannot be asked of it: ``abi`` says
how much it knows, 0 for no Landlock.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import sys

from workers.sandbox.interpreter import View, visible_parts

CREATE_RULESET = 444
VERSION_FLAG = 1
EXECUTE, READ_FILE, READ_DIR = 1 << 0, 1 << 2, 1 << 3
FILE_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
TCP_ABI, TCP_RIGHTS = 4, 0b11
SCOPE_ABI, SCOPES = 6, 0b11
"""From there on abstract Unix sockets and signals end at the sandbox's wall."""


@functools.cache
def landlock_abi() -> int:
    """The kernel's version of Landlock; 0 if it has none, or does not use it."""
    if sys.platform != "linux":
        return 0
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    return max(0, int(syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION_FLAG)))


def ruleset(abi: int, view: View) -> dict[str, object]:
    """``{"attributes": hex of struct landlock_ruleset_attr, "rules": [[path, rights], ...]}``."""
    files = max(rights for since, rights in FILE_RIGHTS_BY_ABI.items() if since <= abi)
    attributes = [files]
    if abi >= TCP_ABI:
        attributes.append(TCP_RIGHTS)
    if abi >= SCOPE_ABI:
        attributes.append(SCOPES)
    return {
        "attributes": struct.pack(f"={len(attributes)}Q", *attributes).hex(),
        "rules": _rules(view),
    }


def _rules(view: View) -> list[list[str | int]]:
    rules: list[list[str | int]] = []
    for path in view.reads:
        parts = visible_parts(view, path)
        if parts != [path]:
            rules.append([path, READ_DIR])  # its names can be listed, all else is refused
        rules += [[part, _rights(part, READ_FILE)] for part in parts]
    return rules + [[path, _rights(path, READ_FILE | EXECUTE)] for path in view.runs]


def _rights(path: str, rights: int) -> int:
    return rights | READ_DIR if os.path.isdir(path) else rights
