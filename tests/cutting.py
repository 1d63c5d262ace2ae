"""A byte proxy in front of a server that cuts, half-closes, delays, stalls and swallows replies."""

from __future__ import annotations

import asyncio
import contextlib
import random
from asyncio import StreamReader, StreamWriter
from pathlib import Path
from typing import Self

CHUNK_BYTES = 4096


class Connection:
    """One client's way through the proxy; ``is_dead`` swallows all that comes from either side."""

    def __init__(self, client: StreamWriter, server: StreamWriter) -> None:
        self.client = client
        self.server = server
        self.swallows = False
        self.is_dead = False

    def cut(self) -> None:
        """Both ends are gone at once, with whatever was on its way."""
        for end in (self.client, self.server):
            end.transport.abort()

    def half_close(self) -> None:
        """The server's side ends: nothing more comes, but the client may still write."""
        with contextlib.suppress(OSError, RuntimeError):
            self.client.write_eof()


class CuttingProxy:
    """``async with CuttingProxy(server_socket, socket) as proxy``; ``proxy.url`` goes through it.
    With the port of a gateway in place of both it listens at a port of its own.

    ``delay_s`` is the longest time a chunk is held back; while ``stalls`` is set nothing passes.
    ``carried_bytes`` counts what has passed, both ways.
    """

    def __init__(self, server: Path | int, socket: Path | None = None, seed: int = 0) -> None:
        self.url = f"unix://{socket}"
        self.connections: set[Connection] = set()
        self.delay_s = 0.0
        self.swallowed = 0
        self.carried_bytes = 0
        self._server = server
        self._socket = socket
        self._random = random.Random(seed)
        self._marker: bytes | None = None
        self._passes = asyncio.Event()
        self._passes.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        if self._socket:
            self._listener = await asyncio.start_unix_server(self._accept, self._socket)
        else:
            self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
            self.url = f"coord://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        self.cut_all()
        self._passes.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket:
            self._socket.unlink(missing_ok=True)

    def swallow_reply_to(self, command: bytes) -> None:
        """The next reply to ``command`` never arrives: its connection is cut instead."""
        self._marker = command

    def stall(self) -> None:
        """Connections stay open, and nothing passes until ``flow``."""
        self._passes.clear()

    def flow(self) -> None:
        self._passes.set()

    def cut_all(self) -> None:
        for connection in list(self.connections):
            connection.cut()

    def harm_one(self) -> None:
        """Cut or half-close a connection drawn by lot."""
        if self.connections:
            victim = self._random.choice(sorted(self.connections, key=id))
            self._random.choice([victim.cut, victim.half_close])()

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            if isinstance(self._server, Path):
                server_reader, server_writer = await asyncio.open_unix_connection(self._server)
            else:
                server_reader, server_writer = await asyncio.open_connection(
                    "127.0.0.1", self._server
                )
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(writer, server_writer)
        self.connections.add(connection)
        ways = [
            asyncio.create_task(self._carry(connection, reader, server_writer, from_client=True)),
            asyncio.create_task(self._carry(connection, server_reader, writer, from_client=False)),
        ]
        self._tasks.update(ways)
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connection.cut()
            self.connections.discard(connection)

    async def _carry(
        self, connection: Connection, reader: StreamReader, writer: StreamWriter, from_client: bool
    ) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while data := await reader.read(CHUNK_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self._random.uniform(0, self.delay_s))
                await self._passes.wait()
                if connection.is_dead:
                    continue
                if from_client and self._marker and self._marker in data:
                    self._marker = None
                    connection.swallows = True
                elif not from_client and connection.swallows:
                    self.swallowed += 1
                    return
                self.carried_bytes += len(data)
                writer.write(data)
                await writer.drain()
