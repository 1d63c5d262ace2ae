"""Two AIs of your own work together: run `python examples/together.py answer`, and beside it `ask`.

One asks the other by name, and puts a text where both can read it. The other counts its words, and
what comes of that ends the collaboration.
"""

import sys
from collections import Counter

from coordinator import Client


def ask(client: Client) -> None:
    asked = client.collaborate("feature_development", target_ai="AI_answer")
    for message in client.messages():
        if message.message_type == "collaboration_update":
            told = message.payload
            print(told["status"], told["reason"], flush=True)
            if told["status"] == "active":
                client.put_workspace(asked.session_id, "text", "to be or not to be")
            elif told["status"] == "completed":
                made = client.query("features", {"id": told["component_id"]}).items[0]
                print(made["component"]["words"])
            if told["status"] not in ("pending", "active"):
                return


def answer(client: Client) -> None:
    for message in client.messages():
        session_id = message.payload.get("session_id", "")
        if message.message_type == "collaboration_request" and message.sender_id == "AI_ask":
            client.answer(session_id, accept=True)
        elif message.message_type == "workspace_update":
            text = client.get_workspace(session_id)["text"].value
            client.complete(session_id, {"name": "count", "words": Counter(text.split())})
            client.confirm()  # or it could leave before that has taken effect
            return


with Client(f"AI_{sys.argv[1]}") as client:
    {"ask": ask, "answer": answer}[sys.argv[1]](client)
