"""Messages that broke their handler."""

from __future__ import annotations

from pydantic import Field

from coordinator.reads import Item
from web.handlers import dead_letters
from web.pages.look import Look
from web.parameters import PageQuery


class DeadLettersQuery(PageQuery):
    """Which page of them."""

    limit: int = Field(20, ge=1, le=100, description="At most so many items.")


def read_dead_letters(look: Look, query: DeadLettersQuery) -> Item:
    return {"letters": dead_letters(look.reader, query)}
