"""How one AI joins: a hello, said until it is answered."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from redis import RedisError

from coordinator.gateway.hub_message import answering, read_hub_message
from coordinator.gateway.shared import Shared
from coordinator.gateway.stream import Item, read_newest
from coordinator.messages import encode_probe

log = logging.getLogger("coord.gateway")

TAKEN_WAIT_S = 3.5
"""How long the id may be held by somebody else, who is tried meanwhile, before it is refused."""
TAKEN_PAUSE_S = 0.5
FIRST_POLL_S = 1.0
LONGEST_POLL_S = 30.0
POLLS_PER_HELLO = 4
MAX_KNOWN = 100

Say = Callable[[str], None]
Joined = Callable[[dict[str, Any], Item], None]


class Introduction:
    """``say`` says hello under a message_id, ``joined`` is told the training_sync that answers it.

    The answer is pushed; one that was lost is found in the inbox. A first hello goes by the
    client's own message_id, which may have been answered in other days: only what is in the inbox
    after ``floor`` counts then.
    """

    def __init__(self, ai: str, floor: int, say: Say, joined: Joined, shared: Shared) -> None:
        self._ai = ai
        self._floor = floor
        self._say = say
        self._joined = joined
        self._shared = shared
        self._asking = ""
        self._answered: asyncio.Future[Item | None] | None = None
        self._known: OrderedDict[str, str | None] = OrderedDict()

    # -- asking ------------------------------------------------------------------------------------

    async def make(self, asked: str | None) -> Item | None:
        """Join; the refusal, if there is one. ``asked`` is the message_id of the client's hello,
        None if the gateway says it by itself.

        While another instance holds the id, its gateway is asked whether it is still there.
        """
        message_id, floor = asked or self._shared.ids.new(), self._floor if asked else 0
        taken_since_s: float | None = None
        while True:
            refusal = await self._ask(message_id, asked, floor)
            if refusal is None:
                return None
            now_s = self._shared.clock.elapsed_s()
            taken_since_s = taken_since_s or now_s
            code = json.loads(refusal.line)["payload"]["code"]
            if code != "id_taken" or now_s - taken_since_s > TAKEN_WAIT_S:
                return refusal
            await self._ask_the_holder()
            await asyncio.sleep(TAKEN_PAUSE_S)
            message_id, floor = self._shared.ids.new(), 0

    async def _ask(self, message_id: str, asked: str | None, floor: int) -> Item | None:
        """Say hello, again under another id when nobody answers; the refusal, if it is one."""
        poll_s = FIRST_POLL_S
        while True:
            answered = asyncio.get_running_loop().create_future()
            self._asking, self._answered = message_id, answered
            self.expect(message_id, asked)
            self._say(message_id)
            for _ in range(POLLS_PER_HELLO):
                try:
                    async with asyncio.timeout(poll_s):
                        return await asyncio.shield(answered)
                except TimeoutError:
                    await self._look_for_answer(floor)
            poll_s = min(LONGEST_POLL_S, poll_s * 2)
            message_id, floor = self._shared.ids.new(), 0

    async def _look_for_answer(self, floor: int) -> None:
        shared = self._shared
        try:
            async with shared.reads:
                items = await read_newest(shared.redis, shared.keys.inbox(self._ai), floor)
        except (RedisError, OSError):
            return
        for item in items:
            self.take(item)

    async def _ask_the_holder(self) -> None:
        """Whichever gateway has the AI tries whether it is still there."""
        probe = encode_probe(self._shared.gateway_id)
        try:
            await self._shared.redis.publish(self._shared.keys.channel(self._ai), probe)
        except (RedisError, OSError) as error:
            log.info("could not ask who holds %s: %s", self._ai, error)

    # -- answers -----------------------------------------------------------------------------------

    def take(self, item: Item) -> None:
        """What the AI is told while it joins: it may be the answer."""
        if self._answered is None or self._answered.done():
            return
        message = read_hub_message(item.line)
        if message is None or message["payload"].get("in_reply_to") != self._asking:
            return
        if message["message_type"] == "error":
            self._answered.set_result(item)
        elif message["message_type"] == "training_sync":
            self._answered.set_result(None)
            self._joined(message["payload"], item)

    def expect(self, message_id: str, asked: str | None) -> None:
        """That hello is ours; its answer is shown as one to ``asked``, or not at all."""
        self._known[message_id] = asked
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def is_ours(self, in_reply_to: str) -> bool:
        return in_reply_to in self._known

    def shown(self, in_reply_to: str, line: bytes) -> bytes:
        """What the client sees of the answer to a hello of ours: it, once, if it asked for it."""
        asked, self._known[in_reply_to] = self._known[in_reply_to], None
        return answering(line, asked) if asked else b""
