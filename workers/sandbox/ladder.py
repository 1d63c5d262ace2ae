"""The ladder: which rung holds on this machine, and why the others do not."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

from workers.sandbox import bubblewrap, seccomp
from workers.sandbox.bubblewrap import BubblewrapError, find_bubblewrap
from workers.sandbox.canaries import succeeded
from workers.sandbox.channel import shown
from workers.sandbox.failures import NoRung, PolicyFailed
from workers.sandbox.interpreter import base_interpreter, common_interpreter
from workers.sandbox.landlock import SCOPE_ABI, landlock_abi
from workers.sandbox.process import can_change_user
from workers.sandbox.programs import Identity, ProgramError, identities
from workers.sandbox.rung import Layer, Rung
from workers.sandbox.seccomp import SeccompError, system_call_filter

USER_NAMESPACES = {
    "kernel.apparmor_restrict_unprivileged_userns": "0",
    "kernel.unprivileged_userns_clone": "1",
}
"""Settings by which distributions keep unprivileged users from namespaces, and what allows them."""
SYSTEM_SETTINGS = Path("/proc/sys")
CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
"""Files that Docker and Podman put into every container."""
READ_ONLY_CURE = (
    "run the container with --security-opt systempaths=unconfined (Podman: unmask=/proc/sys)"
)
CONTAINER_CURE = (
    "run the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    " --security-opt systempaths=unconfined (Podman: unmask=/proc/sys)"
)
AS_ROOT_CURE = (
    "give coord CAP_SYS_ADMIN (a container also --security-opt seccomp=unconfined"
    " --security-opt apparmor=unconfined)"
)
PROCESSES = Path("/proc/self")
PROCESSES_CURE = "mount it (mount -t proc proc /proc)"
LONGEST_REASON = 200
CHANGE_CURE = "give coord CAP_SYS_CHROOT, CAP_SETUID and CAP_SETGID"


def find_rung() -> Rung:
    """The highest rung that comes up and on which no canary succeeds.

    Tried once per process, until one holds, and again when bubblewrap was replaced. Raises NoRung
    with each rung's reason and its cure.
    """
    if sys.platform != "linux":
        raise NoRung(f"the sandbox needs Linux, and this is {sys.platform}", "run it on Linux")
    if not PROCESSES.exists():
        raise NoRung("the sandbox needs /proc, which is not mounted", PROCESSES_CURE)
    return climbed(identities(path for path, _ in bubblewrap.candidates()))


@functools.cache
def climbed(programs: tuple[Identity, ...]) -> Rung:
    """``find_rung``, remembered for as long as the ``programs`` are the same."""
    reasons, cures = [], []
    for name, climb in RUNGS.items():
        try:
            return tried(climb())
        except NoRung as error:
            reasons.append(shown(f"{name}: {error.reason}", LONGEST_REASON))
            cures.append(error.cure)
    raise NoRung("; ".join(reasons), ", or ".join(dict.fromkeys(filter(None, cures))))


def tried(rung: Rung) -> Rung:
    """``rung``, if it comes up and no canary succeeds on it. Raises NoRung."""
    try:
        attacks = succeeded(rung)
    except NoRung as error:
        raise NoRung(error.reason, _cure(rung, error.reason)) from None
    except (OSError, PolicyFailed) as error:
        raise NoRung(f"its canaries could not be sent in: {error}", "") from None
    if attacks:
        raise NoRung(f"it does not hold: {', '.join(attacks)}", "")
    return rung


def _bubblewrap_rung() -> Rung:
    try:
        found, interpreter = find_bubblewrap(), base_interpreter()
    except BubblewrapError as error:
        raise NoRung(str(error), bubblewrap.CURE) from None
    except ProgramError as error:
        raise NoRung(str(error), "") from None
    layers: set[Layer] = {"namespaces", "rlimits", "seccomp"}
    if can_change_user():
        layers.add("uid")
    if landlock_abi() > 0:
        layers.add("landlock")
    _need_filter()
    return Rung("bubblewrap", frozenset(layers), interpreter, found)


def _landlock_rung() -> Rung:
    if not can_change_user():
        raise NoRung("without root there is no user to change to", "")
    abi = landlock_abi()
    if abi < SCOPE_ABI:
        known = f"version {abi} of Landlock" if abi else "no Landlock"
        raise NoRung(
            f"this kernel has {known}, and version {SCOPE_ABI} is needed", "run Linux 6.12"
        )
    _need_filter()
    try:
        interpreter = common_interpreter()
    except ProgramError as error:
        raise NoRung(str(error), "install a Python that all users can run") from None
    layers: frozenset[Layer] = frozenset({"root", "uid", "landlock", "seccomp", "rlimits"})
    return Rung("landlock", layers, interpreter)


def _need_filter() -> None:
    try:
        system_call_filter()
    except (SeccompError, OSError) as error:
        raise NoRung(str(error), seccomp.CURE) from None


def _cure(rung: Rung, said: str) -> str:
    if rung.name == "bubblewrap":
        return namespaces_cure(said)
    return CHANGE_CURE if "Operation not permitted" in said else ""


def namespaces_cure(said: str) -> str:
    """What to change where bubblewrap is there, but ``said`` that it gets no namespaces."""
    if "Read-only file system" in said:
        return READ_ONLY_CURE
    if os.geteuid() == 0:
        return AS_ROOT_CURE
    setting = _forbidding()
    if not in_container():
        return f"allow user namespaces (sysctl -w {setting or 'user.max_user_namespaces=10000'})"
    return f"{CONTAINER_CURE}, on a host with {setting}" if setting else CONTAINER_CURE


def in_container() -> bool:
    """Whether it can be told that an engine gave this machine: such settings are its host's."""
    return any(mark.exists() for mark in CONTAINER_MARKS) or bool(
        os.statvfs(SYSTEM_SETTINGS).f_flag & os.ST_RDONLY
    )


def _forbidding() -> str:
    """What a setting that keeps user namespaces away has to be; "" if none is seen."""
    for name, needed in USER_NAMESPACES.items():
        path = SYSTEM_SETTINGS.joinpath(*name.split("."))
        if path.exists() and path.read_text().strip() != needed:
            return f"{name}={needed}"
    return ""


RUNGS: dict[str, Callable[[], Rung]] = {
    "bubblewrap": _bubblewrap_rung,
    "landlock": _landlock_rung,
}
