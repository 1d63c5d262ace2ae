"""The state directory of an embedded server, as ``coordinator.embedded`` describes it: its files,
where its socket is, and its users."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, Field, SecretStr

from coordinator.errors import CoordError
from coordinator.private_files import private_directory, read_model, write_text
from coordinator.secret_files import ensure_secret, read_secret

OPERATOR_USER = "operator"
"""The Redis user that coord itself is."""

_SOCKET_PATH_MAX_BYTES = 103  # sun_path holds 104 bytes on macOS and 108 on Linux, with its zero


class Endpoint(BaseModel, frozen=True, extra="forbid"):
    """Where an embedded server listens, and which process it is.

    ``started`` is the start time of process ``pid`` in the operating system's own words: a later
    process under the same pid has another. ``run_id`` is the server's own name for this run. The
    operator's ``password`` is in no record of it.
    """

    socket_path: Path
    pid: int
    started: str
    run_id: str
    password: SecretStr = Field(SecretStr(""), exclude=True)

    @property
    def url(self) -> str:
        """``unix://operator:<password>@/…``; people are shown it by ``connection.redact``."""
        login = f"{OPERATOR_USER}:{quote(self.password.get_secret_value(), '')}"
        return f"unix://{login}@{quote(str(self.socket_path))}"


def socket_fits(state_dir: Path) -> bool:
    """Whether the socket can be in the state directory; its path may be too long for one."""
    path = state_dir.absolute() / "server.sock"
    return len(os.fsencode(path)) <= _SOCKET_PATH_MAX_BYTES


def lock_path(state_dir: Path) -> Path:
    return state_dir / "server.lock"


def locked_socket(state_dir: Path) -> Path:
    """The socket of whoever holds server.lock."""
    return Path(lock_path(state_dir).read_text() or state_dir / "server.sock")


def new_socket(state_dir: Path) -> Path:
    """Where the next server listens: where the last one did, if that one was not stopped."""
    if socket_fits(state_dir):
        return state_dir / "server.sock"
    last = locked_socket(state_dir)
    if last.parent != state_dir and last.parent.exists():
        with suppress(CoordError):  # somebody else's by now
            return private_directory(last.parent) / last.name
    # mkdtemp makes the directory 0700. A long TMPDIR would be no better than the state directory.
    for parent in (tempfile.gettempdir(), "/tmp"):
        if len(os.fsencode(parent)) <= _SOCKET_PATH_MAX_BYTES - len("/coord-12345678/server.sock"):
            return Path(tempfile.mkdtemp(prefix="coord-", dir=parent)) / "server.sock"
    raise CoordError(
        f"the paths {state_dir} and {tempfile.gettempdir()} are too long for a Unix socket"
        f" ({_SOCKET_PATH_MAX_BYTES} bytes): name a shorter one by COORD_STATE_DIR"
    )


def drop_socket(state_dir: Path) -> None:
    """Remove what the last server left: its socket, and the directory made for it alone."""
    socket_path = locked_socket(state_dir)
    socket_path.unlink(missing_ok=True)
    if socket_path.parent != state_dir:
        with suppress(OSError):
            socket_path.parent.rmdir()


def forget(state_dir: Path) -> None:
    drop_socket(state_dir)
    endpoint_path(state_dir).unlink(missing_ok=True)


def endpoint_path(state_dir: Path) -> Path:
    return state_dir / "endpoint.json"


def recorded(state_dir: Path) -> Endpoint | None:
    endpoint = read_model(endpoint_path(state_dir), Endpoint)
    return endpoint and endpoint.model_copy(update={"password": read_password(state_dir)})


def users_path(state_dir: Path) -> Path:
    return state_dir / "users.acl"


def secret_path(state_dir: Path) -> Path:
    return state_dir / "operator.secret"


def read_password(state_dir: Path) -> SecretStr:
    """The operator's; "" if none was made yet, or it is lost."""
    try:
        return SecretStr(read_secret(secret_path(state_dir)))
    except FileNotFoundError:
        return SecretStr("")


def write_users(state_dir: Path) -> None:
    """What the server reads when it starts. Of the users that it saved itself others stay."""
    password = ensure_secret(secret_path(state_dir), lambda: secrets.token_urlsafe(32))
    digest = hashlib.sha256(password.encode()).hexdigest()
    ours = ["user default off", f"user {OPERATOR_USER} on #{digest} ~* &* +@all"]
    path = users_path(state_dir)
    saved = path.read_text().splitlines() if path.exists() else []
    others = [line for line in saved if line.split()[1:2] not in (["default"], [OPERATOR_USER])]
    write_text(path, "".join(f"{line}\n" for line in [*ours, *others]))
