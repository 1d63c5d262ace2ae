"""``coord lineage``: what a record came from, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from cli.options import (
    JsonOption,
    NamespaceOption,
    OpenFleet,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import moment, percent, plain, show
from coordinator.errors import CoordError
from coordinator.keys import RECORD_FIELD, RecordKey
from coordinator.lineage import Edge, named_parents
from coordinator.lineage_reads import Lineage, read_lineage
from coordinator.reads import Item, read_record
from coordinator.state import read_contributors
from coordinator.validation.models import shown_word

NODES_MAX = 500
RecordArgument = Annotated[str, typer.Argument(metavar="ID", help="A record's id.")]
DepthOption = Annotated[
    int, typer.Option("--depth", min=1, max=64, help="So many records up, and as many down.")
]


def lineage(
    record_id: RecordArgument,
    depth: DepthOption = 8,
    json: JsonOption = False,
    redis: RedisOption = None,
    namespace: NamespaceOption = None,
    state_dir: StateDirOption = None,
) -> None:
    """Show what a pattern or component was begun from, and what others made of it.

    A use is what another AI began from it. A verdict is a validator's; without one there is none.

    Example: coord lineage buffer_cache.AI_Node_1.5d2f3d61.3 --depth 3
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        found = read_lineage(fleet.connection, fleet.keys, record_id, depth, NODES_MAX)
        unknown = {root: _read_unknown(fleet, root, found) for root in found.roots}
    if not found.roots:
        raise CoordError(
            f"there is no pattern, component or feature {plain(record_id)}: `coord patterns` and"
            " `coord components` list them"
        )

    def render(shown: Console) -> None:
        for root in found.roots:
            shown.print(_tree(root, found, unknown[root]))
        if found.is_cut:
            shown.print(Text(f"there are more than {NODES_MAX}: these are the nearest"))

    show({"id": record_id, **found.to_json()}, json, render)


def _read_unknown(fleet: OpenFleet, root: RecordKey, found: Lineage) -> list[str]:
    """Of each parent that ``root`` names and did not begin from, as far as the fleet knows, a line
    that says why not."""
    read = (fleet.connection, fleet.keys)
    linked = {edge.parent.id for edge in found.ancestry if edge.child == root}
    named = [
        parent
        for item in read_record(*read, *root).items
        for parent in named_parents(item[RECORD_FIELD[root.kind]])
        if parent.id not in linked
    ]
    makers = read_contributors(*read, named)
    there = {parent.id for parent in named if makers[parent]}
    return [
        f"{plain(name)}, which {_why_unlinked(name == root.id, name in there)}"
        for name in dict.fromkeys(parent.id for parent in named)
    ]


def _why_unlinked(is_itself: bool, is_there: bool) -> str:
    if is_itself:
        return "is this record itself"
    return "was shared later" if is_there else "is not here"


def _tree(root: RecordKey, found: Lineage, unknown: list[str]) -> Tree:
    """A record, above what it came from and below what came of it."""
    tree = Tree(_label(found.nodes[root], style="bold"))
    _grow(tree, "begun from", root, found.ancestry, _up, found, unknown)
    _grow(tree, "begun from it", root, found.progeny, _down, found)
    return tree


Step = Callable[[Edge], tuple[RecordKey, RecordKey]]
"""The near and the far end of an edge."""


def _up(edge: Edge) -> tuple[RecordKey, RecordKey]:
    return edge.child, edge.parent


def _down(edge: Edge) -> tuple[RecordKey, RecordKey]:
    return edge.parent, edge.child


def _grow(
    tree: Tree,
    title: str,
    root: RecordKey,
    edges: list[Edge],
    step: Step,
    found: Lineage,
    unknown: Sequence[str] = (),
) -> None:
    """A branch of ``tree`` with all that ``edges`` lead to from ``root``, and the ``unknown``. What
    several ways lead to is followed once."""
    around: dict[RecordKey, list[RecordKey]] = {}
    for edge in edges:
        near, far = step(edge)
        around.setdefault(near, []).append(far)
    if root not in around and not unknown:
        tree.add(Text(f"{title}: nothing that is known"))
        return
    followed: set[RecordKey] = set()
    label = Text(f"{title}:")
    top = tree.add(label)
    waiting = [(top, label, root)]
    while waiting:
        branch, label, near = waiting.pop()
        if near in followed:
            label.append(" (as above)")
            continue
        followed.add(near)
        labels = [(far, _label(found.nodes[far])) for far in around.get(near, ())]
        waiting += reversed([(branch.add(label), label, far) for far, label in labels])
    for text in unknown:
        top.add(Text(text))


def _label(node: Item, style: str = "") -> Text:
    """A record in a line."""
    name = Text(f"{node['kind']} {plain(node['id'])}", style)
    if node["is_gone"]:
        return name.append(", taken back")
    told = [f"of {plain(node['contributor'])}", plain(moment(node["timestamp"]))]
    verdict = node["verdict"]
    if verdict is not None:
        told.append(f"{plain(shown_word(verdict))}{_score(node['quality_score'])}")
    if uses := node["usage_count"]:
        told.append(f"{uses} use{'s' * (uses > 1)}")
    return name.append(", " + ", ".join(told), "default")


def _score(quality: float | None) -> str:
    return "" if quality is None else f", {percent(quality)} of the gap closed"
