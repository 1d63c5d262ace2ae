"""The lines above the tables: who coordinates, how the server is, how fast it goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

from cli.output import age, counted, plain
from cli.top.snapshot import Snapshot
from cli.top.tables import open_sessions
from reports.formats import size

BAD = Style(color="red", bold=True)
GOOD = Style(color="green")
NAME = Style(bold=True)


def head_of(snapshot: Snapshot, room: int, trouble: str = "") -> list[Text]:
    """Three lines, the first two without what does not fit ``room`` cells; the last one is the
    ``trouble``, if there is any."""
    last = Text(trouble, BAD) if trouble else _rates(snapshot)
    return [_fleet(snapshot, room), _work(snapshot, room), last]


def _with_spare(line: Text, parts: Sequence[str], room: int) -> Text:
    """``line``, and after it the first ``parts`` that there is room for."""
    for part in parts:
        if line.cell_len + cell_len(part) > room:
            break
        line.append(part)
    return line


def _fleet(snapshot: Snapshot, room: int) -> Text:
    leads = snapshot.coordinator
    line = Text()
    if leads["active"]:
        line.append(f"● {plain(leads['active'], 40)}", GOOD).append(" coordinates")
    else:
        line.append("○ no coordinator is active", BAD)
    if leads["standby"]:
        line.append(f", {len(leads['standby'])} standing by")
    if leads["gateways"]:
        line.append(f", {counted(len(leads['gateways']), 'gateway')}")
    epoch = plain(leads["epoch"] or "none yet", 50)
    return _with_spare(line, [f"  fleet {plain(snapshot.namespace)}", f"  epoch {epoch}"], room)


def _work(snapshot: Snapshot, room: int) -> Text:
    leads, server = snapshot.coordinator, snapshot.server
    states = Counter(str(unit["state"]) for unit in snapshot.units)
    line = Text()
    line.append(f"{snapshot.counts['ais']} AIs", NAME)
    line.append(f"  {counted(open_sessions(snapshot), 'session')} open")
    line.append(f"  units {states['running']} running, {states['queued'] + states['waiting']} wait")
    waiting = leads["ingress"]
    line.append(f"  lag {waiting['entries']}")
    if waiting["entries"]:
        line.append(f" ({age(waiting['oldest_age_ms'])})")
    memory = f"  {server['name']} {server['version']}, {size(server['used_memory_bytes'])}"
    return _with_spare(line, [memory, f" at {plain(snapshot.place)}"], room)


def _rates(snapshot: Snapshot) -> Text:
    if snapshot.messages_per_s is None:
        return Text("… messages/s")
    line = Text().append(f"{snapshot.messages_per_s:.1f} messages/s", NAME)
    by_type = sorted(snapshot.by_type_per_s.items(), key=lambda pair: (-pair[1], pair[0]))
    line.append("".join(f"  {plain(name, 40)} {rate:.1f}" for name, rate in by_type))
    if snapshot.is_partial:
        line.append("  (more than is read: those of AIs are too low)")
    return line
