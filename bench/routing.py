"""What one coordinator carries: throughput, latency, joining, and what an AI costs.

    python -m bench.routing [--rounds 5]

Prints Markdown. What is compared runs in turns within one run, for a machine may change its speed.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from statistics import median
from typing import Any

import redis
from redis.client import Pipeline

from bench.machine import (
    MESSAGING_PACKAGES,
    Subscribers,
    connect_to,
    describe_machine,
    describe_server,
    percentile,
    throwaway_server,
)
from bench.trainers import KEYS, bench_fleet, fleet_on
from coordinator import AsyncClient, Settings
from coordinator.clock import RandomIds, SystemClock
from coordinator.connection import server_run_id
from coordinator.coordinator import Coordinator
from coordinator.doors import add_entry
from coordinator.messages import encode_message
from coordinator.status import read_status

SENDERS = 50
SUBSCRIBERS = 50
PREFILLED = 20_000
PAUSE_S = 2.0


def envelope(ai: str, message_type: str, payload: dict[str, Any]) -> str:
    return encode_message("1", ai, message_type, "2025-06-04T00:00:00", payload)


def pattern(ai: str, number: int, sent_ns: int = 0) -> dict[str, Any]:
    """One of ``ai``'s own: nobody may share another's anew."""
    data = {"sent_ns": sent_ns, "parameters": [round(0.1 * i, 1) for i in range(20)]}
    return {"pattern": {"id": f"{ai}.{number}", "type": "bench", "confidence": 0.9, "data": data}}


def send(pipe: Pipeline, ai: str, n: int, message_type: str, payload: dict[str, Any]) -> None:
    add_entry(pipe, KEYS, ai, envelope(ai, message_type, payload), "bench", n)


def new_coordinator(connection: redis.Redis) -> Coordinator:
    coordinator = Coordinator(
        connection,
        Settings(leader_lease_s=600, lease_s=3600),  # it stands still while the ingress is filled
        SystemClock(),
        RandomIds(),
        "bench",
        lambda: server_run_id(connection),
    )
    assert coordinator.take_over()
    return coordinator


def drain(coordinator: Coordinator) -> None:
    """Step until nothing comes; one step may only find new doors."""
    while coordinator.step() or coordinator.step():
        pass


def join_all(connection: redis.Redis, coordinator: Coordinator, ais: list[str]) -> None:
    for start in range(0, len(ais), 500):
        with connection.pipeline(transaction=False) as pipe:
            for ai in ais[start : start + 500]:
                send(pipe, ai, 1, "hello", {"specialization": "networking"})
            pipe.execute()
        drain(coordinator)


def server_cpu_s(connection: redis.Redis) -> float:
    info = connection.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def wait_until_drained(subscribers: Subscribers, expected: int) -> int:
    count = 0
    ends_s = time.monotonic() + 60
    while count < expected and time.monotonic() < ends_s:
        count += len(subscribers.report())
    return count


def bench_throughput(rounds: int) -> None:
    """A prefilled ingress, routed; in turns with plain PUBLISH of the same bytes."""
    rows = []
    with throwaway_server() as url:
        connection = connect_to(url)
        machine = describe_machine(*MESSAGING_PACKAGES)
        print(f"Machine: {machine}; {describe_server(connection)} over a Unix socket.\n")
        coordinator = new_coordinator(connection)
        ais = [f"AI_{i}" for i in range(SENDERS)]
        join_all(connection, coordinator, ais)
        subscribers = Subscribers(url, KEYS.broadcast_channel, SUBSCRIBERS)
        n = 1
        for _ in range(rounds):
            with connection.pipeline(transaction=False) as pipe:
                for number in range(PREFILLED):
                    ai = ais[number % SENDERS]
                    send(pipe, ai, n + 1 + number // SENDERS, "pattern_share", pattern(ai, number))
                pipe.execute()
            n += PREFILLED // SENDERS
            subscribers.report()
            wall, cpu, server = time.perf_counter(), time.process_time(), server_cpu_s(connection)
            routed = 0
            while routed < PREFILLED:
                routed += coordinator.step()
            routing_s = time.perf_counter() - wall
            cpu_s, server_s = time.process_time() - cpu, server_cpu_s(connection) - server
            delivered = wait_until_drained(subscribers, PREFILLED * SUBSCRIBERS)
            publish_s = publish_plainly(connection)
            wait_until_drained(subscribers, PREFILLED * SUBSCRIBERS)
            rows.append((routing_s, cpu_s, server_s, publish_s, delivered))
        subscribers.close()
    print_throughput(rows)


def publish_plainly(connection: redis.Redis) -> float:
    body = envelope("AI_0", "pattern_share", pattern("AI_0", 1))
    start_s = time.perf_counter()
    for _ in range(PREFILLED // 100):
        with connection.pipeline(transaction=False) as pipe:
            for _ in range(100):
                pipe.publish(KEYS.broadcast_channel, body)
            pipe.execute()
    return time.perf_counter() - start_s


def print_throughput(rows: list[tuple[float, float, float, float, int]]) -> None:
    size = len(envelope("AI_0", "pattern_share", pattern("AI_0", 1)))
    print(
        f"**Throughput.** {PREFILLED} pattern shares of {size} bytes from {SENDERS} AIs, to "
        f"{SUBSCRIBERS} subscribers; medians of {len(rows)} rounds in turns with plain PUBLISH.\n"
    )
    print("| | value |\n|---|---|")
    print(f"| messages/s, wall clock | {median(PREFILLED / row[0] for row in rows):,.0f} |")
    print(
        f"| messages/s per CPU second of the coordinator | "
        f"{median(PREFILLED / row[1] for row in rows):,.0f} |"
    )
    print(f"| CPU of the server, s a round | {median(row[2] for row in rows):.2f} |")
    print(f"| plain PUBLISH, messages/s | {median(PREFILLED / row[3] for row in rows):,.0f} |")
    print(f"| routing / plain PUBLISH | {median(row[3] / row[0] for row in rows):.2f} |")
    print(
        f"| delivered | {sum(row[4] for row in rows):,} of "
        f"{len(rows) * PREFILLED * SUBSCRIBERS:,} |\n"
    )


def bench_latency(seconds: float) -> None:
    print(f"**Latency**, from send to receipt by {SUBSCRIBERS} subscribers, {seconds:g} s each.\n")
    print("| messages/s | p50, ms | p99, ms | delivered |\n|---|---|---|---|")
    for rate in (20, 1000, 2000):
        with bench_fleet() as fleet:
            connection = fleet.redis
            subscribers = Subscribers(fleet.url, KEYS.broadcast_channel, SUBSCRIBERS)
            send_one(connection, 1, "hello", {"specialization": "networking"})
            wait_for_member(connection, "AI_0")
            sent = send_paced(connection, rate, seconds)
            time.sleep(PAUSE_S)
            latencies = subscribers.report()
            subscribers.close()
            print(
                f"| {rate:,} | {percentile(latencies, 0.5) * 1000:.1f} | "
                f"{percentile(latencies, 0.99) * 1000:.1f} | "
                f"{len(latencies):,} of {sent * SUBSCRIBERS:,} |"
            )
    print()


def send_one(connection: redis.Redis, n: int, message_type: str, payload: dict[str, Any]) -> None:
    with connection.pipeline(transaction=False) as pipe:
        send(pipe, "AI_0", n, message_type, payload)
        pipe.execute()


def wait_for_member(connection: redis.Redis, ai: str) -> None:
    while connection.zscore(KEYS.leases, ai) is None:
        time.sleep(0.01)


def send_paced(connection: redis.Redis, rate: int, seconds: float) -> int:
    start_s = time.monotonic()
    sent = 0
    heartbeat_s = start_s
    n = 1
    while sent < rate * seconds:
        due_s = start_s + sent / rate
        now_s = time.monotonic()
        if now_s < due_s:
            time.sleep(due_s - now_s)
        n += 1
        send_one(connection, n, "pattern_share", pattern("AI_0", sent, time.time_ns()))
        sent += 1
        if now_s - heartbeat_s > 4:
            n += 1
            heartbeat_s = now_s
            send_one(connection, n, "heartbeat", {})
    return sent


def bench_thirty() -> None:
    """30 AIs that send 5 messages each, all at once, through the real client."""
    with bench_fleet() as fleet:
        latencies, expected = asyncio.run(run_thirty(fleet.url))
    print("**30 AIs sending 5 messages each, at once**, through AsyncClient in one process.\n")
    print("| delivered | p50, ms | p99, ms |\n|---|---|---|")
    print(
        f"| {len(latencies):,} of {expected:,} | {percentile(latencies, 0.5) * 1000:.1f} | "
        f"{percentile(latencies, 0.99) * 1000:.1f} |\n"
    )


async def run_thirty(url: str) -> tuple[list[float], int]:
    clients = [AsyncClient(f"AI_{i}", url, specialization="networking") for i in range(30)]
    for client in clients:
        await client.connect()
    latencies: list[float] = []
    expected = 30 * 29 * 5

    async def listen(client: AsyncClient) -> None:
        count = 0
        while count < 29 * 5:
            message = await client.receive()
            assert message is not None
            if message.message_type == "pattern_share":
                sent_ns = message.payload["pattern"]["data"]["sent_ns"]
                latencies.append((time.time_ns() - sent_ns) / 1e9)
                count += 1

    async def talk(client: AsyncClient) -> None:
        for number in range(5):
            await client.share_pattern(pattern(client.ai_id, number, time.time_ns())["pattern"])

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(listen(client))
            tasks.create_task(talk(client))
    for client in clients:
        await client.close()
    return latencies, expected


def bench_joining(rounds: int) -> None:
    """How long a hello takes to be answered, with an empty and with a full knowledge base."""
    with throwaway_server() as empty_url, throwaway_server() as full_url:
        fill(connect_to(full_url), 100_000)
        with fleet_on(empty_url), fleet_on(full_url):
            for url in (empty_url, full_url):
                asyncio.run(share_few(url))
            pairs = [(join_s(empty_url, i), join_s(full_url, i)) for i in range(rounds * 4)]
    print(
        f"**Joining**, from connect to training_sync ({Settings().sync_keep} newest patterns "
        f"in it); medians of {len(pairs)} joins in turns.\n"
    )
    print("| patterns known | ms |\n|---|---|")
    print(f"| {Settings().sync_keep} | {median(pair[0] for pair in pairs) * 1000:.1f} |")
    print(f"| 100,000 | {median(pair[1] for pair in pairs) * 1000:.1f} |")
    print(f"| ratio | {median(pair[1] / pair[0] for pair in pairs):.2f} |\n")


def fill(connection: redis.Redis, count: int) -> None:
    coordinator = new_coordinator(connection)
    join_all(connection, coordinator, ["AI_0"])
    for start in range(0, count, 10_000):
        with connection.pipeline(transaction=False) as pipe:
            for number in range(start, start + 10_000):
                send(pipe, "AI_0", number + 2, "pattern_share", pattern("AI_0", number))
            send(pipe, "AI_0", 0, "heartbeat", {})
            pipe.execute()
        drain(coordinator)
    coordinator.leave()


async def share_few(url: str) -> None:
    async with AsyncClient("AI_few", url) as client:
        for number in range(Settings().sync_keep):
            await client.share_pattern(pattern(client.ai_id, number)["pattern"])
        await client.confirm()


def join_s(url: str, number: int) -> float:
    async def join() -> float:
        client = AsyncClient(f"AI_new_{number}", url)
        start_s = time.perf_counter()
        await client.connect()
        taken_s = time.perf_counter() - start_s
        await client.close()
        return taken_s

    return asyncio.run(join())


def bench_many(count: int) -> None:
    """What 10,000 AIs cost: memory, an idle round, and looking at them."""
    with throwaway_server() as url:
        connection = connect_to(url)
        coordinator = new_coordinator(connection)
        before = int(connection.info("memory")["used_memory"])
        join_all(connection, coordinator, [f"AI_{i}" for i in range(count)])
        connection.delete(KEYS.log, KEYS.events)
        with connection.pipeline(transaction=False) as pipe:
            for i in range(count):
                pipe.xtrim(KEYS.inbox(f"AI_{i}"), maxlen=0)
                pipe.memory_usage(KEYS.ai(f"AI_{i}"))
            sizes = [int(size) for size in pipe.execute()[1::2]]
        after = int(connection.info("memory")["used_memory"])
        looks = [
            timed(lambda: read_status(connection, KEYS, time.time_ns() // 10**6)) for _ in range(5)
        ]
        idle = [timed(coordinator.step) for _ in range(5)]
    print(f"**{count:,} AIs**\n\n| | value |\n|---|---|")
    print(f"| bytes of a registry hash | {median(sizes):,.0f} |")
    print(f"| bytes per AI in all, its messages aside | {(after - before) / count:,.0f} |")
    print(f"| reading the whole status | {median(looks) * 1000:.0f} ms |")
    print(f"| an idle round of the coordinator | {median(idle) * 1000:.1f} ms |\n")


def timed(action: Any) -> float:
    start_s = time.perf_counter()
    action()
    return time.perf_counter() - start_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    bench_throughput(arguments.rounds)
    bench_latency(arguments.seconds)
    bench_thirty()
    bench_joining(arguments.rounds)
    bench_many(10_000)


if __name__ == "__main__":
    main()
