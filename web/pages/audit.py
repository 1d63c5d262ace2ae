"""Who was let in, what was refused, and what operators did."""

from __future__ import annotations

from typing import get_args

from coordinator.audit import AuditKind
from coordinator.reads import Item
from web.handlers import audit
from web.pages.look import Look
from web.parameters import AuditQuery


def read_audit(look: Look, query: AuditQuery) -> Item:
    return {"events": audit(look.reader, query), "query": query, "kinds": get_args(AuditKind)}
