"""What was sent to a gateway, and may not have come to the coordinator."""

from __future__ import annotations

from collections import OrderedDict

MAX_UNCONFIRMED = 400
MAX_UNCONFIRMED_BYTES = 8 * 1024 * 1024
MAX_ASKED = 100


class Unconfirmed:
    """Messages by their ids, in the order in which they were sent.

    A gateway gives no receipts. What is sent is kept until a query that was sent after it is
    answered, for what comes by one ingress is dealt with in its order.
    """

    def __init__(self) -> None:
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._asked: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._bodies)

    @property
    def is_full(self) -> bool:
        return len(self._bodies) >= MAX_UNCONFIRMED or self._bytes > MAX_UNCONFIRMED_BYTES

    @property
    def ids(self) -> set[str]:
        return set(self._bodies)

    @property
    def bodies(self) -> list[bytes]:
        return list(self._bodies.values())

    def add(self, message_id: str, body: bytes) -> None:
        self._bodies[message_id] = body
        self._bytes += len(body)

    def take_out(self, message_id: str) -> bytes:
        """It is confirmed, or was not taken; its body, b"" if it is none that is kept."""
        body = self._bodies.pop(message_id, b"")
        self._bytes -= len(body)
        return body

    def note_query(self, query_id: str) -> None:
        """A query is sent now, after all that is kept."""
        self._asked[query_id] = next(reversed(self._bodies), "")
        if len(self._asked) > MAX_ASKED:
            self._asked.popitem(last=False)

    def confirm_before(self, query_id: str) -> None:
        """That query is answered."""
        last = self._asked.pop(query_id, "")
        while last in self._bodies:
            self.take_out(next(iter(self._bodies)))
