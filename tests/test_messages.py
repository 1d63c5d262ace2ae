"""The envelope: what is let in, and what the error says of what is not."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.errors import BadMessage
from coordinator.messages import (
    Cursor,
    Envelope,
    Push,
    decode_entry,
    decode_push,
    encode_message,
    encode_push,
    one_line,
    parse_envelope,
    to_json,
)

MAX_BYTES = 256 * 1024
GOOD: dict[str, Any] = {
    "message_id": "1",
    "sender_id": "AI_Node_1",
    "message_type": "hello",
    "timestamp": "2025-06-04T00:00:00",
    "payload": {"a": [1, None, "ä"]},
    "target_ai": "AI_Node_2",
}


def refusal(body: bytes) -> tuple[str, str, str]:
    """Code, field and detail of the error that ``body`` gets."""
    with pytest.raises(BadMessage) as caught:
        parse_envelope(body, MAX_BYTES)
    return caught.value.code, caught.value.field, caught.value.detail


def changed(**fields: Any) -> bytes:
    return json.dumps(GOOD | fields).encode()


def without(field: str) -> bytes:
    return json.dumps({k: v for k, v in GOOD.items() if k != field}).encode()


def test_a_good_one() -> None:
    assert parse_envelope(json.dumps(GOOD).encode(), MAX_BYTES) == Envelope(**GOOD)


def test_the_target_may_be_left_out() -> None:
    assert parse_envelope(without("target_ai"), MAX_BYTES).target_ai is None


@pytest.mark.parametrize(
    "timestamp",
    ["2025-06-04T00:00:00", "2025-06-04T00:00:00.123+02:00", "2025-06-04T00:00:00Z", "2025-06-04"],
)
def test_timestamps_that_are_good(timestamp: str) -> None:
    assert parse_envelope(changed(timestamp=timestamp), MAX_BYTES).timestamp == timestamp


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"{",
        b'{"a": 1} trailing',
        b"\xff\xfe{}",
        b'{"payload": "\xff"}',
        b'{"payload": "\x00"}',
        b'{"payload": {"x": "\\ud800"}}',
        b'{"payload": {"x": ' + b"[" * 5000 + b"]" * 5000 + b"}}",
        b'{"payload": {"x": ' + b"9" * 60_000 + b"}}",
    ],
    ids=[
        "empty",
        "a word",
        "cut off",
        "trailing",
        "UTF-16",
        "not UTF-8",
        "raw NUL",
        "lone surrogate",
        "nested 5,000 deep",
        "60,000 digits",
    ],
)
def test_not_json(body: bytes) -> None:
    code, field, detail = refusal(body)
    assert (code, field) == ("not_json", "")
    assert detail.startswith("the message is not JSON: ")
    assert len(detail) < 300


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("place", ['{"x": %s}', '{"deep": [{"x": [%s]}]}'])
def test_numbers_that_json_cannot_carry_on(number: str, place: str) -> None:
    body = without("payload")[:-1] + b', "payload": ' + (place % number).encode() + b"}"
    code, field, detail = refusal(body)
    assert (code, field) == ("not_json", "payload")
    assert detail.startswith("payload cannot be written as JSON")


@pytest.mark.parametrize("value", [[], "text", 1, None, True])
def test_not_an_object(value: Any) -> None:
    assert refusal(json.dumps(value).encode()) == (
        "bad_envelope",
        "",
        "the message should be an object",
    )


@pytest.mark.parametrize(
    "field", ["message_id", "sender_id", "message_type", "timestamp", "payload"]
)
def test_a_missing_field(field: str) -> None:
    assert refusal(without(field)) == ("bad_envelope", field, f"{field} is missing; it is required")


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("message_id", 1, "should be a valid string"),
        ("message_id", "", "at least 1 character"),
        ("message_id", "x" * 201, "at most 200 characters"),
        ("sender_id", None, "should be a valid string"),
        ("message_type", 7, "should be a valid string"),
        ("message_type", "", "at least 1 character"),
        ("message_type", "x" * 65, "at most 64 characters"),
        ("timestamp", 1_700_000_000, "should be a valid string"),
        ("timestamp", "yesterday", "is not ISO 8601"),
        ("timestamp", "2025-13-01T00:00:00", "is not ISO 8601"),
        ("timestamp", "", "is not ISO 8601"),
        ("timestamp", "0" * 65, "at most 64 characters"),
        ("payload", [], "should be an object"),
        ("payload", "text", "should be an object"),
        ("payload", None, "should be an object"),
        ("target_ai", 1, "should be a valid string"),
        ("target_ai", ["a"], "should be a valid string"),
        ("target_ai", "x" * 65, "at most 64 characters"),
    ],
)
def test_a_wrong_value(field: str, value: Any, rule: str) -> None:
    code, named, detail = refusal(changed(**{field: value}))
    assert (code, named) == ("bad_envelope", field)
    assert detail.startswith(f"{field} ")
    assert rule in detail


@pytest.mark.parametrize(
    "sender",
    ["", "a b", "a\n", "\na", "a\nb", "_a", ".a", "-a", "ä", "a/b", "a:b", "gw:a", "x" * 65, "a\0"],
)
def test_what_is_no_id(sender: str) -> None:
    code, field, detail = refusal(changed(sender_id=sender))
    assert (code, field) == ("bad_envelope", "sender_id")
    assert "is not an id: 1 to 64 letters, digits" in detail


@pytest.mark.parametrize("sender", ["a", "7", "A.b-c_d", "x" * 64])
def test_what_is_an_id(sender: str) -> None:
    assert parse_envelope(changed(sender_id=sender), MAX_BYTES).sender_id == sender


def test_an_extra_key_at_the_top() -> None:
    assert refusal(changed(priority=1)) == (
        "bad_envelope",
        "priority",
        "priority is not a key of the envelope; put it inside payload",
    )


def test_an_error_is_short_however_long_the_name_that_it_names() -> None:
    _, field, detail = refusal(changed(**{"k" * 100_000: 1}))
    assert len(field) <= 200
    assert len(detail) <= 400
    assert "is not a key of the envelope" in detail


def test_the_size_is_counted_in_bytes() -> None:
    fits = changed(payload={"x": ""})
    fits = changed(payload={"x": "a" * (MAX_BYTES - len(fits))})
    assert len(fits) == MAX_BYTES
    assert len(parse_envelope(fits, MAX_BYTES).payload["x"]) > 0
    assert refusal(fits + b" ") == (
        "too_large",
        "",
        f"the message has more than the {MAX_BYTES} bytes that are allowed",
    )


@pytest.mark.parametrize("cursor", [{"log": -1}, {"epoch": ""}, {"log": "7"}, {"inbox": 1.5}])
def test_what_is_no_cursor(cursor: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Cursor(**{"epoch": "e", "log": 0, "inbox": 0} | cursor)


def test_encoding_and_parsing_are_inverse() -> None:
    text = encode_message("1", "a", "t", "2025-06-04", {"x": "ä\0\n"}, "b")
    assert list(json.loads(text)) == list(Envelope.model_fields)
    assert parse_envelope(text.encode(), MAX_BYTES) == Envelope(
        message_id="1",
        sender_id="a",
        message_type="t",
        timestamp="2025-06-04",
        payload={"x": "ä\0\n"},
        target_ai="b",
    )


def test_no_target_is_null() -> None:
    assert json.loads(encode_message("1", "a", "t", "2025", {}, ""))["target_ai"] is None


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, 10**5000, {1, 2}],
    ids=["NaN", "infinity", "-infinity", "5,000 digits", "a set"],
)
def test_what_cannot_be_encoded(value: Any) -> None:
    with pytest.raises(BadMessage) as caught:
        encode_message("1", "a", "t", "2025", {"x": value})
    assert (caught.value.code, caught.value.field) == ("not_json", "payload")


@pytest.mark.parametrize(
    "push",
    [
        Push("e", 7, {"message_id": "1"}),
        Push("e", None, {"message_id": "1"}, instance="i"),
        Push("e", 7, {"x": {"n": 3, "epoch": "no"}}, exclude=("a", "b")),
        Push("e", 7, {"x": "}"}, instance="i", after=0),
    ],
)
def test_a_push_comes_out_as_it_went_in(push: Push) -> None:
    head = {k: v for k, v in push._asdict().items() if k != "message"}
    assert decode_push(encode_push(to_json(push.message), **head).encode()) == push


@pytest.mark.parametrize("data", [b"", b"x", b"{}", b'{"epoch": "e"}'])
def test_what_is_no_push(data: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        decode_push(data)


def test_the_entry_of_a_stream_stands_for_the_same_push() -> None:
    entry = {
        b"message": b'{"message_id":"1"}',
        b"epoch": b"e",
        b"exclude": b"a,b",
        b"instance": b"i",
        b"after": b"0",
    }
    assert decode_entry(entry, 7) == Push("e", 7, {"message_id": "1"}, ("a", "b"), "i", 0)
    assert decode_entry({b"message": b"{}", b"epoch": b"e"}, 1) == Push("e", 1, {})


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_bad_message(body: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        parse_envelope(body, 300)
    assert caught.value.code in ("too_large", "not_json", "bad_envelope")


SCALARS = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9)
JSON = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=9), SCALARS)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from([*GOOD, "extra"]), JSON))
def test_any_object_is_a_message_that_can_be_passed_on_or_a_bad_one(fields: dict[str, Any]) -> None:
    try:
        envelope = parse_envelope(json.dumps(GOOD | fields).encode(), MAX_BYTES)
    except BadMessage as error:
        detail = error.detail
    else:
        detail = ""
        assert json.loads(to_json(envelope.payload)) == envelope.payload
    assert one_line(detail) == detail
