"""The page of an action: what will happen, and the button that has it done."""

from __future__ import annotations

import logging
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from coordinator.clock import Ids
from coordinator.errors import BadMessage, CoordError, NotAnswered, Refused
from coordinator.messages import one_line
from web.actions import ACTIONS, Action, ActionQuery, act
from web.answers import ApiError
from web.fleet_reader import FleetReader
from web.forms import Form, FormKey, check_form_key, local_path
from web.pages.templates import Templates, address_of_page
from web.pages.urls import SIGN_IN, page_url
from web.parameters import parse_query
from web.sign_ins import SignIn
from web.visitor import visitor_of

log = logging.getLogger("coord.http")

FORM_ID_PATTERN = r"^[0-9a-f]{32}$"


class Order(FormKey):
    """What a form of an action brings besides what is to be acted on."""

    form_id: Annotated[str, Field(pattern=FORM_ID_PATTERN)]
    reason: str = Field("", max_length=500)


class OneId:
    """The id of a form, always: what is sent twice by one form is the same message."""

    def __init__(self, form_id: str) -> None:
        self._form_id = form_id

    def new(self) -> str:
        return self._form_id


class ActingPage:
    """For those who have signed in as operators."""

    def __init__(self, reader: FleetReader, ids: Ids, templates: Templates) -> None:
        self._reader = reader
        self._ids = ids
        self._templates = templates

    def show(self, request: Request) -> Response:
        action = _action_of(request)
        query = parse_query(action.query, {}, request.query_params.multi_items())
        if not visitor_of(request).may_act:
            return RedirectResponse(page_url(SIGN_IN, to=address_of_page(request)), 303)
        return self._page(request, action, query)

    def act(self, form: Form) -> Response:
        """Sends the message and leads back to where its form was asked for."""
        action = _action_of(form.request)
        sign_in = visitor_of(form.request).sign_in
        if sign_in is None or sign_in.role != "operator":
            raise ApiError("forbidden", "only who has signed in as an operator may act")
        of_order = [one for one in form.fields if one[0] in Order.model_fields]
        order = parse_query(Order, {}, of_order)
        check_form_key(sign_in, order.form_key)
        of_subject = [one for one in form.fields if one not in of_order]
        query = parse_query(action.query, {}, of_subject)
        try:
            self._act(action, query, order, sign_in)
        except (Refused, BadMessage, NotAnswered) as error:
            return self._page(form.request, action, query, order, error)
        return RedirectResponse(local_path(query.to), 303)

    def _act(self, action: Action, query: ActionQuery, order: Order, sign_in: SignIn) -> None:
        subject, ids = action.subject_of(query), OneId(order.form_id)
        left = act(action, self._reader, ids, subject, order.reason, sign_in.name)
        log.info("%s %s %s by the dashboard", sign_in.name, action.done, subject)
        sign_in.notice = ". ".join([f"You {action.done} {subject}", *left])

    def _page(
        self,
        request: Request,
        action: Action,
        query: ActionQuery,
        order: Order | None = None,
        error: CoordError | None = None,
    ) -> Response:
        """After an ``error`` it says so, and what was asked can be asked again."""
        subject = action.subject_of(query)
        values = {
            "title": f"{action.title} {subject}",
            "action": action,
            "subject": subject,
            "facts": action.read(self._reader, subject) if error is None else [],
            "to": local_path(query.to),
            "reason": order.reason if order else "",
            "form_id": self._ids.new(),
            "error": error,
            "is_queued": isinstance(error, NotAnswered),
        }
        status = 200 if error is None else 503 if isinstance(error, NotAnswered) else 409
        return self._templates.answer(request, "action.html", values, status=status)


def _action_of(request: Request) -> Action:
    name = request.path_params["name"]
    if name not in ACTIONS:
        known = ", ".join(ACTIONS)
        raise ApiError("not_found", f"{one_line(name, 100)!r} is no action; known are {known}")
    return ACTIONS[name]
