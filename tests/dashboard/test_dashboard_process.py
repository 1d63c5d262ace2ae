"""`coord dashboard` as a process of its own, looked at by a real browser."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from cli.output import ExitCode
from tests.browser import opened
from tests.clients import RealFleet
from tests.foreground import running
from web.server import GRACE_S

LIMIT_MS = 30_000
NO_CONNECTION = "Failed to load resource: net::ERR_"


@pytest.fixture
def address() -> str:
    """One that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.one_server
def test_it_ends_at_once_is_missed_and_comes_back(
    real_url: str,
    state_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    browser: Browser,
    address: str,
) -> None:
    monkeypatch.setenv("COORD_REDIS_URL", real_url)
    monkeypatch.setenv("COORD_STATE_DIR", str(state_dir))
    with ExitStack() as stack:
        fleet = stack.enter_context(RealFleet(real_url))
        dashboard = stack.enter_context(running("dashboard", "--http", address))
        dashboard.wait_for("the dashboard is at ")
        watched = stack.enter_context(opened(browser, f"http://{address}/fleet"))
        state, rows = watched.page.locator("#state"), watched.page.get_by_role("row")
        with fleet.client("AI_1"):
            expect(rows.filter(has_text="AI_1")).to_have_count(1)
        expect(rows.filter(has_text="AI_1")).to_have_count(0)

        begin_s = time.monotonic()
        assert dashboard.end() == ExitCode.OK
        assert time.monotonic() - begin_s < GRACE_S
        expect(state).to_contain_text("No connection to coord since")

        stack.enter_context(running("dashboard", "--http", address))
        stack.enter_context(fleet.client("AI_2"))
        expect(state).to_be_hidden(timeout=LIMIT_MS)
        expect(rows.filter(has_text="AI_2")).to_have_count(1)
        fleet.crash_coordinator()
        expect(state).to_contain_text("No coordinator is active since", timeout=LIMIT_MS)
        fleet.start_coordinator()
        expect(state).to_be_hidden(timeout=LIMIT_MS)
    assert [text for text in watched.said if not text.startswith(NO_CONNECTION)] == []
    assert [line for line in dashboard.lines if "Traceback" in line] == []
