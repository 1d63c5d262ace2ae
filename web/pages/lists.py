"""The lists of the API that operators look through: dead letters, the audit, and members."""

from __future__ import annotations

from typing import get_args

from coordinator.audit import AuditKind
from coordinator.reads import Item
from web import handlers
from web.pages.look import Look
from web.parameters import AuditFilter, AuditQuery, CursorQuery, PageQuery

LETTERS = 20
ROWS = 50


class AuditPageQuery(AuditFilter, CursorQuery):
    """Which events of the audit."""


def dead_letters_page(look: Look, query: CursorQuery) -> Item:
    """Messages that broke their handler."""
    asked = PageQuery(limit=LETTERS, cursor=query.cursor)
    return {"letters": handlers.dead_letters(look.reader, asked)}


def audit_page(look: Look, query: AuditPageQuery) -> Item:
    """Who was let in, what was refused, and what operators did."""
    asked = AuditQuery(limit=ROWS, **query.model_dump())
    return {
        "events": handlers.audit(look.reader, asked),
        "query": query,
        "kinds": get_args(AuditKind),
    }


def members_page(look: Look, query: CursorQuery) -> Item:
    """Who was ever enrolled, and by which tokens they come."""
    asked = PageQuery(limit=ROWS, cursor=query.cursor)
    return {
        "members": handlers.members(look.reader, asked),
        "now_ms": look.reader.clock.now_ms(),
    }
