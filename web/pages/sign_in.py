"""Signing in by a token, and signing out."""

from __future__ import annotations

from pydantic import Field
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from coordinator.credentials import TOKEN_MAX
from web.access import Tokens, address_of
from web.answers import ApiError, headers_of
from web.cookies import forget_key, keep_key, read_key
from web.forms import HOME, Form, ReturnQuery, SignedForm, check_form_key, local_path
from web.pages.templates import Templates
from web.parameters import parse_query
from web.sign_ins import LASTS_S, SignIns
from web.visitor import visitor_of

NO_PEPPER = (
    "nobody can sign in here: this process has no pepper, by which tokens are checked. Enroll"
    " somebody where `coord serve` runs, which makes one, or set COORD_PEPPER to the fleet's; then"
    " start the dashboard again"
)


class SignInForm(ReturnQuery):
    """The token that is signed in by."""

    token: str = Field(max_length=TOKEN_MAX, repr=False)


class SignInPage:
    """``tokens`` is None where no token can be checked: then nobody can sign in."""

    def __init__(self, tokens: Tokens | None, sign_ins: SignIns, templates: Templates) -> None:
        self._tokens = tokens
        self._sign_ins = sign_ins
        self._templates = templates

    def show(self, request: Request) -> Response:
        query = parse_query(ReturnQuery, {}, request.query_params.multi_items())
        return self._form(request, query.to)

    def sign_in(self, form: Form) -> Response:
        """Whoever was signed in by this browser is no longer, so that no key outlives its use."""
        request = form.request
        if self._tokens is None:
            raise ApiError("forbidden", NO_PEPPER)
        given = parse_query(SignInForm, {}, form.fields)
        token = given.token.strip()
        try:
            owner = self._tokens.check(token, address_of(request))
        except ApiError as error:
            return self._form(request, given.to, error)
        self._end(request)
        key = self._sign_ins.begin(owner.ai, owner.role, self._tokens.digest(token))
        answer = RedirectResponse(local_path(given.to), 303)
        keep_key(answer, request, key)
        return answer

    def sign_out(self, form: Form) -> Response:
        request = form.request
        sign_in = visitor_of(request).sign_in
        if sign_in is not None:
            check_form_key(sign_in, parse_query(SignedForm, {}, form.fields).form_key)
        self._end(request)
        answer = RedirectResponse(HOME, 303)
        forget_key(answer, request)
        return answer

    def _end(self, request: Request) -> None:
        self._sign_ins.end(read_key(request))

    def _form(self, request: Request, to: str, error: ApiError | None = None) -> Response:
        values = {
            "title": "Sign in",
            "to": local_path(to),
            "error": error,
            "refusal": None if self._tokens else ApiError("forbidden", NO_PEPPER),
            "lasts_h": LASTS_S // 3600,
            "token_max": TOKEN_MAX,
        }
        status, headers = (error.status, headers_of(error)) if error else (200, {})
        return self._templates.answer(
            request, "sign_in.html", values, status=status, headers=headers
        )
