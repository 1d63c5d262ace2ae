"""The settings of a gateway: ``COORD_GATEWAY_`` + the name in capitals."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from coordinator.settings import MAX_BYTES

DEFAULT_LISTEN = "127.0.0.1:6000"


class GatewaySettings(BaseSettings):
    """Units are in the names. What is about the whole fleet (the largest message, the lease) is in
    ``coordinator.settings.Settings``."""

    model_config = SettingsConfigDict(env_prefix="COORD_GATEWAY_", extra="forbid", frozen=True)

    listen: str = Field(
        DEFAULT_LISTEN,
        description="HOST:PORT, or [IPV6]:PORT; without TLS a loopback address only.",
    )
    tls_cert: Path | None = Field(None, description="Certificate chain (PEM); TLS 1.2 or newer.")
    tls_key: Path | None = Field(None, description="Its private key (PEM).")
    tls_client_ca: Path | None = Field(
        None, description="Only clients with a certificate of this authority (PEM) get in."
    )
    insecure_bind: bool = Field(
        False, description="Listen without TLS on any address: tokens can be read on the way."
    )
    connections_max: int = Field(
        2000, ge=1, le=100_000, description="Most connections, those that log in included."
    )
    connections_per_address: int = Field(
        1000, ge=1, le=100_000, description="Most connections of one address (IPv6: of one /64)."
    )
    handshake_s: float = Field(
        3, ge=0.1, le=60, description="TLS, and then the whole first line, must be there in time."
    )
    messages_per_s: float = Field(
        100, gt=0, le=1_000_000, description="Messages that one AI may send, in the long run."
    )
    messages_burst: int = Field(
        200, ge=1, le=1_000_000, description="Messages that it may send at once."
    )
    out_buffer_bytes: int = Field(
        1024 * 1024,
        ge=1024,
        le=MAX_BYTES,
        description="A client that has this much to read yet is sent no more until it has read.",
    )
    slow_reader_s: float = Field(
        10, gt=0, le=3600, description="One that has not read it after this long is dropped."
    )
    keepalive_s: int = Field(
        5, ge=1, le=3600, description="A silent connection is tried (TCP keepalive) this often."
    )
    uploads_max_bytes: int = Field(
        128 * 1024 * 1024,
        ge=1024,
        le=MAX_BYTES,
        description="Most bytes of artifacts that are on their way in.",
    )
