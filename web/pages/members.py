"""Who was ever enrolled, and by which tokens they come."""

from __future__ import annotations

from coordinator.reads import Item
from web.handlers import members
from web.pages.look import Look
from web.parameters import PageQuery


def read_members(look: Look, query: PageQuery) -> Item:
    return {"members": members(look.reader, query), "now_ms": look.reader.clock.now_ms()}
