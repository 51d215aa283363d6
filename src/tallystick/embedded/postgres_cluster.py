"""The files of an embedded PostgreSQL: the cluster, passwords, the log, and the place of its socket."""

import errno
import logging
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tallystick.embedded.errors import EmbeddedServerError
from tallystick.embedded.postgres_binaries import PostgresBinaries
from tallystick.embedded.postgres_settings import SOCKET_PORT, configuration_file
from tallystick.embedded.server_account import ServerAccount
from tallystick.embedded.socket_folder import SocketFolder
from tallystick.embedded.system_folder import system_folder
from tallystick.files import write_private

OWNER_ROLE = "tallystick_owner"
"""The superuser: migrations run as it."""
LOGIN_ROLE = "tallystick_login"
"""The role of the API server."""
SERVER_ROLE = "tallystick_server"
"""The group that the migrations grant rights to; `LOGIN_ROLE` is a member."""

INITDB_TIMEOUT_SECONDS = 300.0
LOG_BYTES_MAX = 10 * 1024 * 1024

_logger = logging.getLogger(__name__)


class ClusterFolder:
    """The data folder of one server: its files, and how they are made and removed.

    All files belong to the user of this process, except `cluster`, which belongs to the user of the server.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = folder / "cluster"
        """PostgreSQL's data directory, or a link to it if the server's user cannot reach this folder."""
        self._planned = folder / "cluster.planned"
        self.log_path = folder / "server.log"
        self.sockets = SocketFolder(folder / "socket_folder", f".s.PGSQL.{SOCKET_PORT}.lock")

    def make(self) -> None:
        """Make the data folder if it is missing. The user of the server can enter it."""
        try:
            missing = not self.folder.is_dir()
            self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            if missing:
                self.folder.chmod(0o711)  # only this user may change it; existing folders are not changed
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot make the data folder {self.folder} ({error.strerror}): choose another one"
            ) from error

    # The cluster

    def check_reachable(self, account: ServerAccount) -> None:
        """Refuse a link to a missing cluster, and a cluster that the user of the server cannot enter."""
        if self.cluster.is_symlink() and not self.cluster.is_dir():
            raise EmbeddedServerError(
                f"{self.cluster} points at {self.cluster.readlink()}, which is missing: bring it back, "
                f"or remove the link to begin with an empty database"
            )
        if self.cluster.is_dir() and not account.can_enter(real := self.cluster.resolve()):
            raise EmbeddedServerError(
                f"PostgreSQL runs as user '{account.name}', which cannot enter {real}: "
                f"let it pass through the folders above, or move the data folder to where it can"
            )

    def initialise(self, binaries: PostgresBinaries, account: ServerAccount, *, durable: bool) -> None:
        """Make the cluster if there is none. An incomplete cluster is made again."""
        if self.cluster.is_dir():
            return
        elsewhere = not account.can_enter(self.folder)
        target = self._plan_elsewhere(account) if elsewhere else self.cluster
        # The target exists if an earlier start was killed just before the end. Then it is complete.
        if not target.is_dir():
            self._make_cluster(target, binaries, account, durable=durable)
        if elsewhere:
            self._planned.rename(self.cluster)
        if durable:
            _sync_folder(target.parent)
            _sync_folder(self.folder)

    def _plan_elsewhere(self, account: ServerAccount) -> Path:
        """Choose a place outside of this folder.

        A link remembers it, so that a killed start leaves at most one folder.
        """
        if not self._planned.is_symlink():
            self._planned.symlink_to(
                system_folder("clusters") / secrets.token_hex(8), target_is_directory=True
            )
        target = self._planned.readlink()
        _logger.info(
            "user '%s' cannot enter %s: the database is kept in %s", account.name, self.folder, target
        )
        return target

    def _make_cluster(
        self, target: Path, binaries: PostgresBinaries, account: ServerAccount, *, durable: bool
    ) -> None:
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        account.give(partial)
        try:
            self._run_initdb(partial, binaries, account, durable=durable)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        partial.rename(target)

    def _run_initdb(
        self, cluster: Path, binaries: PostgresBinaries, account: ServerAccount, *, durable: bool
    ) -> None:
        account.check_name()
        # The user of the server cannot read the file with the password, so it gets a temporary copy.
        password_file = cluster.with_name(f"{cluster.name}.password")
        write_private(password_file, self.password(OWNER_ROLE, make=True))
        account.give(password_file)
        command: list[str | Path] = [binaries.program("initdb"), "--pgdata", cluster]
        command += ["--username", OWNER_ROLE, "--pwfile", password_file, "--auth", "scram-sha-256"]
        command += ["--encoding", "UTF8", "--locale", "C"]
        command += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
        command += ["--data-checksums", "--no-instructions", *([] if durable else ["--no-sync"])]
        try:
            made = account.run(command, timeout_seconds=INITDB_TIMEOUT_SECONDS)
        finally:
            password_file.unlink(missing_ok=True)
        if made.returncode != 0:
            said = " ".join(line.strip() for line in made.stderr.splitlines() if "error" in line.lower())
            said = said or made.stderr.strip()
            advice = "make room there" if os.strerror(errno.ENOSPC) in said else "correct what it says"
            raise EmbeddedServerError(
                f"a new database cannot be made in {cluster.parent} ({said}): "
                f"{advice}, or choose another data folder"
            )

    def write_configuration(self, settings: Mapping[str, str], account: ServerAccount) -> None:
        """Write `postgresql.conf`, whole or not at all."""
        path = self.cluster / "postgresql.conf"
        write_private(path, configuration_file(settings), prepare=None if account is None else account.give)

    # Passwords

    def password(self, role: str, *, make: bool = False) -> str:
        """The password of a role. A random one is made if it is missing and `make` allows it."""
        path = self.folder / f"{role}.password"
        try:
            return path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            if not make:
                raise EmbeddedServerError(
                    f"the file {path} with the password of the database is missing: "
                    f"start the server first, or bring the file back from a backup"
                ) from None
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot read {path} ({error.strerror}): run as the user who started the server"
            ) from error
        write_private(path, secrets.token_urlsafe(24))
        return self.password(role)

    # The log

    def rotate_log(self) -> None:
        """Begin a new log if the last one is large. One older log is kept."""
        with suppress(FileNotFoundError):
            if self.log_path.stat().st_size > LOG_BYTES_MAX:
                self.log_path.replace(self.log_path.with_suffix(".log.1"))

    def last_error(self) -> str:
        """The last error in the log, and the path of the log."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, self.log_path.stat().st_size - 8192))
                lines = log.read().decode("utf-8", "replace").split("\n")
        except OSError:
            lines = []
        errors = [line for line in lines if re.search(r"\b(FATAL|PANIC)\b|error while loading", line)]
        last = (errors or [line for line in lines if line.strip()] or ["no message"])[-1].strip()
        return f"{last} [{self.log_path}]"

    # The end

    def remove(self) -> None:
        """Remove the cluster, wherever it is, and all other files of the server in the folder."""
        if self.cluster.is_symlink():
            target = self.cluster.readlink()
            shutil.rmtree(target, ignore_errors=True)
            target.with_name(f"{target.name}.lock").unlink(missing_ok=True)  # no other cluster has this name
            self.cluster.unlink()
        elif self.cluster.is_dir():
            shutil.rmtree(self.cluster)
        if self._planned.is_symlink():
            shutil.rmtree(self._planned.readlink(), ignore_errors=True)
            self._planned.unlink()
        self.sockets.forget()
        files = [self.log_path, self.log_path.with_suffix(".log.1")]
        files += [self.folder / f"{role}.password" for role in (OWNER_ROLE, LOGIN_ROLE)]
        for path in files:
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
