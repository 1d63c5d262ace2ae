"""Who asks, and what for: decided once for each request, by web/admission.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from web.answers import ApiError
from web.sign_ins import SignIn


@dataclass(frozen=True)
class Visitor:
    """``sees_all`` is of operators, and of everybody where no token is asked for. Who may act has
    signed in as an operator: nothing that a browser does by itself is enough."""

    sees_all: bool
    sign_in: SignIn | None = None

    @property
    def name(self) -> str:
        """ "" for who has not signed in."""
        return self.sign_in.name if self.sign_in else ""

    @property
    def may_act(self) -> bool:
        return self.sign_in is not None and self.sign_in.role == "operator"

    def check_sees_all(self, what: str = "this is") -> None:
        """Raises ApiError ``forbidden``."""
        if not self.sees_all:
            raise ApiError("forbidden", f"{what} for operators: the token is of an observer")


NOBODY = Visitor(sees_all=False)
ANYBODY = Visitor(sees_all=True)
"""Where no token is asked for."""


def visitor_of(request: HTTPConnection) -> Visitor:
    return cast(Visitor, request.scope.get("visitor", NOBODY))


def visitor_now(request: HTTPConnection) -> Visitor:
    """Who asks, looked up again: what a request was admitted by may be in force no more. Raises
    what the admission raises, and blocks."""
    return cast(Visitor, request.scope["find_visitor"]())
