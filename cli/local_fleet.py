"""What `coord up` and `coord demo` have in common: a fleet of processes that is started here."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable

from cli.children import Child
from cli.options import OpenFleet
from cli.orders import tell
from cli.output import complain
from coordinator.enrolled import read_access
from coordinator.errors import CoordError
from coordinator.waiting import POLL_S
from workers.problems import PROBLEMS


def trainer_ids(count: int) -> list[str]:
    return [f"AI_Node_{i + 1}" for i in range(count)]


def each_in_turn(count: int) -> list[str]:
    """Specializations of ``count`` trainers: those that there is something to train for."""
    return [PROBLEMS[i % len(PROBLEMS)].specialization for i in range(count)]


def validator_ids(count: int) -> list[str]:
    return [f"Validator_{i + 1}" for i in range(count)]


def enroll_validator(fleet: OpenFleet, ai_id: str) -> bool:
    """Enroll ``ai_id``, to send verdicts and nothing else; whether that was still to be done.

    It works on the server and logs in nowhere, so its key is of no token. Raises CoordError for one
    that is something else, or was shut out: that is for people to undo. Raises Refused,
    NotAnswered.
    """
    access = read_access(fleet.connection, fleet.keys, ai_id)
    if access is not None and access.is_validator:
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


def check_alive(children: Iterable[Child], cure: str) -> None:
    """Raises CoordError for a child that has ended before its time, once its last lines are
    told."""
    for child in children:
        if not child.lives:
            for line in child.last_lines():
                complain(f"{child.name}: {line}")
            raise CoordError(f"{child.name} has ended early; its last lines are above; {cure}")


def wait_for(
    missing: Callable[[], str], check: Callable[[], None], limit_s: float, cure: str
) -> None:
    """Wait until nothing is ``missing``, which says in words what is, while ``check`` raises
    nothing. Raises CoordError after ``limit_s``."""
    ends_s = time.monotonic() + limit_s
    while True:
        check()
        what = missing()
        if not what:
            return
        if time.monotonic() > ends_s:
            raise CoordError(f"waited {limit_s:g} s in vain for {what}; {cure}")
        time.sleep(POLL_S)
