"""Finds the programs of a cluster: those of the system, and those that come as Python packages."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tallystick.cluster.errors import ClusterError
from tallystick.cluster.python_copy import copied_patroni
from tallystick.embedded.postgres_binaries import find_binaries
from tallystick.embedded.server_account import ServerAccount
from tallystick.embedded.valkey import valkey_program

_PACKAGES: Final = {"etcd": "etcd-server", "haproxy": "haproxy"}
"""The programs that the system must have, and the packages of Debian and Ubuntu that have them."""
_SYSTEM_FOLDERS: Final = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where haproxy is, which the path of an ordinary user leaves out."""


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of a cluster. `patroni` is a command, the others are files; `postgres` is a folder."""

    etcd: Path
    haproxy: Path
    valkey: Path
    postgres: Path
    patroni: tuple[str, ...]


def find_programs(account: ServerAccount) -> Programs:
    """All programs. `account` is the user that runs PostgreSQL and Patroni.

    Raises:
        ClusterError: the system lacks some. The message says how to install them.
        EmbeddedServerError: the user cannot run those that come as packages.
    """
    found = system_programs()
    return Programs(
        etcd=found["etcd"],
        haproxy=found["haproxy"],
        valkey=valkey_program(),
        postgres=find_binaries(account).program("postgres").parent,
        patroni=_patroni(account),
    )


def system_programs() -> dict[str, Path]:
    """The programs of the system, by name. Raises `ClusterError` if some are missing."""
    path = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_FOLDERS}"
    found = {name: shutil.which(name, path=path) for name in _PACKAGES}
    if missing := [name for name, program in found.items() if program is None]:
        packages = " ".join(_PACKAGES[name] for name in missing)
        raise ClusterError(
            f"a cluster needs {' and '.join(missing)}, which this system lacks: "
            f"on Debian and Ubuntu install them with: sudo apt-get install {packages} "
            f"(where the packages start services of their own, stop those with: "
            f"sudo systemctl disable --now {' '.join(name for name in missing)})"
        )
    return {name: Path(program) for name, program in found.items() if program is not None}


def _patroni(account: ServerAccount) -> tuple[str, ...]:
    """The command that runs Patroni as a user, who may not be able to reach the Python of this process."""
    here = (sys.executable, "-P", "-m", "patroni")
    if account.run([*here, "--version"]).returncode == 0:
        return here
    if account.switches:
        return copied_patroni(account)
    raise ClusterError("Patroni cannot be run here: install the package again")
