"""Who gets in: found out once for each request."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from web.access import NO_TOKEN, Tokens, address_of, bearer_token
from web.answers import ApiError
from web.cookies import read_key
from web.guards import Guard
from web.sign_ins import SignIn, SignIns
from web.visitor import ANYBODY, NOBODY, Visitor


class Admission(Guard):
    """Finds out who asks, which stands in the scope as ``visitor``: by a token in the header, or by
    the cookie of who signed in. Without either nobody gets further where tokens are asked for, but
    to what is open."""

    def __init__(
        self,
        app: ASGIApp,
        tokens: Tokens | None,
        sign_ins: SignIns,
        is_open: Callable[[str], bool],
        *,
        asks_token: bool,
    ) -> None:
        super().__init__(app)
        self._tokens = tokens
        self._sign_ins = sign_ins
        self._is_open = is_open
        self._asks_token = asks_token

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        find = partial(self._visitor, HTTPConnection(scope))
        asks_server = self._tokens is not None and not self._is_open(scope["path"])
        scope["visitor"] = await run_in_threadpool(find) if asks_server else find()
        scope["find_visitor"] = find
        await self._app(scope, receive, send)

    def _visitor(self, request: HTTPConnection) -> Visitor:
        anybody = NOBODY if self._asks_token else ANYBODY
        if self._tokens is None or self._is_open(request.scope["path"]):
            return anybody
        sign_in = self._sign_ins.find(read_key(request))
        if sign_in is not None and self._is_in_force(sign_in):
            sees_all = not self._asks_token or sign_in.role == "operator"
            return Visitor(sees_all, sign_in)
        if not self._asks_token:
            return anybody
        token = bearer_token(request.headers.get("authorization", ""))
        if token is None:
            raise ApiError("no_token", NO_TOKEN)
        return Visitor(sees_all=self._tokens.check(token, address_of(request)).role == "operator")

    def _is_in_force(self, sign_in: SignIn) -> bool:
        """What a token can be revoked for ends what was begun by it, too."""
        owner = self._tokens.find(sign_in.token_digest) if self._tokens else None
        return owner is not None and owner.role == sign_in.role
