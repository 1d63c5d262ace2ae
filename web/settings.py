"""The settings of the dashboard and the HTTP API: ``COORD_HTTP_`` + the name in capitals."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from coordinator.listening import CannotListen, parse_listen

DEFAULT_LISTEN = "127.0.0.1:8600"


class WebSettings(BaseSettings):
    """Units are in the names. Which fleet it is about is in ``coordinator.settings.Settings``."""

    model_config = SettingsConfigDict(env_prefix="COORD_HTTP_", extra="forbid", frozen=True)

    listen: str = Field(
        DEFAULT_LISTEN,
        description="HOST:PORT, or [IPV6]:PORT; without TLS a loopback address only.",
    )
    tls_cert: Path | None = Field(None, description="Certificate chain (PEM); TLS 1.2 or newer.")
    tls_key: Path | None = Field(None, description="Its private key (PEM).")
    insecure_bind: bool = Field(
        False, description="Listen without TLS on any address: tokens can be read on the way."
    )
    require_token: bool = Field(
        False, description="Ask for a token on loopback addresses too; on all others it always is."
    )
    connections_max: int = Field(
        256, ge=1, le=100_000, description="Most connections; more are told to come back."
    )
    in_flight_max: int = Field(
        64, ge=1, le=10_000, description="Most requests at a time; to more it says 503."
    )
    streams_max: int = Field(
        64,
        ge=1,
        le=10_000,
        description="Most streams at a time: a page that is kept up to date has one.",
    )
    request_s: float = Field(
        15, ge=0.1, le=600, description="A request that takes longer is ended by 503."
    )
    head_s: float = Field(
        10, ge=0.1, le=600, description="The whole head of a request must be there in time."
    )
    send_s: float = Field(
        10, ge=0.1, le=600, description="Each 64 KiB of an answer must be taken in time."
    )

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, text: str) -> str:
        try:
            parse_listen(text)
        except CannotListen as error:
            raise ValueError(error.detail) from None
        return text

    def to_environment(self) -> dict[str, str]:
        """These settings as the variables that hand them on to a child process."""
        told = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            f"COORD_HTTP_{name.upper()}": str(
                value.absolute() if isinstance(value, Path) else value
            )
            for name, value in told.items()
            if value is not None
        }
