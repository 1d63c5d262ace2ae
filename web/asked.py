"""What can be asked: the parameters of each endpoint, those in its path among them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coordinator.audit import AuditKind
from coordinator.messages import ID_PATTERN, RECORD_ID_PATTERN, WORD_PATTERN, describe, one_line
from coordinator.work import SessionState
from web.answers import ApiError

LIMIT_MAX = 1000
CURSOR_PATTERN = r"^[^\x00-\x1f\x7f]{1,256}$"

AiId = Annotated[str, Field(pattern=ID_PATTERN)]
RecordId = Annotated[str, Field(pattern=RECORD_ID_PATTERN)]
Word = Annotated[str, Field(pattern=WORD_PATTERN)]
SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class Asked(BaseModel):
    """Nothing can be asked but what an endpoint knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Nothing(Asked):
    """No parameters."""


class Limited(Asked):
    limit: int = Field(50, ge=1, le=LIMIT_MAX, description="At most so many items.")


class PageAsked(Limited):
    cursor: str | None = Field(
        None,
        pattern=CURSOR_PATTERN,
        description="That of the page before; without one it is the first page.",
    )


class StatusAsked(Asked):
    limit: int = Field(
        50, ge=0, le=LIMIT_MAX, description="So many AIs, queues and workers at most."
    )


class AisAsked(PageAsked):
    specialization: Word | None = Field(None, description="Only AIs of this specialization.")
    capability: Word | None = Field(None, description="Only AIs that have this capability.")


class AiAsked(Asked):
    ai_id: AiId = Field(description="The AI's id.")


class RecordsAsked(PageAsked):
    specialization: Word | None = Field(None, description="Only records of this specialization.")


class RecordAsked(Asked):
    id: RecordId = Field(description="The record's id.")


class BenchmarksAsked(Limited):
    component_id: RecordId = Field(description="The component that was measured.")


class SessionsAsked(PageAsked):
    state: SessionState | None = Field(None, description="Only sessions in this state.")
    type: Word | None = Field(
        None, description="Only of this type: a collaboration's, or feature_request."
    )
    ai: AiId | None = Field(None, description="Only those that this AI takes part in or asked for.")


class SessionAsked(Asked):
    session_id: SessionId = Field(description="The session's id.")


class OfSessionAsked(PageAsked):
    session_id: SessionId = Field(description="The session's id.")


class LineageAsked(Asked):
    id: RecordId = Field(description="The record's id.")
    depth: int = Field(8, ge=1, le=64, description="So many records up, and as many down.")
    limit: int = Field(100, ge=1, le=500, description="At most so many records, the nearest ones.")


class RankingAsked(Asked):
    name: Word = Field(description="The problem's name.")
    limit: int = Field(10, ge=1, le=100, description="At most so many items.")


class AuditAsked(PageAsked):
    ai: AiId | None = Field(None, description="Only what concerns this AI.")
    kind: AuditKind | None = Field(None, description="Only events of this kind.")


class HistoryAsked(PageAsked):
    from_: int | None = Field(
        None,
        alias="from",
        ge=1,
        description="Begin at this number of the log, and at the events of that time.",
    )


A = TypeVar("A", bound=Asked)


def names_in(path: str) -> list[str]:
    """The names of the parameters in a path."""
    return re.findall(r"\{(\w+)", path)


def parse_asked(
    model: type[A], in_path: Mapping[str, str], in_query: Sequence[tuple[str, str]]
) -> A:
    """Raises ApiError ``bad_request`` with the parameter, the rule and the cure; what is wrong in
    the path is ``not_found``."""
    given: dict[str, str] = dict(in_path)
    for name, value in in_query:
        if name in in_path or name not in _names_of(model):
            raise ApiError("bad_request", _unknown(model, in_path, name), one_line(name, 100))
        if name in given:
            raise ApiError("bad_request", f"{name} is given more than once: give it once", name)
        given[name] = value
    try:
        return model.model_validate(given)
    except ValidationError as error:
        field, detail = describe(error)
        raise ApiError("not_found" if field in in_path else "bad_request", detail, field) from None


def _names_of(model: type[Asked]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _unknown(model: type[Asked], in_path: Mapping[str, str], name: str) -> str:
    known = [one for one in _names_of(model) if one not in in_path]
    rule = f"known are {', '.join(known)}" if known else "this endpoint takes none"
    return f"{one_line(name, 100)!r} is no parameter here; {rule}"
