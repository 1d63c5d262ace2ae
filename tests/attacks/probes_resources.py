"""Attacks that use up what the machine has: memory, files, the harness's patience and its memory.

They take a little more than a sandbox may allow, and not what would harm the machine.
"""

from __future__ import annotations

from tests.attacks.oracle import saw, saw_process
from tests.attacks.probe import Probe
from tests.attacks.seen import Process, Seen

MIB = 1 << 20
TOO_MUCH_MEMORY_BYTES = 300 * MIB


def _took_memory(seen: Seen) -> bool:
    return sum(one.memory_bytes for one in seen.processes) > TOO_MUCH_MEMORY_BYTES


def _has_huge_file(one: Process) -> bool:
    return max(one.open_files.values(), default=0) > 1 << 40


def _has_many_pipes(one: Process) -> bool:
    """What lies in them is memory that no account has."""
    return sum(name.startswith("pipe:") for name in one.open_files) > 100


MEMORY = (
    Probe("memory", saw(_took_memory), "held = b'x' * (400 << 20)"),
    Probe(
        "memory_by_mmap",
        saw(_took_memory),
        """
import mmap
held = mmap.mmap(-1, 400 << 20)
for start in range(0, 400 << 20, 4096):
    held[start] = 1
""",
    ),
    Probe(
        "memory_of_many_processes",
        saw(_took_memory),
        """
import os, time
for _ in range(4):
    if os.fork() == 0:
        held = b"x" * (90 << 20)
        time.sleep(600)
        os._exit(0)
time.sleep(0.3)
""",
    ),
    Probe(
        "memory_without_address",
        saw(lambda seen: seen.shared_bytes > 150 * MIB),
        """
import os
piece = bytes(1 << 20)
for _ in range(40):
    file = os.memfd_create("held")
    try:
        for _ in range(10):
            os.write(file, piece)
    except OSError:
        pass
""",
    ),
    Probe(
        "memory_in_files",
        saw(lambda seen: seen.shared_bytes > 150 * MIB),
        """
import os
places = ("/dev/shm", "/run", "/tmp", "/var/tmp", ".")
piece = bytes(1 << 20)
held = []
for place in [place for place in places for _ in range(20)]:
    try:
        held.append(os.open(place, os.O_TMPFILE | os.O_RDWR))
        for _ in range(10):
            os.write(held[-1], piece)
    except OSError:
        pass
    if len(held) == 20:
        break
""",
    ),
    Probe(
        "memory_in_pipes",
        saw_process(_has_many_pipes),
        """
import fcntl, os
pipes = []
piece = bytes(1 << 20)
try:
    while len(pipes) < 110:
        pipes.append(os.pipe2(os.O_NONBLOCK))
        try:
            fcntl.fcntl(pipes[-1][1], 1031, 1 << 20)
        except OSError:
            pass
        os.write(pipes[-1][1], piece)
except OSError:
    pass
""",
    ),
)

FILES = (
    Probe(
        "sparse_file",
        saw_process(_has_huge_file),
        """
import os
held = []
for place in (FOLDER, ".", "/tmp", "/dev/shm", "/run"):
    try:
        held.append(os.open(place, os.O_TMPFILE | os.O_RDWR))
        os.ftruncate(held[-1], 2 << 40)
    except OSError:
        pass
held.append(os.memfd_create("held"))
os.ftruncate(held[-1], 2 << 40)
""",
    ),
    Probe(
        "many_files",
        saw_process(lambda one: one.held_files > 2_000),
        """
import os
held = []
for place in (FOLDER, ".", "/tmp", "/dev/shm", "/run"):
    try:
        os.mkdir(f"{place}/many-{TOKEN}")
        held.append(os.open(f"{place}/many-{TOKEN}", os.O_RDONLY))
        for number in range(2_001):
            os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY, dir_fd=held[-1]))
        break
    except OSError:
        pass
""",
    ),
)

OUTPUT = (
    Probe(
        "output",
        saw(lambda seen: seen.grown_bytes > 20 * MIB),
        """
import os
for _ in range(30):
    os.write(1, b"x" * (1 << 20))
""",
    ),
    Probe(
        "output_of_errors",
        saw(lambda seen: seen.grown_bytes > 20 * MIB),
        """
import os
for _ in range(30):
    os.write(2, b"x" * (1 << 20))
""",
    ),
    Probe(
        "traceback_flood",
        saw(lambda seen: seen.grown_bytes > 20 * MIB or len(seen.said) > 100_000),
        "raise ValueError('x' * (40 << 20))",
    ),
    Probe(
        "traceback_chain",
        saw(lambda seen: seen.grown_bytes > 20 * MIB or len(seen.said) > 100_000),
        """
error = None
for number in range(500):
    try:
        raise ValueError("x" * 50_000) from error
    except ValueError as caught:
        error = caught
raise error
""",
    ),
)

TIME = (
    Probe("endless_loop", saw(lambda seen: seen.overrun), "while True:\n    pass", endless=True),
    Probe(
        "hash_collisions",
        saw(lambda seen: seen.overrun),
        "loot = len({number * (2**61 - 1) for number in range(200_000)})",
        endless=True,
    ),
    Probe(
        "regular_expression",
        saw(lambda seen: seen.overrun),
        'import re\nre.match("(a+)+$", "a" * 60 + "b")',
        endless=True,
    ),
    Probe("huge_number", saw(lambda seen: seen.overrun), "loot = 7 ** 7 ** 9 % 10", endless=True),
    Probe(
        "loop_that_catches_all",
        saw(lambda seen: seen.overrun),
        """
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
""",
        endless=True,
    ),
    Probe(
        "stack_overflow",
        saw(lambda seen: bool(seen.crashed)),
        """
import ctypes, sys
sys.setrecursionlimit(10**9)
nested = None
for _ in range(10**6):
    nested = [nested]
try:
    repr(nested)
except RecursionError:  # a newer Python counts the frames of C too: the same end by another way
    ctypes.string_at(0)
""",
    ),
)

PROBES = (*MEMORY, *FILES, *OUTPUT, *TIME)
