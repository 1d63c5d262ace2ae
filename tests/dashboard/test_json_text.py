"""Somebody's JSON as text: readable, and bounded whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from web.pages.json_text import LINES_MAX, TEXT_MAX, pretty


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_what_is_short_stands_on_one_line_and_what_is_not_is_indented() -> None:
    value = {"capacity": 64, "held_out": {"gap_closed": 0.5, "cost": None}, "steps": [1, 2]}
    value |= {"of": [{"a": True}, {}]}
    assert pretty(value) == (
        "{\n"
        '  "capacity": 64,\n'
        '  "held_out": {"gap_closed": 0.5, "cost": null},\n'
        '  "steps": [1, 2],\n'
        '  "of": [\n'
        '    {"a": true},\n'
        "    {}\n"
        "  ]\n"
        "}",
        False,
    )


def test_what_is_shown_whole_is_json() -> None:
    value = {"": [[], {}, "a\nb", "é\u202e\x7f'\"<b>", -1.5e300], "list": ["x" * 60, "y" * 60]}
    text, is_cut = pretty(value)
    assert not is_cut
    assert json.loads(text.replace("\\x7f", "\\u007f")) == value


def test_nothing_unseen_stays_unseen() -> None:
    text, _ = pretty({"a\u200bb": "right\u202eleft \ud800 \U000e0041"})
    assert text == '{"a\\u200bb": "right\\u202eleft \\ud800 \\U000e0041"}'


def test_what_is_left_out_is_told_where_it_was() -> None:
    value = {"text": "x" * 1500, "list": list(range(250)), "n" * 300: 1, "number": 10**90}
    text, is_cut = pretty(value)
    assert is_cut
    assert '"' + "x" * 1000 + '" … 500 more characters' in text
    assert "  … 150 more\n" in text
    assert '"' + "n" * 200 + '" … 100 more characters: 1' in text
    assert "1" + "0" * 56 + "..." in text


@pytest.mark.parametrize(
    "value",
    [
        "x" * 1_000_000,
        list(range(100_000)),
        {str(n): {"of": [n, [n]]} for n in range(100_000)},
        [["x" * 1000] * 100] * 100,
        ["\U000e0041" * 1000] * 100,
        nested(900),
    ],
    ids=["text", "list", "object", "texts", "unseen", "nested"],
)
def test_it_is_bounded_whatever_it_is(value: Any) -> None:
    text, is_cut = pretty(value)
    assert is_cut
    assert len(text) <= TEXT_MAX + 2
    assert text.count("\n") <= LINES_MAX


@pytest.mark.parametrize("value", [None, True, 0, "", [], {}, float("nan"), float("-inf")])
def test_what_has_no_parts_is_one_word(value: Any) -> None:
    assert pretty(value) == (json.dumps(value), False)
