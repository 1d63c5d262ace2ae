"""``coord lineage``: what a record came from, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from cli.options import (
    JsonOption,
    NamespaceOption,
    RedisOption,
    StateDirOption,
    load_settings,
    open_fleet,
)
from cli.output import plain, show
from coordinator.errors import CoordError
from coordinator.fleet import RecordKey
from coordinator.lineage import Edge, Lineage, read_lineage
from coordinator.reads import Item
from coordinator.validations import SHOWN_AS

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

    Example: coord lineage file_system.AI_Node_1.1f0c.3 --depth 3
    """
    with open_fleet(load_settings(redis, namespace, state_dir)) as fleet:
        found = read_lineage(fleet.connection, fleet.keys, record_id, depth, NODES_MAX)
    if not found.roots:
        raise CoordError(
            f"there is no pattern, component or feature {plain(record_id)}: `coord patterns` and"
            " `coord components` list them"
        )

    def render(shown: Console) -> None:
        for root in found.roots:
            shown.print(_tree(root, found))
        if found.is_cut:
            shown.print(Text(f"there are more than {NODES_MAX}: these are the nearest"))

    show({"id": record_id, **found.to_json()}, json, render)


def _tree(root: RecordKey, found: Lineage) -> Tree:
    """A record, above what it came from and below what came of it."""
    tree = Tree(_label(found.nodes[root], style="bold"))
    _grow(tree, "begun from", root, found.ancestry, _up, found)
    _grow(tree, "begun from it", root, found.progeny, _down, found)
    return tree


Step = Callable[[Edge], tuple[RecordKey, RecordKey]]
"""The near and the far end of an edge."""


def _up(edge: Edge) -> tuple[RecordKey, RecordKey]:
    return edge.child, edge.parent


def _down(edge: Edge) -> tuple[RecordKey, RecordKey]:
    return edge.parent, edge.child


def _grow(
    tree: Tree, title: str, root: RecordKey, edges: list[Edge], step: Step, found: Lineage
) -> None:
    """A branch of ``tree`` with all that ``edges`` lead to from ``root``. What several ways lead to
    is followed once."""
    around: dict[RecordKey, list[RecordKey]] = {}
    for edge in edges:
        near, far = step(edge)
        around.setdefault(near, []).append(far)
    if root not in around:
        tree.add(Text(f"{title}: nothing that is known"))
        return
    followed: set[RecordKey] = set()
    label = Text(f"{title}:")
    waiting = [(tree.add(label), label, root)]
    while waiting:
        branch, label, near = waiting.pop()
        if near in followed:
            label.append(" (as above)")
            continue
        followed.add(near)
        labels = [(far, _label(found.nodes[far])) for far in around.get(near, ())]
        waiting += reversed([(branch.add(label), label, far) for far, label in labels])


def _label(node: Item, style: str = "") -> Text:
    """A record in a line."""
    name = Text(f"{node['kind']} {plain(node['id'])}", style)
    if node["is_gone"]:
        return name.append(", taken back")
    told = [f"of {plain(node['contributor'])}", plain(node["timestamp"])]
    verdict = node["verdict"]
    if verdict is not None:
        told.append(f"{plain(SHOWN_AS.get(verdict, verdict))}{_score(node['quality_score'])}")
    if uses := node["usage_count"]:
        told.append(f"{uses} use{'s' * (uses > 1)}")
    return name.append(", " + ", ".join(told), "default")


def _score(quality: float | None) -> str:
    return "" if quality is None else f" {quality:.1%} of the gap closed"
