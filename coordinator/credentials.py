"""Tokens, and what is kept of them: a digest that is worth nothing without the pepper.

A token is ``coord_<key id>_<32 random bytes, base64url>_<crc32>``: prefix and checksum let scanners
for leaked secrets find it. Redis keeps HMAC-SHA256(pepper, token) of it, and the pepper lies
elsewhere: who reads the one without the other can neither log in nor test guesses. A fast hash is
right for 256 random bits; for a weak token that somebody brought along the pepper is all there is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import re
import secrets
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import redis
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coordinator.errors import CoordError, NoPepper
from coordinator.keys import Keys
from coordinator.messages import KEY_ID_PATTERN, SHA256_PATTERN
from coordinator.private_files import is_there, private_directory
from coordinator.secret_files import ensure_secret, read_secret
from coordinator.settings import Settings

PREFIX = "coord_"
TOKEN_MAX = 1024
"""Most characters of a token, also of one that somebody brings along."""
WEAK_BELOW_BITS = 80

_TOKEN = re.compile(r"(coord_([a-z0-9]{8})_[A-Za-z0-9_-]{43})_([0-9a-f]{8})")
_NOBODY = "0" * 64

RandomBytes = Callable[[int], bytes]


class Token(NamedTuple):
    """A new token: the id that it may be called by, and the secret itself."""

    key_id: str
    text: str


class Credential(BaseModel):
    """What is kept of a token of an AI: good until ``expires_ms``, for ever if that is None."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    key_id: str = Field(pattern=KEY_ID_PATTERN)
    digest: str = Field(pattern=SHA256_PATTERN, repr=False)
    created_ms: int = Field(ge=0)
    expires_ms: int | None = Field(None, ge=0)
    is_weak: bool = False

    def is_live(self, now_ms: int) -> bool:
        return self.expires_ms is None or now_ms < self.expires_ms


# -- tokens ----------------------------------------------------------------------------------------


def new_token(random_bytes: RandomBytes = secrets.token_bytes) -> Token:
    key_id = base64.b32encode(random_bytes(5)).decode().lower()
    secret = base64.urlsafe_b64encode(random_bytes(32)).decode().rstrip("=")
    body = f"{PREFIX}{key_id}_{secret}"
    return Token(key_id, f"{body}_{_checksum(body)}")


def is_ours(token: str) -> bool:
    """Whether ``token`` has the form of one that coord made, its checksum included."""
    match = _TOKEN.fullmatch(token)
    return match is not None and _checksum(match[1]) == match[3]


def key_id_of(token: str, digest: str) -> str:
    """The id of a token: its own if coord made it, else one from its ``digest``.

    The digest is the peppered one, so that an id, which everybody may see, tells nothing of a
    token that could be guessed.
    """
    return token[len(PREFIX) :][:8] if is_ours(token) else f"ext{digest[:5]}"


def weakness(token: str) -> str | None:
    """What is weak about a token, None if nothing is seen; one of words may pass for random."""
    if is_ours(token):
        return None
    if token.startswith(PREFIX):
        return (
            "it looks like a token of coord's, but its checksum is wrong: was it cut or mistyped?"
        )
    bits = len(token) * math.log2(max(1, len(set(token))))
    if bits < WEAK_BELOW_BITS:
        return (
            f"it has {len(token)} characters, {len(set(token))} of them different, and may be"
            " guessed: 32 random ones are safe"
        )
    return None


def check_token(token: str) -> str:
    """``token``, if anything could be presented as it at a gateway. Raises CoordError."""
    if not token or len(token) > TOKEN_MAX or not token.isprintable():
        raise CoordError(
            f"a token must be one line of 1 to {TOKEN_MAX} printable characters; this one has"
            f" {len(token)}"
        )
    return token


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


# -- digests ---------------------------------------------------------------------------------------


def digest(pepper: bytes, token: str) -> str:
    """What is kept of ``token``; any text at all has one."""
    text = token.encode("utf-8", "surrogatepass")
    return hmac.new(pepper, text, hashlib.sha256).hexdigest()


def matching(stored: Sequence[Credential], presented_digest: str) -> Credential | None:
    """The one among ``stored``, live or not, that ``presented_digest`` is of.

    Takes the same time whichever it is, and for an AI that has none.
    """
    found = None
    for credential in stored:
        if hmac.compare_digest(credential.digest, presented_digest):
            found = credential
    if not stored:
        hmac.compare_digest(_NOBODY, presented_digest)
    return found


def parse_credentials(fields: Mapping[bytes, bytes]) -> list[Credential]:
    """The credentials in the HASH of an AI, oldest first; what is none of ours lets nobody in."""
    found = []
    for value in fields.values():
        try:
            found.append(Credential.model_validate_json(value))
        except ValidationError:
            continue
    return sorted(found, key=lambda credential: (credential.created_ms, credential.key_id))


def read_credentials(connection: redis.Redis, keys: Keys, ai: str) -> list[Credential]:
    """All of an AI's, oldest first, also those that have expired."""
    fields = cast("dict[bytes, bytes]", connection.hgetall(keys.credentials(ai)))
    return parse_credentials(fields)


# -- the pepper ------------------------------------------------------------------------------------


def read_pepper(settings: Settings) -> bytes:
    """COORD_PEPPER, else what lies in the state directory. NoPepper if there is neither."""
    if settings.pepper is not None:
        return settings.pepper.get_secret_value().encode()
    try:
        if is_there(settings.state_dir):
            private_directory(settings.state_dir)
        return read_secret(settings.state_dir / "pepper").encode()
    except FileNotFoundError:
        raise NoPepper(
            f"there is no pepper, without which no token can be checked: {settings.state_dir} has"
            " no file `pepper`; copy it from where `coord serve` runs, or set COORD_PEPPER"
        ) from None


def ensure_pepper(settings: Settings) -> bytes:
    """The same, made in the state directory if there is none."""
    if settings.pepper is not None:
        return settings.pepper.get_secret_value().encode()
    path = private_directory(settings.state_dir) / "pepper"
    return ensure_secret(path, lambda: secrets.token_hex(32)).encode()


def check_pepper(connection: redis.Redis, keys: Keys, pepper: bytes) -> None:
    """NoPepper if the fleet's tokens are digested with another one; the first used is the fleet's.

    Else a second machine, which made a pepper of its own, would refuse every token and say no more
    than that it is wrong.
    """
    connection.hsetnx(keys.fleet, "pepper_id", _pepper_id(pepper))
    check_pepper_is_the_fleets(connection, keys, pepper)


def check_pepper_is_the_fleets(connection: redis.Redis, keys: Keys, pepper: bytes) -> None:
    """The same for who only reads: any will do in a fleet that has none yet."""
    if connection.hget(keys.fleet, "pepper_id") not in (None, _pepper_id(pepper)):
        raise NoPepper(
            f"the pepper here is not the one of fleet {keys.namespace!r}: copy the file `pepper`"
            " from where `coord serve` was first run, or set COORD_PEPPER; or, to begin anew with"
            f" this one and enroll everybody again, run `redis-cli HDEL {keys.fleet} pepper_id`"
        )


def _pepper_id(pepper: bytes) -> bytes:
    return digest(pepper, "pepper")[:16].encode()
