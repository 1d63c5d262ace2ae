"""Commands whose modules are loaded when they are called: ``coord status`` needs no pictures."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand

from cli.commands import Place


class TeachingCommand(TyperCommand):
    """A command whose help is wrapped where the terminal ends, not where the source's lines do;
    in its usage an argument that must be given is a plain word."""

    def __init__(self, name: str | None, *, help: str | None = None, **attributes: Any) -> None:
        super().__init__(name, help=help and unwrapped(help), **attributes)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        pieces = super().collect_usage_pieces(ctx)
        return [re.sub(r"^\{(.*)\}", r"\1", piece) for piece in pieces]


def unwrapped(text: str) -> str:
    """Each paragraph of ``text`` as one line."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


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
        is_group = isinstance(found, typer.Typer)
        app = found if is_group else _alone(self._place.name, found)
        for command in app.registered_commands:
            command.cls = TeachingCommand
        return typer.main.get_group(app) if is_group else typer.main.get_command(app)


def _alone(name: str, function: Callable[..., None]) -> typer.Typer:
    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    made.command(name)(function)
    return made
