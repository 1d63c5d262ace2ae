"""What one gateway carries, next to Redis itself: latency by clients, and the most deliveries.

    python -m bench.gateway [--seconds 10] [--rounds 3]

Prints Markdown. Clients only drain their sockets, in a process of their own; the gateway, the
coordinator, the server and they share the machine. What is compared runs in turns.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.machine import (
    MESSAGING_PACKAGES,
    SENT,
    Subscribers,
    describe_machine,
    describe_server,
    percentile,
)
from bench.routing import pattern, send, send_one, send_paced, wait_for_member
from bench.trainers import KEYS, BenchFleet, bench_fleet
from coordinator.clock import RandomIds
from coordinator.credentials import digest, key_id_of, new_token, read_pepper
from coordinator.doors import add_entry
from coordinator.messages import OPERATOR, encode_message

CLIENTS = (1, 50, 200, 500)
RATE = 20
BURST_CLIENTS = 200
BURST = 5000
FILL = 10_000
FILLER = "AI_burst"
TIMESTAMP = "2025-06-04T00:00:00"
QUIET_S = 1.0
LIMIT_S = 120.0


class Drained(NamedTuple):
    """``lines`` that came to all clients, how long each was under way, and when the last came."""

    lines: int
    latencies_s: list[float]
    last_s: float


class TcpClients:
    """Clients of a gateway in a process of their own, which have joined and only count lines.

    One of them can be told to read no more. ``report`` tells what came since the last report.
    """

    def __init__(self, address: tuple[str, int], ais: list[str], token: str) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_drain, args=(address, ais, token, theirs), daemon=True
        )
        self._process.start()
        self._pipe.recv()

    def report(self) -> Drained:
        self._pipe.send("report")
        return Drained(*self._pipe.recv())

    def stop_one(self) -> None:
        self._pipe.send("stop one")

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def _drain(address: tuple[str, int], ais: list[str], token: str, pipe: Connection) -> None:
    selector = selectors.DefaultSelector()
    selector.register(pipe, selectors.EVENT_READ)
    tails: dict[socket.socket, bytes] = {}
    for ai in ais:
        one = _joined(address, ai, token)
        tails[one] = b""
        selector.register(one, selectors.EVENT_READ)
    pipe.send("ready")
    lines, last_s = 0, 0.0
    latencies: list[float] = []
    while True:
        for key, _ in selector.select():
            if key.fileobj is pipe:
                if pipe.recv() == "report":
                    pipe.send((lines, latencies, last_s))
                    lines, latencies = 0, []
                else:
                    selector.unregister(next(iter(tails)))
                continue
            client = key.fileobj
            assert isinstance(client, socket.socket)
            received = client.recv(1 << 20)
            if not received:
                selector.unregister(client)
                continue
            now_ns = time.time_ns()
            last_s = time.monotonic()
            lines += received.count(b"\n")
            data = tails[client] + received
            end = 0
            if len(received) < 1 << 16:  # in a burst counting is enough
                for found in SENT.finditer(data):
                    if found[1] != b"0":
                        latencies.append((now_ns - int(found[1])) / 1e9)
                    end = found.end()
            tails[client] = data[max(end, len(data) - 64) :]


def _joined(address: tuple[str, int], ai: str, token: str) -> socket.socket:
    """A connection that has had its training_sync."""
    one = socket.create_connection(address)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    hello = encode_message("1", ai, "hello", TIMESTAMP, {"specialization": "networking"})
    one.sendall(json.dumps({"ai_id": ai, "token": token}).encode() + b"\n" + hello.encode() + b"\n")
    told = b""
    while b'"training_sync"' not in told or not told.endswith(b"\n"):
        part = one.recv(1 << 16)
        if not part:
            raise SystemExit(f"{ai} was not let in: {told[:500]!r}")
        told += part
    return one


@contextmanager
def gateway_on(fleet: BenchFleet) -> Iterator[tuple[tuple[str, int], int]]:
    """A real ``coord gateway``: its address, and its process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address: tuple[str, int] = free.getsockname()
    listen = f"{address[0]}:{address[1]}"
    command = ["-m", "cli.main", "gateway", "--quiet", "--listen", listen]
    environment = {**fleet.settings.to_environment(), "COORD_REDIS_URL": fleet.url}
    process = fleet.start([sys.executable, *command], **environment)
    fleet.wait(lambda: _answers(address), "the gateway")
    yield address, process.pid
    process.terminate()
    process.wait()


