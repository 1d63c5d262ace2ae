"""``coord dev-cert``: certificates for trying TLS out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import trustme
import typer
from rich.console import Console
from rich.text import Text

from cli.options import JsonOption
from cli.output import plain, show
from coordinator.errors import CoordError

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")

DirectoryArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Where they go; made if it is missing.")
]
HostOption = Annotated[
    list[str] | None,
    typer.Option(
        "--host",
        metavar="NAME",
        help="A name or address that clients will use; may be repeated.",
        show_default=", ".join(LOCAL_NAMES),
    ),
]


def dev_cert(
    directory: DirectoryArgument = Path("dev-cert"),
    host: HostOption = None,
    json: JsonOption = False,
) -> None:
    """Make a CA, and of it a certificate for a gateway and one for a client, to try TLS out.

    The CA's own key is thrown away. For anything but a trial use certificates of a real CA.

    Example: coord dev-cert --host gateway.example
    """
    authority = trustme.CA(organization_name="coord dev-cert")
    hosts = host or list(LOCAL_NAMES)
    server = authority.issue_cert(*hosts)
    client = authority.issue_cert("client@coord.invalid")
    files = {
        "ca": ("ca.pem", authority.cert_pem.bytes()),
        "tls_cert": ("gateway.pem", _chain(server)),
        "tls_key": ("gateway-key.pem", server.private_key_pem.bytes()),
        "client_cert": ("client.pem", _chain(client)),
        "client_key": ("client-key.pem", client.private_key_pem.bytes()),
    }
    paths = {name: directory / file for name, (file, _) in files.items()}
    _write({paths[name]: content for name, (_, content) in files.items()}, directory)

    def render(shown: Console) -> None:
        for name, path in paths.items():
            shown.print(Text(f"{name:<12} {plain(path)}"))
        key_pair = f"--tls-cert {paths['tls_cert']} --tls-key {paths['tls_key']}"
        shown.print(Text(f"{'hosts':<12} {plain(', '.join(hosts))}"))
        shown.print(Text(f"coord serve --listen 0.0.0.0:6000 {key_pair}"))
        place = f"coords://{hosts[0]}:6000"
        shown.print(Text(f"clients: COORD_URL={plain(place)} COORD_TLS_CA={paths['ca']}"))

    show({name: str(path) for name, path in paths.items()} | {"hosts": hosts}, json, render)


def _chain(certificate: trustme.LeafCert) -> bytes:
    return b"".join(blob.bytes() for blob in certificate.cert_chain_pems)


def _write(contents: dict[Path, bytes], directory: Path) -> None:
    """New files for this user only; nothing is overwritten. Raises CoordError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, content in contents.items():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
                file.write(content)
    except FileExistsError as error:
        raise CoordError(
            f"{error.filename} exists, and nothing is overwritten: name another directory"
        ) from error
    except OSError as error:
        raise CoordError(
            f"{error.filename} cannot be written ({error.strerror}): name another directory"
        ) from error
