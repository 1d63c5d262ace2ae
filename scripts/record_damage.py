"""Record which rectangles of a screen real programs damage, for the damage merging problem.

Needs Linux, vim, less, man, top and watch (procps), a Python that has its test suite, and the
packages `pyte` and `rich`:

    python scripts/record_damage.py --output DIR

Four programs run at the same time, and a panel with a clock, each in a terminal of its own (a pty,
and pyte as the emulator). The terminals are windows of one desktop. Every 1/FRAMES_HZ seconds, what
changed in them becomes the damage of a frame. Each kind of work is recorded in four runs, with
other windows, other files and other keys each; no two runs share a file:

    write   two editors, each on two modules side by side, a test run and top
    watch   top, ps, progress bars, and what the kernel counts
    read    an editor, less and two manuals
    mixed   an editor, a manual, top and a test run

The modules are those of Python's own library, the tests those of its test suite, every fourth for
each run. Keys come at the pace of a hand: see `typing`, `moving` and `paging`.

Damage is told as terminals tell it: for each line of cells one range, from the first cell that
changed to the last (`LineDamageBounds` of Alacritty), the places that the cursor left and came to
included; a terminal that scrolled or was cleared is damaged as a whole, as it is there. Lines with
equal ranges that follow each other are one rectangle, as in the regions of the X server. A cell has
CELL_WIDTH x CELL_HEIGHT pixels.

A recording is one line of whole numbers a frame, `x y width height` of each rectangle in pixels,
without the frames in which nothing or only one rectangle was damaged. No text is kept.
"""

from __future__ import annotations

import argparse
import fcntl
import gzip
import os
import pty
import random
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pyte

RUNS = "abcd"
KINDS = ("write", "watch", "read", "mixed")
SECONDS = 45.0
FRAMES_HZ = 20
CELL_WIDTH, CELL_HEIGHT = 8, 16
LINES = range(200, 1_500)
TEST_BYTES = range(2_000, 30_000)
WINDOWS = {
    "a": ((60, 30, 100, 30), (980, 30, 100, 30), (60, 560, 100, 30), (980, 560, 100, 28)),
    "b": ((20, 60, 110, 58), (1000, 40, 100, 18), (1000, 380, 100, 18), (1000, 720, 100, 18)),
    "c": ((100, 80, 80, 24), (1100, 20, 90, 28), (300, 620, 80, 24), (1180, 600, 80, 24)),
    "d": ((80, 20, 220, 30), (40, 560, 70, 28), (660, 560, 70, 28), (1300, 560, 70, 28)),
}
PANELS = {
    "a": (980, 1024, 60, 3),
    "b": (20, 1020, 40, 3),
    "c": (1560, 1020, 40, 3),
    "d": (700, 1024, 60, 3),
}
"""By run: x and y in pixels, columns and rows in cells."""
MANUALS = {
    "a": ("bash", "ls"),
    "b": ("tar", "grep"),
    "c": ("ssh", "find"),
    "d": ("make", "sed"),
}
PROGRESS = """
import random, sys, time
from rich.progress import Progress
draw = random.Random(sys.argv[1])
with Progress() as progress:
    tasks = [progress.add_task(f"step {number}", total=100) for number in range(9)]
    while True:
        time.sleep(draw.expovariate(5))
        for task in draw.sample(tasks, draw.randint(1, 4)):
            progress.advance(task, draw.randint(1, 9))
            if progress.tasks[task].finished:
                progress.reset(task)
"""
PANEL = """
import time
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn
with Progress(SpinnerColumn(), TimeElapsedColumn()) as progress:
    progress.add_task("up")
    time.sleep(3600)
"""
Keys = Iterator[tuple[float, bytes]]
"""What is typed: seconds to wait, and then the bytes."""
Rect = tuple[int, int, int, int]
Row = tuple[int, int, int]
"""A damaged line of cells: its number, its first and its last changed column."""


