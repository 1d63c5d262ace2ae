"""Clients that go on sending while coordinators, or the server itself, are killed under them."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator

import redis

from coordinator.keys import Keys
from tests.fleet import envelope
from tests.model import Sent, expected, observed
from tests.servers import TestServer, python_environment, wait_for
from tests.victim import PHASES

SENDERS = ("a", "b", "c", "d")
KEYS = Keys()


class Storm:
    """``count`` numbered messages of four senders, written in portions of random size."""

    def __init__(self, server: TestServer, count: int, seed: int) -> None:
        print(f"seed {seed}")  # to repeat a run that failed
        self.server = server
        self.chance = random.Random(seed)
        self.client = server.client()
        self.messages = list(_messages(count, self.chance))
        self.sent = 0
        self.kills: dict[str, int] = dict.fromkeys(PHASES, 0)
        self._processes: list[subprocess.Popen[bytes]] = []
        for sender in SENDERS:
            self._write(sender, 1, envelope(f"{sender}-1", sender, "hello"))

    def send(self, count: int) -> None:
        """As clients do: a message whose fate is unknown is sent again, under its number."""
        for message in self.messages[self.sent : self.sent + count]:
            body = envelope(
                message.message_id,
                message.sender,
                message.message_type,
                message.payload,
                message.target,
            )
            for _ in range(2 if self.chance.random() < 0.05 else 1):
                self._write(message.sender, message.n, body)
        self.sent = min(len(self.messages), self.sent + count)

    def start(self, name: str, phase: str = "never", nth: int = 1) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.victim"),
                *(str(self.server.socket_path), name, phase, str(nth)),
            ],
            env=python_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    def kill_in(self, phase: str, name: str, standby: str | None = None) -> None:
        """A coordinator that dies in ``phase``, while messages come."""
        victim = self.start(name, phase, self.chance.randint(1, 3))
        portion = max(1, len(self.messages) // 24)
        wait_for(lambda: self._fed(victim, portion), limit_s=50, what=f"the death in {phase}")
        assert victim.returncode == -9
        self.kills[phase] += 1

    def _fed(self, victim: subprocess.Popen[bytes], portion: int) -> bool:
        """Whether it has died; as long as it lives, it must have something to do."""
        if victim.poll() is not None:
            return True
        if not self.left_over():
            self.send(max(1, self.chance.randint(portion // 4, portion)))
        return False

    def left_over(self) -> int:
        with self.client.pipeline(transaction=False) as pipe:
            for sender in SENDERS:
                pipe.xlen(KEYS.ingress(sender))
            return sum(pipe.execute())

    def finish(self) -> None:
        """Send the rest, and have somebody take it all."""
        self.send(len(self.messages))
        self.start("last")
        wait_for(lambda: self.left_over() == 0, limit_s=50, what="the last message to be taken")

    def is_right(self) -> bool:
        return observed(self.client, SENDERS) == expected(self.messages)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self.client.close()

    def _write(self, sender: str, n: int, body: str) -> None:
        fields = {"body": body, "instance": f"{sender}.1", "n": n}
        with self.client.pipeline(transaction=False) as pipe:
            pipe.xadd(KEYS.ingress(sender), fields)  # type: ignore[arg-type]
            pipe.sadd(KEYS.doors, sender)
            pipe.execute()


def reconnected(storm: Storm) -> redis.Redis:
    storm.client.close()
    storm.client = storm.server.client()
    return storm.client


def _messages(count: int, chance: random.Random) -> Iterator[Sent]:
    numbers = dict.fromkeys(SENDERS, 1)
    for value in range(count):
        sender = chance.choice(SENDERS)
        numbers[sender] += 1
        n = numbers[sender]
        kind = chance.random()
        if kind < 0.6:
            yield Sent(sender, n, f"{sender}-shared{chance.randrange(10)}", value)
        elif kind < 0.8:
            own = f"{sender}-own{chance.randrange(5)}"
            yield Sent(sender, n, own, value, chance.choice(SENDERS))
        else:
            yield Sent(sender, n, load=chance.randint(1, 99) / 100)
