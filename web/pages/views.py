"""The one table of pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from coordinator.reads import Item
from web.live.areas import Area
from web.pages.ai import read_one_ai
from web.pages.collaborations import CollaborationsQuery, read_collaborations
from web.pages.fleet import FleetQuery, read_fleet
from web.pages.graph import EdgeQuery, GraphQuery, read_edge, read_graph
from web.pages.health import read_health
from web.pages.knowledge import KnowledgeQuery, read_knowledge
from web.pages.lists import AuditPageQuery, audit_page, dead_letters_page, members_page
from web.pages.look import Look
from web.pages.problem import ProblemQuery, read_problem
from web.pages.queues import QueuesQuery, read_queues_page
from web.pages.record import WholeQuery, read_whole
from web.pages.session import SessionPageQuery, read_session_page
from web.pages.traffic import EntryQuery, read_entry, read_traffic
from web.pages.unit import UnitQuery, read_unit_page
from web.pages.workspace import WorkspaceQuery, read_workspace_page
from web.parameters import AiQuery, CursorQuery, LinesQuery, NoQuery, Query


@dataclass(frozen=True)
class View:
    """A page at ``path``, which the template ``<name>.html`` makes of what ``read`` gives.

    It is read anew when one of the ``areas`` has changed, and every ``again_s`` seconds (None: not
    for time alone). In the navigation it belongs to the view whose title is ``menu``. With
    ``is_private`` it is for those who see all.
    """

    path: str
    name: str
    title: str
    query: type[Query]
    read: Callable[[Look, Any], Item]
    menu: str
    areas: Sequence[Area] = ()
    again_s: float | None = None
    is_private: bool = False


VIEWS = (
    View(
        "/fleet",
        "fleet",
        "Fleet",
        FleetQuery,
        read_fleet,
        menu="Fleet",
        areas=("fleet",),
        again_s=3,
    ),
    View(
        "/fleet/{ai_id}",
        "ai",
        "AI",
        AiQuery,
        read_one_ai,
        menu="Fleet",
        areas=("fleet", "knowledge", "work"),
        again_s=3,
    ),
    View("/traffic", "traffic", "Traffic", LinesQuery, read_traffic, menu="Traffic"),
    View(
        "/traffic/{source}/{n}",
        "entry",
        "Entry",
        EntryQuery,
        read_entry,
        menu="Traffic",
        is_private=True,
    ),
    View("/graph", "graph", "Graph", GraphQuery, read_graph, menu="Graph", again_s=3),
    View("/graph/{a}/{b}", "edge", "Edge", EdgeQuery, read_edge, menu="Graph", again_s=3),
    View(
        "/knowledge",
        "knowledge",
        "Knowledge",
        KnowledgeQuery,
        read_knowledge,
        menu="Knowledge",
        areas=("knowledge",),
    ),
    View(
        "/knowledge/problem/{name}",
        "problem",
        "Problem",
        ProblemQuery,
        read_problem,
        menu="Knowledge",
        areas=("knowledge",),
    ),
    View(
        "/knowledge/{kind}/{id:path}",
        "record",
        "Record",
        WholeQuery,
        read_whole,
        menu="Knowledge",
        areas=("knowledge",),
    ),
    View(
        "/collaborations",
        "collaborations",
        "Collaborations",
        CollaborationsQuery,
        read_collaborations,
        menu="Collaborations",
        areas=("work",),
        again_s=3,
    ),
    View(
        "/collaborations/queues",
        "queues",
        "Queues",
        QueuesQuery,
        read_queues_page,
        menu="Collaborations",
        areas=("work",),
        again_s=3,
    ),
    View(
        "/collaborations/{session_id}",
        "session",
        "Session",
        SessionPageQuery,
        read_session_page,
        menu="Collaborations",
        areas=("work",),
        again_s=2,
    ),
    View(
        "/collaborations/{session_id}/units/{unit_id}",
        "unit",
        "Unit",
        UnitQuery,
        read_unit_page,
        menu="Collaborations",
        areas=("work",),
        again_s=2,
    ),
    View(
        "/collaborations/{session_id}/workspace",
        "workspace",
        "Workspace",
        WorkspaceQuery,
        read_workspace_page,
        menu="Collaborations",
        areas=("work",),
        is_private=True,
    ),
    View(
        "/health",
        "health",
        "Health",
        NoQuery,
        read_health,
        menu="Health",
        areas=("health",),
        again_s=3,
    ),
    View(
        "/health/dead",
        "dead_letters",
        "Dead letters",
        CursorQuery,
        dead_letters_page,
        menu="Health",
        areas=("health",),
        again_s=5,
        is_private=True,
    ),
    View(
        "/health/audit",
        "audit",
        "Audit",
        AuditPageQuery,
        audit_page,
        menu="Health",
        areas=("health",),
        is_private=True,
    ),
    View(
        "/health/members",
        "members",
        "Members",
        CursorQuery,
        members_page,
        menu="Health",
        areas=("health", "fleet"),
        is_private=True,
    ),
)

MENU = [(view.title, view.path) for view in VIEWS if view.title == view.menu]
"""What stands in the navigation, and where it leads."""
