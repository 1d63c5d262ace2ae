"""No attack succeeds in the sandbox, in any rung that this machine has."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

from tests.attacks.inside import run_inside
from tests.attacks.oracle import lacking
from tests.attacks.probes import PROBES, THEMES
from tests.sandboxes import RUNG_NAMES, rung_named
from workers.validation import Component, ComponentFault, sources_of
from workers.validation.interface_check import check_module
from workers.validation.source import parse

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandbox: only on Linux")


@pytest.mark.parametrize("rung_name", RUNG_NAMES)
@pytest.mark.parametrize("name", PROBES)
def test_it_fails_inside(name: str, rung_name: str, open_folder: Path) -> None:
    probe, rung = PROBES[name], rung_named(rung_name)
    with contextlib.closing(probe.oracle(open_folder)) as oracle:
        if oracle.needs:
            pytest.skip(lacking(oracle))

        seen = run_inside(rung, probe, oracle)

        assert not oracle.succeeded(seen), seen
        assert (seen.crashed, seen.survivors) == ("", [])


def read(component: Component) -> None:
    """As a validator does before anything runs."""
    for source in sources_of(component):
        check_module(parse(source.text), source.specialization, {"__init__": ()})


@pytest.mark.parametrize("name", [one.name for one in THEMES["source"]])
def test_a_source_that_deceives_its_reader_is_refused_unread(name: str) -> None:
    component = Component({"code": PROBES[name].source, "language": "python"}, "file_system")

    with pytest.raises(ComponentFault) as refusal:
        read(component)

    assert len(refusal.value.detail.splitlines()) == 1
