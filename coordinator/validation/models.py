"""Validations: what one is of, what of it is open, and what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from pydantic import BaseModel, ConfigDict, Field

from coordinator.clock import LAST_MS
from coordinator.keys import Kind, RecordKey
from coordinator.messages import SHA256_PATTERN, one_line, to_json
from coordinator.stored import finite_number

VALIDATED_KINDS: tuple[Kind, ...] = ("component", "feature")
LANGUAGES = {
    "python": ("python", "python3", "py"),
    "cpp": ("cpp", "c++", "cxx", "cc"),
}
"""What validators have a way to look at, and the names, in lower case, that each goes by."""
LANGUAGE_CHARS = 40
HASHED = ("code", "implementation", "language", "specializations", "test_cases")
"""What of a record a verdict is about; its specialization is, too."""
REGRESSION = 0.02
"""A score that is worse by more than this is."""
OTHER_WORKLOAD = 0.25
"""A score on another workload has to be worse by more than this: the same policy's differ there by
chance, with a standard deviation of some 0.08."""
ATTEMPTS = 3
LASTING = ("passed", "failed", "compiled")
"""Verdicts that hold for as long as the record is what it was."""
_SHOWN_AS = {"compiled": "compiled, not measured", "not_validated": "not validated"}


class Judged(NamedTuple):
    """What a stored record is, and what was found of that: verdict, score, the problem that it was
    measured by, in which version, and on which workload. All are "" where there is none."""

    hash: str = ""
    verdict: str = ""
    score: float | None = None
    problem: str = ""
    evaluator: str = ""
    workload: str = ""

    @property
    def is_lasting(self) -> bool:
        """Whether the verdict holds for as long as the record is what it was."""
        return self.verdict in LASTING

    def given(self, verdict: Mapping[str, Any]) -> Judged:
        """The same record with that verdict, which others may have written."""
        names = ("verdict", "problem", "evaluator", "workload")
        texts = {name: verdict.get(name) for name in names}
        known = {name: text if isinstance(text, str) else "" for name, text in texts.items()}
        return self._replace(score=finite_number(verdict.get("score")), **known)

    def has_regressed(self, score: float | None, workload: str) -> bool:
        """Whether the same record is worse than it was, now that it has that score on
        ``workload``, or none."""
        if self.score is None:
            return False
        margin = REGRESSION if workload == self.workload else OTHER_WORKLOAD
        return score is None or score < self.score - margin


@dataclass(frozen=True, slots=True)
class OpenValidation:
    """A record waits for its verdict: the job of that ``attempt`` is in the queue, or runs.

    With attempt 0 there is no job, for nobody can validate what the record has become: what is
    open is to take back the credit that it had. ``evaluator`` is the version that what has a
    verdict is to be measured again by; "" for whichever.
    """

    record_key: RecordKey
    hash: str
    attempt: int
    queued_ms: int
    evaluator: str = ""

    @property
    def name(self) -> str:
        """``<kind>:<id>``, by which it is listed."""
        return self.record_key.name

    def to_json(self) -> str:
        fields = {"hash": self.hash, "attempt": self.attempt, "queued_ms": self.queued_ms}
        if self.evaluator:
            fields |= {"evaluator": self.evaluator}
        return json.dumps(fields, separators=(",", ":"))

    @staticmethod
    def from_json(record_key: RecordKey, text: bytes) -> OpenValidation:
        """ValueError for what is none; strangers may have written it."""
        if record_key.kind not in VALIDATED_KINDS:
            raise ValueError(f"{record_key} waits for no verdict")
        stored = _Stored.model_validate_json(text)
        return OpenValidation(record_key, **stored.model_dump())


class _Stored(BaseModel):
    """What is kept of an OpenValidation in its record's hash."""

    model_config = ConfigDict(strict=True)

    hash: str = Field(pattern=SHA256_PATTERN)
    attempt: int = Field(ge=0, le=ATTEMPTS)
    queued_ms: int = Field(ge=0, le=LAST_MS)
    evaluator: str = Field("", max_length=128)


def queued_ms_of(validating: bytes) -> int | None:
    """Since when a record waits by its field ``validating``; None for what cannot be read."""
    try:
        return _Stored.model_validate_json(validating).queued_ms
    except (ValueError, RecursionError):
        return None


def parse_verdict(validation: bytes | None) -> dict[str, Any]:
    """The verdict in a record's field ``validation``; {} for what is none, or cannot be written
    again. Strangers may have written it."""
    try:
        verdict = json.loads(validation or b"{}")
        to_json(verdict).encode()
    except (ValueError, RecursionError):
        return {}
    is_one = isinstance(verdict, dict) and isinstance(verdict.get("verdict"), str)
    if not is_one or (verdict.get("score") is not None and finite_number(verdict["score"]) is None):
        return {}
    return cast("dict[str, Any]", verdict)


def record_hash(record: Mapping[str, Any], specialization: str) -> str:
    """What a verdict on ``record`` is bound to: SHA-256 of all of it that can change the verdict,
    in 64 hexadecimal digits."""
    content = {name: record[name] for name in HASHED if record.get(name) is not None}
    content["specialization"] = specialization
    text = json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def language_of(record: Mapping[str, Any]) -> str:
    """``python``, ``cpp``, another one as it is called, or "" if the record names none."""
    given = record.get("language") or ""
    named = given if isinstance(given, str) else f"a {type(given).__name__}"
    word = one_line(named.strip().lower(), LANGUAGE_CHARS)
    return next((name for name, words in LANGUAGES.items() if word in words), word)


def why_not_validated(record: Mapping[str, Any]) -> str:
    """Why no validator could say anything of ``record``; "" if one can try.

    One that names no language may be Python, as the validator will see.
    """
    source = record.get("implementation") or record.get("code")
    texts = source.values() if isinstance(source, dict) else [source]
    if not any(isinstance(text, str) and text.strip() for text in texts):
        return "it has no source text in `code` or `implementation`"
    language = language_of(record)
    if language in ("", *LANGUAGES):
        return ""
    return f"only Python and C++ are validated; its language is {language!r}"


def shown_word(word: str) -> str:
    """The word of a verdict as people are told it."""
    return _SHOWN_AS.get(word, word)


def verdict_in_words(verdict: Mapping[str, Any]) -> str:
    """A verdict as people are told it."""
    if verdict["verdict"] == "passed":
        return f"passed, {verdict['score']:.1%} of the gap closed"
    word = shown_word(verdict["verdict"])
    return f"{word}: {verdict['reason']}" if verdict["reason"] else word
