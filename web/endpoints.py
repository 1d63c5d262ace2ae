"""The one table of what can be asked: routes, the OpenAPI document and the pages are made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from web import asked, reading, told
from web.answers import Paged
from web.asked import Asked, PageAsked
from web.enrolled import Enrolled
from web.health import healthz_endpoint, readyz_endpoint
from web.metrics import metrics_endpoint
from web.source import Source

ROOT = "/api/v1"


@dataclass(frozen=True)
class Endpoint:
    """A path that is answered with JSON, below ROOT.

    ``asked`` are its parameters, those in the path among them, ``told`` is one item of the answer.
    With ``is_list`` the answer has several, as ``web.answers.Paged``. ``example`` goes behind the
    path where an example is shown. With ``is_private`` only an operator's token will do.
    """

    path: str
    summary: str
    asked: type[Asked]
    told: type[BaseModel]
    read: Callable[[Source, Any], dict[str, Any] | Paged]
    is_list: bool = True
    is_private: bool = False
    example: str = ""

    @property
    def name(self) -> str:
        """``sessions_units`` for ``/sessions/{session_id}/units``, unique among all."""
        parts = [part for part in self.path.strip("/").split("/") if not part.startswith("{")]
        ends_in_id = self.path.endswith("}")
        return "_".join(parts) + ("_one" if ends_in_id else "")

    @property
    def is_paged(self) -> bool:
        return issubclass(self.asked, PageAsked)


@dataclass(frozen=True)
class Page:
    """A path that is answered with something else. With ``is_open`` no token is asked for."""

    path: str
    summary: str
    media_type: str
    serve: Callable[[Request], Response]
    is_open: bool


def endpoints(enrolled: Enrolled) -> tuple[Endpoint, ...]:
    """All of them, in the order in which they are shown."""
    return (
        Endpoint(
            "/status",
            "How the fleet is: who coordinates, who is there, what the server keeps",
            asked.StatusAsked,
            told.StatusTold,
            reading.status,
            is_list=False,
        ),
        Endpoint(
            "/counts",
            "How many there are of everything",
            asked.Nothing,
            told.CountsTold,
            reading.counts,
            is_list=False,
        ),
        Endpoint(
            "/ais",
            "The AIs that are there, by id, with what they have done",
            asked.AisAsked,
            told.AiTold,
            reading.ais,
            example="?specialization=file_system&limit=10",
        ),
        Endpoint("/ais/{ai_id}", "One AI", asked.AiAsked, told.AiTold, reading.ai, is_list=False),
        *_of_records(),
        Endpoint(
            "/benchmarks",
            "What AIs say to have measured of a component, the newest first",
            asked.BenchmarksAsked,
            told.BenchmarkTold,
            reading.benchmarks,
            example="?component_id=cache-7",
        ),
        Endpoint(
            "/problems",
            "What is trained for, and the best that passed of each problem",
            asked.Nothing,
            told.ProblemTold,
            reading.problems,
        ),
        Endpoint(
            "/problems/{name}/best",
            "The components and features that passed, the best of the problem first",
            asked.RankingAsked,
            told.RankedTold,
            reading.ranking,
            example="?limit=3",
        ),
        Endpoint(
            "/lineage/{id:path}",
            "What a record was begun from, and what others made of it",
            asked.LineageAsked,
            told.LineageTold,
            reading.lineage,
            is_list=False,
            example="?depth=3",
        ),
        *_of_sessions(),
        *_of_operators(enrolled),
    )


def _of_records() -> tuple[Endpoint, ...]:
    return (
        Endpoint(
            "/patterns",
            "Shared patterns, the newest first",
            asked.RecordsAsked,
            told.PatternTold,
            reading.records("pattern"),
            example="?specialization=security&limit=5",
        ),
        Endpoint(
            "/patterns/{id:path}",
            "One pattern",
            asked.RecordAsked,
            told.PatternTold,
            reading.record("pattern"),
            is_list=False,
        ),
        Endpoint(
            "/components",
            "Shared components with their verdicts, the newest first",
            asked.RecordsAsked,
            told.ComponentTold,
            reading.records("component"),
            example="?limit=5",
        ),
        Endpoint(
            "/components/{id:path}",
            "One component, with its code and all of its verdict",
            asked.RecordAsked,
            told.ComponentTold,
            reading.record("component"),
            is_list=False,
        ),
        Endpoint(
            "/features",
            "Components that were made for feature requests, the newest first",
            asked.RecordsAsked,
            told.FeatureTold,
            reading.records("feature"),
        ),
        Endpoint(
            "/features/{id:path}",
            "One of those",
            asked.RecordAsked,
            told.FeatureTold,
            reading.record("feature"),
            is_list=False,
        ),
    )


def _of_sessions() -> tuple[Endpoint, ...]:
    return (
        Endpoint(
            "/sessions",
            "Collaborations and feature requests, the open ones first, then those that ended last",
            asked.SessionsAsked,
            told.SessionTold,
            reading.sessions,
            example="?state=active&ai=AI_Node_1",
        ),
        Endpoint(
            "/sessions/{session_id}",
            "One session",
            asked.SessionAsked,
            told.SessionTold,
            reading.session,
            is_list=False,
        ),
        Endpoint(
            "/sessions/{session_id}/units",
            "The units of a session in the order of its plan, with their outputs",
            asked.OfSessionAsked,
            told.UnitTold,
            reading.units,
        ),
        Endpoint(
            "/sessions/{session_id}/workspace",
            "What the participants of a session share, by key",
            asked.OfSessionAsked,
            told.WorkspaceTold,
            reading.workspace,
            is_private=True,
        ),
    )


def _of_operators(enrolled: Enrolled) -> tuple[Endpoint, ...]:
    return (
        Endpoint(
            "/members",
            "Who is enrolled: role, restrictions, tokens by their ids, and who is there",
            asked.PageAsked,
            told.MemberTold,
            reading.members(enrolled),
            is_private=True,
        ),
        Endpoint(
            "/audit",
            "Enrolments, revocations, kicks, and logins and messages that were refused, newest"
            " first",
            asked.AuditAsked,
            told.AuditTold,
            reading.audit,
            is_private=True,
            example="?kind=login_refused",
        ),
        Endpoint(
            "/dead",
            "Dead letters: messages that broke their handler, the newest first",
            asked.PageAsked,
            told.LetterTold,
            reading.dead_letters,
            is_private=True,
        ),
        Endpoint(
            "/history",
            "Messages and events that are kept, oldest first, with what is missing named",
            asked.HistoryAsked,
            told.LineTold,
            reading.history,
            is_private=True,
            example="?from=100&limit=20",
        ),
        Endpoint(
            "/archives",
            "The archives that follow the fleet, and how far they have come",
            asked.Nothing,
            told.ArchiveTold,
            reading.archives,
        ),
    )


def pages(source: Source) -> tuple[Page, ...]:
    """What is for monitoring."""
    return (
        Page(
            "/metrics",
            "Numbers for Prometheus",
            "text/plain",
            metrics_endpoint(source),
            is_open=False,
        ),
        Page(
            "/healthz",
            "Whether this process answers",
            "application/json",
            healthz_endpoint(),
            is_open=True,
        ),
        Page(
            "/readyz",
            "200 if the fleet takes messages and deals with them in time, else 503 and why",
            "application/json",
            readyz_endpoint(source),
            is_open=True,
        ),
    )
