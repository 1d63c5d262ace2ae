"""Which evaluator it was that measured: when it changes, scores are no longer comparable."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from workers.problems.problem import Trainable

PACKAGE = __name__.rpartition(".")[0]
DIGEST_CHARACTERS = 12


def loaded_source(module: str) -> str:
    """The text of a module that is loaded."""
    return Path(str(sys.modules[module].__file__)).read_text("utf-8")


def evaluator_version(
    problem: Trainable, day: str | None = None, source: Callable[[str], str] = loaded_source
) -> str:
    """The problem's name, and a digest of the text of all modules that its evaluator is made of:
    the one that defines it, and what they import of this package. With the `day` (YYYY-MM-DD) on
    whose workload it measures, if that is another one every day.

    A comment counts as well: to measure once more does no harm, to keep a score that no longer
    holds does. `source` gives the text of a module.
    """
    texts: dict[str, str] = {}
    waiting = [type(problem).__module__]
    while waiting:
        module = waiting.pop()
        if module not in texts:
            texts[module] = source(module)
            waiting.extend(_imported(texts[module]))
    digest = sha256()
    for module, text in sorted(texts.items()):
        digest.update(f"{module}\0{len(text)}\0{text}".encode())
    made_of = f"{problem.name}-{digest.hexdigest()[:DIGEST_CHARACTERS]}"
    return f"{made_of}-{day}" if day else made_of


def _imported(text: str) -> Iterator[str]:
    """The modules of this package that a text imports, or imports something of."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{PACKAGE}."):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in sys.modules else str(node.module)
