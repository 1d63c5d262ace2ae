"""Who has signed in, in which browser: kept in memory alone, so that a restart signs all out."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from coordinator.clock import Clock
from coordinator.payloads import Role

LASTS_S = 12 * 3600
SIGN_INS_MAX = 1000
"""Of more the oldest end."""
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

    def __init__(self, clock: Clock, new_key: Callable[[int], str] = secrets.token_urlsafe) -> None:
        self._clock = clock
        self._new_key = new_key
        self._lock = Lock()
        self._open: OrderedDict[str, SignIn] = OrderedDict()

    def begin(self, name: str, role: Role, token_digest: str) -> str:
        """The key for the browser."""
        key, form_key = self._new_key(KEY_BYTES), self._new_key(KEY_BYTES)
        ends_s = self._clock.elapsed_s() + LASTS_S
        with self._lock:
            self._open[_hash(key)] = SignIn(name, role, token_digest, form_key, ends_s)
            while len(self._open) > SIGN_INS_MAX:
                self._open.popitem(last=False)
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
