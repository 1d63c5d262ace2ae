"""The import direction: coordinator <- workers <- reports <- web <- cli, downward only, and at the
top of a file."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from setuptools import find_packages

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("coordinator", "workers", "reports", "web", "cli")
SERVING = {"starlette", "uvicorn", "prometheus_client", "jinja2"}
DRAWING = {"matplotlib", "textual"}
FORBIDDEN = {
    "coordinator": {
        *("workers", "reports", "web", "cli", "tests"),
        *("typer", "rich", "cmaes", "numpy", *SERVING, *DRAWING),
    },
    "workers": {"reports", "web", "cli", "tests", "typer", "rich", *SERVING, *DRAWING},
    "reports": {"web", "cli", "tests", "typer", "rich", "starlette", "uvicorn", "textual"},
    "web": {"cli", "tests", "typer", "rich", *DRAWING},
    "cli": {"tests"},
}
FILES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(tree: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def modules_in(tree: ast.AST) -> set[str]:
    """Every dotted name that ``tree`` may load; ``from a import b`` may load ``a.b``."""
    names: set[str] = set()
    for node in imports(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, f"line {node.lineno}: a relative import"
            module = node.module or ""
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def nested_imports(tree: ast.Module) -> list[int]:
    """Lines of imports that run later than the file is loaded."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    return [
        node.lineno
        for scope in ast.walk(tree)
        if isinstance(scope, functions)
        for node in imports(scope)
    ]


def package_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).parts[0]


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)


def module_name(path: Path) -> str:
    return dotted(path).removesuffix(".__init__")


def test_there_is_something_to_look_at() -> None:
    assert set(map(package_of, FILES)) == set(PACKAGES)


def test_every_package_is_shipped() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    shipped = find_packages(str(REPOSITORY), **project["tool"]["setuptools"]["packages"]["find"])
    assert set(shipped) == {".".join(path.relative_to(REPOSITORY).parts[:-1]) for path in FILES}


def test_imports_run_one_way() -> None:
    roots = {path: {name.split(".")[0] for name in modules_in(parsed(path))} for path in FILES}
    wrong = {dotted(path): roots[path] & FORBIDDEN[package_of(path)] for path in FILES}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_no_import_inside_a_function_or_class() -> None:
    nested = {dotted(path): nested_imports(parsed(path)) for path in FILES}
    assert {name: lines for name, lines in nested.items() if lines} == {}


def needs(name: str, path: Path, modules: set[str]) -> set[str]:
    """The modules that one imports; not the packages that it lies in, which only list it."""
    around = {name.rsplit(".", depth)[0] for depth in range(name.count(".") + 1)}
    return (modules_in(parsed(path)) & modules) - around


@pytest.mark.parametrize("package", PACKAGES)
def test_no_cycles(package: str) -> None:
    modules = {module_name(path): path for path in FILES if module_name(path).startswith(package)}
    graph = {name: needs(name, path, set(modules)) for name, path in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle of imports: {' -> '.join(error.args[1])}")


def test_what_the_checks_see() -> None:
    bad = "def f():\n    import os\nclass A:\n    from cli import main\n"
    assert nested_imports(ast.parse(bad)) == [2, 4]
    assert modules_in(ast.parse("from a.b import c\nimport d.e")) == {"a.b", "a.b.c", "d.e"}


LOW = (
    {
        *("archive.__init__", "clock", "errors", "processes", "server_errors", "tasks"),
        *("validation.__init__", "waiting"),
    },
    {"messages", "private_files", "secret_files", "specializations", "stored"},
    {
        "epochs",
        "json_logs",
        "keys",
        "listening",
        "payloads",
        "server_directory",
        "settings",
        "work",
    },
    {"server_probe"},
    {"embedded"},
    {"connection", "credentials", "doors", "enrolment", "orders", "validation.models"},
)
"""Names and models, and the way to a server."""

LIBRARY = (
    {"feed", "identity", "life", "operator", "outages", "replies"},
    {"mailbox", "outbox", "subscription"},
    {"transport"},
    {"reader", "tcp"},
    {"followed", "redis_transport"},
    {"way"},
    {"client"},
    {"blocking"},
    {"__init__"},
)
"""What AIs use."""

SERVICE = (
    {"record_search"},
    {"archive.failures", "archive.schema", "effects", "lease", "reads", "streams"},
    {"archive.soundness", "history"},
    {"events", "fleet", "following", "telling"},
    {
        *("audit", "context", "enrolled", "inboxes", "ingress"),
        *("lag", "letters", "matching", "metrics", "presence"),
        *("questions", "queues", "session_reads"),
    },
    {"archive.file", "archive.lines", "archive.projections", "archive_marks"},
    {"archive.reader", "archive.writer"},
    {
        "archive.archive",
        *("access", "duties", "plans", "retention", "server_check", "status", "sync"),
        "transaction",
        "validation.state",
    },
    {"archive.export", "archive.forgotten", "archive.parquet", "jobs"},
    {"validation.jobs"},
    {"acl", "lineage", "units", "validation.waiting_list", "work_state"},
    {"enrolled_list", "validation.older_lists"},
    {"state"},
    {"archive.restore_writer", "records"},
    {"ancestry", "lineage_reads"},
    {"credit"},
    {"sessions", "validation.verdicts"},
    {"collaborations", "features", "registry"},
    {
        *("answers", "artifacts", "job_watch", "knowledge", "membership", "steering", "talk"),
        "validation.watch",
    },
    {"dispatch"},
    {"archive.replay", "coordinator"},
    {"archive.restore"},
)
"""What is kept in Redis, then the nouns, then the loop that uses them."""

ORDERS = (
    (*LOW, *SERVICE),
    (*LOW, *LIBRARY, {"gateway"}),
    (*LOW, *LIBRARY, *SERVICE, {"archive.follow", "revoking", "testing"}),
)
"""What stands on what, each module by the first order that has it: the library and the service
know nothing of each other, and a gateway knows nothing of the service."""


def below(module: str) -> set[str]:
    """The modules of the coordinator that one may import: those of the layers under its own."""
    for layers in ORDERS:
        for depth, names in enumerate(layers):
            if module in names:
                return set().union(*layers[:depth])
    pytest.fail(f"coordinator.{module} is in no layer: name it in {__file__}")


SPREAD = {"archive", "validation"}
"""Packages whose modules are in different layers; each of the others is in one."""


def split(name: str) -> str:
    """The part of the coordinator that a dotted name of a module lies in."""
    first, second = [*name.split("."), "__init__", "__init__"][1:3]
    return f"{first}.{second}" if first in SPREAD else first


COORDINATOR = [path for path in FILES if package_of(path) == "coordinator"]
PARTS = {split(dotted(path)) for path in COORDINATOR}
"""Its modules, and the packages in it; of those that are spread their modules."""


def part_of(name: str) -> str:
    """Which part a dotted name leads into; what is none is exported by ``coordinator`` itself."""
    part = split(name)
    return part if part in PARTS else "__init__"


def not_below(path: Path) -> set[str]:
    """The parts that a file of the coordinator imports from, and may not."""
    own = split(dotted(path))
    names = {name for name in modules_in(parsed(path)) if name.startswith("coordinator.")}
    return {part_of(name) for name in names} - {own} - below(own)


def test_the_coordinator_imports_from_lower_layers_alone() -> None:
    wrong = {dotted(path): not_below(path) for path in COORDINATOR}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_the_layers_name_what_is_there() -> None:
    assert set().union(*LOW, *LIBRARY, *SERVICE) - PARTS == set()
