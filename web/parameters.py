"""What can be asked: the parameters of each endpoint, those in its path among them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeVar

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from coordinator.audit import AuditKind
from coordinator.history import Cursor
from coordinator.messages import ID_PATTERN, RECORD_ID_PATTERN, WORD_PATTERN, describe, one_line
from coordinator.work import SessionState
from web.answers import ApiError
from web.live.told import Filter

LIMIT_MAX = 1000
CURSOR_PATTERN = r"^[^\x00-\x1f\x7f]{1,256}$"

_PLACE = re.compile(r"([A-Za-z0-9_.-]{0,64}):([0-9]{1,18}):([0-9]{1,18})")

AiId = Annotated[str, Field(pattern=ID_PATTERN)]
RecordId = Annotated[str, Field(pattern=RECORD_ID_PATTERN)]
Word = Annotated[str, Field(pattern=WORD_PATTERN)]
SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
UnitId = Annotated[str, Field(min_length=1, max_length=64)]


class Query(BaseModel):
    """Nothing can be asked but what an endpoint knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(Query):
    """No parameters."""


class LimitedQuery(Query):
    """The first items alone: there is no next page."""

    limit: int = Field(50, ge=1, le=LIMIT_MAX, description="At most so many items.")


class CursorQuery(Query):
    """One page of a list, whose size is fixed."""

    cursor: str | None = Field(
        None,
        pattern=CURSOR_PATTERN,
        description="That of the page before; without one it is the first page.",
    )


class PageQuery(CursorQuery, LimitedQuery):
    """One page of a list."""


class StatusQuery(Query):
    """How much of the fleet's lists is shown."""

    limit: int = Field(
        50, ge=0, le=LIMIT_MAX, description="So many AIs, queues and workers at most."
    )


class AisFilter(Query):
    """Which AIs."""

    specialization: Word | None = Field(None, description="Only AIs of this specialization.")
    capability: Word | None = Field(None, description="Only AIs that have this capability.")


class AisQuery(AisFilter, PageQuery):
    """A page of AIs."""


class AiQuery(Query):
    """Which AI."""

    ai_id: AiId = Field(description="The AI's id.")


class RecordsFilter(Query):
    """Which records."""

    specialization: Word | None = Field(None, description="Only records of this specialization.")
    contributor: AiId | None = Field(None, description="Only what this AI had a part in.")
    search: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Only records whose id contains this, in upper or lower case.",
    )


class RecordsQuery(RecordsFilter, PageQuery):
    """A page of records."""


class RecordQuery(Query):
    """Which record."""

    id: RecordId = Field(description="The record's id.")


class BenchmarksQuery(LimitedQuery):
    """Of which component."""

    component_id: RecordId = Field(description="The component that was measured.")


class SessionsFilter(Query):
    """Which sessions."""

    state: SessionState | None = Field(None, description="Only sessions in this state.")
    type: Word | None = Field(
        None, description="Only of this type: a collaboration's, or feature_request."
    )
    ai: AiId | None = Field(None, description="Only those that this AI takes part in or asked for.")


class SessionsQuery(SessionsFilter, PageQuery):
    """A page of sessions."""


class SessionQuery(Query):
    """Which session."""

    session_id: SessionId = Field(description="The session's id.")


class OfSessionQuery(SessionQuery, PageQuery):
    """A page of what a session has."""


class LineageQuery(Query):
    """Around which record, and how much."""

    id: RecordId = Field(description="The record's id.")
    depth: int = Field(8, ge=1, le=64, description="So many records up, and as many down.")
    limit: int = Field(100, ge=1, le=500, description="At most so many records, the nearest ones.")


class RankingQuery(Query):
    """Of which problem."""

    name: Word = Field(description="The problem's name.")
    limit: int = Field(10, ge=1, le=100, description="At most so many items.")


class AuditFilter(Query):
    """Which events of the audit."""

    ai: AiId | None = Field(None, description="Only what concerns this AI.")
    kind: AuditKind | None = Field(None, description="Only events of this kind.")


