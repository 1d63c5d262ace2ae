"""Settings: what a child process is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from coordinator.settings import Settings

SECRET = "a-secret-that-nobody-may-see-anywhere"


def test_a_child_process_has_the_settings_that_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("COORD_LEASE_S", "99")
    given = Settings(lease_s=2.5, state_dir=Path("here"), trainer="mine:Trainer", log_keep=7)
    for name, value in given.to_environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == given.model_copy(update={"state_dir": Path("/here")})


def test_secrets_are_handed_on_by_name_only() -> None:
    secret = SecretStr(SECRET)
    settings = Settings(redis_url=secret, url=secret, token=secret, pepper=secret)
    assert SECRET not in str(settings.to_environment())
    assert SECRET not in repr(settings)
