"""Record when real programs start processes, and how much CPU time and which reads these need.

Needs Linux on x86_64, gcc, trees of C sources, and a Python that has its test suite:

    python scripts/record_processes.py --output DIR \\
        --tree a=LUA --tree b=BROTLI --tree c=CMARK --tree d=ZSTD

The trees are those of `scripts/record_traces.py`, which names them. Each kind of program runs once
on each tree (the tests: modules instead of a tree), so that what is trained on some runs is
reported on another; no two runs of a kind share a tree or a module:

    compile   every C file of the tree compiled by gcc -O2, JOBS at a time
    tests     modules of Python's own test suite, JOBS at a time, each in a Python of its own
    search    JOBS files at a time through pipelines of tr, sort, uniq, sed, awk; over the whole
              tree at the same time grep, tar, gzip, diff and wc
    mixed     the three at the same time

The recorder is the tracer (ptrace) of all processes that a program starts, however they are
started. By default it stops them only when they start a process, when they run another program
(execve) and when they end. A process arrives when it is created; its CPU time is what the kernel's
scheduler has counted for its threads when they end (`/proc/PID/task/TID/schedstat`, nanoseconds).
What is not seen: time that the kernel spends on ending a process, and on interrupts. What is not
kept: when a process waited (for input, for its children, for a CPU), and why it was started, so
that a process that arrives as soon as another ends is an arrival like any other. The machine that
was recorded on decides how close arrivals are; who replays them sets the load.

With `--reads` the reads of regular files (read, pread64) are recorded too, each with the CPU time
that its process had used by then. The kernel then stops a process at these calls as well (a
seccomp filter chooses them), which costs it a few microseconds each. Reads through mmap are not
seen.

A recording is one line of whole numbers a process, in the order of arrival: `arrival cpu`
(microseconds; arrival since the first), then for each read `cpu file offset length` (microseconds
of CPU before it, number of the file in the order of first reads, bytes). No names are kept.
"""

from __future__ import annotations

import argparse
import ctypes
import gzip
import os
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

JOBS = 4
TEST_BYTES = range(2_000, 30_000)
NOT_FILES = ("/proc/", "/dev/", "/sys/")
READ, PREAD64 = 0, 17

PTRACE_TRACEME = 0
PTRACE_CONT = 7
PTRACE_SYSCALL = 24
PTRACE_SETOPTIONS = 0x4200
PTRACE_GETEVENTMSG = 0x4201
PTRACE_GET_SYSCALL_INFO = 0x420E
EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_EXIT, EVENT_SECCOMP = 1, 2, 3, 4, 6, 7
EVENTS = (EVENT_FORK, EVENT_VFORK, EVENT_CLONE, EVENT_EXEC, EVENT_EXIT, EVENT_SECCOMP)
IS_SYSCALL = 0x80
OPTIONS = 1 | 0x100000  # a stop at a system call is told apart; nobody survives the tracer
ALL_CHILDREN = 0x40000000  # __WALL
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2

COMPILE = r"""
cd "$TREE"
flags=$(find . -name '*.h' -printf '-I%h\n-I%h/..\n' | sort -u | tr '\n' ' ')
export flags
find . -name '*.c' | sort | xargs -P "$JOBS" -I@ sh -c 'gcc -O2 $flags -c @ -o "$SCRATCH/$$.o"'
"""
SEARCH = r"""
cd "$TREE"
(
    for word in TODO static memcpy return; do grep -rnw "$word" . | sort -t: -k3 | tail -3; done
    tar cf - . | gzip -9 | wc -c
    diff -r . "$SCRATCH" | wc -l
    wc $(find . -name '*.[ch]') | sort -n | tail -5
    tar cf - $(find . -name '*.h') | gzip -1 | wc -c
) &
find . -name '*.[ch]' | sort | xargs -P "$JOBS" -I@ sh -c '
    tr -cs A-Za-z_ "\n" <@ | sort | uniq -c | sort -rn | head -3
    sed "s/[ \t]*$//" @ | awk "{ n += length(\$0) } END { print n }"'
wait
"""
TESTS = r"""
cd "$SCRATCH"
echo "$MODULES" | xargs -P "$JOBS" -n 1 timeout 20 "$PYTHON" -m unittest -q
"""
SCRIPTS = {
    "compile": COMPILE,
    "tests": TESTS,
    "search": SEARCH,
    "mixed": f"({COMPILE}) & ({TESTS}) & ({SEARCH}) & wait",
}
RUNS = "abcd"


