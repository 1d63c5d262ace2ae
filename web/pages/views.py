"""The one table of pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from coordinator.reads import Item
from web.live.areas import Area
from web.pages.ai import read_one_ai
from web.pages.audit import read_audit
from web.pages.collaborations import read_collaborations
from web.pages.dead_letters import DeadLettersQuery, read_dead_letters
from web.pages.fleet import FleetQuery, read_fleet
from web.pages.graph import EdgeQuery, GraphQuery, read_edge, read_graph
from web.pages.health import read_health
from web.pages.knowledge import KnowledgeQuery, read_knowledge
from web.pages.look import Look
from web.pages.members import read_members
from web.pages.problem import ProblemQuery, read_problem
from web.pages.queues import QueuesQuery, read_queues_page
from web.pages.record import WholeQuery, read_whole
from web.pages.session import SessionPageQuery, read_session_page
from web.pages.traffic import EntryQuery, read_entry, read_traffic
from web.pages.unit import UnitQuery, read_unit_page
from web.pages.workspace import WorkspaceQuery, read_workspace_page
from web.parameters import AiQuery, AuditQuery, LinesQuery, NoQuery, PageQuery, Query, SessionsQuery


@dataclass(frozen=True)
class View:
    """A page at ``path``, which the template ``<name>.html`` makes of what ``read`` gives.

    It is read anew when one of the ``areas`` has changed, and every ``again_s`` seconds (None: not
    for time alone). Under ``menu`` it stands in the navigation, or belongs to what does; "" for
    neither. With ``is_private`` it is for those who see all.
    """

    path: str
    name: str
    title: str
    query: type[Query]
    read: Callable[[Look, Any], Item]
    menu: str
    areas: frozenset[Area] = frozenset()
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
        areas=frozenset({"fleet"}),
        again_s=3,
    ),
    View(
        "/fleet/{ai_id}",
        "ai",
        "AI",
        AiQuery,
        read_one_ai,
        menu="Fleet",
        areas=frozenset({"fleet", "knowledge", "work"}),
        again_s=3,
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
        areas=frozenset({"knowledge"}),
    ),
    View(
        "/knowledge/problem/{name}",
        "problem",
        "Problem",
        ProblemQuery,
        read_problem,
        menu="Knowledge",
        areas=frozenset({"knowledge"}),
    ),
    View(
        "/knowledge/{kind}/{id:path}",
        "record",
        "Record",
        WholeQuery,
        read_whole,
        menu="Knowledge",
        areas=frozenset({"knowledge"}),
    ),
    View(
        "/collaborations",
        "collaborations",
        "Collaborations",
        SessionsQuery,
        read_collaborations,
        menu="Collaborations",
        areas=frozenset({"work"}),
        again_s=3,
    ),
    View(
        "/collaborations/queues",
        "queues",
        "Queues",
        QueuesQuery,
        read_queues_page,
        menu="Collaborations",
        areas=frozenset({"work"}),
        again_s=3,
    ),
    View(
        "/collaborations/{session_id}",
        "session",
        "Session",
        SessionPageQuery,
        read_session_page,
        menu="Collaborations",
        areas=frozenset({"work"}),
        again_s=2,
    ),
    View(
        "/collaborations/{session_id}/units/{unit_id}",
        "unit",
        "Unit",
        UnitQuery,
        read_unit_page,
        menu="Collaborations",
        areas=frozenset({"work"}),
        again_s=2,
    ),
    View(
        "/collaborations/{session_id}/workspace",
        "workspace",
        "Workspace",
        WorkspaceQuery,
        read_workspace_page,
        menu="Collaborations",
        areas=frozenset({"work"}),
        is_private=True,
    ),
    View(
        "/health",
        "health",
        "Health",
        NoQuery,
        read_health,
        menu="Health",
        areas=frozenset({"health"}),
        again_s=3,
    ),
    View(
        "/health/dead",
        "dead_letters",
        "Dead letters",
        DeadLettersQuery,
        read_dead_letters,
        menu="Health",
        areas=frozenset({"health"}),
        again_s=5,
        is_private=True,
    ),
    View(
        "/health/audit",
        "audit",
        "Audit",
        AuditQuery,
        read_audit,
        menu="Health",
        areas=frozenset({"health"}),
        is_private=True,
    ),
    View(
        "/health/members",
        "members",
        "Members",
        PageQuery,
        read_members,
        menu="Health",
        areas=frozenset({"health", "fleet"}),
        is_private=True,
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
)

MENU = (
    ("Fleet", "/fleet"),
    ("Traffic", "/traffic"),
    ("Graph", "/graph"),
    ("Knowledge", "/knowledge"),
    ("Collaborations", "/collaborations"),
    ("Health", "/health"),
)
"""What stands in the navigation, and where it leads."""
