"""coord dev-cert: certificates that TLS accepts, for this user only, and over nothing."""

from __future__ import annotations

import json
import ssl
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from cli.output import ExitCode


def dev_cert(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["dev-cert", *arguments])


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> None:
    """A whole TLS handshake in memory. Raises SSLError if one side refuses the other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    open_sides = list(sides)
    for _ in range(10):
        for side in list(open_sides):
            try:
                side.do_handshake()
                open_sides.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert open_sides == []
    sides[0].write(b"hello")
    assert sides[1].read() == b"hello"


@pytest.mark.parametrize(
    ("hosts", "host"),
    [([], "localhost"), ([], "127.0.0.1"), (["--host", "a.example"], "a.example")],
)
def test_both_sides_accept_them(tmp_path: Path, hosts: list[str], host: str) -> None:
    result = dev_cert(str(tmp_path / "new" / "certs"), *hosts, "--json")
    assert result.exit_code == ExitCode.OK
    paths = json.loads(result.stdout)
    assert host in paths["hosts"]
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=paths["ca"])
    server.load_cert_chain(paths["tls_cert"], paths["tls_key"])
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=paths["ca"])
    client.load_cert_chain(paths["client_cert"], paths["client_key"])
    shake_hands(server, client, host)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client, "elsewhere.example")


def test_they_are_this_users_alone_and_overwrite_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "certs"
    result = dev_cert(str(directory))
    assert result.exit_code == ExitCode.OK
    made = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert set(made) == {
        *("ca.pem", "gateway.pem", "gateway-key.pem", "client.pem", "client-key.pem")
    }
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [directory, *directory.iterdir()]}
    assert modes == {0o700, 0o600}
    assert f"--tls-cert {directory}/gateway.pem --tls-key {directory}/gateway-key.pem" in (
        result.stdout
    )
    assert "localhost, 127.0.0.1, ::1" in result.stdout
    assert "coord serve --listen 0.0.0.0:6000" in result.stdout
    again = dev_cert(str(directory))
    assert again.exit_code == ExitCode.FAILED
    assert "nothing is overwritten" in again.stderr
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == made


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = dev_cert(str(tmp_path / "file" / "certs"))
    assert result.exit_code == ExitCode.FAILED
    assert "cannot be written" in result.stderr