class AuditQuery(AuditFilter, PageQuery):
    """A page of the audit."""


class HistoryQuery(PageQuery):
    """From where on."""

    from_: int | None = Field(
        None,
        alias="from",
        ge=1,
        description="Begin at this number of the log, and at the events of that time.",
    )


class LinesQuery(Query):
    """Which lines of the history, as they are told."""

    ai: AiId | None = Field(None, description="Only lines from or to this AI.")
    type: Word | None = Field(None, description="Only lines of this message type or kind of event.")
    kind: Literal["message", "event"] | None = Field(
        None, description="Only messages, or only what came of them."
    )

    @property
    def filter(self) -> Filter:
        return Filter(self.ai, self.type, self.kind)


class StreamQuery(LinesQuery):
    """What of the stream."""

    lines: bool = Field(False, description="Also the lines of the history themselves.")
    rates: bool = Field(False, description="First the messages a second of the last ten minutes.")
    after: str | None = Field(
        None,
        pattern=CURSOR_PATTERN,
        description="Go on after the event of this id, as by the header Last-Event-ID.",
    )


Q = TypeVar("Q", bound=Query)


def names_in(path: str) -> list[str]:
    """The names of the parameters in a path."""
    return re.findall(r"\{(\w+)", path)


def parse_query(
    model: type[Q], in_path: Mapping[str, str], in_query: Sequence[tuple[str, str]]
) -> Q:
    """Raises ApiError ``bad_request`` with the parameter, the rule and the cure, ``bad_cursor``;
    what is wrong in the path is ``not_found``."""
    given: dict[str, str] = dict(in_path)
    for name, value in in_query:
        if name in in_path or name not in _fields_of(model):
            raise ApiError("bad_request", _unknown(model, in_path, name), one_line(name, 100))
        if name in given:
            raise ApiError("bad_request", f"{name} is given more than once: give it once", name)
        given[name] = value
    for name, value in given.items():
        _check_number(name, value, _fields_of(model).get(name))
    try:
        return model.model_validate(given)
    except ValidationError as error:
        field, detail = describe(error)
        if field == "cursor":
            raise no_cursor(given[field]) from None
        raise ApiError("not_found" if field in in_path else "bad_request", detail, field) from None


def parse_place(text: str) -> Cursor:
    """How far a history was read, as an answer of this API told it. Raises ApiError
    ``bad_cursor``."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise no_cursor(text)
    return Cursor(match[1], int(match[2]), int(match[3]))


def place_text(cursor: Cursor) -> str:
    """The same as text, as an answer tells it."""
    return ":".join(map(str, cursor))


def is_place(text: str) -> bool:
    """Whether ``parse_place`` can read it."""
    return _PLACE.fullmatch(text) is not None


def no_cursor(cursor: str) -> ApiError:
    """``cursor`` is none that an answer of this API has had."""
    shown = one_line(cursor, 100)
    return ApiError("bad_cursor", f"cursor {shown!r} is none; begin again without one", "cursor")


def _check_number(name: str, value: str, field: FieldInfo | None) -> None:
    """A number is written in digits alone, and its bounds are named together."""
    bounds = [one for one in field.metadata if isinstance(one, Ge | Le)] if field else []
    if not bounds:
        return
    least = next(int(str(one.ge)) for one in bounds if isinstance(one, Ge))
    most = next((int(str(one.le)) for one in bounds if isinstance(one, Le)), None)
    is_number = re.fullmatch(r"[0-9]{1,18}", value) is not None
    if not is_number or not least <= int(value) <= (most or int(value)):
        to = "on" if most is None else f"to {most}"
        detail = f"{name} must be a whole number from {least} {to}"
        raise ApiError("bad_request", detail, name)


def _fields_of(model: type[Query]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _unknown(model: type[Query], in_path: Mapping[str, str], name: str) -> str:
    known = [one for one in _fields_of(model) if one not in in_path]
    rule = f"known are {', '.join(known)}" if known else "this endpoint takes none"
    return f"{one_line(name, 100)!r} is no parameter here; {rule}"
