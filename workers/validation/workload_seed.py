"""What validators make their own workload of: a secret, which never leaves them.

A workload that is shipped can be learned by heart. Validators therefore measure on one that is
generated from a seed of theirs; a fingerprint, from which the seed cannot be found, tells which two
scores were measured on the same one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from coordinator.private_files import private_directory
from coordinator.secret_files import ensure_secret
from coordinator.settings import Settings

SEED_FILE = "validation.seed"
SEED_BYTES = 32
BY_HAND = b"coord validate"
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


def seed_of(seed: bytes, problem: str) -> bytes:
    """The seed of one problem's workload: 32 bytes."""
    return hmac.digest(seed, f"workload {problem}".encode(), hashlib.sha256)


def fingerprint(seed: bytes, problem: str) -> str:
    """What tells the workload of one seed and one problem from others: 12 hexadecimal digits."""
    return hmac.new(seed, f"fingerprint {problem}".encode(), hashlib.sha256).hexdigest()[:12]
