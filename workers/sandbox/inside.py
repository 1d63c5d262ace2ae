"""Runs inside the sandbox, alone: ``python -I -S -B -c <this text> REQUESTS ANSWERS``.

The two arguments are file descriptors. It reads its configuration and gives up for good every
right that it was not granted. Only then does it read the component's source, and what is asked of
it: each line is two JSON lists of calls ``[target, method, arguments]``. All are done in this
order, and one line answers with the list of what those in the second gave. Target -1 is the
Harness, the others are policies. The component shares this process, so what comes from here is to
be trusted no more than the component.

If it is to become another program instead, it answers with the mark alone, and by becoming it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import struct
import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:  # to import it takes longer than all else here
    from typing import Any, NoReturn

NAME = "component"
FILE = "<component>"
POLICY = "Policy"
HARNESS = -1
CHUNK_BYTES = 65536
LONGEST_MESSAGE = 300

# Linux: include/uapi/linux/prctl.h, seccomp.h and landlock.h
SET_PDEATHSIG, SET_SECCOMP, SET_NO_NEW_PRIVS = 1, 22, 38
SECCOMP_MODE_FILTER = 2
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_RULE_PATH_BENEATH = 1


class FilterProgram(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


class Harness:
    """What can be asked for besides the methods of policies, which it puts into ``targets``."""

    def __init__(self, targets: dict[int, Any]) -> None:
        self.targets = targets
        self.names: dict[str, Any] = {}

    def load(self, source: str) -> dict[str, Any]:
        module = types.ModuleType(NAME)
        sys.modules[NAME] = module
        self.names = vars(module)
        exec(compile(source, FILE, "exec", dont_inherit=True), self.names)
        specialization = self.names.get("SPECIALIZATION")
        return {
            "specialization": specialization if isinstance(specialization, str) else None,
            "classes": {
                name: [method for method in dir(value) if is_method(value, method)]
                for name, value in self.names.items()
                if name == POLICY and isinstance(value, type)
            },
        }

    def test(self, name: str) -> None:
        self.names[name]()

    def make(self, policy_id: int, arguments: list[Any]) -> None:
        self.targets[policy_id] = self.names[POLICY](*arguments)


def is_method(kind: type, name: str) -> bool:
    return not name.startswith("_") and callable(getattr(kind, name, None))


def serve(requests: int, answers: int, mark: str) -> NoReturn:
    """Answer line after line, until nobody asks any more. The first says that it is ready."""
    decode, encode = json.JSONDecoder().raw_decode, json.JSONEncoder(allow_nan=False).encode
    targets: dict[int, Any] = {}
    targets[HARNESS] = Harness(targets)
    number = 0
    answer = "=null"
    while True:
        send(answers, f"{mark}{number}{answer}\n".encode())
        line = receive(requests)
        number += 1
        try:
            told, asked = decode(line.decode())[0]
            for target, method, arguments in told:
                getattr(targets[target], method)(*arguments)
            values = [getattr(targets[one], method)(*given) for one, method, given in asked]
        except BaseException as error:
            answer = f"!{json.dumps(described(error))}"
        else:
            try:
                answer = f"={encode(values)}"
            except BaseException as error:
                answer = f"?{json.dumps(described(error))}"


def send(answers: int, line: bytes) -> None:
    while line:
        line = line[os.write(answers, line) :]


def receive(requests: int) -> bytes:
    """One line; there is never more, for it is answered before the next is sent."""
    line = os.read(requests, CHUNK_BYTES)
    while line[-1:] != b"\n":
        more = os.read(requests, CHUNK_BYTES)
        if not more:
            os._exit(0)
        line += more
    return line


def described(error: BaseException) -> tuple[str, str, int, bool]:
    """Its type, its message, the component's line (0: none), and whether memory ran out."""
    try:
        message = str(error)[:LONGEST_MESSAGE]
    except BaseException:
        message = ""
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == FILE else 0
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == FILE:
            line = step.tb_lineno
        step = step.tb_next
    return type(error).__name__, message, line or 0, isinstance(error, MemoryError)


