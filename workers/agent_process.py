"""The agent of a worker, as the worker that started it sees it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from contextlib import suppress

from coordinator.processes import tied_to_parent
from workers.lines import ALIVE, read_line

LOOK_EVERY_S = 2.0
PING_EVERY_S = 1.0
STOP_LIMIT_S = 10.0


class AgentProcess:
    """The process that runs ``module`` for an AI: started from the worker's main thread, and dead
    when it is."""

    def __init__(self, module: str, ai_id: str, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", module, ai_id]
        self._process = subprocess.Popen(
            tied_to_parent(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        os.set_blocking(self._process.stdout.fileno(), False)
        self._pinged_s = 0.0
        self._unread = b""
        self.instance = ""
        self.metrics: dict[str, int] = {}

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def wait_until_joined(self) -> bool:
        """Wait for the fleet's word; False when it refused, or the agent ended."""
        while not self.instance:
            self.ping()
            if not self._read(wait_s=LOOK_EVERY_S) and self.exit_code is not None:
                return False
        return True

    def ping(self) -> None:
        """Tell it now and then that its worker is there; one that is stopped or gone misses it."""
        now_s = time.monotonic()
        if now_s - self._pinged_s < PING_EVERY_S:
            return
        self._pinged_s = now_s
        assert self._process.stdin is not None
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._process.stdin.fileno(), ALIVE)

    def take_news(self) -> None:
        """Read what the agent has told, without waiting."""
        while self._read(wait_s=0):
            pass

    def stop(self) -> None:
        """Let it say goodbye, and wait for its end."""
        self._process.terminate()
        ends_s = time.monotonic() + STOP_LIMIT_S
        while self._read(wait_s=max(0.0, ends_s - time.monotonic())):
            pass
        try:
            self._process.wait(max(0.1, ends_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self, wait_s: float) -> bool:
        """Read what comes within ``wait_s``; False when nothing did, or the agent is gone."""
        stream = self._process.stdout
        assert stream is not None
        if not select.select([stream], [], [], wait_s)[0]:
            return False
        data = os.read(stream.fileno(), 65536)
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            news = read_line(line)
            self.instance = news.get("joined", self.instance)
            self.metrics = news.get("metrics", self.metrics)
        return bool(data)
