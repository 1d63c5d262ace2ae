"""What an AI shows to a gateway: who it is, and its token."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from coordinator.credentials import PREFIX, is_ours
from coordinator.errors import CoordError
from coordinator.secret_files import read_secret
from coordinator.settings import Settings


class TokenSource:
    """Where the token is: ``given``, else in COORD_TOKEN, else in the file COORD_TOKEN_FILE.

    Raises CoordError if it is nowhere, or not whole.
    """

    def __init__(self, settings: Settings, given: str | None = None) -> None:
        named = settings.token.get_secret_value() if settings.token else None
        self._fixed = given or named
        self._path = settings.token_file
        self.read()

    @property
    def may_change(self) -> bool:
        """Whether there may be another by and by: a file's may be replaced."""
        return self._fixed is None

    def read(self) -> SecretStr:
        """The token as it is now, without white space around it. Raises CoordError."""
        text = (self._fixed or _read_file(self._path)).strip()
        if text.startswith(PREFIX) and not is_ours(text):
            raise CoordError(
                f"the token of {len(text)} characters is not whole: its checksum is wrong, so it"
                " was cut, mistyped or has a character too many; copy all of it from where `coord"
                " enroll` showed it"
            )
        return SecretStr(text)


class Login(NamedTuple):
    """What a handshake says."""

    ai_id: str
    token: TokenSource
    instance: str


def _read_file(path: Path | None) -> str:
    if path is None:
        raise CoordError(
            "token is missing: a gateway asks for one; give it by COORD_TOKEN, or by the name of a"
            " file that holds it in COORD_TOKEN_FILE (`coord enroll` makes one)"
        )
    try:
        return read_secret(path)
    except FileNotFoundError:
        raise CoordError(
            f"COORD_TOKEN_FILE: there is no file {path}; `coord enroll --out` writes one"
        ) from None
