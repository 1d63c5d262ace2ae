"""Which way an AI goes into a fleet: through Redis, or through a gateway."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from coordinator.connection import connect_async, connection_name, resolve_ai_url
from coordinator.identity import Identity
from coordinator.keys import Keys
from coordinator.messages import Cursor
from coordinator.redis_transport import RedisTransport
from coordinator.settings import Settings
from coordinator.tcp.dialer import Dialer
from coordinator.tcp.gateway_url import is_gateway_url, parse_address
from coordinator.tcp.login import Login, TokenSource
from coordinator.tcp.pace import Pace
from coordinator.tcp.tls import tls_context
from coordinator.tcp.transport import TcpTransport
from coordinator.transport import Hear, Transport


@dataclass(frozen=True)
class Way:
    """What an AI says of itself wherever it comes in: its ``hello``, and how far it has read."""

    me: Identity
    settings: Settings
    hello: dict[str, Any]
    cursor: Cursor | None
    hear: Hear

    def open(
        self,
        url: str | None,
        token: str | None,
        ca: Path | str | None,
        connection: Redis | None,
    ) -> Transport:
        """By ``connection`` if there is one, else by ``url``, else by what the settings name."""
        if connection is not None:
            return self._through_redis(connection)
        url = url or resolve_ai_url(self.settings)
        if is_gateway_url(url):
            return self._through_gateway(url, token, ca)
        name = connection_name(self.me.ai_id)
        return self._through_redis(connect_async(url, client_name=name))

    def _through_redis(self, connection: Redis) -> RedisTransport:
        keys, keep_s = Keys(self.settings.namespace), self.settings.artifact_keep_s
        return RedisTransport(self.me, connection, keys, self.hello, self.cursor, keep_s, self.hear)

    def _through_gateway(self, url: str, token: str | None, ca: Path | str | None) -> TcpTransport:
        address = parse_address(url)
        login = Login(self.me.ai_id, TokenSource(self.settings, token), self.me.instance)
        tls = tls_context(self.settings, ca) if address.is_tls else None
        dialer = Dialer(address, login, tls, Pace(self.me.clock))
        return TcpTransport(self.me, dialer, self.hello, self.cursor, self.hear)
