"""TLS with a gateway, as a client has it."""

from __future__ import annotations

import ssl
from pathlib import Path

from coordinator.errors import ServerUnusable
from coordinator.settings import Settings


def tls_context(settings: Settings, ca: Path | str | None) -> ssl.SSLContext:
    """How a gateway's certificate is checked, and ours shown. Raises ServerUnusable."""
    authority = ca or settings.tls_ca
    try:
        context = ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise ServerUnusable(
            f"the certificates of ca= or COORD_TLS_CA cannot be read from {authority}: {error}"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls_cert:
        try:
            context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
        except OSError as error:
            raise ServerUnusable(
                "the certificate of COORD_TLS_CERT, with the key of COORD_TLS_KEY, cannot be read"
                f" from {settings.tls_cert}: {error}"
            ) from None
    return context
