"""The page of an action: what will happen, and the button that has it done."""

from __future__ import annotations

import hashlib
import logging
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from coordinator.clock import Ids
from coordinator.errors import BadMessage, CoordError, NotAnswered, Refused
from coordinator.messages import one_line
from web.actions import ACTIONS, Action
from web.answers import ApiError
from web.fleet_reader import FleetReader
from web.forms import Form, ReturnQuery, SignedForm, check_form_key, local_path
from web.pages.templates import Templates, address_of_page
from web.pages.urls import SIGN_IN, page_url
from web.parameters import parse_query
from web.sign_ins import SignIn
from web.visitor import visitor_of

log = logging.getLogger("coord.http")

FORM_ID_PATTERN = r"^[0-9a-f]{32}$"


class ActionForm(SignedForm):
    """What a form of an action brings besides what is to be acted on."""

    form_id: Annotated[str, Field(pattern=FORM_ID_PATTERN)]
    reason: str = Field("", max_length=500)


class OneId:
    """The id of what one form asks for, always: sent twice it is the same message. The same
    ``form_id`` with anything else in the form is another."""

    def __init__(self, form_id: str, *asked: str) -> None:
        self._id = hashlib.sha256("\n".join((form_id, *asked)).encode()).hexdigest()[:32]

    def new(self) -> str:
        return self._id


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
        of_form = [one for one in form.fields if one[0] in ActionForm.model_fields]
        given = parse_query(ActionForm, {}, of_form)
        check_form_key(sign_in, given.form_key)
        of_subject = [one for one in form.fields if one not in of_form]
        query = parse_query(action.query, {}, of_subject)
        try:
            self._act(action, query, given, sign_in)
        except (Refused, BadMessage, NotAnswered) as error:
            return self._page(form.request, action, query, given, error)
        return RedirectResponse(local_path(query.to), 303)

    def _act(self, action: Action, query: ReturnQuery, given: ActionForm, sign_in: SignIn) -> None:
        subject = action.subject_of(query)
        ids = OneId(given.form_id, given.form_key, action.name, subject)
        left = action.act(self._reader, ids, subject, given.reason, sign_in.name)
        log.info("%s %s %s by the dashboard", sign_in.name, action.done, one_line(subject, 100))
        sign_in.notice = ". ".join([f"You {action.done} {subject}", *left])

    def _page(
        self,
        request: Request,
        action: Action,
        query: ReturnQuery,
        given: ActionForm | None = None,
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
            "reason": given.reason if given else "",
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
