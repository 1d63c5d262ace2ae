"""Who has signed in, in which browser: kept in memory alone, so that a restart signs all out."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from threading import Lock

from coordinator.clock import Clock
from coordinator.payloads import Role

LASTS_S = 12 * 3600
SIGN_INS_MAX = 100
"""Of one name; of more the oldest end, and nobody else's."""
KEY_BYTES = 32


@dataclass
class SignIn:
    """``token_digest`` is of the token by which somebody came in, which is looked up again at every
    request; ``form_key`` must come back with every form. ``notice`` is shown on the next page."""

    name: str
    role: Role
    token_digest: str = field(repr=False)
    form_key: str = field(repr=False)
    ends_s: float
    notice: str = ""

    def take_notice(self) -> str:
        notice, self.notice = self.notice, ""
        return notice


class SignIns:
    """By a key that the browser keeps in a cookie; here there is only its hash."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._open: dict[str, SignIn] = {}  # the oldest first

    def begin(self, name: str, role: Role, token_digest: str) -> str:
        """The key for the browser."""
        key, form_key = secrets.token_urlsafe(KEY_BYTES), secrets.token_urlsafe(KEY_BYTES)
        ends_s = self._clock.elapsed_s() + LASTS_S
        with self._lock:
            self._open[_hash(key)] = SignIn(name, role, token_digest, form_key, ends_s)
            of_name = [one for one, sign_in in self._open.items() if sign_in.name == name]
            for one in of_name[:-SIGN_INS_MAX]:
                del self._open[one]
        return key

    def find(self, key: str) -> SignIn | None:
        """None for a key that is none, or no more."""
        with self._lock:
            found = self._open.get(_hash(key))
            if found is not None and found.ends_s <= self._clock.elapsed_s():
                del self._open[_hash(key)]
                return None
            return found

    def end(self, key: str) -> None:
        with self._lock:
            self._open.pop(_hash(key), None)


def _hash(key: str) -> str:
    """What is looked up by it tells nothing of the key by the time it takes."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