def _answers(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address).close()
    except OSError:
        return False
    return True


def enroll(fleet: BenchFleet, ais: list[str]) -> str:
    """One token for all of them."""
    text = new_token().text
    hashed = digest(read_pepper(fleet.settings), text)
    instance = RandomIds().new()
    with fleet.redis.pipeline(transaction=False) as pipe:
        for n, ai in enumerate(ais, 1):
            asked: dict[str, Any] = {"ai": ai, "key_id": key_id_of(text, hashed), "digest": hashed}
            asked |= {"role": "trainer", "is_weak": False}
            body = encode_message(f"{n}", OPERATOR, "enroll", TIMESTAMP, asked)
            add_entry(pipe, KEYS, OPERATOR, body, instance, n)
        pipe.execute()
    last = KEYS.instance(OPERATOR, instance)
    fleet.wait(lambda: fleet.redis.get(last) == str(len(ais)).encode(), "all to be enrolled")
    return text


def cpu_s(pid: int) -> float:
    """What a process and its threads have used of a core."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- latency ---------------------------------------------------------------------------------------


class Latency(NamedTuple):
    p50_ms: float
    p99_ms: float
    per_s: float
    gateway_cpu: float


def bench_latency(seconds: float) -> None:
    print(
        f"**Latency**, from send to receipt, {RATE} broadcasts a second in all, {seconds:g} s "
        "each. The gateway's CPU is in percent of one core.\n"
    )
    print("| clients | transport | deliveries/s | p50, ms | p99, ms | gateway's CPU |")
    print("|---|---|---|---|---|---|")
    for count in CLIENTS:
        transports = [
            ("Redis", by_redis(count, seconds)),
            ("gateway", by_gateway(count, seconds, is_one_stopped=False)),
        ]
        if count > 1:
            stopped = by_gateway(count, seconds, is_one_stopped=True)
            transports.append(("gateway, one client reads no more", stopped))
        for transport, measured in transports:
            cpu = f"{measured.gateway_cpu:.1f} %" if transport != "Redis" else "-"
            print(
                f"| {count} | {transport} | {measured.per_s:,.0f} | {measured.p50_ms:.1f} | "
                f"{measured.p99_ms:.1f} | {cpu} |",
                flush=True,
            )
    print()


def by_redis(count: int, seconds: float) -> Latency:
    with bench_fleet() as fleet:
        join_sender(fleet)
        clients = Subscribers(fleet.url, KEYS.broadcast_channel, count)
        clients.report()
        send_paced(fleet.redis, RATE, seconds)
        time.sleep(QUIET_S)
        latencies = clients.report()
        clients.close()
    return summed_up(latencies, seconds, 0.0)


def by_gateway(count: int, seconds: float, *, is_one_stopped: bool) -> Latency:
    with bench_fleet() as fleet, gateway_on(fleet) as (address, pid):
        join_sender(fleet)
        ais = [f"AI_tcp_{n}" for n in range(count)]
        clients = TcpClients(address, ais, enroll(fleet, ais))
        if is_one_stopped:
            clients.stop_one()
            fill_its_buffers(fleet, clients, count)
        time.sleep(QUIET_S)
        clients.report()
        before_s = cpu_s(pid)
        send_paced(fleet.redis, RATE, seconds)
        used = (cpu_s(pid) - before_s) / seconds * 100
        time.sleep(QUIET_S)
        drained = clients.report()
        clients.close()
    return summed_up(drained.latencies_s, seconds, used)


def fill_its_buffers(fleet: BenchFleet, clients: TcpClients, count: int) -> None:
    """Broadcasts until the one that reads no more has no room for another."""
    expected, lines = FILL * (count - 1), 0
    clients.report()
    send_burst(fleet, FILL, 1)
    while lines < expected:
        time.sleep(0.05)
        lines += clients.report().lines


def join_sender(fleet: BenchFleet) -> None:
    """AI_0 for what is paced, FILLER for bursts."""
    send_one(fleet.redis, 1, "hello", {"specialization": "networking"})
    with fleet.redis.pipeline(transaction=False) as pipe:
        send(pipe, FILLER, 1, "hello", {"specialization": "networking"})
        pipe.execute()
    for ai in ("AI_0", FILLER):
        wait_for_member(fleet.redis, ai)


def summed_up(latencies: list[float], seconds: float, gateway_cpu: float) -> Latency:
    return Latency(
        percentile(latencies, 0.5) * 1000,
        percentile(latencies, 0.99) * 1000,
        len(latencies) / seconds,
        gateway_cpu,
    )


# -- the most deliveries ---------------------------------------------------------------------------


def bench_burst(rounds: int) -> None:
    print(
        f"**Most deliveries.** {BURST:,} pattern shares at once, to {BURST_CLIENTS} clients; "
        f"medians of {rounds} rounds in turns with Redis itself.\n"
    )
    by_transport: dict[str, list[tuple[float, float]]] = {"gateway": [], "Redis": []}
    with bench_fleet() as fleet, gateway_on(fleet) as (address, pid):
        join_sender(fleet)
        ais = [f"AI_tcp_{n}" for n in range(BURST_CLIENTS)]
        token = enroll(fleet, ais)
        n = 1
        for _ in range(rounds):
            clients = TcpClients(address, ais, token)
            by_transport["gateway"].append(burst_by_gateway(fleet, clients, n, pid))
            clients.close()
            n += BURST + 1
            fleet.wait(lambda: fleet.redis.zcard(KEYS.leases) <= 2, "the clients to be gone")
            subscribers = Subscribers(fleet.url, KEYS.broadcast_channel, BURST_CLIENTS)
            by_transport["Redis"].append(burst_by_redis(fleet, subscribers, n))
            subscribers.close()
            n += BURST + 1
    print("| transport | deliveries/s | the gateway's CPU, s |\n|---|---|---|")
    for transport, measured in by_transport.items():
        cpu = f"{median(each[1] for each in measured):.2f}" if transport == "gateway" else "-"
        print(f"| {transport} | {median(each[0] for each in measured):,.0f} | {cpu} |")
    print()


def burst_by_gateway(
    fleet: BenchFleet, clients: TcpClients, n: int, pid: int
) -> tuple[float, float]:
    time.sleep(QUIET_S)
    clients.report()
    before_s, began_s = cpu_s(pid), time.monotonic()
    send_burst(fleet, BURST, n)
    expected, lines = BURST * BURST_CLIENTS, 0
    while lines < expected:
        if time.monotonic() - began_s > LIMIT_S:
            raise SystemExit(f"only {lines:,} of {expected:,} deliveries in {LIMIT_S:g} s")
        time.sleep(0.05)
        drained = clients.report()
        lines += drained.lines
    return lines / (drained.last_s - began_s), cpu_s(pid) - before_s


def burst_by_redis(fleet: BenchFleet, subscribers: Subscribers, n: int) -> tuple[float, float]:
    subscribers.report()
    began_s = time.monotonic()
    send_burst(fleet, BURST, n)
    expected, lines = BURST * BURST_CLIENTS, 0
    while lines < expected and time.monotonic() - began_s < LIMIT_S:
        time.sleep(0.05)
        lines += len(subscribers.report())
    return lines / (time.monotonic() - began_s), 0.0


def send_burst(fleet: BenchFleet, count: int, n: int) -> None:
    """FILLER, whose last number is ``n``, says hello and shares ``count`` patterns."""
    with fleet.redis.pipeline(transaction=False) as pipe:
        send(pipe, FILLER, n + 1, "hello", {"specialization": "networking"})
        pipe.execute()
    for start in range(0, count, 500):
        with fleet.redis.pipeline(transaction=False) as pipe:
            for number in range(start, start + 500):
                send(pipe, FILLER, n + 2 + number, "pattern_share", pattern(FILLER, number))
            pipe.execute()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with bench_fleet() as fleet:
        machine = describe_machine(*MESSAGING_PACKAGES)
        print(f"Machine: {machine}; {describe_server(fleet.redis)}.\n")
    bench_burst(arguments.rounds)
    bench_latency(arguments.seconds)


if __name__ == "__main__":
    main()
