"""Which server is used, what is refused, and that nothing is sent twice or shown that is secret."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from redis import Redis

from coordinator import connection, embedded
from coordinator.connection import (
    connect,
    connect_async,
    connection_name,
    named_url,
    redact,
    resolve_url,
    server_run_id,
    url_of,
)
from coordinator.errors import NoServer, ServerUnusable
from coordinator.keys import SCHEMA_VERSION, Keys
from coordinator.server_check import check_info, check_server
from coordinator.settings import Settings
from tests.servers import TestServer, wait_for

SECRET = "s3cret"
StartServer = Callable[..., TestServer]

GOOD_INFO: dict[str, Any] = {
    "redis_version": "7.0.15",
    "role": "master",
    "maxmemory_policy": "noeviction",
    "cluster_enabled": 0,
}


def settings(**values: Any) -> Settings:
    return Settings(**values)


def refusal(server: TestServer | str) -> str:
    """The one line with which check_server refuses a server."""
    url = server if isinstance(server, str) else server.url
    with connect(url) as client, pytest.raises(ServerUnusable) as refused:
        check_server(client, Keys())
    detail = refused.value.detail
    assert "\n" not in detail
    assert SECRET not in detail
    return detail


# -- URLs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("unix:///run/s?db=1", "unix:///run/s?db=1"),
        (f"redis://:{SECRET}@host", "redis://:***@host"),
        (f"rediss://user:{SECRET}@host:1/2", "rediss://user:***@host:1/2"),
        (f"redis://{SECRET}@host", "redis://***@host"),
        (f"redis://u:a@{SECRET}@host", "redis://u:***@host"),
        (f"redis://u:a/{SECRET}?b#c@host", "redis://u:***@host"),
        (f"redis://u:a://{SECRET}@host", "redis://u:***@host"),
        (f"u:{SECRET}@host", "u:***@host"),
        (f"unix:///s?password={SECRET}", "unix:///s?password=***"),
        (f"redis://h/0?db=0&password=a@b&{SECRET}", "redis://h/0?db=0&password=***"),
        (f"rediss://h?ssl_password={SECRET}", "rediss://h?ssl_password=***"),
        ("", ""),
    ],
)
def test_redact_hides_every_password(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("localhost:6379", "scheme"),
        (f"u:{SECRET}@localhost:6379", "scheme"),
        ("http://host", "scheme"),
        ("redis:///0", "host"),
        ("redis://", "host"),
        ("redis://host:99999", "port"),
        (f"redis://:pa/{SECRET}@host", "port"),
        (f"redis://:pa#{SECRET}@host", "port"),
        ("redis://host/zero", "path"),
        ("redis://host/0#1", "fragment"),
        ("unix://relative", "path"),
        ("unix:///s?db=x", "db"),
        (f"redis://:{SECRET}@host?decode_responses=1", "option 'decode_responses'"),
        ("redis://host?protocol=3", "option 'protocol'"),
        ("redis://host?ssl_cert_reqs=none", "option 'ssl_cert_reqs'"),
        ("", "scheme"),
    ],
)
@pytest.mark.parametrize("opened", [connect, connect_async])
def test_a_bad_url_is_refused_by_field_without_its_password(
    url: str, fault: str, opened: Callable[[str], object]
) -> None:
    with pytest.raises(ServerUnusable) as refused:
        opened(url)
    field = refused.value.detail.partition("is wrong in its ")[2].partition(": ")[0]
    assert fault in field
    assert SECRET not in refused.value.detail
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_good_urls_are_taken_as_they_are() -> None:
    with connect("rediss://u:p%40w@host:7000/3?ssl_cert_reqs=none") as client:
        options = client.get_connection_kwargs()
    assert (options["host"], options["port"], options["db"]) == ("host", 7000, 3)
    assert (options["username"], options["password"]) == ("u", "p@w")


# -- connections -----------------------------------------------------------------------------------


def test_replies_are_bytes_and_connections_say_whose_they_are(real_url: str) -> None:
    name = connection_name("AI_1")
    with connect(real_url) as nobody, connect(real_url, client_name=name) as client:
        client.set("key", "value")
        assert nobody.get("key") == b"value"
        names = [entry["name"] for entry in nobody.client_list()]
    assert names.count("coord:AI_1") == 1


def test_async_replies_are_bytes(real_url: str) -> None:
    async def echo() -> bytes | None:
        async with connect_async(real_url) as client:
            await client.set("key", "value")
            value = await client.get("key")
            assert value is None or isinstance(value, bytes)
            return value

    assert asyncio.run(echo()) == b"value"


@contextmanager
def deaf_server() -> Iterator[tuple[str, list[bytes]]]:
    """A server that takes one command per connection and hangs up instead of answering."""
    taken: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                taken.append(peer.recv(65536))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}", taken
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize("opened", ["blocking", "async"])
def test_a_command_whose_reply_is_lost_is_not_sent_again(opened: str) -> None:
    async def send_async(url: str) -> None:
        async with connect_async(url) as client:
            await client.xadd("stream", {"body": "x"})

    def send(url: str) -> None:
        if opened == "async":
            asyncio.run(send_async(url))
            return
        with connect(url) as client:
            client.xadd("stream", {"body": "x"})

    with deaf_server() as (url, taken), pytest.raises(redis_py.ConnectionError):
        send(url)
    assert len(taken) == 1


def test_a_paused_server_costs_no_more_than_the_time_limit(start_server: StartServer) -> None:
    server = start_server()
    with connect(server.url, socket_timeout_s=0.2) as client:
        client.ping()
        server.pause()
        began = time.monotonic()
        with pytest.raises(redis_py.TimeoutError):
            client.ping()
        assert time.monotonic() - began < connection.SOCKET_TIMEOUT_S / 2
        server.resume()
        wait_for(lambda: client.ping())


@pytest.mark.parametrize(
    "url",
    [
        "redis://:p%2Fw@example.org:6380/3",
        "rediss://user:p%40w@example.org:6379/0",
        "rediss://example.org:6379/1?ssl_ca_certs=%2Fca.pem&ssl_check_hostname=false",
        "redis://example.org:6379/0",
        "redis://h",
        "rediss://h",
        "unix:///tmp/a%20b.sock?db=2",
        "unix://user:pw@/tmp/s?db=0",
    ],
)
def test_the_url_of_a_connection_leads_to_the_same_server(url: str) -> None:
    given = Redis.from_url(url).connection_pool
    again = connect(url_of(connect(url))).connection_pool
    assert again.connection_class is given.connection_class
    tls = ("ssl_ca_certs", "ssl_check_hostname")
    defaults = {"db": 0, "port": 6379 if "host" in given.connection_kwargs else None}
    for name in ("host", "port", "path", "db", "username", "password", *tls):
        ours = again.connection_kwargs.get(name) or defaults.get(name)
        assert ours == (given.connection_kwargs.get(name) or defaults.get(name)), name


def test_the_same_place_under_another_login() -> None:
    for url, expected in (
        ("redis://me:mine@h:1/2", "redis://coord%3AAI_1:p%2Fw@h:1/2"),
        ("unix:///tmp/s", "unix://coord%3AAI_1:p%2Fw@/tmp/s?db=0"),
        ("unix:///tmp/s?db=3&username=me&password=mine", "unix://coord%3AAI_1:p%2Fw@/tmp/s?db=3"),
    ):
        assert url_of(connect(url), "coord:AI_1", "p/w") == expected


# -- which server ----------------------------------------------------------------------------------


def test_the_setting_comes_first(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.start(state_dir)
    monkeypatch.setenv("RQ_REDIS_URL", "redis://second")
    assert resolve_url(settings(redis_url="redis://first", state_dir=state_dir)) == "redis://first"
    assert resolve_url(settings(state_dir=state_dir)) == "redis://second"


def test_without_a_name_it_is_the_embedded_server(state_dir: Path) -> None:
    endpoint = embedded.start(state_dir)
    assert resolve_url(settings(state_dir=state_dir)) == endpoint.url


def test_what_counts_as_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named_url(settings()) is None
    monkeypatch.setenv("RQ_REDIS_URL", "redis://second")
    assert named_url(settings()) == "redis://second"
    monkeypatch.setenv("COORD_REDIS_URL", "redis://first")
    assert named_url(settings()) == "redis://first"


def test_a_server_that_nobody_named_is_never_used(state_dir: Path) -> None:
    with pytest.raises(NoServer, match=r"coord serve.*RQ_REDIS_URL"):
        resolve_url(settings(state_dir=state_dir))


# -- rules -----------------------------------------------------------------------------------------


def test_a_fit_server_passes(start_server: StartServer) -> None:
    server = start_server("--appendonly", "yes")
    with connect(server.url) as client:
        assert check_server(client, Keys()) == []
        client.hset(Keys().fleet, "schema", SCHEMA_VERSION)
        assert check_server(client, Keys()) == []


def test_run_ids_tell_restarts(start_server: StartServer) -> None:
    server = start_server()
    with server.client() as client:
        first = server_run_id(client)
        assert server_run_id(client) == first
    server.restart()
    with server.client() as client:
        assert server_run_id(client) != first


def test_no_persistence_warns_of_losing_everything(real_redis: Redis) -> None:
    (warning,) = check_server(real_redis, Keys())
    assert "would lose everything: run" in warning


def test_snapshots_alone_warn_of_losing_what_came_since(start_server: StartServer) -> None:
    with connect(start_server("--save", "900", "1").url) as client:
        (warning,) = check_server(client, Keys())
    assert "would lose everything since its last snapshot" in warning
    assert "`save 900 1`" in warning


def test_snapshots_that_cannot_be_looked_up(start_server: StartServer) -> None:
    server = start_server("--rename-command", "CONFIG", "")
    with connect(server.url) as client:
        (warning,) = check_server(client, Keys())
    assert "since its last snapshot, if it takes any" in warning


def test_unreachable(start_server: StartServer) -> None:
    server = start_server()
    server.kill()
    assert "cannot be reached" in refusal(server)
    assert str(server.socket_path) in refusal(server)


def test_one_that_does_not_answer(start_server: StartServer) -> None:
    server = start_server()
    server.pause()
    with (
        connect(server.url, socket_timeout_s=0.2) as client,
        pytest.raises(ServerUnusable, match="cannot be reached"),
    ):
        check_server(client, Keys())


def test_passwords(start_server: StartServer) -> None:
    server = start_server("--requirepass", "right", "--appendonly", "yes")
    assert "refuses our user name and password" in refusal(server)
    assert "refuses our user name and password" in refusal(f"{server.url}?password={SECRET}")
    with connect(f"{server.url}?password=right") as client:
        assert check_server(client, Keys()) == []


def test_a_password_where_none_is_asked(start_server: StartServer) -> None:
    url = f"{start_server().url}?password={SECRET}"
    assert "refuses our user name and password" in refusal(url)


@pytest.mark.parametrize("rule", ["-info", "-hget", "-ping", "resetkeys"])
def test_a_user_without_the_right(start_server: StartServer, rule: str) -> None:
    server = start_server()
    with server.client() as client:
        client.execute_command(
            "ACL", "SETUSER", "weak", "on", f">{SECRET}", "~*", "&*", "+@all", rule
        )
    url = f"{server.url}?username=weak&password={SECRET}"
    assert "does not let our user" in refusal(url)


def test_a_replica(start_server: StartServer) -> None:
    server = start_server()
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")
    detail = refusal(server)
    assert "read-only replica" in detail
    assert "127.0.0.1:1" in detail


def test_a_cluster(start_server: StartServer) -> None:
    # A cluster node insists on a port; 0 lets it listen on its socket alone.
    server = start_server("--cluster-enabled", "yes", "--cluster-port", "0")
    assert "cluster mode" in refusal(server)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_an_eviction_policy(start_server: StartServer, policy: str) -> None:
    detail = refusal(start_server("--maxmemory-policy", policy))
    assert policy in detail
    assert "noeviction" in detail


def test_another_fleets_schema(real_redis: Redis, real_url: str) -> None:
    real_redis.hset(Keys().fleet, "schema", "999")
    detail = refusal(real_url)
    assert "schema 999" in detail
    assert "--namespace" in detail
    assert len(check_server(real_redis, Keys("another"))) == 1


def test_something_else_under_the_fleets_key(real_redis: Redis, real_url: str) -> None:
    real_redis.set(Keys().fleet, "not ours")
    assert "not a hash" in refusal(real_url)


def test_a_server_that_is_loading_is_waited_for(start_server: StartServer) -> None:
    server = start_server("--appendonly", "no", "--save", "900", "1")
    with server.client() as client:
        client.mset({f"key:{number}": "x" * 100 for number in range(300)})
        client.save()
    # 300 keys at 10 ms each, and the server looks at its sockets between them.
    slow = ("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")
    server.restart(*slow, wait=False)
    wait_for(lambda: _loads(server), what="the server to say that it is loading")
    with connect(server.url) as client:
        with pytest.raises(ServerUnusable, match="has been loading its data"):
            check_server(client, Keys(), loading_limit_s=0.1)
        assert len(check_server(client, Keys())) == 1
        assert client.dbsize() == 300


def _loads(server: TestServer) -> bool:
    try:
        with server.client() as client:
            client.ping()
    except redis_py.exceptions.BusyLoadingError:
        return True
    except redis_py.ConnectionError:
        return False
    raise AssertionError("it has loaded already")


@pytest.mark.parametrize(
    "version",
    [
        {"redis_version": "7.0.0"},
        {"redis_version": 7.4},
        {"redis_version": "10.1.0"},
        {"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.0.0"},
    ],
)
def test_new_enough(version: dict[str, Any]) -> None:
    check_info(GOOD_INFO | version, "the server")


@pytest.mark.parametrize(
    ("version", "named"),
    [
        ({"redis_version": "6.2.14"}, "Redis 6.2.14"),
        ({"redis_version": 6.2}, "Redis 6.2"),
        (
            {"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "7.2.9"},
            "Valkey 7.2.9",
        ),
        ({"redis_version": "7.2.4", "server_name": "valkey"}, "Valkey 0"),
    ],
)
def test_too_old(version: dict[str, Any], named: str) -> None:
    with pytest.raises(ServerUnusable, match=f"is {named}, .*Redis 7.0 or Valkey 8.0"):
        check_info(GOOD_INFO | version, "the server")