def typing(draw: random.Random) -> Keys:
    """Somebody who edits: a line is typed, then something is looked for, moved to, taken back."""
    words = ("value", "for", "in", "return", "self", "(count)", "=", "None", "+ 1", "lines", "if")
    while True:
        yield 0.5, draw.choice((b"/def\r", b"n", b"\x04", b"\x15", b"\x17w", b"}", b"{"))
        for _ in range(draw.randint(2, 8)):
            yield draw.uniform(0.1, 0.3), draw.choice((b"j", b"j", b"k", b"w", b"b", b"dd", b"u"))
        yield 0.4, draw.choice((b"o", b"O", b"A"))
        for letter in " ".join(draw.choices(words, k=draw.randint(2, 7))):
            yield draw.uniform(0.05, 0.25), letter.encode()
        yield 0.3, b"\x1b"


def moving(draw: random.Random) -> Keys:
    """Somebody who looks around in an editor."""
    keys = (b"j", b"k", b"l", b"w", b"}", b"{", b"\x04", b"\x05", b"n", b"%", b"*", b"H", b"L")
    yield 0.5, b"/return\r"
    while True:
        yield draw.uniform(0.1, 0.8), draw.choice(keys)


def paging(draw: random.Random) -> Keys:
    """Somebody who reads: lines and pages on and back, and now and then a word is looked for."""
    yield 0.5, b"/the\r"
    while True:
        yield draw.uniform(0.1, 1.5), draw.choice((b"j", b"j", b"k", b"d", b"u", b" ", b"b", b"n"))


def no_keys() -> Keys:
    yield from ()


class Window:
    """A program in a terminal, at a place on the desktop (pixels)."""

    def __init__(self, place: Rect, command: list[str], keys: Keys) -> None:
        self.x, self.y, self.columns, self.rows = place
        self.keys = keys
        self.screen = pyte.Screen(self.columns, self.rows)
        self.stream = pyte.ByteStream(self.screen)
        self.shown = [[self.screen.default_char] * self.columns for _ in range(self.rows)]
        self.cursor = (0, 0)
        self.next_key = next(keys, None)
        self.key_at_s = time.monotonic() + 1.0
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.environ |= {"TERM": "linux", "LC_ALL": "C", "PAGER": "less", "MANROFFOPT": "-c"}
            os.execvp(command[0], command)
        size = struct.pack("HHHH", self.rows, self.columns, 0, 0)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, size)
        os.kill(self.pid, signal.SIGWINCH)

    def read(self) -> bool:
        """Show what the program wrote; False when it has ended."""
        try:
            written = os.read(self.terminal, 65_536)
        except OSError:
            return False
        self.stream.feed(written)
        return bool(written)

    def press(self, now_s: float) -> None:
        """Type what is due."""
        while self.next_key is not None and now_s >= self.key_at_s:
            os.write(self.terminal, self.next_key[1])
            self.next_key = next(self.keys, None)
            self.key_at_s += self.next_key[0] if self.next_key is not None else 0.0

    def damage(self) -> list[Rect]:
        """What changed since the last time, as rectangles of the desktop."""
        is_whole = len(self.screen.dirty) == self.rows
        rows = sorted(self._changed_rows())
        if is_whole:
            return [(self.x, self.y, self.columns * CELL_WIDTH, self.rows * CELL_HEIGHT)]
        rects: list[Rect] = []
        for number, first, last in rows:
            x, width = self.x + first * CELL_WIDTH, (last - first + 1) * CELL_WIDTH
            y = self.y + number * CELL_HEIGHT
            if rects and rects[-1][::2] == (x, width) and rects[-1][1] + rects[-1][3] == y:
                x, y, width, height = rects.pop()
                rects.append((x, y, width, height + CELL_HEIGHT))
            else:
                rects.append((x, y, width, CELL_HEIGHT))
        return rects

    def _changed_rows(self) -> Iterator[Row]:
        """The lines that changed, with the cursor's old and new place."""
        cursor = (self.screen.cursor.y, min(self.screen.cursor.x, self.columns - 1))
        moved = {self.cursor, cursor} if cursor != self.cursor else set()
        self.cursor = cursor
        for number in self.screen.dirty | {row for row, _ in moved}:
            cells, before = self.screen.buffer[number], self.shown[number]
            self.shown[number] = now = [cells[column] for column in range(self.columns)]
            changed = [column for column in range(self.columns) if now[column] != before[column]]
            changed += [column for row, column in moved if row == number]
            if changed:
                yield number, min(changed), max(changed)
        self.screen.dirty.clear()

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


