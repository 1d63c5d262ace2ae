"""What a module says of itself, as far as its syntax tells: its policy, its tests.

A name that only running would show (a decorated method, a base class that was imported) is let
through here; it is found out inside the sandbox.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from coordinator.messages import one_line
from workers.problems import Interface
from workers.validation.source import TEST_CASES, Cases, ComponentFault, parse

Function = ast.FunctionDef | ast.AsyncFunctionDef
POLICY = "Policy"
CONSTRUCTOR = "__init__"
SPECIALIZATION = "SPECIALIZATION"
Takes = Mapping[str, Sequence[str]]
"""Methods, and the names of their arguments after ``self``."""


def takes_of(own_source: str, interface: Interface) -> Takes:
    """What the constructor and the methods of a policy take: those that the interface names, with
    the arguments that they have in the problem's own policy, whose module is given."""
    members, _ = _members(ast.parse(own_source))
    takes: dict[str, Sequence[str]] = {CONSTRUCTOR: interface.arguments}
    for method in interface.methods:
        member = members[method]
        assert isinstance(member, Function)
        takes[method] = [argument.arg for argument in member.args.args[1:]]
    return takes


def specialization_of(text: str) -> str:
    """What a module says it is a component for, read without running it; "" if it does not say so
    by a literal, or is no module."""
    try:
        assigned = _assigned(parse(text).body)
    except ComponentFault:
        return ""
    values = [value for name, value in assigned if name == SPECIALIZATION]
    said = values[-1].value if values and isinstance(values[-1], ast.Constant) else None
    return said if isinstance(said, str) else ""


def check_module(tree: ast.Module, specialization: str, takes: Takes) -> None:
    """Raises ComponentFault unless the module has the specialization's policy."""
    _check_specialization(tree, specialization)
    if not any(name == POLICY for name, _ in _defined(tree.body)):
        raise ComponentFault(
            f"there is no class {POLICY} at module level: write `class {POLICY}:` with"
            f" `{_head(CONSTRUCTOR, takes[CONSTRUCTOR])}`"
        )
    members, is_all = _members(tree)
    for method, arguments in takes.items():
        if method in members:
            _check_callable(f"{POLICY}.{method}", members[method], arguments)
        elif is_all and not (method == CONSTRUCTOR and ("__new__" in members or not arguments)):
            raise ComponentFault(
                f"{POLICY} has no method {method}, which a policy of {specialization} must have:"
                f" add `{_head(method, arguments)}`"
            )


def check_said(said: object, specialization: str, takes: Takes) -> None:
    """The same of what a module says of itself once it was loaded, which may be anything."""
    said = said if isinstance(said, dict) else {}
    if said.get("specialization") != specialization:
        raise ComponentFault(
            f"once it is loaded, {SPECIALIZATION} is no longer {specialization}: leave it as it is"
        )
    classes = said.get("classes")
    methods = classes.get(POLICY) if isinstance(classes, dict) else None
    has = [name for name in methods if isinstance(name, str)] if isinstance(methods, list) else []
    missing = [name for name in takes if name != CONSTRUCTOR and name not in has]
    if missing:
        raise ComponentFault(
            f"once it is loaded, {POLICY} has no method {missing[0]}: add"
            f" `{_head(missing[0], takes[missing[0]])}`"
        )


def find_tests(trees: Sequence[ast.Module], cases: Cases) -> list[list[str]]:
    """The tests in each module: its ``test_*`` functions, and those that ``test_cases`` names.

    Raises ComponentFault for one that no module has, or that wants arguments.
    """
    functions = [_functions(tree) for tree in trees]
    for name in cases.names:
        if not any(name in of_module for of_module in functions):
            raise ComponentFault(
                one_line(
                    f"`test_cases` names {name}, which is no function at module level: define it,"
                    " or leave it out"
                )
            )
    found = [
        [name for name in of_module if name.startswith("test_") or name in cases.names]
        for of_module in functions
    ]
    count = sum(map(len, found))
    if count > TEST_CASES:
        raise ComponentFault(f"there are {count} tests, and may be {TEST_CASES}: leave some out")
    for of_module, names in zip(functions, found, strict=True):
        for name in names:
            _check_test(of_module[name])
    return found


