"""The container files, as far as they can be held to account without a container engine."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest
import typer
import yaml
from click import Command, Context, Group

from cli.main import app
from coordinator.connection import connect
from coordinator.messages import is_ai_id
from coordinator.processes import tied_to_parent
from coordinator.settings import Settings
from coordinator.specializations import CAPABILITIES
from tests.servers import REDIS_SERVER, REPOSITORY, python_environment, wait_for

COMPOSE = REPOSITORY / "compose.yaml"
DOCKERFILE = REPOSITORY / "Dockerfile"
PASSWORD = "Aa0-._~" + "5" * 32
VARIABLE = re.compile(r"\$\$|\$\{(\w+)([^}]*)\}")

Service = dict[str, Any]


def interpolated(value: Any) -> Any:
    """``value`` as compose reads it: variables are filled in, and $$ is $."""
    if isinstance(value, dict):
        return {name: interpolated(item) for name, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item) for item in value]
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: PASSWORD if found[1] else "$", value)
    return value


SERVICES: dict[str, Service] = interpolated(yaml.safe_load(COMPOSE.read_text()))["services"]
TRAINERS = {name: service for name, service in SERVICES.items() if name.startswith("trainer_")}
SANDBOXING = {"validator": ["seccomp", "apparmor", "systempaths"]}
"""What of its engine's confinement a service has to be without, to confine others by itself."""
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "coord:local"}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each on one line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.M)
    lines = re.sub(r"\\\n\s*", "", text).split("\n")
    return [(line.split()[0], line.partition(" ")[2]) for line in lines if line.strip()]


def arguments_of(instruction: str) -> list[str]:
    return [rest for name, rest in instructions() if name == instruction]


# -- the compose file ------------------------------------------------------------------------------


def test_the_compose_file_fits_the_specification() -> None:
    assert_fits(COMPOSE)


