"""The one table of what can be asked: routes, the OpenAPI document and the pages are made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from coordinator.reads import Item, Page
from web import handlers, parameters, schemas
from web.fleet_reader import FleetReader
from web.health import healthz_endpoint, readyz_endpoint
from web.metrics import metrics_endpoint
from web.parameters import Query

ROOT = "/api/v1"
STREAM = f"{ROOT}/stream"


@dataclass(frozen=True)
class Endpoint:
    """A path that is answered with JSON, below ROOT.

    ``query`` are its parameters, those in the path among them, ``schema`` is one item of the
    answer. With ``is_list`` the answer is a page of several. ``example`` goes behind the path where
    an example is shown. With ``is_private`` only an operator's token will do.
    """

    path: str
    summary: str
    query: type[Query]
    schema: type[BaseModel]
    read: Callable[[FleetReader, Any], Item | Page]
    is_list: bool = True
    is_private: bool = False
    example: str = ""

    @property
    def name(self) -> str:
        """``sessions_units`` for ``/sessions/{session_id}/units``, unique among all."""
        parts = [part for part in self.path.strip("/").split("/") if not part.startswith("{")]
        ends_in_id = self.path.endswith("}")
        return "_".join(parts) + ("_one" if ends_in_id else "")


ENDPOINTS = (
    Endpoint(
        "/status",
        "How the fleet is: who coordinates, who is there, what the server keeps",
        parameters.StatusQuery,
        schemas.Status,
        handlers.status,
        is_list=False,
    ),
    Endpoint(
        "/counts",
        "How many there are of everything",
        parameters.NoQuery,
        schemas.Counts,
        handlers.counts,
        is_list=False,
    ),
    Endpoint(
        "/ais",
        "The AIs that are there, by id, with what they have done",
        parameters.AisQuery,
        schemas.Ai,
        handlers.ais,
        example="?specialization=file_system&limit=10",
    ),
    Endpoint("/ais/{ai_id}", "One AI", parameters.AiQuery, schemas.Ai, handlers.ai, is_list=False),
    Endpoint(
        "/patterns",
        "Shared patterns, the newest first",
        parameters.RecordsQuery,
        schemas.Pattern,
        handlers.records("pattern"),
        example="?specialization=security&limit=5",
    ),
    Endpoint(
        "/patterns/{id:path}",
        "One pattern",
        parameters.RecordQuery,
        schemas.Pattern,
        handlers.record("pattern"),
        is_list=False,
    ),
    Endpoint(
        "/components",
        "Shared components with their verdicts, the newest first",
        parameters.RecordsQuery,
        schemas.Component,
        handlers.records("component"),
        example="?limit=5",
    ),
    Endpoint(
        "/components/{id:path}",
        "One component, with its code and all of its verdict",
        parameters.RecordQuery,
        schemas.Component,
        handlers.record("component"),
        is_list=False,
    ),
    Endpoint(
        "/features",
        "Components that were made for feature requests, the newest first",
        parameters.RecordsQuery,
        schemas.Feature,
        handlers.records("feature"),
    ),
    Endpoint(
        "/features/{id:path}",
        "One of those",
        parameters.RecordQuery,
        schemas.Feature,
        handlers.record("feature"),
        is_list=False,
    ),
    Endpoint(
        "/benchmarks",
        "What AIs say to have measured of a component, the newest first",
        parameters.BenchmarksQuery,
        schemas.Benchmark,
        handlers.benchmarks,
        example="?component_id=cache-7",
    ),
    Endpoint(
        "/problems",
        "What is trained for, and the best that passed of each problem",
        parameters.NoQuery,
        schemas.Problem,
        handlers.problems,
    ),
    Endpoint(
        "/problems/{name}/best",
        "The components and features that passed, the best of the problem first",
        parameters.RankingQuery,
        schemas.RankedRecord,
        handlers.ranking,
        example="?limit=3",
    ),
    Endpoint(
        "/lineage/{id:path}",
        "What a record was begun from, and what others made of it",
        parameters.LineageQuery,
        schemas.Lineage,
        handlers.lineage,
        is_list=False,
        example="?depth=3",
    ),
    Endpoint(
        "/sessions",
        "Collaborations and feature requests, the open ones first, then those that ended last",
        parameters.SessionsQuery,
        schemas.Session,
        handlers.sessions,
        example="?state=active&ai=AI_Node_1",
    ),
    Endpoint(
        "/sessions/{session_id}",
        "One session",
        parameters.SessionQuery,
        schemas.Session,
        handlers.session,
        is_list=False,
    ),
    Endpoint(
        "/sessions/{session_id}/units",
        "The units of a session in the order of its plan, with their outputs",
        parameters.OfSessionQuery,
        schemas.Unit,
        handlers.units,
    ),
    Endpoint(
        "/sessions/{session_id}/workspace",
        "What the participants of a session share, by key",
        parameters.OfSessionQuery,
        schemas.WorkspaceEntry,
        handlers.workspace,
        is_private=True,
    ),
    Endpoint(
        "/members",
        "Who is enrolled: role, restrictions, tokens by their ids, and who is there",
        parameters.PageQuery,
        schemas.Member,
        handlers.members,
        is_private=True,
    ),
    Endpoint(
        "/audit",
        "Who was let in, refused or sent away, and what operators did, the newest first",
        parameters.AuditQuery,
        schemas.AuditEntry,
        handlers.audit,
        is_private=True,
        example="?kind=login_refused",
    ),
    Endpoint(
        "/dead",
        "Dead letters: messages that broke their handler, the newest first",
        parameters.PageQuery,
        schemas.DeadLetter,
        handlers.dead_letters,
        is_private=True,
    ),
    Endpoint(
        "/history",
        "Messages and events that are kept, oldest first, with what is missing named",
        parameters.HistoryQuery,
        schemas.HistoryLine,
        handlers.history,
        is_private=True,
        example="?from=100&limit=20",
    ),
    Endpoint(
        "/archives",
        "The archives that follow the fleet, and how far they have come",
        parameters.NoQuery,
        schemas.Archive,
        handlers.archives,
    ),
)
"""All of them, in the order in which they are shown."""


@dataclass(frozen=True)
class MonitoringPage:
    """A path for those who look after a fleet; ``make`` gives what answers for a fleet. With
    ``is_open`` no token is asked for."""

    path: str
    summary: str
    media_type: str
    make: Callable[[FleetReader], Callable[[Request], Response]]
    is_open: bool


MONITORING_PAGES = (
    MonitoringPage(
        "/metrics",
        "Numbers for Prometheus",
        "text/plain",
        metrics_endpoint,
        is_open=False,
    ),
    MonitoringPage(
        "/healthz",
        "Whether this process answers",
        "application/json",
        healthz_endpoint,
        is_open=True,
    ),
    MonitoringPage(
        "/readyz",
        "200 if the fleet takes messages and deals with them in time, else 503 and why",
        "application/json",
        readyz_endpoint,
        is_open=True,
    ),
)