def part_of(paths: list[Path], run: str) -> list[str]:
    """Every fourth of the files, another fourth for each run."""
    return [str(path) for path in sorted(paths)][RUNS.index(run) :: len(RUNS)]


def library(run: str) -> list[str]:
    """Modules of Python's library that have some hundreds of lines."""
    return part_of([p for p in Path(os.__file__).parent.glob("*.py") if has_lines(p)], run)


def has_lines(path: Path) -> bool:
    return len(path.read_text("utf-8").splitlines()) in LINES


def tests(run: str) -> list[str]:
    """Modules of Python's test suite, the smaller ones."""
    directory = Path(os.__file__).parent / "test"
    small = [p for p in directory.glob("test_*.py") if p.stat().st_size in TEST_BYTES]
    return [f"test.{Path(path).stem}" for path in part_of(small, run)]


def programs(kind: str, run: str, draw: random.Random) -> list[tuple[list[str], Keys]]:
    """What runs in the windows, in their order, and what is typed there."""
    files = library(run)
    draw.shuffle(files)
    vim = ["vim", "-u", "NONE", "-i", "NONE", "-n", "-c", "set ruler ttyfast"]
    edits = [([*vim, "-O", *files[at : at + 2]], typing(draw)) for at in (0, 2)]
    look = ([*vim, "-R", files[4]], moving(draw))
    less = (["less", files[5]], paging(draw))
    manuals = [(["man", name], paging(draw)) for name in MANUALS[run]]
    loop = f"for name in {' '.join(tests(run))}; do {sys.executable} -m unittest -v $name; done"
    check = (["sh", "-c", loop], no_keys())
    top = (["top", "-d", "0.7"], no_keys())
    processes = (["watch", "-n", "0.5", "ps -eo pid,pcpu,time,comm --sort=-pcpu"], no_keys())
    counts = (["watch", "-n", "0.3", "cat /proc/meminfo /proc/loadavg /proc/stat"], no_keys())
    progress = ([sys.executable, "-c", PROGRESS, run], no_keys())
    panel = ([sys.executable, "-c", PANEL], no_keys())
    four = {
        "write": [*edits, check, top],
        "watch": [top, processes, progress, counts],
        "read": [look, less, *manuals],
        "mixed": [edits[0], manuals[0], top, check],
    }
    return [*four[kind], panel]


def record(kind: str, run: str) -> list[list[Rect]]:
    """The damage of the frames of one run."""
    draw = random.Random(f"{kind}-{run}")
    places = (*WINDOWS[run], PANELS[run])
    pairs = zip(places, programs(kind, run, draw), strict=True)
    windows = {w.terminal: w for w in (Window(place, *program) for place, program in pairs)}
    running, frames = set(windows), []
    end_s = time.monotonic() + SECONDS
    while (now_s := time.monotonic()) < end_s:
        frame_ends_s = now_s + 1 / FRAMES_HZ
        for terminal in running:
            windows[terminal].press(now_s)
        while (left_s := frame_ends_s - time.monotonic()) > 0:
            written, _, _ = select.select(running, (), (), left_s)
            running -= {terminal for terminal in written if not windows[terminal].read()}
        damage = list(chain.from_iterable(window.damage() for window in windows.values()))
        if len(damage) > 1:
            frames.append(damage)
    for window in windows.values():
        window.close()
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="directory for damage-NAME.gz")
    parser.add_argument("--only", nargs="*", default=[f"{k}-{r}" for k in KINDS for r in RUNS])
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        frames = record(*name.split("-"))
        text = "".join(" ".join(map(str, chain(*frame))) + "\n" for frame in frames)
        packed = gzip.compress(text.encode("ascii"), mtime=0)
        (arguments.output / f"damage-{name}.gz").write_bytes(packed)
        rects = sum(map(len, frames))
        print(f"{name}: {len(frames)} frames, {rects} rectangles, {len(packed)} bytes", flush=True)


if __name__ == "__main__":
    main()
