"""A bare Debian in a folder, and commands in it: each sees it as new, whatever others have changed in theirs."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

RELEASE: Final = "bookworm"
# What the README says is needed, and nothing else; the certificates are for fetching packages.
PACKAGES: Final = "git,make,python3,python3-venv,ca-certificates,curl"
MAKE_TIMEOUT_SECONDS: Final = 900.0
RUN_TIMEOUT_SECONDS: Final = 600.0
PROJECT: Final = Path(__file__).parents[2]

# How this machine reaches names and packages.
_OF_THIS_MACHINE: Final = (
    "etc/resolv.conf",
    "etc/hosts",
    "etc/pip.conf",
    "etc/ssl/certs/ca-certificates.crt",
)

# Mounts are those of a namespace, which ends with the command, and so do all processes in it. The command has a
# network of this machine's, to install, and finds its ports free or takes the next ones.
_ENTER: Final = """
set -e
system=$1 changes=$2; shift 2
mkdir "$changes/upper" "$changes/work" "$changes/root"
mount -t overlay overlay -o "lowerdir=$system,upperdir=$changes/upper,workdir=$changes/work" "$changes/root"
cd "$changes/root"
mount -t proc proc proc
mount -t tmpfs -o mode=755 dev dev
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
ln -s /proc/self/fd dev/fd
mount --bind "$system.cache" cache
exec chroot . "$@"
"""


class BareSystem:
    """A system with one ordinary user, `user`, and this project's last commit in `/tallystick.bundle`."""

    def __init__(self, folder: Path) -> None:
        """Take the folder in which it is, or is to be."""
        self.folder = folder
        self._root = folder / "system"
        self._cache = folder / "system.cache"

    def make(self) -> None:
        """Make it when it is missing, and bring what is walked up to date."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._root.is_dir():
            partial = self.folder / "system.partial"
            shutil.rmtree(partial, ignore_errors=True)
            _run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(partial)])
            _run(["chroot", str(partial), "useradd", "--create-home", "user"])
            (partial / "cache").mkdir()
            partial.rename(self._root)
        for user, owner in (("root", 0), ("user", (self._root / "home" / "user").stat().st_uid)):
            # What was fetched once is not fetched again; how it is installed is the same.
            cache = self._cache / user
            cache.mkdir(parents=True, exist_ok=True)
            os.chown(cache, owner, owner)
        for name in _OF_THIS_MACHINE:
            if (Path("/") / name).is_file():
                shutil.copyfile(Path("/") / name, self._root / name)
        _run(["git", "-C", str(PROJECT), "bundle", "create", str(self._root / "tallystick.bundle"), "HEAD"])
        shutil.copyfile(Path(__file__).with_name("walk.py"), self._root / "walk.py")

    def run(self, changes: Path, command: list[str]) -> str:
        """Run a command in it as root, and return all that it said; what it changes goes to an empty folder."""
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        return _run(
            [*own, "/bin/sh", "-c", _ENTER, "sh", str(self._root), str(changes), *command],
            timeout_seconds=RUN_TIMEOUT_SECONDS,
        )


def _run(command: list[str], *, timeout_seconds: float = MAKE_TIMEOUT_SECONDS) -> str:
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "http", "HTTP"))}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        timeout=timeout_seconds,
        env={
            **kept,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
        },
    )
    return done.stdout