@dataclass
class Recorded:
    """One process: times in nanoseconds, CPU time by thread, reads as the format has them."""

    arrival_ns: int
    cpu_ns: dict[int, int] = field(default_factory=dict)
    reads: list[tuple[int, int, int, int]] = field(default_factory=list)

    def cpu_us(self) -> int:
        return sum(self.cpu_ns.values()) // 1_000


class Recorder:
    """Traces a program and all that it starts, until the last of them has ended."""

    def __init__(self, with_reads: bool) -> None:
        self.with_reads = with_reads
        self.options = OPTIONS | sum(1 << event for event in EVENTS)
        self.processes: dict[int, Recorded] = {}
        self.ended: list[Recorded] = []
        self.process_of: dict[int, int] = {}
        self.files: dict[str, int] = {}

    def record(self, command: list[str], environment: dict[str, str]) -> list[Recorded]:
        """Run a command to its end; what it and its descendants needed, in order of arrival."""
        child = os.fork()
        if child == 0:
            become_traced(command, environment, self.with_reads)
        os.waitpid(child, 0)
        ptrace(PTRACE_SETOPTIONS, child, self.options)
        self.begin(child)
        ptrace(PTRACE_CONT, child, 0)
        for thread, status in stops():
            if os.WIFSTOPPED(status):
                request, signal_number = self.stopped(thread, status)
                ptrace(request, thread, signal_number)
            else:
                self.gone(thread)
        return sorted(self.ended, key=lambda process: process.arrival_ns)

    def begin(self, thread: int) -> bool:
        """Note a thread that is new; False if it is known."""
        if thread in self.process_of:
            return False
        status = Path(f"/proc/{thread}/status").read_text("ascii", "replace")
        process = int(status.partition("\nTgid:")[2].split()[0])
        self.process_of[thread] = process
        self.processes.setdefault(process, Recorded(time.monotonic_ns()))
        return True

    def gone(self, thread: int) -> None:
        """A thread has been reaped: the number may come again."""
        if self.process_of.pop(thread, None) == thread:
            self.ended.append(self.processes.pop(thread))

    def stopped(self, thread: int, status: int) -> tuple[int, int]:
        """What to do with a thread that stopped: (request, signal to deliver)."""
        number, event = os.WSTOPSIG(status), status >> 16
        is_new = self.begin(thread)
        if event in (EVENT_FORK, EVENT_VFORK, EVENT_CLONE):
            self.begin(event_message(thread))
        elif event == EVENT_EXIT:
            self.count(thread)
        elif event == EVENT_SECCOMP:
            return PTRACE_SYSCALL, 0
        elif number == signal.SIGTRAP | IS_SYSCALL:
            self.read(thread)
        elif not event and not (number == signal.SIGSTOP and is_new):
            return PTRACE_CONT, number
        return PTRACE_CONT, 0

    def count(self, thread: int) -> Recorded:
        """Take the CPU time that a thread has used so far."""
        group = self.process_of[thread]
        schedstat = Path(f"/proc/{group}/task/{thread}/schedstat").read_text("ascii")
        process = self.processes[group]
        process.cpu_ns[thread] = int(schedstat.split()[0])
        return process

    def read(self, thread: int) -> None:
        """A read has returned: keep it if it was one of a regular file."""
        number, descriptor, arguments, length_bytes = system_call(thread)
        if length_bytes <= 0:
            return
        path = os.readlink(f"/proc/{thread}/fd/{descriptor}")
        if not path.startswith("/") or path.startswith(NOT_FILES):
            return
        if number == PREAD64:
            offset_bytes = arguments[3]
        else:
            position = Path(f"/proc/{thread}/fdinfo/{descriptor}").read_text("ascii").split()[1]
            offset_bytes = int(position) - length_bytes
        file = self.files.setdefault(path, len(self.files))
        process = self.count(thread)
        process.reads.append((process.cpu_us(), file, offset_bytes, length_bytes))


libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long


def ptrace(request: int, thread: int, data: int) -> None:
    """A request without answer; a thread that was killed meanwhile is no error."""
    libc.ptrace(request, thread, None, data)


def event_message(thread: int) -> int:
    """The thread that an event is about."""
    message = ctypes.c_ulong()
    libc.ptrace(PTRACE_GETEVENTMSG, thread, None, ctypes.addressof(message))
    return message.value


