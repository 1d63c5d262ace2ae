"""What a unit shares with others, in Redis: workspace, knowledge, artifacts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar, cast

import redis

from coordinator.keys import SHARED, Keys, Kind
from coordinator.messages import SHA256_PATTERN
from coordinator.reads import Item, read_records
from coordinator.record_search import Wanted
from coordinator.settings import Settings
from workers.skills.skill import SkillError

T = TypeVar("T")


class Patient(Protocol):
    def __call__(self, action: Callable[[], T]) -> T:
        """Run ``action``, again and again as long as the server is away."""


class StoredWorkspace:
    """A session's workspace; ``written`` is what the unit puts into it with its result."""

    def __init__(
        self, connection: redis.Redis, keys: Keys, session_id: str, patient: Patient
    ) -> None:
        self._redis = connection
        self._key = keys.workspace(session_id)
        self._patient = patient
        self.written: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """As stored; what this unit put there is seen once the unit is done."""
        stored = self._patient(lambda: self._redis.hget(self._key, key))
        return default if stored is None else _value(cast(bytes, stored))

    def items(self, prefix: str = "") -> dict[str, Any]:
        stored = self._patient(lambda: self._redis.hgetall(self._key))
        named = {name.decode(): value for name, value in cast("dict[bytes, bytes]", stored).items()}
        return {name: _value(named[name]) for name in sorted(named) if name.startswith(prefix)}

    def put(self, key: str, value: Any) -> None:
        self.written[key] = value


class StoredKnowledge:
    """The records that the fleet keeps."""

    def __init__(self, connection: redis.Redis, keys: Keys, patient: Patient) -> None:
        self._redis = connection
        self._keys = keys
        self._patient = patient

    def patterns(self, specialization: str | None = None, limit: int = 100) -> list[Item]:
        return self._read("pattern", specialization, limit)

    def components(self, specialization: str | None = None, limit: int = 100) -> list[Item]:
        return self._read("component", specialization, limit)

    def features(self, specialization: str | None = None, limit: int = 100) -> list[Item]:
        return self._read("feature", specialization, limit)

    def _read(self, kind: Kind, specialization: str | None, limit: int) -> list[Item]:
        return self._patient(
            lambda: read_records(self._redis, self._keys, kind, limit, Wanted(specialization)).items
        )


class StoredArtifacts:
    """Bytes under the name of who made them and their SHA-256.

    They are put into the AI's own space, and ``tell`` has the coordinator copy them to where
    everybody may read them.
    """

    def __init__(
        self,
        connection: redis.Redis,
        keys: Keys,
        ai_id: str,
        settings: Settings,
        patient: Patient,
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        self._redis = connection
        self._keys = keys
        self._ai_id = ai_id
        self._settings = settings
        self._patient = patient
        self._tell = tell

    def put(self, data: bytes) -> str:
        most_bytes = self._settings.artifact_max_bytes
        if len(data) > most_bytes:
            raise SkillError(
                f"an artifact of {len(data)} bytes is too large; the most is {most_bytes}"
            )
        sha256 = hashlib.sha256(data).hexdigest()
        key = self._keys.artifact(self._ai_id, sha256)
        keep_ms = int(self._settings.artifact_keep_s * 1000)
        self._patient(lambda: self._redis.set(key, data, px=keep_ms))
        self._tell({"artifact": sha256, "bytes": len(data), "share": True})
        return f"{self._ai_id}:{sha256}"

    def get(self, reference: str) -> bytes:
        sha256 = reference.partition(":")[2]
        if not re.fullmatch(SHA256_PATTERN, sha256):
            raise SkillError(f"{reference!r} is no artifact's reference: <ai>:<sha256>")
        spaces = [self._keys.artifact(space, sha256) for space in (self._ai_id, SHARED)]
        found = [self._patient(partial(self._redis.get, key)) for key in spaces]
        data = next((value for value in found if value is not None), None)
        if data is None:
            raise SkillError(
                f"artifact {reference} is gone, or there was no room for it; one is kept for "
                f"{self._settings.artifact_keep_s:g} s"
            )
        if hashlib.sha256(cast(bytes, data)).hexdigest() != sha256:
            raise SkillError(f"artifact {reference} holds something else than it says")
        return cast(bytes, data)


def _value(stored: bytes) -> Any:
    return json.loads(stored)["value"]
