"""Commands whose modules are loaded when they are called: ``coord status`` needs no pictures."""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.core import TyperCommand

from cli.commands import Place


class LazyCommand(TyperCommand):
    """Stands for the command at ``place`` in lists and helps, and becomes it when it is called."""

    def __init__(self, place: Place, panel: str) -> None:
        super().__init__(place.name, help=place.about, rich_help_panel=panel)
        self._place = place

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        return self.load().make_context(info_name, args, parent, **extra)

    def load(self) -> Any:
        """The command itself, or the group of commands."""
        module, _, name = self._place.where.partition(":")
        found = getattr(importlib.import_module(module), name)
        if isinstance(found, typer.Typer):
            return typer.main.get_group(found)
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(self._place.name)(found)
        return typer.main.get_command(alone)
