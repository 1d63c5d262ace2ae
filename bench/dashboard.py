"""How quick the dashboard is in a fleet that is large, and has been at work for long.

    python -m bench.dashboard [--rounds 40] [--units 200000] [--patterns 100000] [--ais 10000]

Prints Markdown. Every page is asked for in turns, first while nothing happens and then while 1,000
messages a second pass; at last a real browser looks at that traffic. Server, coordinator, sender,
dashboard and browser share the machine.
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import random
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import redis
from playwright.sync_api import sync_playwright

from bench.machine import (
    MESSAGING_PACKAGES,
    connect_to,
    describe_machine,
    describe_server,
    percentile,
    throwaway_server,
)
from bench.routing import drain, pattern, send, send_paced
from bench.trainers import KEYS, BenchFleet, fleet_on
from coordinator.clock import RandomIds, SystemClock
from coordinator.connection import server_run_id
from coordinator.coordinator import Coordinator
from coordinator.doors import add_entry
from coordinator.history import read_end
from coordinator.messages import encode_message
from coordinator.settings import Settings
from coordinator.specializations import CAPABILITIES
from coordinator.work import Attempt, Session, Unit
from web.pages.views import VIEWS
from workers.problems import PROBLEMS

UNITS_OF_A_SESSION = 10
AT_ONCE = 5000
SHARERS = 100
"""So many AIs share all patterns."""
RATE = 1000
WATCHED_S = 10
SPECIALIZATIONS = tuple(CAPABILITIES)
SETTINGS = Settings(
    lease_s=3600,
    leader_lease_s=600,
    validations_open_max=100_000,
    validations_per_hour=100_000,
)
WATCH = """
() => new Promise((resolve) => {
  const tasks = [];
  let frames = 0;
  const began = performance.now();
  new PerformanceObserver((list) => tasks.push(...list.getEntries().map((one) => one.duration)))
    .observe({ type: "longtask" });
  const frame = () => {
    frames += 1;
    const seconds = (performance.now() - began) / 1000;
    if (seconds < %d) requestAnimationFrame(frame);
    else resolve({ tasks, frames: frames / seconds });
  };
  requestAnimationFrame(frame);
})
"""


class Scale(NamedTuple):
    """How much there is of everything."""

    units: int
    patterns: int
    ais: int

    @property
    def sessions(self) -> int:
        return self.units // UNITS_OF_A_SESSION


def ai_name(number: int) -> str:
    return f"AI_Node_{number}"


def fill(connection: redis.Redis, scale: Scale) -> None:
    """AIs and patterns come as messages; sessions are written as a coordinator leaves them."""
    coordinator = Coordinator(
        connection, SETTINGS, SystemClock(), RandomIds(), "bench", lambda: server_run_id(connection)
    )
    assert coordinator.take_over()
    _join(connection, coordinator, range(SHARERS))
    for first in range(0, scale.patterns, AT_ONCE):
        with connection.pipeline(transaction=False) as pipe:
            for number in range(first, min(scale.patterns, first + AT_ONCE)):
                ai, n = ai_name(number % SHARERS), number // SHARERS + 2
                send(pipe, ai, n, "pattern_share", pattern(ai, number))
            pipe.execute()
        drain(coordinator)
    for first in range(SHARERS, scale.ais, 500):
        _join(connection, coordinator, range(first, min(scale.ais, first + 500)))
    _talk(connection, coordinator, scale.patterns // SHARERS + 2)
    coordinator.leave()
    now_ms = SystemClock().now_ms()
    for first in range(0, scale.sessions, 500):
        with connection.pipeline(transaction=False) as pipe:
            for number in range(first, min(scale.sessions, first + 500)):
                _write_session(pipe, number, now_ms - number * 1000, scale.ais)
            pipe.execute()


def _join(connection: redis.Redis, coordinator: Coordinator, numbers: range) -> None:
    with connection.pipeline(transaction=False) as pipe:
        for number in numbers:
            specialization = SPECIALIZATIONS[number % len(SPECIALIZATIONS)]
            send(pipe, ai_name(number), 1, "hello", {"specialization": specialization})
        pipe.execute()
    drain(coordinator)


def _talk(connection: redis.Redis, coordinator: Coordinator, first_n: int) -> None:
    """Those who share also talk, each with twenty others: the graph has something to draw."""
    with connection.pipeline(transaction=False) as pipe:
        for number in range(SHARERS):
            for n in range(20):
                ai, other = ai_name(number), ai_name((number + n + 1) % SHARERS)
                text = {"text": f"{ai} to {other}"}
                body = encode_message("1", ai, "message", "2025-06-04T00:00:00", text, other)
                add_entry(pipe, KEYS, ai, body, "bench", first_n + n)
        pipe.execute()
    drain(coordinator)


def session_id(number: int) -> str:
    return f"{number:012x}"


def _write_session(pipe: Any, number: int, ended_ms: int, ais: int) -> None:
    """One that is over: ten units of two AIs, every tenth unit with a failure before it passed."""
    name, pair = session_id(number), [ai_name(number % ais), ai_name((number + 1) % ais)]
    began_ms = ended_ms - UNITS_OF_A_SESSION * 2000
    units = [_unit(name, n, pair[n % 2], began_ms + n * 2000) for n in range(UNITS_OF_A_SESSION)]
    session = Session(
        id=name,
        type="performance_optimization",
        initiator=pair[0],
        description="tune the buffer cache",
        target=None,
        wanted=2,
        requirements={"specialization": "file_system"},
        created_ms=began_ms - 500,
        in_reply_to=f"message-{number}",
        state="completed",
        participants=pair,
        units=[unit.id for unit in units],
        units_planned=len(units),
        progress=1.0,
        began_ms=began_ms,
        ended_ms=ended_ms,
        result={"score": 0.5},
    )
    pipe.hset(KEYS.session(name), "session", session.to_json())
    pipe.zadd(KEYS.sessions, {name: ended_ms})
    for unit in units:
        stored = {"unit": unit.to_json(), "attempt": unit.attempt, "output": '{"score": 0.5}'}
        pipe.hset(KEYS.unit(unit.id), mapping=stored)


def _unit(name: str, number: int, ai: str, began_ms: int) -> Unit:
    attempts = [Attempt(ai, began_ms, began_ms + 1800, "completed")]
    if number == 3:
        failed = Attempt(ai, began_ms, began_ms + 700, "failed", "ValueError: no such workload")
        attempts = [failed, Attempt(ai, began_ms + 800, began_ms + 1800, "completed")]
    return Unit(
        id=f"{name}-{number + 1}",
        session_id=name,
        name=f"round-{number}.0",
        kind="search_share",
        participant=ai,
        needs=[],
        inputs={"seed": number},
        limit_s=60,
        tries=3,
        state="completed",
        progress=1.0,
        attempts=attempts,
    )


def addresses(connection: redis.Redis, scale: Scale, chance: random.Random) -> dict[str, str]:
    """An address of each page, another one each time, by the page's path."""
    ai, other = (ai_name(number) for number in chance.sample(range(scale.ais), 2))
    number = chance.randrange(scale.patterns)
    kept = session_id(chance.randrange(scale.sessions))
    parts = {
        "ai_id": ai,
        "a": min(ai, other),
        "b": max(ai, other),
        "session_id": kept,
        "unit_id": f"{kept}-1",
        "kind": "pattern",
        "id": f"{ai_name(number % SHARERS)}.{number}",
        "name": PROBLEMS[0].name,
        "source": "log",
        "n": str(read_end(connection, KEYS).log),
    }
    found = {
        view.path: re.sub(r"\{(\w+)[^}]*\}", lambda part: parts[part[1]], view.path)
        for view in VIEWS
    }
    return found | {
        "/fleet?search=": f"/fleet?search={ai[-3:]}",
        "/knowledge?search=": f"/knowledge?search={parts['id'][-4:]}",
        "/collaborations?ai=": f"/collaborations?ai={ai}",
    }


