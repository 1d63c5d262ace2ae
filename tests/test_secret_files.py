"""Secrets in files: for their user alone, whole or not at all, and lost by no failure."""

from __future__ import annotations

import stat
from contextlib import nullcontext
from pathlib import Path

import pytest

from coordinator.errors import BadMessage, CoordError, NotAnswered
from coordinator.secret_files import ensure_secret, handing_over, read_secret


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("text", ["sesame", "sesame\n", "sesame\r\n"])
def test_the_end_of_the_line_is_no_part_of_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "secret").write_bytes(text.encode())
    assert read_secret(tmp_path / "secret") == "sesame"


def test_a_blank_is(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(" open sesame \n")
    assert read_secret(tmp_path / "secret") == " open sesame "


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    assert [ensure_secret(path, lambda: "first"), ensure_secret(path, lambda: "second")] == [
        "first",
        "first",
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == ["secret"]


@pytest.mark.parametrize(
    ("error", "left"),
    [
        (None, "new"),
        (NotAnswered("it is queued"), "new"),
        (BadMessage("not_found", "no"), "old"),
        (KeyboardInterrupt(), "old"),
    ],
)
def test_it_is_handed_over_if_it_is_valid_or_will_be(
    tmp_path: Path, error: BaseException | None, left: str
) -> None:
    path = tmp_path / "token"
    path.write_text("old\n")
    raised = pytest.raises(type(error)) if error is not None else nullcontext()
    with raised, handing_over(path, "new"):
        assert read_secret(path) == "old"
        if error is not None:
            raise error
    assert read_secret(path) == left
    assert names(tmp_path) == ["token"]


@pytest.mark.parametrize("place", ["", "missing/token"])
def test_what_cannot_be_handed_over_is_said_before(tmp_path: Path, place: str) -> None:
    refused = pytest.raises(CoordError, match=r"is no file|cannot be written")
    with refused, handing_over(tmp_path / place, "new"):
        pytest.fail("it went on")
    assert names(tmp_path) == []
