"""What a unit shares with others, in Redis: workspace, knowledge, artifacts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

import redis

from coordinator.keys import Keys, Kind
from coordinator.reads import Item, read_records
from workers.skills.skill import SkillError

ARTIFACT_MAX_BYTES = 16 * 1024 * 1024
ARTIFACT_KEPT_S = 3600

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
            lambda: read_records(self._redis, self._keys, kind, limit, specialization).items
        )


class StoredArtifacts:
    """Bytes under the name of who made them and their SHA-256."""

    def __init__(self, connection: redis.Redis, keys: Keys, ai_id: str, patient: Patient) -> None:
        self._redis = connection
        self._keys = keys
        self._ai_id = ai_id
        self._patient = patient

    def put(self, data: bytes) -> str:
        if len(data) > ARTIFACT_MAX_BYTES:
            raise SkillError(
                f"an artifact of {len(data)} bytes is too large; the most is {ARTIFACT_MAX_BYTES}"
            )
        sha256 = hashlib.sha256(data).hexdigest()
        key = self._keys.artifact(self._ai_id, sha256)
        self._patient(lambda: self._redis.set(key, data, px=ARTIFACT_KEPT_S * 1000))
        return f"{self._ai_id}:{sha256}"

    def get(self, reference: str) -> bytes:
        ai_id, _, sha256 = reference.partition(":")
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise SkillError(f"{reference!r} is no artifact's reference: <ai>:<sha256>")
        key = self._keys.artifact(ai_id, sha256)
        data = cast("bytes | None", self._patient(lambda: self._redis.get(key)))
        if data is None:
            raise SkillError(f"artifact {reference} is gone; it is kept for {ARTIFACT_KEPT_S} s")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise SkillError(f"artifact {reference} holds something else than it says")
        return data


def _value(stored: bytes) -> Any:
    return json.loads(stored)["value"]
