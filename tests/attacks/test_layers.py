"""Each layer of the sandbox holds something: without it an attack succeeds, and the suite says so.

A second layer is taken out beside where two hold the same, for otherwise neither would be seen.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.attacks.inside import run_inside
from tests.attacks.oracle import lacking
from tests.attacks.probes import PROBES
from tests.sandboxes import RUNG_NAMES, rung_named
from workers.sandbox.rung import Layer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandbox: only on Linux")


class Case(NamedTuple):
    """On ``rung``, without the layers ``beside``, only ``layer`` stops the attack ``probe``."""

    rung: str
    layer: Layer
    probe: str
    beside: tuple[Layer, ...] = ()


CASES = (
    Case("bubblewrap", "namespaces", "metadata"),
    Case("bubblewrap", "namespaces", "secret", beside=("landlock",)),
    Case("bubblewrap", "landlock", "names_in_the_root"),
    Case("bubblewrap", "landlock", "secret", beside=("namespaces",)),
    Case("bubblewrap", "uid", "private_file_of_the_library"),
    Case("bubblewrap", "seccomp", "set_user_by_file"),
    Case("bubblewrap", "seccomp", "udp", beside=("namespaces",)),
    Case("bubblewrap", "rlimits", "memory"),
    Case("landlock", "root", "metadata"),
    Case("landlock", "root", "secret", beside=("landlock",)),
    Case("landlock", "landlock", "file_of_the_library"),
    Case("landlock", "landlock", "secret", beside=("root",)),
    Case("landlock", "uid", "set_user"),
    Case("landlock", "seccomp", "udp"),
    Case("landlock", "rlimits", "memory"),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join((*case[:3], *case.beside)))
def test_without_the_layer_the_attack_succeeds(case: Case, open_folder: Path) -> None:
    rung, probe = rung_named(case.rung), PROBES[case.probe]
    if case.layer not in rung.layers or not rung.layers.issuperset(case.beside):
        pytest.skip(f"sandbox: the rung {case.rung} has no layer {case.layer} for this user")
    for layer in case.beside:
        rung = rung.without(layer)
    results = []
    for confined in (rung, rung.without(case.layer)):
        with contextlib.closing(probe.oracle(open_folder)) as oracle:
            if oracle.needs:
                pytest.skip(lacking(oracle))
            results.append(oracle.succeeded(run_inside(confined, probe, oracle)))

    assert results == [False, True]


@pytest.mark.parametrize("rung_name", RUNG_NAMES)
def test_every_layer_has_an_attack_that_it_alone_stops(rung_name: str) -> None:
    rung = rung_named(rung_name)

    alone = {case.layer for case in CASES if case.rung == rung_name and not case.beside}

    assert alone >= rung.layers
