"""What the host keeps to itself, and whether it came back out of a run."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

from tests.attacks.oracle import LIBRARY, Oracle
from tests.attacks.seen import Seen


class Secret(Oracle):
    """A file of the host's, which everybody may read: that the right is there is no leave."""

    mode = 0o644

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = folder / "secret"
        self.secret = secrets.token_hex(16)
        self.file.write_text(self.secret)
        self.file.chmod(self.mode)
        self.given["SECRET"] = str(self.file)

    def succeeded(self, seen: Seen) -> bool:
        return self.secret in seen.said


class PrivateSecret(Secret):
    mode = 0o600


class PrivateSecretInLibrary(PrivateSecret):
    """It lies among what the sandbox has to show: the files of Python itself."""

    needs = "" if os.geteuid() == 0 else "root"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = self.file.rename(LIBRARY / f"secret-{self.token}")
        self.given["SECRET"] = str(self.file)

    def close(self) -> None:
        self.file.unlink()


class RootNames(Oracle):
    """What lies in the machine's root directory."""

    def succeeded(self, seen: Seen) -> bool:
        return any(repr(name) in seen.said for name in os.listdir("/"))


class FileName(Secret):
    """The secret is the name of a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / self.secret).touch()


class LinkTarget(Secret):
    """The secret is what a symbolic link leads to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        link = folder / "link"
        link.symlink_to(self.secret)
        self.given["LINK"] = str(link)


class Metadata(Secret):
    """The secret is when the file was changed, in ns."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.secret = str(secrets.randbelow(10**18))
        os.utime(self.file, ns=(0, int(self.secret)))


class Shadow(Oracle):
    """The host's passwords: the first line of /etc/shadow."""

    needs = "" if os.access("/etc/shadow", os.R_OK) else "root"

    def succeeded(self, seen: Seen) -> bool:
        return Path("/etc/shadow").read_text().splitlines()[0] in seen.said


class OwnEnvironment(Secret):
    """The secret is in the environment of the harness."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        os.environ["PROBED"] = self.secret

    def close(self) -> None:
        del os.environ["PROBED"]


class Descriptor(Secret):
    """A file of the harness's that a child would inherit."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.descriptor = os.open(self.opened(), os.O_RDONLY)
        os.set_inheritable(self.descriptor, True)
        self.given["DESCRIPTOR"] = self.descriptor

    def opened(self) -> Path:
        return self.file

    def close(self) -> None:
        os.close(self.descriptor)


class DirectoryDescriptor(Descriptor):
    def opened(self) -> Path:
        return self.folder


class Victim(Secret):
    """A process of the host's beside, with the secret in its environment."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        environment = {"PROBED": self.secret}
        self.process = subprocess.Popen(["/bin/sleep", "600"], env=environment)
        self.given["VICTIM"] = self.process.pid

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class HarmedVictim(Victim):
    """The victim ended, stopped, or runs otherwise than before."""

    nice = os.nice(0)

    def succeeded(self, seen: Seen) -> bool:
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().split()
        return stat[2] in "TtZX" or int(stat[18]) != self.nice
