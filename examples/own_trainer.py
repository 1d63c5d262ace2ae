"""A trainer of your own: it measures how fast this machine sorts, shares that, and listens."""

from functools import partial
from random import random
from timeit import timeit

from coordinator import Client

with Client("AI_sorter", specialization="performance") as client:
    numbers = [random() for _ in range(10_000)]
    seconds = {n: timeit(partial(sorted, numbers[:n]), number=20) / 20 for n in (1_000, 10_000)}
    client.share_pattern({"id": "sort_seconds", "type": "timing", "data": seconds})
    client.share_code({"id": "sorter", "name": "sorter", "code": "sort = sorted"})
    client.report("sorter", {f"seconds_{n}": value for n, value in seconds.items()})
    client.confirm()
    print("shared:", {n: f"{value * 1e6:.0f} us" for n, value in seconds.items()})
    while message := client.receive(timeout_s=30):
        shared = message.payload.get("pattern", {})
        print(message.sender_id, message.message_type, shared.get("id", ""))
