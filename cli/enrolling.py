"""The AIs of a fleet that is started here: their ids, and validators enrolled as such."""

from __future__ import annotations

import secrets

from cli.options import OpenFleet
from cli.orders import tell
from coordinator.enrolled import read_access
from coordinator.errors import CoordError
from workers.validator import is_validator


def trainer_ids(count: int) -> list[str]:
    return [f"AI_Node_{i + 1}" for i in range(count)]


def validator_ids(count: int) -> list[str]:
    return [f"Validator_{i + 1}" for i in range(count)]


def enroll_validator(fleet: OpenFleet, ai_id: str) -> bool:
    """Enroll ``ai_id``, to send verdicts and nothing else; whether that was still to be done.

    It works on the server and logs in nowhere, so its key is of no token. Raises CoordError for one
    that is something else, or was shut out: that is for people to undo. Raises Refused,
    NotAnswered.
    """
    access = read_access(fleet.connection, fleet.keys, ai_id)
    if is_validator(access):
        return False
    if access is not None:
        found = "was shut out" if access.is_revoked else f"is enrolled as {access.role}"
        raise CoordError(
            f"{ai_id} {found}: `coord enroll {ai_id} --role validator` makes it a validator"
        )
    order = {"ai": ai_id, "role": "validator", "message_types": ["validation_result"]}
    key = {"key_id": f"none{secrets.token_hex(2)}", "digest": secrets.token_hex(32)}
    tell(fleet, "enroll", order | key)
    return True