def system_call(thread: int) -> tuple[int, int, tuple[int, ...], int]:
    """(number, first argument, arguments, result) of the system call that a thread returns from.

    At the exit the kernel tells the result alone; number and arguments are in the registers.
    """
    registers = Path(f"/proc/{thread}/syscall").read_text("ascii").split()
    info = ctypes.create_string_buffer(88)
    libc.ptrace(PTRACE_GET_SYSCALL_INFO, thread, len(info), ctypes.addressof(info))
    (result,) = struct.unpack_from("q", info, 24)
    arguments = tuple(int(one, 16) for one in registers[1:7])
    return int(registers[0]), arguments[0], arguments, result


def stops() -> Iterator[tuple[int, int]]:
    """(thread, status) of each traced thread that stops or ends, until there are none."""
    while True:
        try:
            yield os.waitpid(-1, ALL_CHILDREN)
        except ChildProcessError:
            return


def become_traced(command: list[str], environment: dict[str, str], with_reads: bool) -> None:
    """In a new process: be traced, wait for the tracer, and become the command."""
    libc.ptrace(PTRACE_TRACEME, 0, None, None)
    os.kill(os.getpid(), signal.SIGSTOP)
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(silence, descriptor)
    if with_reads:
        stop_at_reads()
    os.execve(command[0], command, environment)


def stop_at_reads() -> None:
    """Have the kernel tell the tracer of read and pread64, of this process and its descendants.

    The filter is four steps of classic BPF on struct seccomp_data, whose first word is the number
    of the system call: load it, skip to the last step if it is one of the two, else allow.
    """
    load, jump_if_equal, answer = 0x20, 0x15, 0x06
    allow, tell = 0x7FFF0000, 0x7FF00000
    steps = (
        (load, 0, 0, 0),
        (jump_if_equal, 2, 0, READ),
        (jump_if_equal, 1, 0, PREAD64),
        (answer, 0, 0, allow),
        (answer, 0, 0, tell),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    )
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(program)))


def test_modules(run: str) -> str:
    """Every fourth of the smaller modules of Python's test suite, another fourth for each run."""
    directory = Path(os.__file__).parent / "test"
    small = (path for path in directory.glob("test_*.py") if path.stat().st_size in TEST_BYTES)
    names = [f"test.{path.stem}" for path in sorted(small)]
    return " ".join(names[RUNS.index(run) :: len(RUNS)])


def record(script: str, run: str, tree: Path, scratch: Path, with_reads: bool) -> list[Recorded]:
    """Run a shell script and return what its processes needed."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LC_ALL": "C",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "TREE": str(tree),
        "SCRATCH": str(scratch),
        "JOBS": str(JOBS),
        "MODULES": test_modules(run),
        "PYTHON": sys.executable,
    }
    return Recorder(with_reads).record(["/bin/sh", "-c", script], environment)


def lines(processes: list[Recorded]) -> Iterator[str]:
    first_ns = processes[0].arrival_ns
    for process in processes:
        numbers = [(process.arrival_ns - first_ns) // 1_000, process.cpu_us()]
        for read in process.reads:
            numbers += read
        yield " ".join(map(str, numbers)) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tree",
        action="append",
        required=True,
        type=lambda given: given.partition("=")[::2],
        metavar="RUN=DIR",
        help="C sources for the runs of that letter, e.g. a=lua; others are not recorded",
    )
    parser.add_argument("--output", type=Path, required=True, help="directory for NAME.gz")
    parser.add_argument("--only", nargs="*", choices=SCRIPTS, default=list(SCRIPTS))
    parser.add_argument("--reads", action="store_true", help="record reads, as reads-NAME.gz")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for run, directory in arguments.tree:
        for program in arguments.only:
            scratch = Path(tempfile.mkdtemp(prefix="record-"))
            tree = Path(directory).resolve()
            try:
                processes = record(SCRIPTS[program], run, tree, scratch, arguments.reads)
            finally:
                shutil.rmtree(scratch)
            packed = gzip.compress("".join(lines(processes)).encode("ascii"), mtime=0)
            kind = "reads" if arguments.reads else "processes"
            (arguments.output / f"{kind}-{program}-{run}.gz").write_bytes(packed)
            cpu_s = sum(process.cpu_us() for process in processes) / 1e6
            reads = sum(len(process.reads) for process in processes)
            print(f"{program}-{run}: {len(processes)} processes, {cpu_s:.1f} s, {reads} reads")


if __name__ == "__main__":
    main()
