"""Attacks on other processes, and by processes and threads that nobody counts or ends."""

from __future__ import annotations

from tests.attacks import kernel, stolen
from tests.attacks.oracle import saw, saw_process
from tests.attacks.probe import Probe

ON_OTHERS = (
    Probe("environment", stolen.OwnEnvironment, "import os\nloot = dict(os.environ)"),
    Probe(
        "environment_of_another",
        stolen.Victim,
        'loot = open(f"/proc/{VICTIM}/environ").read()',
    ),
    Probe(
        "environment_of_anybody",
        stolen.Victim,
        """
import os
loot = []
for name in os.listdir("/proc"):
    try:
        text = open(f"/proc/{name}/environ").read()
    except OSError:
        continue
    loot += [entry for entry in text.split(chr(0)) if entry.startswith("PROBED=")]
""",
    ),
    Probe("kill", stolen.HarmedVictim, "import os\nos.kill(VICTIM, 9)"),
    Probe("stop", stolen.HarmedVictim, "import os\nos.kill(VICTIM, 19)"),
    Probe(
        "renice",
        stolen.HarmedVictim,
        "import os\nos.setpriority(os.PRIO_PROCESS, VICTIM, 19)",
    ),
    Probe(
        "ptrace",
        stolen.HarmedVictim,
        """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(16, VICTIM, None, None) == 0:
    os.waitpid(VICTIM, 0)
    libc.ptrace(8, VICTIM, None, None)
    os.waitpid(VICTIM, 0)
""",
        refusable=True,
    ),
    Probe(
        "read_memory_of_another",
        stolen.Victim,
        """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
stack = next(line for line in open(f"/proc/{VICTIM}/maps") if "[stack]" in line)
low, high = (int(number, 16) for number in stack.split()[0].split("-"))
read = ctypes.create_string_buffer(high - low)

class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

here, there = Piece(ctypes.addressof(read), high - low), Piece(low, high - low)
libc.process_vm_readv(VICTIM, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
start = read.raw.find(b"PROBED=")
loot = read.raw[start:start + 60]
""",
        refusable=True,
    ),
    Probe(
        "terminal",
        kernel.Session,
        """
import fcntl, os, termios
for path in ("/dev/tty", "/proc/self/fd/0"):
    try:
        fcntl.ioctl(os.open(path, os.O_RDWR | os.O_NONBLOCK), termios.TIOCSTI, b" ")
    except OSError:
        pass
""",
    ),
)

OUTLIVING = (
    Probe(
        "stops_itself",
        saw(lambda seen: seen.overrun or bool(seen.survivors)),
        "import os\nos.kill(os.getpid(), 19)",
        endless=True,
    ),
    Probe(
        "ignores_sigterm",
        saw(lambda seen: bool(seen.survivors)),
        """
import signal, time
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
time.sleep(600)
""",
        endless=True,
    ),
    Probe(
        "fork_bomb",
        saw(lambda seen: len(seen.processes) > 12),
        """
import os, time
for _ in range(16):
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
""",
    ),
    Probe(
        "daemon",
        saw(lambda seen: bool(seen.survivors)),
        """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for descriptor in range(64):
            try:
                os.close(descriptor)
            except OSError:
                pass
        time.sleep(600)
    os._exit(0)
os.wait()
""",
    ),
    Probe(
        "program_in_the_background",
        saw_process(lambda one: one.exe.endswith(("/sleep", "/coreutils", "/busybox"))),
        """
import subprocess
child = subprocess.Popen(["/bin/sleep", "600"])
""",
    ),
    Probe(
        "other_program_instead",
        saw_process(lambda one: one.exe.endswith(("/sleep", "/coreutils", "/busybox"))),
        'import os\nos.execv("/bin/sleep", ["sleep", "600"])',
        endless=True,
    ),
    Probe(
        "program_without_a_file",
        saw_process(lambda one: "memfd:" in one.exe),
        """
import os
image = os.memfd_create("image", 0)
with open("/proc/self/exe", "rb") as program:
    while piece := program.read(1 << 20):
        os.write(image, piece)
os.execve(image, ["python", "-ISc", "import time; time.sleep(600)"], {})
""",
        endless=True,
    ),
    Probe(
        "thread",
        saw_process(lambda one: one.threads > 1),
        """
import threading, time
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
""",
    ),
    Probe(
        "at_exit",
        saw(lambda seen: bool(seen.survivors)),
        """
import atexit, contextlib, signal, time
with contextlib.suppress(OSError):
    signal.signal(signal.SIGTERM, lambda *_: exit(0))
atexit.register(time.sleep, 600)
""",
    ),
    Probe(
        "at_deletion",
        saw(lambda seen: bool(seen.survivors)),
        """
import contextlib, signal, time
with contextlib.suppress(OSError):
    signal.signal(signal.SIGTERM, lambda *_: exit(0))

class Late:
    def __del__(self, sleep=time.sleep):
        sleep(600)

late = Late()
""",
    ),
    Probe(
        "at_sigterm",
        saw(lambda seen: bool(seen.survivors)),
        """
import contextlib, os, signal, time
actions = {signal.SIGTERM: lambda *_: time.sleep(600), signal.SIGHUP: signal.SIG_IGN}
for number, action in actions.items():
    with contextlib.suppress(OSError):
        signal.signal(number, action)
""",
    ),
)

PROBES = (*ON_OTHERS, *OUTLIVING)
