"""A copy of Python and of Patroni that the servers' user can run, if root's own Python is in a folder of root.

PostgreSQL refuses to run as root, and Patroni must run as the user of PostgreSQL.
"""

import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from tallystick.cluster.errors import ClusterError
from tallystick.embedded.lock import DataFolderLock
from tallystick.embedded.server_account import ServerAccount
from tallystick.embedded.system_folder import system_folder
from tallystick.files import reason_of

_EXTRAS: Final[Mapping[str, frozenset[str]]] = {
    "patroni": frozenset({"etcd3", "psycopg3"}),
    "psycopg": frozenset({"binary"}),
}
"""The extras of packages that Patroni needs here."""
_LEFT_OUT: Final = (
    "site-packages",
    "__pycache__",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "ensurepip",
    "lib2to3",
)
_LOCK_TIMEOUT_SECONDS: Final = 60.0


def copied_patroni(account: ServerAccount) -> tuple[str, ...]:
    """The command that runs the copy. The copy is made if there is none.

    Raises:
        ClusterError: it cannot be made, or the user cannot run it.
    """
    parent = system_folder()
    python = f"python{sysconfig.get_python_version()}"
    folder = parent / f"{python}-patroni-{distribution('patroni').version}"
    libraries, packages = folder / "lib", folder / "packages"
    command = (
        "/usr/bin/env",
        f"LD_LIBRARY_PATH={libraries}",
        f"PYTHONPATH={packages}",
        str(folder / "bin" / python),
        *("-P", "-m", "patroni"),
    )
    lock = DataFolderLock(parent)
    lock.acquire(timeout_seconds=_LOCK_TIMEOUT_SECONDS)
    try:
        if account.run([*command, "--version"]).returncode != 0:
            _copy(folder, python)
    except OSError as error:
        raise ClusterError(
            f"cannot copy Python to {folder} ({reason_of(error, folder)}): make room there, or run as an ordinary "
            f"user"
        ) from error
    finally:
        lock.release()
    tried = account.run([*command, "--version"])
    if tried.returncode != 0:
        said = " ".join(tried.stderr.split())
        raise ClusterError(
            f"user '{account.name}' cannot run Patroni in {folder} ({said}): run as an ordinary user"
        )
    return command


def _copy(folder: Path, python: str) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    for old in (partial, folder):
        shutil.rmtree(old, ignore_errors=True)
    ignored = shutil.ignore_patterns(*_LEFT_OUT)
    standard = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(standard, partial / "lib" / python, ignore=ignored)
    for library in Path(sysconfig.get_config_var("LIBDIR") or "/nowhere").glob("libpython*.so*"):
        shutil.copy(library, partial / "lib")
    (partial / "bin").mkdir()
    shutil.copy(Path(sys.executable).resolve(), partial / "bin" / python)
    for package in _with_requirements("patroni"):
        for file in package.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                target = partial / "packages" / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
    for path in (partial, *partial.rglob("*")):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    partial.rename(folder)


def _with_requirements(name: str) -> Iterator[Distribution]:
    """A package and all that it needs, as far as it is installed; what is not is for other systems."""
    waiting, seen = [name], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        yield package
        waiting += [
            re.split(r"[^\w.-]", one, maxsplit=1)[0].lower()
            for one in package.requires or ()
            if (extra := re.search(r"extra == ['\"]([\w-]+)['\"]", one)) is None
            or extra[1] in _EXTRAS.get(name, frozenset())
        ]