def ask(client: http.client.HTTPConnection, path: str) -> tuple[float, int]:
    """How long the whole page took, in seconds, and its bytes."""
    began_s = time.perf_counter()
    client.request("GET", path, headers={"Accept": "text/html"})
    answer = client.getresponse()
    body = answer.read()
    taken_s = time.perf_counter() - began_s
    if answer.status != 200:
        raise SystemExit(f"{path} was answered with {answer.status}: {body[:300]!r}")
    return taken_s, len(body)


def measure(
    connection: redis.Redis, url: str, scale: Scale, rounds: int
) -> dict[str, list[tuple[float, int]]]:
    """All pages in turns, ``rounds`` times; the first round is not counted."""
    client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    chance = random.Random(8)
    taken: dict[str, list[tuple[float, int]]] = {}
    for n in range(rounds + 1):
        for page, path in addresses(connection, scale, chance).items():
            one = ask(client, path)
            if n:
                taken.setdefault(page, []).append(one)
    client.close()
    return taken


@contextmanager
def traffic(url: str, seconds: float) -> Iterator[None]:
    """RATE messages a second, meanwhile."""
    spawn = multiprocessing.get_context("spawn")
    sender = spawn.Process(target=_send, args=(url, seconds), daemon=True)
    sender.start()
    connection = connect_to(url)
    before = connection.hget(KEYS.totals, "pattern_share")
    while connection.hget(KEYS.totals, "pattern_share") == before:
        time.sleep(0.05)
    try:
        yield
    finally:
        sender.terminate()
        sender.join()


