"""What one AI has said through the gateway: numbered, and remembered until it is settled."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from coordinator.gateway.ingress_writer import IngressWriter

MAX_UNSETTLED_BYTES_PER_AI = 16 * 1024 * 1024


@dataclass
class _Sent:
    number: int
    message_id: str
    body: bytes
    is_unheeded: bool = False


class Outgoing:
    """The messages of one instance of an AI.

    One that the client named itself sends whole messages again when it comes back: they have no
    numbers, and a repeat is known by its message_id.
    """

    def __init__(self, ai: str, instance: str, is_named: bool, writer: IngressWriter) -> None:
        self._ai = ai
        self._instance = instance
        self._is_named = is_named
        self._writer = writer
        self._sent: deque[_Sent] = deque()
        self._sent_bytes = 0
        self._n = 0

    @property
    def is_full(self) -> bool:
        """Whether so much is not settled that others would have to wait for this AI."""
        return self._sent_bytes > MAX_UNSETTLED_BYTES_PER_AI

    @property
    def last_number(self) -> int:
        """The number, with the writer, of what was sent last; 0 if that is settled."""
        return self._sent[-1].number if self._sent else 0

    def send(self, message_id: str, body: bytes) -> None:
        self._n += 1
        n = None if self._is_named else self._n
        number = self._writer.add(body, self._instance, n, self._ai)
        self._sent.append(_Sent(number, message_id, body))
        self._sent_bytes += len(body)
        self.forget_settled()

    def note_unheeded(self, message_id: str) -> None:
        """It had no effect, for the AI was not registered. Of several under one id the newest are
        meant: once the AI is out, all are refused."""
        for sent in reversed(self._sent):
            if sent.message_id == message_id and not sent.is_unheeded:
                sent.is_unheeded = True
                return

    def send_again(self) -> None:
        """What had no effect, in the order it was said."""
        unheeded = [sent for sent in self._sent if sent.is_unheeded]
        for sent in unheeded:
            self._sent.remove(sent)
            self._sent_bytes -= len(sent.body)
        for sent in unheeded:
            self.send(sent.message_id, sent.body)

    def forget_settled(self) -> None:
        """An unheeded one is remembered all the same, until it is sent again."""
        while self._sent and self._sent[0].number <= self._writer.settled:
            if self._sent[0].is_unheeded:
                return
            self._sent_bytes -= len(self._sent.popleft().body)
