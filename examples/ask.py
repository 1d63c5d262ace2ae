"""Ask for work by a plan of your own: texts are counted by whoever has the skill."""

import asyncio
from typing import Any

from coordinator import AsyncClient

TEXTS = {"one": "to be or not to be", "two": "be that as it may"}
PLAN = [
    *({"name": name, "kind": "count_words", "inputs": {"text": t}} for name, t in TEXTS.items()),
    {"name": "all", "kind": "count_words", "needs": list(TEXTS)},
]


async def main() -> None:
    async with AsyncClient("AI_asker") as client:
        request: dict[str, Any] = {"type": "feature_development", "participants": 1, "plan": PLAN}
        message_id = await client.send("collaboration_request", request)
        async for message in client.messages():
            told = message.payload
            if told.get("in_reply_to") == message_id:
                print(message.message_type, told.get("status"), told.get("result"), flush=True)
                if told.get("status") not in ("pending", "active"):
                    return


asyncio.run(main())
