"""What can be the source of a component, and what its syntax tells: nothing of it is run."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from coordinator.messages import one_line
from coordinator.validation.models import language_of
from tests.components import LRU, lru_with
from workers.problems import find_problem
from workers.validation.interface_check import (
    check_module,
    check_said,
    find_tests,
    specialization_of,
    takes_of,
)
from workers.validation.measurement import takes_by_specialization
from workers.validation.source import (
    _TOKEN,
    ENTRY_CHARS,
    LINE_BYTES,
    SOURCE_BYTES,
    TOKENS,
    Component,
    ComponentFault,
    Source,
    cases_of,
    parse,
    sources_of,
)

PROBLEM = find_problem("file_system")
assert PROBLEM is not None
TAKES = takes_by_specialization(PROBLEM)["file_system"]
DEEP = {
    "brackets": "(" * 60_000,
    "closed brackets": "[" * 150 + "]" * 150,
    "signs": "-" * 60_000 + "1",
    "nots": "not " * 30_000 + "a",
    "lambdas": "lambda:" * 30_000 + "a",
    "sums": "+".join("a" * 30_000),
    "attributes": "a" + ".a" * 30_000,
    "calls": "a" + "()" * 30_000,
    "else": "if a:\n a\n" + "elif a:\n a\n" * 10_000,
    "powers": "2**" * 20_000 + "2",
    "blocks": "".join(" " * depth + "if a:\n" for depth in range(200)),
    "digits": "a = " + "1" * 90_000,
    "hexadecimal digits": "a = 0x" + "f" * 90_000,
    "statements": "a;" * 30_000,
    "decorators": "@a\n" * 20_000 + "def f(): pass",
}


NESTED: list[Any] = []
for _ in range(5000):
    NESTED = [NESTED]
HUGE = 10**6000


def fault(action: Any, *arguments: Any) -> str:
    """The one line of a fault."""
    with pytest.raises(ComponentFault) as caught:
        action(*arguments)
    assert caught.value.detail == one_line(caught.value.detail), "it is not one short line"
    return caught.value.detail


# -- where the text lies ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"code": "a", "specialization": "audio"}, [Source("audio", "a")]),
        ({"code": "a"}, [Source("registered", "a")]),
        ({"implementation": "a"}, [Source("registered", "a")]),
        ({"implementation": "a", "code": "a"}, [Source("registered", "a")]),
        ({"code": {"registered": "a"}}, [Source("registered", "a")]),
        ({"implementation": {"y": "b", "x": "a"}}, [Source("x", "a"), Source("y", "b")]),
        (
            {"code": {"y": "b", "x": "a"}, "specializations": ["x", "y"]},
            [Source("x", "a"), Source("y", "b")],
        ),
    ],
)
def test_the_sources_of_a_record(record: dict[str, Any], found: list[Source]) -> None:
    assert sources_of(Component(record, "registered")) == found


@pytest.mark.parametrize(
    ("record", "what"),
    [
        ({}, "there is no code"),
        ({"code": ""}, "there is no code"),
        ({"code": {}}, "there is no code"),
        ({"code": 7}, "the code is a int, and must be text"),
        ({"code": ["a"]}, "the code is a list, and must be text"),
        ({"code": {"x": None}}, "the code is a NoneType, and must be text"),
        ({"code": NESTED}, "the code is a list, and must be text"),
        ({"code": "a", "implementation": NESTED}, "the code is a list, and must be text"),
        ({"code": "a", "specialization": NESTED}, "a specialization is a list, and must be text"),
        ({"code": "a", "specialization": HUGE}, "a specialization is a int, and must be text"),
        ({"code": {"registered": "a"}, "specializations": [NESTED]}, "a specialization is a list"),
        ({"code": {"\ud800": "a"}, "specialization": "b"}, "the code is of ['\\ud800'], but was"),
        ({"code": "a", "implementation": "b"}, "`implementation` and `code` differ"),
        ({"code": {"registered": "a"}, "specializations": ["x", "y"]}, "was shared for ['x', 'y']"),
        ({"code": {"x": "a"}, "specializations": ["x"]}, "but was shared for ['registered']"),
        ({"code": {"x": "a"}, "specialization": "y"}, "is of ['x'], but was shared for ['y']"),
        ({"code": {"x": "a"}}, "is of ['x'], but was shared for ['registered']"),
        ({"code": "\ufeffa = 1"}, "byte order mark"),
        ({"code": "a = 1\0"}, "a NUL character"),
        ({"code": "a = 1\nb = '\ud800'"}, "line 2 of the code has half of a surrogate pair"),
        ({"code": "a\n" * SOURCE_BYTES}, f"has {2 * SOURCE_BYTES} bytes, and may have"),
        ({"code": "é" * (LINE_BYTES // 2 + 1)}, f"a line of the code has {LINE_BYTES + 2} bytes"),
    ],
)
def test_what_is_no_source(record: dict[str, Any], what: str) -> None:
    assert what in fault(sources_of, Component(record, "registered"))


def test_what_is_just_small_enough_is_a_source() -> None:
    line = "#" * (LINE_BYTES - 1) + "\n"
    text = line * 2 + "#" * (SOURCE_BYTES - 2 * LINE_BYTES)
    assert sources_of(Component({"code": text}, "x")) == [Source("x", text)]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        *(
            (" python ", "python"),
            ("Python3", "python"),
            ("cxx", "cpp"),
            ("C++", "cpp"),
            ("cpp", "cpp"),
        ),
        *((None, ""), ("", ""), (7, "a int"), ("Rust", "rust"), ("a\nb", "a\\nb")),
        ("x" * 900, "x" * 37 + "..."),
    ],
)
def test_the_language(given: object, found: str) -> None:
    assert language_of({"language": given}) == found


# -- parsing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP.keys())
def test_the_parser_survives(text: str) -> None:
    """Most are refused; what an interpreter can parse all the same does no harm."""
    assert len(_TOKEN.findall(text)) <= TOKENS
    with suppress(ComponentFault):
        assert isinstance(parse(text), ast.Module)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("def f(:\n", "line 1 of the code is no Python: invalid syntax"),
        ("a = 1\n  b = 2\n", "line 2 of the code is no Python: unexpected indent"),
        ("+".join("a" * 30_000), "the code is nested too deeply"),
        ("int main() { return 0; }", "line 1 of the code is no Python"),
        ("\n```python\na = 1\n```", "the code is no Python: it begins with ```, as in Markdown"),
        ("a\n" * 65_536, "the code has 131072 words, signs and lines, and may have 65536: make"),
        ("a;" * 49_000, "the code has 98000 words, signs and lines"),
    ],
)
def test_what_does_not_parse(text: str, what: str) -> None:
    assert what in fault(parse, text)


def test_a_warning_of_the_parser_is_no_fault() -> None:
    assert isinstance(parse("a = '\\d'"), ast.Module)


# -- the interface ---------------------------------------------------------------------------------


def test_what_a_policy_takes_is_read_from_the_problem_s_own() -> None:
    assert TAKES == {
        "__init__": ("capacity_blocks",),
        "hit": ["block"],
        "insert": ["block"],
        "replace": ["block"],
    }


ACCEPTED = {
    "plain": LRU,
    "annotated": LRU.replace("SPECIALIZATION =", "SPECIALIZATION: str ="),
    "more with defaults": lru_with("capacity_blocks)", "capacity_blocks, share=0.5, *, a=1)"),
    "any number": lru_with("capacity_blocks)", "*arguments)"),
    "by position": lru_with("capacity_blocks)", "capacity_blocks, /)"),
    "decorated": lru_with("    def hit(self, block)", "    @staticmethod\n    def hit(block)"),
    "assigned": LRU.replace("    def insert(self, block):", "    insert = hit\n    def b(self):"),
    "inherited": LRU.replace("class Policy", "class Base") + "\nclass Policy(Base):\n    pass\n",
    "from elsewhere": 'SPECIALIZATION = "file_system"\nfrom m import B\nclass Policy(B): pass\n',
    "generated": 'SPECIALIZATION = "file_system"\n@made\nclass Policy: pass\n',
    "bound twice": LRU + "\nclass Careful(Policy): pass\nclass Policy(Careful): pass\n",
    "another name for it": LRU.replace("class Policy", "class Lru") + "\nPolicy = Lru\n",
    "bases in a circle": LRU.replace("class Policy:", "class Policy(Policy):"),
}


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_any_way_to_write_a_policy_will_do(text: str) -> None:
    check_module(parse(text), "file_system", TAKES)


REFUSED = {
    "no specialization": (LRU.replace("SPECIALIZATION", "OTHER"), "SPECIALIZATION is not set: wri"),
    "another one": (LRU.replace('"file_system"', '"audio"'), "'audio', not what it was shared for"),
    "twice": (LRU + "\nSPECIALIZATION = 'audio'\n", "SPECIALIZATION is 'audio', not what"),
    "computed": (LRU.replace('"file_system"', '"file" + "_system"'), "is no literal text: write"),
    "no text": (LRU.replace('"file_system"', "7"), "SPECIALIZATION is no literal text: write"),
    "no policy": (
        LRU.replace("class Policy", "class Other"),
        "no class Policy at module level: write `class Policy:` with"
        " `def __init__(self, capacity_blocks)`",
    ),
    "no constructor": (
        LRU.replace("__init__", "start"),
        "no method __init__, which a policy of file_system must have: add"
        " `def __init__(self, capacity_blocks)`",
    ),
    "no method": (
        LRU.replace("def replace", "def evict"),
        "no method replace, which a policy of file_system must have: add"
        " `def replace(self, block)`",
    ),
    "constructor without": (
        lru_with("self, capacity_blocks)", "self)"),
        "Policy.__init__ is called with 1 argument (capacity_blocks), which it does not take:"
        " write `def __init__(self, capacity_blocks)`",
    ),
    "constructor that wants more": (lru_with("capacity_blocks)", "capacity_blocks, b)"), "1 argum"),
    "a name that is wanted": (lru_with("capacity_blocks)", "capacity_blocks, *, b)"), "1 argument"),
    "method without": (
        lru_with("hit(self, block)", "hit(self)"),
        "Policy.hit is called with 1 arg",
    ),
    "inherited without": (
        lru_with("hit(self, block)", "hit(self)").replace("class Policy", "class Base")
        + "\nclass Policy(Base):\n    pass\n",
        "Policy.hit is called with 1 argument (block), which it does not take",
    ),
    "async": (
        LRU.replace("def replace", "async def replace"),
        "Policy.replace is async, and nobod",
    ),
}


@pytest.mark.parametrize(("text", "what"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_policy(text: str, what: str) -> None:
    assert what in fault(check_module, parse(text), "file_system", TAKES)


def test_a_policy_without_arguments_needs_no_constructor() -> None:
    tree = parse('SPECIALIZATION = "x"\nclass Policy:\n    def f(self): pass\n')
    check_module(tree, "x", {"__init__": (), "f": ()})


def test_the_own_policies_are_policies() -> None:
    for specialization in ("file_system", "process_manager"):
        problem = find_problem(specialization)
        assert problem is not None
        source = problem.component_source({p.name: p.default for p in problem.parameters})
        takes = takes_of(source, problem.interfaces[specialization])
        check_module(parse(source), specialization, takes)
        assert set(takes) == {"__init__", *problem.interfaces[specialization].methods}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LRU, "file_system"),
        (f"{LRU}\nSPECIALIZATION: str = 'audio'", "audio"),
        ("SPECIALIZATION = 'file' + '_system'", ""),
        ("SPECIALIZATION = 7", ""),
        ("class Policy:\n    SPECIALIZATION = 'audio'", ""),
        ("def f(:", ""),
        ("", ""),
        ("a\0", ""),
    ],
)
def test_what_a_text_says_that_it_is_for(text: str, said: str) -> None:
    assert specialization_of(text) == said


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (None, "SPECIALIZATION is no longer file_system"),
        ({"specialization": "audio"}, "SPECIALIZATION is no longer file_system"),
        ({"specialization": "file_system"}, "Policy has no method hit: add `def hit(self, block)`"),
        ({"specialization": "file_system", "classes": 7}, "Policy has no method hit"),
        (
            {"specialization": "file_system", "classes": {"Policy": [{}]}},
            "Policy has no method hit",
        ),
        (
            {"specialization": "file_system", "classes": {"Policy": ["hit", "insert"]}},
            "once it is loaded, Policy has no method replace",
        ),
    ],
)
def test_what_a_loaded_module_says_is_not_believed(said: object, what: str) -> None:
    assert what in fault(check_said, said, "file_system", TAKES)


# -- tests -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "names", "not_run"),
    [
        (None, (), ()),
        ([], (), ()),
        (["test_a", "check()", " test_a "], ("test_a", "check"), ()),
        (["reads 1 GB", 7, {"a": 1}], (), ("reads 1 GB", "7", '{"a": 1}')),
        ("works on my machine", (), ("works on my machine",)),
        (["x y" * 900], (), ("x y" * 65 + "x ...",)),
        ([NESTED], (), ("a list that is too large to show",)),
        ([HUGE], (), ("a int that is too large to show",)),
    ],
)
def test_names_are_told_from_prose(
    given: object, names: tuple[str, ...], not_run: tuple[str, ...]
) -> None:
    cases = cases_of(Component({"test_cases": given}))
    assert (cases.names, cases.not_run) == (names, not_run)
    assert all(len(entry) <= ENTRY_CHARS for entry in cases.not_run)


def found_tests(text: str, test_cases: Any = None) -> list[list[str]]:
    cases = cases_of(Component({"test_cases": test_cases}))
    return find_tests([parse(text)], cases)


def test_a_module_s_tests_are_found() -> None:
    text = "def test_a(): pass\nx = 1\ndef check(): pass\nclass T:\n  def test_no(self): pass\n"
    assert found_tests(text) == [["test_a"]]
    assert found_tests(text, ["check", "more prose"]) == [["test_a", "check"]]


def test_of_two_modules_either_may_have_a_test() -> None:
    trees = [parse("def test_a(): pass"), parse("def check(): pass")]
    assert find_tests(trees, cases_of(Component({"test_cases": ["check"]}))) == [
        ["test_a"],
        ["check"],
    ]


@pytest.mark.parametrize(
    ("text", "test_cases", "what"),
    [
        ("", ["test_a"], "`test_cases` names test_a, which is no function at module level"),
        ("test_a = 1", ["test_a"], "`test_cases` names test_a, which is no function"),
        ("def test_a(fixture): pass", [], "test_a wants arguments, and tests are called without"),
        ("async def test_a(): pass", [], "test_a is async, and nobody awaits it: write `def"),
        ("".join(f"def test_{n}(): pass\n" for n in range(65)), [], "65 tests, and may be 64"),
        ("", ["a b"] * 65, "`test_cases` has 65 entries, and may have 64"),
    ],
)
def test_what_is_no_test(text: str, test_cases: list[str], what: str) -> None:
    assert what in fault(found_tests, text, test_cases)


def test_a_fault_is_short_whatever_it_quotes() -> None:
    long: Mapping[str, Any] = {"code": {"x" * 5000: "a"}, "specializations": ["y\n" * 5000]}
    fault(sources_of, Component(long))
    fault(check_module, parse(f"SPECIALIZATION = {'z' * 5000!r}"), "file_system", TAKES)
    fault(found_tests, f"def test_{'a' * 5000}(b): pass")
    fault(found_tests, "", ["a" * 5000])
