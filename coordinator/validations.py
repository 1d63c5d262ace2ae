"""Validations: what one is of, what of it is open, and what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from pydantic import BaseModel, ConfigDict, Field

from coordinator.keys import Kind

VALIDATED_KINDS: tuple[Kind, ...] = ("component", "feature")
LANGUAGES = frozenset({"python", "py", "cpp", "c++"})
"""The names, in lower case, of what validators have a way to look at."""
HASHED = ("code", "implementation", "language", "specializations", "test_cases")
"""What of a record a verdict is about; its specialization is, too."""
SHOWN_AS = {"compiled": "compiled, not measured", "not_validated": "not validated"}
"""Verdicts that people are told in other words."""


class Judged(NamedTuple):
    """What a stored record is, and what was found of that: verdict, score, and the evaluator that
    measured it. All are "" where there is none."""

    hash: str = ""
    specialization: str = ""
    verdict: str = ""
    score: float | None = None
    evaluator: str = ""

    def given(self, verdict: Mapping[str, Any]) -> Judged:
        """The same record with that verdict, which others may have written."""
        word, score, evaluator = (verdict.get(n) for n in ("verdict", "score", "evaluator"))
        is_number = type(score) in (int, float)
        return self._replace(
            verdict=word if isinstance(word, str) else "",
            score=float(cast(float, score)) if is_number else None,
            evaluator=evaluator if isinstance(evaluator, str) else "",
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record that waits for its verdict: the job of that ``attempt`` is in the queue, or runs.

    With attempt 0 there is no job, for nobody can validate what the record has become: what is
    open is to take back the credit that it had.
    """

    kind: Kind
    id: str
    hash: str
    attempt: int
    queued_ms: int

    @property
    def member(self) -> str:
        return f"{self.kind}:{self.id}"

    def to_json(self) -> str:
        fields = {"hash": self.hash, "attempt": self.attempt, "queued_ms": self.queued_ms}
        return json.dumps(fields, separators=(",", ":"))

    @staticmethod
    def from_json(member: str, text: bytes) -> Waiting:
        """ValueError for what is none; strangers may have written it."""
        kind, _, record_id = member.partition(":")
        if kind not in VALIDATED_KINDS:
            raise ValueError(f"{member} waits for no verdict")
        stored = _Stored.model_validate_json(text)
        return Waiting(kind, record_id, stored.hash, stored.attempt, stored.queued_ms)


class _Stored(BaseModel):
    """What is kept of a Waiting in its record's hash."""

    model_config = ConfigDict(strict=True)

    hash: str
    attempt: int = Field(ge=0)
    queued_ms: int


def record_hash(record: Mapping[str, Any], specialization: str) -> str:
    """What a verdict on ``record`` is bound to: SHA-256 of all of it that can change the verdict,
    in 64 hexadecimal digits."""
    content = {name: record[name] for name in HASHED if record.get(name) is not None}
    content["specialization"] = specialization
    text = json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def why_not(record: Mapping[str, Any]) -> str:
    """Why no validator could say anything of ``record``; "" if one can try.

    One that names no language may be Python, as the validator will see.
    """
    source = record.get("implementation") or record.get("code")
    texts = source.values() if isinstance(source, dict) else [source]
    if not any(isinstance(text, str) and text.strip() for text in texts):
        return "it has no source text in `code` or `implementation`"
    language = record.get("language")
    if language is None or (isinstance(language, str) and language.lower() in LANGUAGES):
        return ""
    return f"only Python and C++ are validated; its language is {str(language)[:40]!r}"


def in_words(verdict: Mapping[str, Any]) -> str:
    """A verdict as people are told it."""
    if verdict["verdict"] == "passed":
        return f"passed, {verdict['score']:.1%} of the gap closed"
    shown = SHOWN_AS.get(verdict["verdict"], verdict["verdict"])
    return f"{shown}: {verdict['reason']}" if verdict["reason"] else shown
