"""One problem: what it is, and the best that the fleet made for it."""

from __future__ import annotations

from coordinator.reads import Item
from reports.palette import colours_of
from web.answers import ApiError
from web.pages.look import Look
from web.pages.records import read_best_rows
from web.parameters import Query, Word
from workers.ranking import PROBLEM_BY_NAME, problem_item

RANKED = 50


class ProblemQuery(Query):
    """Which problem."""

    name: Word


def read_problem(look: Look, query: ProblemQuery) -> Item:
    """Raises ApiError ``not_found``."""
    problem = PROBLEM_BY_NAME.get(query.name)
    if problem is None:
        detail = f"{query.name!r} is no problem; there are {', '.join(PROBLEM_BY_NAME)}"
        raise ApiError("not_found", detail, "name")
    rows = read_best_rows(look.reader, [problem.name], RANKED)[problem.name]
    about = problem_item(problem, None)
    shown = [*about["specializations"], *(row.specialization for row in rows)]
    return {
        "title": problem.name,
        "problem": about,
        "rows": rows,
        "colours": colours_of(shown),
    }
