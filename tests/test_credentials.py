"""Tokens, what is kept of them, and the pepper."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from redis import Redis

from coordinator import credentials
from coordinator.credentials import (
    Credential,
    check_pepper,
    check_token,
    digest,
    ensure_pepper,
    is_ours,
    key_id_of,
    matching,
    new_token,
    parse_credentials,
    read_credentials,
    read_pepper,
    weakness,
)
from coordinator.errors import CoordError, NoPepper
from coordinator.keys import Keys
from coordinator.settings import Settings

PEPPER = b"p" * 32
NOW_MS = 1_000_000
TOKEN = f"coord_{'a' * 8}_{'A' * 43}_a2895333"
"""Of zero bytes alone: what scanners and programs of others know a token by does not change."""


def credential(token: str, **fields: object) -> Credential:
    found = {"key_id": key_id_of(token, digest(PEPPER, token)), "digest": digest(PEPPER, token)}
    return Credential.model_validate({**found, "created_ms": 1, **fields})


# -- tokens ----------------------------------------------------------------------------------------


def test_the_literal_token() -> None:
    assert new_token(bytes) == ("a" * 8, TOKEN)
    assert digest(PEPPER, TOKEN) == (
        "45c52f326aa09b201274b1967a31b5a72f9de3ffef14cdda6a78e375fee5f78a"
    )


@given(st.data())
def test_every_new_token_is_known_as_ours(data: st.DataObject) -> None:
    token = new_token(lambda size: data.draw(st.binary(min_size=size, max_size=size)))
    assert is_ours(token.text)
    assert key_id_of(token.text, digest(PEPPER, token.text)) == token.key_id
    assert weakness(token.text) is None
    assert check_token(token.text) == token.text
    assert credential(token.text).key_id == token.key_id


def test_no_two_are_the_same() -> None:
    assert len({new_token() for _ in range(100)}) == 100


@given(st.integers(0, len(TOKEN) - 1), st.characters())
def test_a_mistyped_token_is_not_ours(place: int, character: str) -> None:
    mistyped = TOKEN[:place] + character + TOKEN[place + 1 :]
    assert is_ours(mistyped) == (mistyped == TOKEN)


@given(st.text())
def test_any_text_has_a_digest_and_an_id(text: str) -> None:
    presented = digest(PEPPER, text)
    found = Credential(key_id=key_id_of(text, presented), digest=presented, created_ms=0)
    assert found.key_id == f"ext{presented[:5]}"
    assert matching([found], presented) == found


def test_half_a_surrogate_has_a_digest_too() -> None:
    assert digest(PEPPER, "\ud800") != digest(PEPPER, "\udfff")


def test_another_pepper_makes_another_digest() -> None:
    assert digest(PEPPER, TOKEN) != digest(b"q" * 32, TOKEN)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("secret1", "7 characters, 6 of them different"),
        ("a" * 500, "500 characters, 1 of them different"),
        ("", "0 characters"),
        (TOKEN[:-1] + "0", "cut or mistyped"),
        ("3f9a0c1b2d4e5f60718293a4b5c6d7e8", None),
        ("0b54c2f0-7d1f-4b0e-9a53-6f2f7a1f7c11", None),
    ],
)
def test_weakness(token: str, said: str | None) -> None:
    found = weakness(token)
    assert found is None if said is None else said in str(found)


@pytest.mark.parametrize("token", ["", "a\nb", "a\x00", "a" * 1025, "\ud800"])
def test_what_can_be_no_token(token: str) -> None:
    with pytest.raises(CoordError, match="one line of 1 to 1024 printable characters"):
        check_token(token)


# -- what matches ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mine", [0, 1])
def test_either_of_two_matches(mine: int) -> None:
    tokens = ["first", "second"]
    stored = [credential(token) for token in tokens]
    assert matching(stored, digest(PEPPER, tokens[mine])) == stored[mine]


@pytest.mark.parametrize(
    ("expires_ms", "is_good"), [(None, True), (NOW_MS + 1, True), (NOW_MS, False), (0, False)]
)
def test_it_is_good_until_it_expires(expires_ms: int | None, is_good: bool) -> None:
    assert credential("t", expires_ms=expires_ms).is_live(NOW_MS) == is_good


@pytest.mark.parametrize("stored", [[], [credential("mine")]])
def test_nothing_else_matches_and_all_is_compared(
    stored: list[Credential], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    compare = credentials.hmac.compare_digest
    monkeypatch.setattr(
        credentials.hmac, "compare_digest", lambda a, b: compared.append(a) or compare(a, b)
    )
    assert matching(stored, digest(PEPPER, "t")) is None
    assert len(compared) == 1
    assert matching(stored, "0" * 64) is None


def test_it_shows_no_digest() -> None:
    assert digest(PEPPER, "t") not in repr(credential("t"))


# -- what Redis holds ------------------------------------------------------------------------------


def test_reading_them(redis: Redis) -> None:
    keys = Keys()
    old, new = credential("old", created_ms=1), credential("new", created_ms=2, is_weak=True)
    for kept in (new, old):
        redis.hset(keys.credentials("AI_1"), kept.key_id, kept.model_dump_json())
    assert read_credentials(redis, keys, "AI_1") == [old, new]
    assert read_credentials(redis, keys, "AI_2") == []


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b"[" * 60_000,
        b"\xff",
        json.dumps(credential("t").model_dump() | {"digest": ""}).encode(),
        json.dumps(credential("t").model_dump() | {"expires_ms": "never"}).encode(),
    ],
)
def test_what_is_none_of_ours_lets_nobody_in(value: bytes) -> None:
    good = credential("good")
    fields = {b"x": value, good.key_id.encode(): good.model_dump_json().encode()}
    assert parse_credentials(fields) == [good]


# -- the pepper ------------------------------------------------------------------------------------


def test_it_is_made_once_for_this_user_only(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state")
    made = ensure_pepper(settings)
    assert len(made) == 64
    assert ensure_pepper(settings) == read_pepper(settings) == made
    path = settings.state_dir / "pepper"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in settings.state_dir.iterdir()] == ["pepper"]


def test_of_many_that_make_it_one_wins(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state")
    made: set[bytes] = set()
    threads = [
        threading.Thread(target=lambda: made.add(ensure_pepper(settings))) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == {read_pepper(settings)}


def test_the_environment_comes_first_and_the_file_has_the_same_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_dir = tmp_path / "state"
    made = ensure_pepper(Settings(state_dir=state_dir))
    monkeypatch.setenv("COORD_PEPPER", made.decode())
    elsewhere = Settings(state_dir=tmp_path / "elsewhere")
    assert read_pepper(elsewhere) == ensure_pepper(elsewhere) == made
    assert not elsewhere.state_dir.exists()


def test_the_first_that_is_used_is_the_fleets(redis: Redis) -> None:
    for pepper in (PEPPER, PEPPER):
        check_pepper(redis, Keys(), pepper)
    with pytest.raises(NoPepper, match="`redis-cli HDEL coord:fleet pepper_id`"):
        check_pepper(redis, Keys(), b"q" * 32)
    check_pepper(redis, Keys("other"), b"q" * 32)


def test_there_is_none(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state")
    with pytest.raises(NoPepper, match="set COORD_PEPPER"):
        read_pepper(settings)
    assert not settings.state_dir.exists()


def test_one_that_others_may_read_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "pepper").write_text("p" * 64)
    with pytest.raises(CoordError, match="is open to other users"):
        read_pepper(Settings(state_dir=tmp_path))


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"\xff"])
def test_a_file_that_holds_none(tmp_path: Path, content: bytes) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "pepper").write_bytes(content)
    for pepper_of in (read_pepper, ensure_pepper):
        with pytest.raises(CoordError, match="must hold a secret"):
            pepper_of(Settings(state_dir=tmp_path))


def test_a_short_one_is_refused_and_not_shown() -> None:
    with pytest.raises(ValidationError, match="at least 32") as caught:
        Settings(pepper=SecretStr("sesame"))
    assert "sesame" not in str(caught.value)
