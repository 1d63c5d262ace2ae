"""A table as a Parquet file. Needs pyarrow: see ``export``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from coordinator.reads import Item

ROWS_AT_ONCE = 5_000
BYTES_AT_ONCE = 16 * 1024 * 1024
"""A row group is written when it has so many rows, or so much text."""

_TYPES = {"TEXT": pyarrow.string(), "INTEGER": pyarrow.int64(), "REAL": pyarrow.float64()}


@contextmanager
def open_table(
    file: Path, table: str, columns: Mapping[str, str]
) -> Iterator[Callable[[Item], None]]:
    """Columns have the types that the archive gives them; those that hold JSON are text."""
    types = {name: _TYPES.get(kind, pyarrow.string()) for name, kind in columns.items()}
    schema = pyarrow.schema(list(types.items()))
    rows: list[Item] = []
    size_bytes = 0
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:

        def flush() -> None:
            nonlocal size_bytes
            if rows:
                arrays = [_array([row[field.name] for row in rows], field) for field in schema]
                writer.write_batch(pyarrow.record_batch(arrays, schema=schema))
            rows.clear()
            size_bytes = 0

        def write(row: Item) -> None:
            nonlocal size_bytes
            rows.append(row)
            size_bytes += sum(len(value) for value in row.values() if isinstance(value, str))
            if len(rows) >= ROWS_AT_ONCE or size_bytes >= BYTES_AT_ONCE:
                flush()

        yield write
        flush()


def _array(values: list[Any], field: Any) -> Any:
    """SQLite holds values of any type in any column, if somebody puts them there."""
    if field.type == pyarrow.string():
        values = [_text(value) for value in values]
    else:
        kinds = (int,) if field.type == pyarrow.int64() else (int, float)
        values = [value if isinstance(value, kinds) else None for value in values]
    return pyarrow.array(values, field.type)


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if value is None or isinstance(value, str) else str(value)
