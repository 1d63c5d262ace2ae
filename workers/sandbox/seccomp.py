"""The system calls that a component may make: what pure Python and the standard library need.

An allow-list: whatever is not named here (fork, threads, sockets, exec, signals, ptrace, mount, new
namespaces, keys, io_uring, and what later kernels bring) fails with EPERM. Compiled outside,
for this machine's architecture, and loaded inside.

How a process ended must say who ended it. So nobody inside can send, handle, ignore or block a
signal, and no exit status looks like one (``128 + number``): whoever tries to exit so goes on, and
the C library then runs into an instruction that kills it.
"""

from __future__ import annotations

import errno
import functools
import tempfile

try:
    import pyseccomp
except (ImportError, RuntimeError, OSError) as error:
    pyseccomp = None
    MISSING = str(error)
else:
    MISSING = ""

CURE = "install libseccomp (apt install libseccomp2) and pyseccomp (pip install pyseccomp)"
ALLOWED = (
    "read write readv writev pread64 pwrite64 close lseek fstat newfstatat stat lstat statx",
    "open openat access faccessat faccessat2 readlink readlinkat getcwd getdents64 dup dup2 dup3",
    "mmap mprotect munmap mremap madvise brk",
    "restart_syscall select pselect6 poll ppoll",
    "clock_gettime clock_getres gettimeofday time times nanosleep clock_nanosleep",
    "futex set_robust_list rseq membarrier sched_yield sched_getaffinity getrandom",
    "getpid gettid getppid getuid geteuid getgid getegid getgroups getresuid getresgid",
    "getrlimit getrusage uname sysinfo",
)
TO_EXECUTE = ("execve", "arch_prctl", "set_tid_address")
FCNTL_COMMANDS = (0, 1, 2, 3, 1030)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC"""
TCGETS = 0x5401
"""By which ``isatty`` asks; every other ioctl is refused."""
LIKE_A_SIGNAL = 0x80
"""The bit of an exit status by which shells and bubblewrap tell that a signal ended a process."""


class SeccompError(Exception):
    """There is no filter for this machine."""


@functools.cache
def system_call_filter(execute: bool = False) -> bytes:
    """The program for the kernel (an array of struct sock_filter); ``execute``: may run programs,
    still without a second process. Raises SeccompError."""
    if pyseccomp is None:
        raise SeccompError(f"system calls cannot be filtered: {MISSING}")
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for name in " ".join((*ALLOWED, *(TO_EXECUTE if execute else ()))).split():
        _allow(rules, name)
    for command in FCNTL_COMMANDS:
        _allow(rules, "fcntl", pyseccomp.Arg(1, pyseccomp.EQ, command))
    _allow(rules, "ioctl", pyseccomp.Arg(1, pyseccomp.EQ, TCGETS))
    _allow(rules, "rt_sigaction", pyseccomp.Arg(1, pyseccomp.EQ, 0))  # only asks
    for name in ("exit", "exit_group"):
        _allow(rules, name, pyseccomp.Arg(0, pyseccomp.MASKED_EQ, LIKE_A_SIGNAL, 0))
    read_only = pyseccomp.Arg(2, pyseccomp.EQ, 0)
    _allow(rules, "prlimit64", pyseccomp.Arg(0, pyseccomp.EQ, 0), read_only)
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _allow(rules: pyseccomp.SyscallFilter, name: str, *arguments: pyseccomp.Arg) -> None:
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
    if number >= 0:  # negative: this architecture has no such call
        rules.add_rule(pyseccomp.ALLOW, number, *arguments)
