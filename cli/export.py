"""``coord export``: an archive as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console
from rich.progress import Progress, TaskID, TextColumn

from cli.inputs import did_you_mean
from cli.options import ArchiveArgument, JsonOption
from cli.output import facts, plain, show
from coordinator.archive.export import Format, export
from coordinator.archive.reader import ArchiveReader
from coordinator.archive.schema import TABLES

FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        "-f",
        help=f"{', '.join(get_args(Format))}; Parquet needs `pip install 'coord\\[parquet]'`.",
    ),
]
OutOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Where the files go, one a table.")
]
TableOption = Annotated[
    list[str] | None,
    typer.Option(
        "--table",
        "-t",
        metavar="NAME",
        help=f"Table, again for each: {', '.join(TABLES)}.",
        show_default="all",
    ),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]


def export_command(
    file: ArchiveArgument,
    file_format: FormatOption,
    out: OutOption,
    table: TableOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Write the tables of an archive as JSON lines, CSV or Parquet, a file each.

    All are of one moment, also while the archive is written. In CSV, text
    that a spreadsheet would take for a formula has an apostrophe before it.

    Example: coord export hub_data.db --format csv --out tables
    """
    tables = [_checked(name) for name in dict.fromkeys(table or ())]
    with ArchiveReader.read(file) as opened, _progress(silent=json) as bar:
        task = bar.add_task("")

        def told(name: str, rows: int) -> None:
            _tell(bar, task, name, rows)

        counts = export(opened, out, file_format, tables, force, told)
    show(counts, json, lambda shown: _render(shown, out, file_format, counts))


def _checked(name: str) -> str:
    if name not in TABLES:
        question = did_you_mean(name, list(TABLES)) or f"there are {', '.join(TABLES)}"
        raise typer.BadParameter(f"--table {plain(name)}: {question}")
    return name


def _progress(*, silent: bool) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:,} rows"))
    return Progress(
        *columns, console=console, transient=True, disable=silent or not console.is_terminal
    )


def _tell(bar: Progress, task: TaskID, table: str, rows: int) -> None:
    bar.update(task, description=table, completed=rows)


def _render(shown: Console, out: Path, file_format: str, counts: dict[str, int]) -> None:
    rows = [(f"{table}.{file_format}", f"{count:,} rows") for table, count in counts.items()]
    shown.print(facts([("written to", out), *rows]))
