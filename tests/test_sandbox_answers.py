"""What comes from inside is hostile text until it was read by strict rules."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.sandbox.channel import LONGEST_DETAIL, BadAnswer, parse_answer, shown

SMALL = st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1)
JSON = st.recursive(
    SMALL | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "it is not JSON"),
        ("1 2", "it is not JSON"),
        ("{'a': 1}", "it is not JSON"),
        ('"\n"', "it is not JSON"),
        ("[" * 60_000, "it is nested deeper than 16 levels"),
        ("[" * 17 + "]" * 17, "it is nested deeper than 16 levels"),
        ('{"a":' * 17 + "1" + "}" * 17, "it is nested deeper than 16 levels"),
        ("NaN", "it has NaN, which is no number"),
        ("[-Infinity]", "it has -Infinity, which is no number"),
        ("1e999", "it has a number that is not finite"),
        ("[-1e999]", "it has a number that is not finite"),
        (str(2**63), "it has an integer of more than 64 bits"),
        (str(-(2**63)), "it has an integer of more than 64 bits"),
        ("9" * 60_000, "it has an integer of more than 64 bits"),
        ('"\\ud800"', "it has half a character"),
        ('{"\\ud800": 1}', "it has half a character"),
        ('[["\\udfff"]]', "it has half a character"),
    ],
)
def test_what_breaks_a_rule_is_refused(text: str, rule: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        parse_answer(text)
    assert str(caught.value) == rule


@given(JSON)
def test_what_keeps_the_rules_is_read_as_it_is(value: Any) -> None:
    assert parse_answer(json.dumps(value)) == value


@given(st.text(max_size=2000))
def test_what_is_shown_is_one_printable_line(text: str) -> None:
    line = shown(text)
    assert line.isprintable()
    assert len(line) <= LONGEST_DETAIL