# -- the specialization ----------------------------------------------------------------------------


def _check_specialization(tree: ast.Module, specialization: str) -> None:
    rule = f'write `{SPECIALIZATION} = "{specialization}"` at module level'
    values = [value for name, value in _assigned(tree.body) if name == SPECIALIZATION]
    if not values:
        raise ComponentFault(f"{SPECIALIZATION} is not set: {rule}")
    for value in values:
        if not (isinstance(value, ast.Constant) and isinstance(value.value, str)):
            raise ComponentFault(f"{SPECIALIZATION} is no literal text: {rule}")
        if value.value != specialization:
            raise ComponentFault(
                one_line(f"{SPECIALIZATION} is {value.value!r}, not what it was shared for: {rule}")
            )


def _assigned(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """The plain names that statements assign to, and what they assign."""
    for node in body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                yield target.id, node.value


# -- the policy ------------------------------------------------------------------------------------


def _members(tree: ast.Module) -> tuple[dict[str, ast.stmt], bool]:
    """What the policy and its bases in this module define, by name; and whether that is all.

    What a name stands for that is given to several things, only running would show.
    """
    defined = list(_defined(tree.body))
    times = Counter(name for name, _ in defined)
    classes = {n: node for n, node in defined if isinstance(node, ast.ClassDef) and times[n] == 1}
    members: dict[str, ast.stmt] = {}
    is_all = True
    seen = {"object"}
    waiting = [POLICY]
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        if name not in classes:
            is_all = False
            continue
        is_all = is_all and not classes[name].decorator_list
        for member, statement in _defined(classes[name].body):
            members.setdefault(member, statement)
        waiting += [base.id if isinstance(base, ast.Name) else "" for base in classes[name].bases]
    return members, is_all


def _defined(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """The names that statements define, each with its statement."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            yield node.name, node
        for name, _ in _assigned([node]):
            yield name, node


def _head(method: str, arguments: Sequence[str]) -> str:
    return f"def {method}({', '.join(('self', *arguments))})"


def _check_callable(what: str, member: ast.stmt, arguments: Sequence[str]) -> None:
    """It takes so many arguments after ``self``, as far as it is a plain function."""
    if not isinstance(member, Function) or member.decorator_list:
        return
    rule = f"write `{_head(member.name, arguments)}`"
    if isinstance(member, ast.AsyncFunctionDef):
        raise ComponentFault(f"{what} is async, and nobody awaits it: {rule}")
    if not _takes(member.args, len(arguments) + 1):
        raise ComponentFault(
            f"{what} is called with {_count(arguments)}, which it does not take: {rule}"
        )


def _count(arguments: Sequence[str]) -> str:
    if not arguments:
        return "no argument"
    return f"{len(arguments)} argument{'s' * (len(arguments) > 1)} ({', '.join(arguments)})"


def _takes(arguments: ast.arguments, count: int) -> bool:
    """Whether a function may be called with so many arguments by position, and none by name."""
    most = len(arguments.posonlyargs) + len(arguments.args)
    needs_names = any(default is None for default in arguments.kw_defaults)
    is_enough = most - len(arguments.defaults) <= count
    return is_enough and (count <= most or arguments.vararg is not None) and not needs_names


# -- the tests -------------------------------------------------------------------------------------


def _functions(tree: ast.Module) -> dict[str, Function]:
    """The functions at module level, by name."""
    return {node.name: node for node in tree.body if isinstance(node, Function)}


def _check_test(test: Function) -> None:
    rule = f"write `def {test.name}()`"
    if isinstance(test, ast.AsyncFunctionDef):
        raise ComponentFault(one_line(f"{test.name} is async, and nobody awaits it: {rule}"))
    if not (test.decorator_list or _takes(test.args, 0)):
        raise ComponentFault(
            one_line(f"{test.name} wants arguments, and tests are called without: {rule}")
        )
