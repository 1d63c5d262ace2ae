"""coord: gets a fleet of AIs working together."""

from coordinator.blocking import Client
from coordinator.client import AsyncClient, QueryResult, WorkspaceEntry
from coordinator.errors import (
    BadMessage,
    CoordError,
    IdTaken,
    NoServer,
    NotAnswered,
    Refused,
    ServerUnusable,
)
from coordinator.followed import SessionUpdate
from coordinator.mailbox import Message
from coordinator.messages import Cursor
from coordinator.settings import Settings
from coordinator.transport import Artifact

__all__ = [
    "Artifact",
    "AsyncClient",
    "BadMessage",
    "Client",
    "CoordError",
    "Cursor",
    "IdTaken",
    "Message",
    "NoServer",
    "NotAnswered",
    "QueryResult",
    "Refused",
    "ServerUnusable",
    "SessionUpdate",
    "Settings",
    "WorkspaceEntry",
]
