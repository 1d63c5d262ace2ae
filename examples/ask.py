"""Ask for work by a plan of your own: texts are counted by whoever has the skill."""

from coordinator import Client

TEXTS = {"one": "to be or not to be", "two": "be that as it may"}
PLAN = [{"name": n, "kind": "count_words", "inputs": {"text": t}} for n, t in TEXTS.items()]
PLAN.append({"name": "all", "kind": "count_words", "needs": list(TEXTS)})

with Client("AI_asker") as client:
    done = client.collaborate("feature_development", participants=1, plan=PLAN, wait_s=90)
    print(done.status, done.result or done.reason)