def assert_fits(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_contained_watched_and_restarted(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    unconfined = [f"{what}=unconfined" for what in SANDBOXING.get(name, [])]
    assert service["security_opt"] == ["no-new-privileges:true", *unconfined]
    assert service["mem_limit"]
    assert service["stop_grace_period"]
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert name in OURS or service["user"] not in ("", "0", "root")
    assert not service.get("privileged")


def test_nothing_is_published() -> None:
    for service in SERVICES.values():
        assert "ports" not in service
        assert service.get("network_mode") is None


def test_there_is_one_trainer_of_each_specialization() -> None:
    specializations = [s["environment"]["COORD_SPECIALIZATION"] for s in TRAINERS.values()]
    assert specializations == list(CAPABILITIES)
    assert list(TRAINERS) == [f"trainer_{name}" for name in CAPABILITIES]
    assert SERVICES.keys() - TRAINERS.keys() == {"redis", "coordinator", "validator"}


def test_services_wait_for_those_that_they_need() -> None:
    healthy = {"condition": "service_healthy"}
    assert SERVICES["coordinator"]["depends_on"] == {"redis": healthy}
    for ai in [*TRAINERS.values(), SERVICES["validator"]]:
        assert ai["depends_on"] == {"coordinator": healthy}


def test_volumes_are_declared_and_what_keeps_a_secret_has_one() -> None:
    declared = yaml.safe_load(COMPOSE.read_text())["volumes"]
    used = {name: service.get("volumes", []) for name, service in SERVICES.items()}
    assert {volume.partition(":")[0] for volumes in used.values() for volume in volumes} == set(
        declared
    )
    state_dir = SERVICES["coordinator"]["environment"]["COORD_STATE_DIR"]
    assert used["coordinator"] == [f"state:{state_dir}"]
    assert used["validator"] == [f"validation:{state_dir}"]
    assert SERVICES["validator"]["environment"]["COORD_STATE_DIR"] == state_dir
    assert arguments_of("RUN")[-1].endswith(f"--mode 0700 {state_dir}")


def test_the_gateway_that_is_commented_out_fits_in(tmp_path: Path) -> None:
    text = COMPOSE.read_text()
    commented = re.search(r"^  # gateway:\n(?:  # .*\n)+", text, re.M)
    assert commented is not None
    block = re.sub(r"^  # ", "  ", commented[0], flags=re.M)
    path = tmp_path / "compose.yaml"
    path.write_text(text.replace(commented[0], block))
    assert_fits(path)
    gateway = interpolated(yaml.safe_load(path.read_text()))["services"]["gateway"]
    assert gateway["volumes"][0] == SERVICES["coordinator"]["volumes"][0]
    context = Context(cast(Command, root_command()))
    name, command, rest = root_command().resolve_command(context, gateway["command"])
    assert command is not None
    parameters = command.make_context(name, rest, parent=context).params
    assert parameters["listen"] == "0.0.0.0:6000"
    assert gateway["ports"] == ["6000:6000"]
    looked_for = shlex.split(gateway["healthcheck"]["test"][1].partition(" | ")[2])
    status = json.dumps({"address": parameters["listen"]}, indent=2)
    assert looked_for == ["grep", "-q", status.splitlines()[1].strip()]


def test_one_service_builds_the_image_and_the_others_only_use_it() -> None:
    policies = {name: (s.get("build"), s["pull_policy"]) for name, s in OURS.items()}
    assert policies.pop("coordinator") == (".", "build")
    assert policies.keys() == TRAINERS.keys() | {"validator"}
    assert set(policies.values()) == {(None, "never")}


def test_the_password_is_required_and_has_no_default() -> None:
    lines = [line.partition("#")[0] for line in COMPOSE.read_text().splitlines()]
    found = [match for match in VARIABLE.finditer("\n".join(lines)) if match[1]]
    assert {match[1] for match in found} == {"COORD_REDIS_PASSWORD"}
    assert all(match[2].startswith(":?") for match in found)
    assert "$" not in VARIABLE.sub("", "\n".join(lines))


def test_the_password_is_in_environments_only() -> None:
    for service in SERVICES.values():
        rest = {name: value for name, value in service.items() if name != "environment"}
        assert PASSWORD not in json.dumps(rest)


def test_the_environment_consists_of_settings() -> None:
    for service in OURS.values():
        fields = {name.removeprefix("COORD_").lower(): v for name, v in environment(service)}
        settings = Settings(**fields)
        assert settings.redis_url is not None
        url = settings.redis_url.get_secret_value()
        assert url == f"redis://:{PASSWORD}@redis:6379/0"


def environment(service: Service) -> Iterator[tuple[str, Any]]:
    for name, value in service["environment"].items():
        assert name.startswith("COORD_")
        yield name, value


# -- the commands ----------------------------------------------------------------------------------


def coord_commands() -> list[list[str]]:
    """The arguments of every call of coord in the two files."""
    entrypoint = json.loads(arguments_of("ENTRYPOINT")[0])
    assert entrypoint == ["coord"]
    found = [json.loads(arguments_of("CMD")[0])]
    for service in OURS.values():
        found += [service["command"]] if "command" in service else []
        shell = [*service.get("entrypoint", [])[2:], *service["healthcheck"]["test"][1:]]
        for line in shell:
            words = shlex.split(line.partition(" | ")[0].removeprefix("exec "))
            assert words[0] == "coord"
            found.append(words[1:])
    return found


def root_command() -> Group:
    return cast(Group, typer.main.get_command(app))


def test_the_shell_accepts_every_command() -> None:
    root = root_command()
    seen = set()
    for arguments in coord_commands():
        if arguments == ["--help"]:
            continue
        context = Context(cast(Command, root))
        name, command, rest = root.resolve_command(context, arguments)
        assert command is not None
        command.make_context(name, rest, parent=context)
        seen.add(name)
    assert seen == {"serve", "status", "trainer", "validator", "ais"}


@pytest.mark.parametrize("specialization", CAPABILITIES)
def test_a_container_s_host_name_makes_an_ai_s_id(specialization: str) -> None:
    assert is_ai_id(f"{specialization}_0123456789ab")


class Containers:
    """The services as bare processes: their commands, environments and health checks are real.

    ``hostname`` prints what it would in a container, where it has no dots.
    """

    def __init__(self, directory: Path, ends: ExitStack) -> None:
        self._directory = directory
        self._socket = directory / "s"
        self._ends = ends
        self._bin = directory / "bin"
        self._bin.mkdir()
        host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:32]
        self._script("hostname", f"echo {host}")
        self._script("coord", f'exec {shlex.quote(sys.executable)} -m cli.main "$@"')
        if cli := shutil.which("redis-cli"):
            self._script("redis-cli", f'exec {cli} -s {self._socket} "$@"')

    def start(self, name: str) -> subprocess.Popen[bytes]:
        service = SERVICES[name]
        command = [*service.get("entrypoint", []), *service.get("command", [])]
        if service in OURS.values() and "entrypoint" not in service:
            command = ["coord", *command]
        place = f"<<CONF\nport 0\nunixsocket {self._socket}\n"
        command = [part.replace("<<CONF\n", place) for part in command]
        with (self._directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                tied_to_parent(["/usr/bin/env", *command]),
                env=self._environment(service),
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._ends.callback(self._end, process)
        return process

    def has_said(self, name: str, text: str) -> bool:
        return text in (self._directory / f"{name}.log").read_text(errors="replace")

    def is_healthy(self, name: str, **other: str) -> bool:
        kind, *command = SERVICES[name]["healthcheck"]["test"]
        if kind == "CMD-SHELL":
            command = ["sh", "-c", *command]
        environment = self._environment(SERVICES[name]) | other
        done = subprocess.run(command, env=environment, capture_output=True, timeout=20)
        return done.returncode == 0

    def coord(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """As `docker compose exec coordinator coord …`."""
        environment = self._environment(SERVICES["coordinator"])
        command = ["/usr/bin/env", "coord", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)

    def _environment(self, service: Service) -> dict[str, str]:
        own = dict(service["environment"])
        if "COORD_REDIS_URL" in own:
            own["COORD_REDIS_URL"] = f"unix://:{PASSWORD}@{self._socket}"
            own["COORD_STATE_DIR"] = str(self._directory / "state")
        base = python_environment(**own)
        return base | {"PATH": f"{self._bin}:{base['PATH']}"}

    def _script(self, name: str, line: str) -> None:
        path = self._bin / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@pytest.mark.skipif(REDIS_SERVER is None, reason="redis-server is not installed")
@pytest.mark.usefixtures("idle_trainers")
def test_the_fleet_runs_and_its_health_checks_tell_the_truth() -> None:
    with TemporaryDirectory(prefix="coord-") as path, ExitStack() as ends:
        directory = Path(path)  # a short one, for the socket
        containers = Containers(directory, ends)
        assert not containers.is_healthy("redis")
        containers.start("redis")
        wait_for(lambda: containers.is_healthy("redis"))
        assert not containers.is_healthy("redis", REDISCLI_AUTH="wrong")
        coordinator = containers.start("coordinator")
        wait_for(lambda: containers.has_said("coordinator", "active:"))
        wait_for(lambda: containers.is_healthy("coordinator"))
        trainer = containers.start("trainer_audio")
        wait_for(lambda: containers.has_said("coordinator", "joined (audio"))
        wait_for(lambda: containers.is_healthy("trainer_audio"))
        assert not containers.is_healthy("validator")
        assert containers.coord("enroll", "Validator_1", "--role", "validator").returncode == 0
        validator = containers.start("validator")
        wait_for(lambda: containers.has_said("coordinator", "joined (validation"))
        wait_for(lambda: containers.is_healthy("validator"))
        started = {"trainer_audio": trainer, "validator": validator, "coordinator": coordinator}
        for name, process in started.items():
            process.terminate()
            assert process.wait(20) == 0
            assert not containers.is_healthy(name)
        assert (directory / "appendonlydir").is_dir()


@pytest.mark.skipif(REDIS_SERVER is None, reason="redis-server is not installed")
def test_redis_users_and_tokens_outlive_a_restart() -> None:
    with TemporaryDirectory(prefix="coord-") as path, ExitStack() as ends:
        containers = Containers(Path(path), ends)
        server = containers.start("redis")
        wait_for(lambda: containers.is_healthy("redis"))
        containers.start("coordinator")
        wait_for(lambda: containers.has_said("coordinator", "active:"))
        wait_for(lambda: containers.is_healthy("coordinator"))
        assert re.fullmatch(r"coord_\w+_.+\n", containers.coord("enroll", "AI_1").stdout)
        made = containers.coord("acl", "AI_1", "--apply")
        assert "warning" not in made.stderr
        server.terminate()
        server.wait(20)
        containers.start("redis")
        wait_for(lambda: containers.is_healthy("redis"))
        with connect(made.stdout.strip()) as me:
            assert me.ping()
        wait_for(lambda: containers.is_healthy("coordinator"))
        assert containers.coord("rotate", "AI_1").returncode == 0
        acl_file = Path(path) / "users.acl"
        assert PASSWORD not in acl_file.read_text()
        assert acl_file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("password", ["a b", "p@ss", "50%", "a\nport 1"])
def test_redis_refuses_a_password_that_a_url_would_change(password: str, tmp_path: Path) -> None:
    script = SERVICES["redis"]["command"]
    environment = python_environment(REDISCLI_AUTH=password)
    done = subprocess.run(
        script, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    assert done.stderr.startswith("COORD_REDIS_PASSWORD may have")


# -- the image -------------------------------------------------------------------------------------


def test_the_dockerfile_has_known_instructions_and_starts_from_a_pinned_python() -> None:
    known = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} == known
    images = [rest.split()[0] for rest in arguments_of("FROM")]
    assert all(re.fullmatch(r"python:3\.\d+-slim", image) for image in images), images
    assert len(set(images)) == 1, "a virtual environment needs the Python that made it"


def test_the_image_runs_as_somebody_who_is_not_root() -> None:
    names = [name for name, _ in instructions()]
    assert names.index("USER") < names.index("ENTRYPOINT")
    (user,) = arguments_of("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert f"--uid {user.partition(':')[0]} " in arguments_of("RUN")[-1]
    assert arguments_of("STOPSIGNAL") == ["SIGTERM"]


def test_the_image_is_given_no_secret() -> None:
    assert arguments_of("ENV") == ["PATH=/opt/coord/bin:$PATH"]


def test_the_image_gets_what_it_needs_and_nothing_else() -> None:
    first, *rules = [
        line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line[0] != "#"
    ]
    assert first == "*"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {
        source
        for rest in arguments_of("COPY")
        if "--from=" not in rest
        for source in rest.split()[:-1]
    }
    assert allowed == copied
    assert all((REPOSITORY / source).exists() for source in copied)
    assert not any(fnmatch(".env", rule) for rule in allowed)


def test_the_image_has_every_package() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages: list[str] = project["tool"]["setuptools"]["packages"]["find"]["include"]
    copied = {rest.split()[0] for rest in arguments_of("COPY")}
    assert {package.removesuffix("*") for package in packages} <= copied
