"""The report in a real browser: it is whole, fits a phone and paper, and runs nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser

from reports.report import make_report
from tests.browser import opened, running_browser
from tests.runs import History, a_rich_run

SECTIONS = ["fleet", "curves", "sharing", "graph", "busiest", "best", "rejected", "gaps"]
PHONE, DESK = 390, 1200
EVIL = '</code></script><script>document.title="owned"</script><img src=x onerror=alert(1)>\0\u202e'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report of all that there is, and of what means harm."""
    directory = tmp_path_factory.mktemp("report")
    history = a_rich_run()
    history.join("x" * 64, EVIL)
    record = {"language": EVIL, "implementation": EVIL * 2000}
    history.share("x" * 64, "component:evil", "audio", record=record)
    history.judge("x" * 64, "component:evil", EVIL, 0.25, cost_unit=EVIL, sandbox=EVIL)
    history.judge("x" * 64, "component:worse", EVIL, None, reason=EVIL)
    history.work("evil", EVIL, ["x" * 64, "AI_Node_1"], 2, result={"text": EVIL})
    history.miss("events", 120)
    history.say("AI_Node_1", "hello", {})
    with history.archived(directory / "a.db") as archive:
        page = make_report(archive, history.ms)
    path = directory / "report.html"
    path.write_text(page, encoding="utf-8")
    return path.as_uri()


def test_every_section_is_there_and_nothing_else_is_asked_for(browser: Browser, url: str) -> None:
    with opened(browser, url, DESK) as watched:
        page = watched.page
        shown = [section for section in SECTIONS if page.locator(f"#{section}").is_visible()]
        title = page.title()
        asked = [address for address in watched.asked if not address.startswith("data:")]
        assert (shown, watched.said, asked) == (SECTIONS, [], [url])
        assert title.startswith("What a fleet of 8 AIs did")
        assert watched.scroll_width() == DESK


def test_it_fits_a_phone(browser: Browser, url: str) -> None:
    with opened(browser, url, PHONE, is_mobile=True, has_touch=True) as watched:
        watched.page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
        assert watched.scroll_width() == PHONE


def test_what_is_folded_on_a_screen_is_read_on_paper(browser: Browser, url: str) -> None:
    with opened(browser, url, DESK) as watched:
        code = watched.page.locator("pre").first
        assert not code.is_visible()
        watched.page.emulate_media(media="print")
        assert code.is_visible()
        assert not watched.page.locator("nav").is_visible()
        assert watched.page.pdf(format="A4").startswith(b"%PDF")


def test_it_is_a_picture_in_light_and_in_dark(browser: Browser, url: str) -> None:
    with opened(browser, url, DESK, color_scheme="dark") as watched:
        dark = looked_at(watched.page.screenshot())
        watched.page.emulate_media(color_scheme="light")
        light = looked_at(watched.page.screenshot())
    assert sum(light.getpixel((5, 5))) > 700
    assert sum(dark.getpixel((5, 5))) < 150
    for picture in (light, dark):
        assert picture.size == (DESK, 900)
        assert len(picture.getcolors(picture.width * picture.height) or ()) > 100


def looked_at(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def test_charts_have_names_and_ids_are_unique(browser: Browser, url: str) -> None:
    with opened(browser, url, DESK) as watched:
        page = watched.page
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        named = page.get_by_role("img").evaluate_all(
            "all => all.every(one => one.querySelector('title') || one.ariaLabel)"
        )
        levels = page.evaluate(
            "[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])"
        )
    assert len(ids) == len(set(ids))
    assert named
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_a_report_opens_wherever_it_lies(browser: Browser, tmp_path: Path) -> None:
    """One of a fleet in which nothing ever happened, too."""
    path = tmp_path / "a name with spaces.html"
    with History().archived(tmp_path / "a.db") as archive:
        path.write_text(make_report(archive, 0), encoding="utf-8")
    with opened(browser, path.as_uri(), PHONE) as watched:
        assert (watched.scroll_width(), watched.said) == (PHONE, [])
        assert "The history is empty" in watched.page.inner_text("header")
