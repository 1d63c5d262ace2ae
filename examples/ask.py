"""Ask for work by a plan of your own: texts are counted by whoever has the skill."""

import asyncio
import sys

from coordinator import AsyncClient

TEXTS = {"one": "to be or not to be", "two": "be that as it may"}
PLAN = [
    {"name": name, "kind": "count_words", "inputs": {"text": text}} for name, text in TEXTS.items()
]


async def ask() -> dict[str, object]:
    """The last that is told of the session: how it ended, and what came out."""
    async with AsyncClient("AI_asker") as client:
        request = {"type": "feature_development", "participants": 1, "plan": PLAN}
        message_id = await client.send("collaboration_request", request)
        async for message in client.messages():
            told = message.payload
            if told.get("in_reply_to") == message_id:
                print(message.message_type, told.get("status"), told.get("detail", ""))
                if told.get("status") not in ("pending", "active"):
                    return told
    sys.exit("the client was closed")


print(asyncio.run(ask()).get("result"))
