"""The lists of the best that an older coord left, by specialization; now they are by problem."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import redis

from coordinator.keys import Keys, RecordKey
from coordinator.specializations import CAPABILITIES
from coordinator.stored import replies_of
from coordinator.validation.models import VALIDATED_KINDS
from coordinator.validation.state import read_judged, read_listed
from coordinator.work_state import Renew, in_chunks

SPECIALIZATIONS = (*CAPABILITIES, "general")
"""What an older coord may have listed by; a joint component could be of none in particular."""


def list_by_problem(connection: redis.Redis, keys: Keys, renew: Renew) -> None:
    """List what passed by the problem of its verdict. No problem is called like a specialization,
    so a list of that name is an older coord's, and is gone afterwards."""
    for kind, specialization in product(VALIDATED_KINDS, SPECIALIZATIONS):
        older = keys.best(kind, specialization)
        listed = [RecordKey(kind, record_id) for record_id in read_listed(connection, older)]
        for records in in_chunks(listed, renew):
            _list(connection, keys, records)
        if listed:
            connection.delete(older)


def _list(connection: redis.Redis, keys: Keys, records: Sequence[RecordKey]) -> None:
    judged = read_judged(connection, keys, records)
    with connection.pipeline(transaction=False) as pipe:
        for record in records:
            problem, score = judged[record].problem, judged[record].score
            if judged[record].verdict == "passed" and problem and score is not None:
                pipe.zadd(keys.best(record.kind, problem), {record.id: score})
        replies_of(pipe)
