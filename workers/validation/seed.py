"""What validators make their own workload of: a secret, which never leaves them.

A workload that is shipped can be learned by heart. Validators therefore measure on one that is
generated from a seed of theirs, another one every day: what somebody found out about it by trying
is of no use on the next. A fingerprint, from which the seed cannot be found, tells which two scores
were measured on the same one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime

from coordinator.private_files import private_directory
from coordinator.secret_files import ensure_secret
from coordinator.settings import Settings

SEED_FILE = "validation.seed"
SEED_BYTES = 32
PUBLIC_SEED = b"coord validate"
"""What everybody may know: so `coord validate` gives the same figures everywhere."""


def validation_seed(settings: Settings) -> bytes:
    """COORD_VALIDATION_SEED, else what lies in the state directory, made there if there is none.

    Validators of one fleet on several machines must share it. Raises CoordError if the directory
    cannot be used.
    """
    if settings.validation_seed is not None:
        return settings.validation_seed.get_secret_value().encode()
    path = private_directory(settings.state_dir) / SEED_FILE
    return ensure_secret(path, lambda: secrets.token_hex(SEED_BYTES)).encode()


def day_of(now_ms: int) -> str:
    """The day in UTC, as YYYY-MM-DD, on whose workload validators measure."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()


def seed_of(seed: bytes, problem: str, day: str | None = None) -> bytes:
    """The seed of one problem's workload on a day, or of one that lasts: 32 bytes."""
    return _digest(seed, "workload", problem, day)


def fingerprint(seed: bytes, problem: str, day: str | None = None) -> str:
    """What tells that workload from all others: 12 hexadecimal digits."""
    return _digest(seed, "fingerprint", problem, day).hex()[:12]


def _digest(seed: bytes, use: str, problem: str, day: str | None) -> bytes:
    words = [use, problem, *([day] if day else [])]
    return hmac.digest(seed, " ".join(words).encode(), hashlib.sha256)