def _send(url: str, seconds: float) -> None:
    connection = connect_to(url)
    with connection.pipeline(transaction=False) as pipe:
        send(pipe, "AI_0", 1, "hello", {"specialization": "networking"})
        pipe.execute()
    send_paced(connection, RATE, seconds)


def show(quiet: dict[str, Any], busy: dict[str, Any]) -> None:
    print(f"| page | p50, ms | p95, ms | p95 at {RATE:,} messages/s, ms | KiB |")
    print("|---|---|---|---|---|")
    for page, taken in quiet.items():
        times, sizes = zip(*taken, strict=True)
        p50, p95 = (percentile(list(times), share) * 1000 for share in (0.5, 0.95))
        under_load = percentile([one[0] for one in busy[page]], 0.95) * 1000
        size = median(sizes) / 1024
        print(f"| `{page}` | {p50:.0f} | {p95:.0f} | {under_load:.0f} | {size:.0f} |")
    print()


def watch(url: str, pages: Sequence[str]) -> None:
    """What a browser has to do while it shows them."""
    program = shutil.which("chromium")
    if program is None:
        print("No chromium is installed: what a browser has to do was not measured.\n")
        return
    print("| page | frames/s | longest task, ms | tasks over 200 ms |\n|---|---|---|---|")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        for page in pages:
            tab = browser.new_page()
            tab.goto(url + page)
            found = tab.evaluate(WATCH % WATCHED_S)
            tasks = found["tasks"] or [0]
            slow = sum(task > 200 for task in tasks)
            print(f"| `{page}` | {found['frames']:.0f} | {max(tasks):.0f} | {slow} |")
            tab.close()
        browser.close()
    print()


@contextmanager
def dashboard(fleet: BenchFleet) -> Iterator[str]:
    """A real ``coord dashboard``; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "cli.main", "dashboard", "--http", f"127.0.0.1:{port}"]
    process = fleet.start(command, COORD_REDIS_URL=fleet.url)
    fleet.wait(lambda: _answers(port), "the dashboard")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        client.request("GET", "/healthz")
        return client.getresponse().status == 200
    except OSError:
        return False
    finally:
        client.close()


def bench(scale: Scale, rounds: int) -> None:
    with throwaway_server() as url:
        connection = connect_to(url)
        machine = describe_machine(*MESSAGING_PACKAGES, "starlette", "uvicorn")
        print(f"Machine: {machine}; {describe_server(connection)} over a Unix socket.\n")
        fill(connection, scale)
        print(
            f"{scale.units:,} finished units of {scale.sessions:,} sessions,"
            f" {scale.patterns:,} patterns, {scale.ais:,} AIs; each page {rounds} times,"
            " in turns.\n"
        )
        with fleet_on(url) as fleet, dashboard(fleet) as address:
            quiet = measure(connection, address, scale, rounds)
            with traffic(url, 600):
                busy = measure(connection, address, scale, rounds)
                show(quiet, busy)
                print(f"In Chromium, {WATCHED_S} s each at {RATE:,} messages/s:\n")
                watch(address, ["/fleet", "/traffic", "/graph", "/knowledge", "/collaborations"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--units", type=int, default=200_000)
    parser.add_argument("--patterns", type=int, default=100_000)
    parser.add_argument("--ais", type=int, default=10_000)
    given = parser.parse_args()
    bench(Scale(given.units, given.patterns, given.ais), given.rounds)


if __name__ == "__main__":
    main()
