"""The import direction: coordinator <- workers <- cli, downward only, and at the top of a file."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("coordinator", "workers", "cli")
FORBIDDEN = {
    "coordinator": {"workers", "cli", "tests", "typer", "rich", "cmaes", "numpy"},
    "workers": {"cli", "tests", "typer", "rich"},
    "cli": {"tests"},
}
FILES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))


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


def named(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def test_there_is_something_to_look_at() -> None:
    assert {path.relative_to(REPOSITORY).parts[0] for path in FILES} == set(PACKAGES)


@pytest.mark.parametrize("path", FILES, ids=named)
def test_imports_run_one_way(path: Path) -> None:
    package = path.relative_to(REPOSITORY).parts[0]
    roots = {name.split(".")[0] for name in modules_in(parsed(path))}
    assert not roots & FORBIDDEN[package]


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_import_inside_a_function_or_class(path: Path) -> None:
    assert nested_imports(parsed(path)) == []


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


LAYERS = (
    {"clock", "errors", "private_files", "processes", "waiting"},
    {"messages", "specializations"},
    {"keys", "payloads", "settings", "work"},
    {"effects", "embedded", "fleet"},
    {"connection", "context", "lease", "letters", "questions", "reads", "streams"},
    {"history", "ingress", "matching", "plans", "records", "server_check", "session_reads"},
    {"retention", "status", "sync", "transaction"},
    {"jobs"},
    {"state", "units"},
    {"sessions"},
    {"collaborations", "features"},
    {"answers", "duties", "job_watch", "knowledge", "operator", "registry", "steering"},
    {"dispatch"},
    {"coordinator"},
)
"""What stands on what in the service: names and models, then Redis, then the nouns, then the loop
that uses them."""


def layer_of(module: str) -> int | None:
    """The layer of a module of the service; None for the library that AIs use."""
    return next((depth for depth, names in enumerate(LAYERS) if module in names), None)


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.parent.name == "coordinator" and layer_of(path.stem)],
    ids=named,
)
def test_the_service_imports_from_lower_layers_alone(path: Path) -> None:
    depth = layer_of(path.stem)
    assert depth is not None
    used = {
        name.split(".")[1]
        for name in modules_in(parsed(path))
        if name.count(".") == 1 and name.startswith("coordinator.")
    }
    assert {name for name in used if (layer_of(name) or 0) >= depth} == set()
