"""The gateway: AIs that speak newline-delimited JSON over TCP take part in a fleet on Redis."""

from coordinator.gateway.gateway import CannotListen, Gateway
from coordinator.gateway.settings import GatewaySettings

__all__ = ["CannotListen", "Gateway", "GatewaySettings"]
