"""Attacks on the host's files: reading what is secret, and leaving something behind."""

from __future__ import annotations

from tests.attacks import kernel, stolen, traces
from tests.attacks.probe import Probe

FIRST_READABLE = """
def first_readable(paths):
    reasons = []
    for path in paths:
        try:
            with open(path) as file:
                return file.readline()
        except OSError as error:
            reasons.append(f"{path}: {error.strerror}")
    return reasons
"""

READING = (
    Probe("shadow", stolen.Shadow, 'loot = open("/etc/shadow").readline()'),
    Probe("secret", stolen.Secret, "loot = open(SECRET).read()"),
    Probe("private_secret", stolen.PrivateSecret, "loot = open(SECRET).read()"),
    Probe(
        "secret_by_climbing",
        stolen.Secret,
        FIRST_READABLE
        + """
paths = ["../" * 20 + SECRET, "/proc/self/cwd/" + "../" * 20 + SECRET, "/proc/self/root" + SECRET]
loot = first_readable(paths)
""",
    ),
    Probe(
        "secret_by_symlink",
        stolen.Secret,
        FIRST_READABLE
        + """
import os
paths = []
for place in (FOLDER, ".", "/tmp", "/dev/shm", "/var/tmp", "/run"):
    try:
        os.symlink(SECRET, f"{place}/symlink-{TOKEN}")
        paths.append(f"{place}/symlink-{TOKEN}")
        break
    except OSError:
        pass
loot = first_readable(paths)
""",
    ),
    Probe(
        "secret_by_hard_link",
        stolen.Secret,
        FIRST_READABLE
        + """
import os
paths = []
for place in (FOLDER, ".", "/tmp", "/dev/shm"):
    try:
        os.link(SECRET, f"{place}/hard-link-{TOKEN}")
        paths.append(f"{place}/hard-link-{TOKEN}")
        break
    except OSError:
        pass
loot = first_readable(paths)
""",
    ),
    Probe(
        "secret_by_proc_root",
        stolen.Secret,
        FIRST_READABLE
        + """
import os
loot = first_readable([f"/proc/{pid}/root{SECRET}" for pid in (1, 2, os.getppid(), HOST)])
""",
    ),
    Probe(
        "secret_by_descriptor_of_another",
        stolen.Descriptor,
        FIRST_READABLE
        + """
import ctypes, os
loot = first_readable([f"/proc/{pid}/fd/{DESCRIPTOR}" for pid in (1, os.getppid(), HOST)])
if isinstance(loot, list):
    libc = ctypes.CDLL(None)
    process = libc.syscall(434, HOST, 0)
    stolen = libc.syscall(438, process, DESCRIPTOR, 0)
    loot = os.pread(stolen, 100, 0)
""",
    ),
    Probe(
        "passed_descriptor",
        stolen.Descriptor,
        """
import os
loot = []
for descriptor in range(3, 256):
    try:
        loot.append(os.pread(descriptor, 100, 0))
    except OSError:
        pass
""",
    ),
    Probe(
        "passed_directory",
        stolen.DirectoryDescriptor,
        """
import os
loot = []
for descriptor in range(3, 256):
    try:
        loot.append(os.pread(os.open("secret", os.O_RDONLY, dir_fd=descriptor), 100, 0))
    except OSError:
        pass
""",
    ),
    Probe("listing", stolen.FileName, "import os\nloot = os.listdir(FOLDER)"),
    Probe(
        "names_in_the_root",
        stolen.RootNames,
        'import os\nloot = os.listdir("/")',
    ),
    Probe(
        "private_file_of_the_library",
        stolen.PrivateSecretInLibrary,
        "loot = open(SECRET).read()",
    ),
    Probe(
        "link_target",
        stolen.LinkTarget,
        "import os\nloot = os.readlink(LINK)",
    ),
    Probe("metadata", stolen.Metadata, "import os\nloot = os.stat(SECRET).st_mtime_ns"),
)

WRITING = (
    Probe("write", traces.Marker, 'open(MARKER, "w").write("x")'),
    Probe("code_at_import", traces.Marker, "import os\nos.mkdir(MARKER)"),
    Probe("named_pipe", traces.Marker, "import os\nos.mkfifo(MARKER)"),
    Probe(
        "bound_socket",
        traces.Marker,
        "import socket\nlistener = socket.socket(socket.AF_UNIX)\nlistener.bind(MARKER)",
    ),
    Probe("shared_memory_file", traces.SharedMemoryMarker, 'open(MARKER, "w").write("x")'),
    Probe("library", traces.LibraryMarker, 'open(MARKER, "w").write("x")'),
    Probe("overwrite", traces.Changed, 'open(FILE, "w").write("x")'),
    Probe("append", traces.Changed, 'open(FILE, "a").write("x")'),
    Probe(
        "file_of_the_library",
        traces.ChangedInLibrary,
        """
import os
for path in (FILE, "/" + os.path.basename(FILE)):
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    except OSError:
        pass
""",
    ),
    Probe("truncate", traces.Changed, "import os\nos.truncate(FILE, 0)"),
    Probe("delete", traces.Changed, "import os\nos.unlink(FILE)"),
    Probe("rename", traces.Changed, 'import os\nos.rename(FILE, FILE + "x")'),
    Probe("exchange", traces.Changed, "import os\nos.link(FILE, FILE + TOKEN)"),
    Probe("chmod", traces.Changed, "import os\nos.chmod(FILE, 0o777)"),
    Probe("chown", traces.Changed, "import os\nos.chown(FILE, 12345, 12345)", refusable=True),
    Probe("change_times", traces.Changed, "import os\nos.utime(FILE, (1, 1))"),
    Probe(
        "system_v_memory",
        kernel.SystemVMemory,
        "import ctypes\nctypes.CDLL(None).shmget(KEY, 4096, 0o1666)",
    ),
    Probe(
        "kernel_log",
        kernel.KernelLog,
        'open("/dev/kmsg", "w").write(TOKEN + chr(10))',
        refusable=True,
    ),
    Probe(
        "core_dump",
        kernel.Core,
        """
import os, resource
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
os.abort()
""",
    ),
)


def _plant(name: str, text: str) -> str:
    """Source that leaves ``text`` under ``name`` where the next Python may come upon it."""
    return f"""
with open(FOLDER + {"/" + name!r}, "w") as file:
    file.write({text!r}.replace("MARKER", repr(MARKER)))
"""


PLANTING = (
    Probe("sitecustomize", traces.Planted, _plant("sitecustomize.py", 'open(MARKER, "w")')),
    Probe("pth", traces.Planted, _plant("planted.pth", 'import os; open(MARKER, "w")')),
    Probe("conftest", traces.PlantedTests, _plant("conftest.py", 'open(MARKER, "w")')),
)

PROBES = (*READING, *WRITING, *PLANTING)
