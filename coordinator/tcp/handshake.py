"""The handshake: what a client shows to a gateway, and whether that lets it in."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from pydantic import SecretStr

from coordinator.errors import EXPELLED_CODES, refusal
from coordinator.messages import Cursor, to_json
from coordinator.tcp.link import object_in
from coordinator.tcp.login import Login

FINAL_CODES = frozenset({"bad_handshake", "bad_login", "id_taken"}) | EXPELLED_CODES
"""What a gateway refuses for good; anything else may pass."""


class HungUp(Exception):
    """The connection ended where an answer was due."""


async def shake_hands(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    login: Login,
    token: SecretStr,
    since: Cursor | None,
) -> dict[str, Any]:
    """What the gateway says to our login when it lets us in.

    Raises HungUp, ConnectionError for what may pass, Refused or IdTaken for what will not;
    ValueError, KeyError and TypeError when it is no gateway that answers.
    """
    handshake: dict[str, Any] = {
        "ai_id": login.ai_id,
        "token": token.get_secret_value(),
        "ack": True,
        "instance": login.instance,
    }
    if since is not None:
        handshake["since"] = since.model_dump()
    try:
        writer.write(to_json(handshake).encode() + b"\n")
        await writer.drain()
        line = await reader.readline()
    except (ConnectionError, ssl.SSLError):
        raise HungUp from None
    if not line.endswith(b"\n"):
        raise HungUp
    answer = object_in(line)
    if answer.get("ok") is True:
        return answer
    payload = answer["payload"]
    if payload["code"] in FINAL_CODES:
        raise refusal(payload)
    raise ConnectionError(f"the gateway cannot let us in now: {payload['detail']}")