def confine(configuration: dict[str, Any]) -> None:
    """Give up new privileges, resources, files, the root, the user and system calls, in this order:
    each step needs what a later one takes away. Raises OSError if one is not carried out."""
    libc = ctypes.CDLL(None, use_errno=True)
    prctl(libc, SET_NO_NEW_PRIVS, 1)
    for name, limits in configuration["rlimits"].items():
        resource.setrlimit(getattr(resource, name), tuple(limits))
    if configuration["landlock"] is not None:
        restrict_files(libc, configuration["landlock"])
    if configuration["root"] is not None:
        change_root(configuration["root"])
    uid = configuration["uid"]
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    parent = configuration["parent"]
    if parent is not None:
        prctl(libc, SET_PDEATHSIG, signal.SIGKILL)  # a change of user would undo it
        if os.getppid() != parent:
            os._exit(0)
    if configuration["seccomp"] is not None:
        program = bytes.fromhex(configuration["seccomp"])
        filter_program = FilterProgram(len(program) // 8, program)
        prctl(libc, SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(filter_program))


def restrict_files(libc: ctypes.CDLL, landlock: dict[str, Any]) -> None:
    attributes = bytes.fromhex(landlock["attributes"])
    size = ctypes.c_size_t(len(attributes))
    rules = checked(libc.syscall(LANDLOCK_CREATE_RULESET, attributes, size, 0))
    for path, rights in landlock["rules"]:
        try:
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # it was removed since it was listed
        rule = struct.pack("=Qi", rights, parent)
        checked(libc.syscall(LANDLOCK_ADD_RULE, rules, LANDLOCK_RULE_PATH_BENEATH, rule, 0))
        os.close(parent)
    checked(libc.syscall(LANDLOCK_RESTRICT_SELF, rules, 0))
    os.close(rules)


def change_root(extensions: list[str]) -> None:
    """Make the standard library's directory all that there is. What its ``extensions`` need lies
    elsewhere, so they are loaded before; a later import finds them in memory."""
    for extension in extensions:
        ctypes.CDLL(extension)
    library = os.path.dirname(json.__path__[0])
    os.chroot(library)
    os.chdir("/")
    packages = [module.__path__ for module in sys.modules.values() if hasattr(module, "__path__")]
    for places in (sys.path, *packages):
        there = [place for place in places if f"{place}/".startswith(f"{library}/")]
        places[:] = [place[len(library) :] or "/" for place in there]
    sys.path_importer_cache.clear()


def prctl(libc: ctypes.CDLL, option: int, *values: int) -> None:
    padded = (*values, 0, 0, 0)[:4]
    checked(libc.prctl(option, *map(ctypes.c_ulong, padded)))


def checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def read_exactly(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(descriptor, size - len(data))
        if not more:
            os._exit(0)
        data += more
    return data


def become(command: list[str], answers: int, mark: str) -> NoReturn:
    """Run ``command`` in place of this program: the mark, then an end, is the sign that it runs.
    Raises OSError if it cannot be run."""
    send(answers, f"{mark}\n".encode())
    try:
        os.execve(command[0], command, {})
    except OSError:
        send(answers, b"it cannot be run\n")
        raise


def main() -> NoReturn:
    requests, answers = map(int, sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGQUIT):  # raised in the component, or ignored with ours
        signal.signal(number, signal.SIG_DFL)
    os.environ.clear()
    configuration = json.loads(read_exactly(requests, int(read_exactly(requests, 8), 16)))
    mark, command = configuration["mark"], configuration["command"]
    for descriptor in (requests, answers):
        os.set_inheritable(descriptor, False)
    try:
        confine(configuration)
        if command:
            become(command, answers, mark)
    except OSError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    serve(requests, answers, mark)


if __name__ == "__main__":
    main()
