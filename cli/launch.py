"""How a coordinator is started as a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from coordinator.settings import Settings


def serve_command(*options: str) -> list[str]:
    """Without a gateway: its port may well be another fleet's, and nobody looks at the warning."""
    return [sys.executable, "-m", "cli.main", "serve", "--no-gateway", *options]


def child_environment(settings: Settings, url: str | None) -> dict[str, str]:
    """The environment of a process of this fleet; a URL goes here, for ``ps`` shows arguments.

    Without a URL a coordinator uses the embedded server, and starts it again when it dies.
    """
    environment = {**os.environ, **settings.to_environment(), "PYTHONUNBUFFERED": "1"}
    if url is not None:
        environment["COORD_REDIS_URL"] = url
    home = Path(__file__).resolve().parents[1]
    if not home.name.endswith("-packages"):  # run from a checkout, which need not be installed
        paths = [os.environ.get("PYTHONPATH", ""), str(home)]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment
