"""Skills of other packages: found by entry points, and told of when they cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.skills_for_tests import Echo, install
from workers.skills import BUILT_IN
from workers.skills.registry import all_skills, find_skill, load_skills


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Puts a package on the path whose entry points these are, and has skills loaded afresh."""

    def put(entry_points: str) -> None:
        info = next(install(tmp_path / "skills").iterdir())
        (info / "entry_points.txt").write_text(f"[coord.skills]\n{entry_points}\n")
        monkeypatch.syspath_prepend(str(tmp_path / "skills"))
        load_skills.cache_clear()

    yield put
    load_skills.cache_clear()


def test_a_class_and_an_instance_of_another_package_are_skills(
    package: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.skills_for_tests.INSTANCE", Echo(), raising=False)
    package("one = tests.skills_for_tests:Echo\ntwo = tests.skills_for_tests:INSTANCE")
    assert isinstance(find_skill("one"), Echo)
    assert isinstance(find_skill("two"), Echo)
    assert find_skill("three") is None
    assert all_skills().keys() == BUILT_IN.keys() | {"one", "two"}
    assert load_skills().faults == []


def test_a_built_in_is_not_replaced(
    package: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Echo()
    monkeypatch.setitem(BUILT_IN, "own", own)
    package("own = tests.skills_for_tests:Gate")
    assert find_skill("own") is own
    assert load_skills().faults == [
        "the skill own of coord-test-skills (tests.skills_for_tests:Gate) is not used: there is a "
        "skill of that kind"
    ]


@pytest.mark.parametrize(
    ("entry_point", "reason"),
    [
        ("bad = no.such.module:Skill", "ModuleNotFoundError: No module named 'no'"),
        ("bad = tests.skills_for_tests:Nothing", "AttributeError"),
        ("bad = pathlib:Path", "TypeError: a skill has `capabilities` and `run(unit, context)`"),
        ("two words = tests.skills_for_tests:Echo", "ValueError: the kind 'two words' must be"),
    ],
)
def test_what_cannot_be_loaded_is_told_of_and_left_out(
    entry_point: str, reason: str, package: Callable[[str], None]
) -> None:
    package(f"{entry_point}\ngood = tests.skills_for_tests:Echo")
    assert all_skills().keys() == BUILT_IN.keys() | {"good"}
    (fault,) = load_skills().faults
    assert reason in fault
    assert "\n" not in fault
