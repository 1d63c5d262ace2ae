"""The way to a gateway: its URL, the token that it asks for, and the certificates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from coordinator.client import AsyncClient
from coordinator.connection import redact, resolve_ai_url
from coordinator.credentials import new_token
from coordinator.errors import CoordError, NoServer, ServerUnusable
from coordinator.settings import Settings
from coordinator.tcp.gateway_url import Address, is_gateway_url, parse_address
from coordinator.tcp.login import TokenSource
from coordinator.tcp.tls import tls_context

SECRET = "a-secret-that-nobody-may-see"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("coord://host", Address("host", 6000, False)),
        ("coords://host:7000", Address("host", 7000, True)),
        ("COORD://127.0.0.1:6000/", Address("127.0.0.1", 6000, False)),
        ("coord://[::1]:6000", Address("::1", 6000, False)),
    ],
)
def test_where_a_gateway_is(url: str, address: Address) -> None:
    assert is_gateway_url(url)
    assert parse_address(url) == address


@pytest.mark.parametrize("url", ["redis://host", "rediss://host", "unix:///path", "host:6000", ""])
def test_other_urls_are_none_of_a_gateway(url: str) -> None:
    assert not is_gateway_url(url)


@pytest.mark.parametrize(
    ("url", "field"),
    [
        (f"coord://AI_1:{SECRET}@host", "login"),
        (f"coord://{SECRET}@host", "login"),
        ("coord://", "host"),
        ("coord://:6000", "host"),
        ("coord://host:port", "host or port"),
        ("coord://host:0", "port"),
        ("coord://host:70000", "host or port"),
        ("coord://host/fleet", "path"),
        ("coords://host?x=1", "path"),
    ],
)
def test_a_bad_url_is_refused_by_field_without_its_secret(url: str, field: str) -> None:
    with pytest.raises(ServerUnusable) as refused:
        AsyncClient("AI_1", url, token="t")
    said = refused.value.detail.partition("is wrong in its ")[2]
    assert said.partition(": ")[0] == field
    assert SECRET not in refused.value.detail
    assert refused.value.__context__ is None
    assert SECRET not in redact(url)


def test_an_ai_takes_the_way_that_is_named_for_ais(state_dir: Path) -> None:
    gateway, server = SecretStr("coord://host"), SecretStr("redis://host")
    assert resolve_ai_url(Settings(url=gateway, redis_url=server)) == "coord://host"
    assert resolve_ai_url(Settings(redis_url=server)) == "redis://host"
    with pytest.raises(NoServer):
        resolve_ai_url(Settings(state_dir=state_dir))


def test_a_token_is_found_where_it_is_given_first(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("from-file\n")
    both = Settings(token=SecretStr("from-environment"), token_file=path)
    assert TokenSource(both, "given").read().get_secret_value() == "given"
    assert TokenSource(both).read().get_secret_value() == "from-environment"
    assert TokenSource(Settings(token_file=path)).read().get_secret_value() == "from-file"


def test_a_file_with_a_token_is_read_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    token = TokenSource(Settings(token_file=path))
    path.write_text("new")
    assert token.read().get_secret_value() == "new"
    assert token.may_change
    assert not TokenSource(Settings(token_file=path), "given").may_change


def test_white_space_around_a_token_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(" from-file \n")
    assert TokenSource(Settings(), "given\n").read().get_secret_value() == "given"
    environment = Settings(token=SecretStr("from-environment\n"))
    assert TokenSource(environment).read().get_secret_value() == "from-environment"
    assert TokenSource(Settings(token_file=path)).read().get_secret_value() == "from-file"


@pytest.mark.parametrize("spoil", [lambda text: text[:-1], lambda text: f"{text}x"])
def test_a_token_of_coord_s_that_is_not_whole_is_told_before_it_is_shown(
    spoil: Callable[[str], str],
) -> None:
    whole = new_token().text
    assert TokenSource(Settings(), whole).read().get_secret_value() == whole
    with pytest.raises(CoordError, match="cut, mistyped or has a character too many") as caught:
        AsyncClient("AI_1", "coord://host", token=spoil(whole))
    assert whole[:20] not in str(caught.value)


def test_a_missing_token_is_said_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(CoordError, match=r"^token is missing.*COORD_TOKEN_FILE.*coord enroll"):
        TokenSource(Settings())
    with pytest.raises(CoordError, match=r"^COORD_TOKEN_FILE: there is no file"):
        TokenSource(Settings(token_file=tmp_path / "nowhere"))
    (tmp_path / "empty").touch()
    with pytest.raises(CoordError, match="one line"):
        TokenSource(Settings(token_file=tmp_path / "empty"))


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    with pytest.raises(ServerUnusable, match=r"COORD_TLS_CA.*nothing.pem"):
        tls_context(Settings(), nothing)
    with pytest.raises(ServerUnusable, match=r"COORD_TLS_CERT.*nothing.pem"):
        tls_context(Settings(tls_cert=nothing), None)
