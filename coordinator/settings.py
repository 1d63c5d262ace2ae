"""Every setting, its default and its environment variable (``COORD_`` + the name in capitals)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from coordinator.messages import WORD_PATTERN


def default_state_dir() -> Path:
    """Where the embedded server and running fleets live, after the XDG base directory rules."""
    state_home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state_home) / "coord"


MAX_KEEP_S = 10 * 365 * 86_400.0
MAX_KEEP = 10_000_000
MAX_BYTES = 1 << 40
SEED = re.compile(r"(?:[0-9A-Fa-f]{2}){32,}")


class Settings(BaseSettings):
    """Units are in the names: ``_s`` seconds, ``_bytes`` bytes, ``_keep`` a number of entries."""

    model_config = SettingsConfigDict(env_prefix="COORD_", extra="forbid", frozen=True)

    redis_url: SecretStr | None = Field(
        None, description="Server to use; without it the embedded one."
    )
    pepper: SecretStr | None = Field(
        None,
        min_length=32,
        description="What tokens are digested with; without it the file `pepper` in the state"
        " directory.",
    )
    url: SecretStr | None = Field(
        None,
        description="Way into the fleet for an AI: a Redis server or a gateway, coord://host:6000.",
    )
    token: SecretStr | None = Field(
        None, min_length=1, description="What an AI shows to a gateway; `coord enroll` makes one."
    )
    token_file: Path | None = Field(
        None, description="File that holds the token, where COORD_TOKEN is not given."
    )
    tls_ca: Path | None = Field(
        None, description="Certificates that a gateway's is checked with; else the system's."
    )
    tls_cert: Path | None = Field(
        None, description="Certificate that an AI shows to a gateway that asks for one."
    )
    tls_key: Path | None = Field(
        None, description="Private key of that certificate, where it is in a file of its own."
    )
    namespace: str = Field(
        "coord",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$",
        description="Prefix of every key, channel and queue; keeps two fleets on one server apart.",
    )
    state_dir: Path = Field(
        default_factory=default_state_dir,
        description="Directory of the embedded server and of `coord up`, for this user only.",
    )
    specialization: str = Field(
        "general",
        pattern=WORD_PATTERN,
        description="What a trainer that is started by `rq worker` is good at.",
    )
    trainer: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="A trainer class of your own, `package.module:Class`.",
    )
    log_json: bool = Field(
        False, description="What runs until it is stopped logs one JSON object a line."
    )
    lease_s: float = Field(
        15, ge=0.5, le=3600, description="An AI is gone this long after its last heartbeat."
    )
    leader_lease_s: float = Field(
        5, ge=0.5, le=600, description="A dead coordinator is replaced after this long."
    )
    message_max_bytes: int = Field(
        256 * 1024, ge=1024, le=16 * 1024 * 1024, description="Largest message."
    )
    batch_max_messages: int = Field(
        256, ge=1, le=10_000, description="Most messages in one transaction."
    )
    batch_max_bytes: int = Field(
        256 * 1024,
        ge=1024,
        le=MAX_BYTES,
        description="Most bytes of messages in one transaction (one may exceed it).",
    )
    fanout_max_bytes: int = Field(
        4 * 1024 * 1024,
        ge=1024,
        le=MAX_BYTES,
        description="Most bytes times live AIs pushed by one transaction.",
    )
    log_keep: int = Field(1000, ge=1, le=MAX_KEEP, description="Broadcasts and events always kept.")
    log_keep_s: float = Field(
        60, ge=0, le=MAX_KEEP_S, description="Broadcasts and events younger than this are kept too."
    )
    log_max_bytes: int = Field(
        64 * 1024 * 1024, ge=1024, le=MAX_BYTES, description="Most bytes of each, whatever its age."
    )
    archive_max_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1024,
        le=MAX_BYTES,
        description="Most bytes of each that are kept for an archive that has not stored them.",
    )
    archive_wait_s: float = Field(
        86_400, ge=1, le=MAX_KEEP_S, description="They are kept for an archive silent this long."
    )
    inbox_keep: int = Field(1000, ge=1, le=MAX_KEEP, description="Messages kept for one AI.")
    inbox_max_bytes: int = Field(
        8 * 1024 * 1024, ge=1024, le=MAX_BYTES, description="Most bytes kept for one AI."
    )
    inbox_keep_s: float = Field(
        86_400, ge=1, le=MAX_KEEP_S, description="An inbox is kept this long after its AI left."
    )
    benchmarks_keep: int = Field(
        100, ge=1, le=MAX_KEEP, description="Performance reports kept per component."
    )
    dead_keep: int = Field(1000, ge=1, le=MAX_KEEP, description="Dead letters kept.")
    sync_keep: int = Field(
        25, ge=1, le=1000, description="Newest records of each kind in a training_sync."
    )
    collaboration_wait_s: float = Field(
        10, ge=0.5, le=3600, description="A collaboration looks for partners this long."
    )
    sessions_per_ai: int = Field(
        3, ge=1, le=100, description="Most collaborations that one AI takes part in at a time."
    )
    sessions_max: int = Field(
        1000, ge=1, le=100_000, description="Most open collaborations and feature requests."
    )
    units_max: int = Field(
        100_000, ge=1, le=MAX_KEEP, description="Most units of all that are open."
    )
    session_max_s: float = Field(
        3600, ge=1, le=MAX_KEEP_S, description="A collaboration that takes longer has failed."
    )
    session_keep_s: float = Field(
        3600, ge=1, le=MAX_KEEP_S, description="Sessions and units are kept this long afterwards."
    )
    workspace_max_bytes: int = Field(
        4 * 1024 * 1024, ge=1024, le=MAX_BYTES, description="Largest workspace of a session."
    )
    unit_limit_s: float = Field(
        300, ge=1, le=86_400, description="A unit that runs longer has failed, unless it says more."
    )
    unit_tries: int = Field(
        3, ge=1, le=20, description="A unit that failed this often fails its session."
    )
    unit_wait_s: float = Field(
        60, ge=0.5, le=86_400, description="A unit waits this long for somebody who can run it."
    )
    feature_assignees: int = Field(
        1, ge=1, le=16, description="How many of the capable a feature is assigned to at once."
    )
    feature_wait_s: float = Field(
        600, ge=0.5, le=MAX_KEEP_S, description="A feature request expires after this long."
    )
    artifact_keep_s: float = Field(
        3600, ge=1, le=MAX_KEEP_S, description="An artifact is kept this long."
    )
    artifact_max_bytes: int = Field(
        16 * 1024 * 1024, ge=1, le=MAX_BYTES, description="Largest artifact."
    )
    artifacts_max_bytes: int = Field(
        64 * 1024 * 1024, ge=1, le=MAX_BYTES, description="Most bytes of artifacts of one AI."
    )

    validations_per_hour: int = Field(
        240,
        ge=1,
        le=100_000,
        description="Most components of one AI that are validated in an hour.",
    )
    validations_open_max: int = Field(
        1000, ge=1, le=100_000, description="Most components that wait for their validation."
    )
    validation_seed: SecretStr | None = Field(
        None,
        description="What validators make their own workload of, 32 bytes in hexadecimal or more;"
        " without it the file `validation.seed` in the state directory.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, then the environment. No file is read, and none is prepared for, which
        takes as long as all else."""
        return init_settings, env_settings

    @field_validator("validation_seed")
    @classmethod
    def _is_seed(cls, seed: SecretStr | None) -> SecretStr | None:
        """What is wrong is not repeated."""
        if seed is not None and not SEED.fullmatch(seed.get_secret_value()):
            raise PydanticCustomError(
                "seed", "it must be 32 bytes or more in hexadecimal, such as `openssl rand -hex 32`"
            )
        return seed

    def to_environment(self) -> dict[str, str]:
        """These settings as the variables that hand them on to a child process.

        Secrets are not among them: who starts a process that needs one names it.
        """
        told = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            f"COORD_{name.upper()}": str(value.absolute() if isinstance(value, Path) else value)
            for name, value in told.items()
            if value is not None and not isinstance(value, SecretStr)
        }
