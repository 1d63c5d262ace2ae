"""Files that people asked for are written whole, and over nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cli.files import check_writable, write_file
from coordinator.errors import CoordError


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("before")
    path.chmod(0o640)
    write_file(path, b"after", "--out")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"after", 0o640)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_goes_on_leading_to_its_file(tmp_path: Path, is_there: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if is_there:
        target.write_text("before")
    link.symlink_to(target.name)
    write_file(link, b"after", "--out")
    assert (link.is_symlink(), target.read_bytes()) == (True, b"after")


def test_a_name_may_be_as_long_as_the_system_lets_it(tmp_path: Path) -> None:
    write_file(tmp_path / ("n" * 255), b"", "--out")
    with pytest.raises(CoordError, match=r"cannot be written \(File name too long\)"):
        write_file(tmp_path / ("n" * 256), b"", "--out")
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_no_file_stays_what_it_is(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link, Path(os.devnull)):
        with pytest.raises(CoordError, match=r"no regular file\): name another file by --report"):
            write_file(path, b"x", "--report")
    assert (pipe.is_fifo(), link.is_symlink(), Path(os.devnull).is_char_device()) == (True,) * 3


@pytest.mark.parametrize(
    ("name", "reason"), [("", "it is a directory"), ("none/x", "its directory is missing")]
)
def test_where_nothing_can_be_written_is_said_before(
    tmp_path: Path, name: str, reason: str
) -> None:
    with pytest.raises(CoordError) as raised:
        check_writable(tmp_path / name, "--out")
    assert f"cannot be written ({reason}): name another file by --out" in raised.value.detail
