"""What an embedded PostgreSQL keeps on disk: the cluster, passwords, the log, the place of its socket."""

import logging
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tallystick.embedded.errors import EmbeddedServerError
from tallystick.embedded.postgres_binaries import SYSTEM_FOLDER, PostgresBinaries, make_system_folder
from tallystick.embedded.postgres_settings import SOCKET_PORT, configuration_file
from tallystick.embedded.server_account import ServerAccount

OWNER_ROLE = "tallystick_owner"
"""The superuser: migrations run as it."""
LOGIN_ROLE = "tallystick_login"
"""What the API server connects as."""
SERVER_ROLE = "tallystick_server"
"""The group that the migrations grant rights to; `LOGIN_ROLE` is a member."""

INITDB_TIMEOUT_SECONDS = 300.0
LOG_BYTES_MAX = 10 * 1024 * 1024

_MODE_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SOCKET_PATH_BYTES_MAX = 100
"""The kernel takes 107 (103 on macOS)."""

_logger = logging.getLogger(__name__)


class ClusterFolder:
    """The data folder of one server: where each thing is, how it is made, how it is removed.

    Everything here belongs to whoever runs us, and only `cluster` belongs to the user of the server.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = folder / "cluster"
        """PostgreSQL's data directory, or a link to it when the server's user cannot reach this folder."""
        self.log_path = folder / "server.log"
        self._socket_record = folder / "socket_folder"

    def make(self) -> None:
        """Make the data folder when it is missing, so that the user of the server can pass through it."""
        try:
            missing = not self.folder.is_dir()
            self.folder.mkdir(parents=True, exist_ok=True)
            if missing:
                self.folder.chmod(0o711)  # ours alone to change; nobody's existing folder is touched
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot make the data folder {self.folder} ({error.strerror}): choose another one"
            ) from error

    # The cluster

    def check_reachable(self, account: ServerAccount) -> None:
        """Refuse a cluster that exists but is gone, or that the user of the server cannot enter."""
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
        """Make the cluster when there is none; a cluster that was half made is made anew."""
        if self.cluster.is_dir():
            return
        target = self.cluster
        if not account.can_enter(self.folder):
            target = make_system_folder(SYSTEM_FOLDER / "clusters") / secrets.token_hex(8)
            _logger.warning(
                "user '%s' cannot enter %s: the database is kept in %s", account.name, self.folder, target
            )
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
        if target != self.cluster:
            self.cluster.symlink_to(target, target_is_directory=True)
        if durable:
            _sync_folder(target.parent)
            _sync_folder(self.folder)

    def _run_initdb(
        self, cluster: Path, binaries: PostgresBinaries, account: ServerAccount, *, durable: bool
    ) -> None:
        # The user of the server cannot read our file with the password, so it gets one of its own for now.
        password_file = cluster.with_name(f"{cluster.name}.password")
        _write_private(password_file, self.password(OWNER_ROLE, make=True))
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
            raise EmbeddedServerError(
                f"a new database cannot be made in {cluster.parent} ({said or made.stderr.strip()}): "
                f"make room there, or choose another data folder"
            )

    def write_configuration(self, settings: Mapping[str, str], account: ServerAccount) -> None:
        """Write `postgresql.conf`, whole or not at all."""
        path = self.cluster / "postgresql.conf"
        _write_private(path, configuration_file(settings), account)

    # Passwords

    def password(self, role: str, *, make: bool = False) -> str:
        """Return the password of a role, made at random when it is missing and may be made."""
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
        _write_private(path, secrets.token_urlsafe(24))
        return self.password(role)

    # The log

    def rotate_log(self) -> None:
        """Begin a new log when the last one has grown large; one older log is kept."""
        with suppress(FileNotFoundError):
            if self.log_path.stat().st_size > LOG_BYTES_MAX:
                self.log_path.replace(self.log_path.with_suffix(".log.1"))

    def last_error(self) -> str:
        """Return the last line of the log that says what went wrong, and the path of the log."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(0, self.log_path.stat().st_size - 8192))
                lines = log.read().decode("utf-8", "replace").split("\n")
        except OSError:
            lines = []
        told = [line for line in lines if re.search(r"\b(FATAL|PANIC)\b|error while loading", line)]
        last = (told or [line for line in lines if line.strip()] or ["no message"])[-1].strip()
        return f"{last} [{self.log_path}]"

    # The socket

    def socket_folder(self) -> Path:
        """Return the folder of the socket, which is the same from start to start."""
        try:
            return Path(self._socket_record.read_text(encoding="utf-8").strip())
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot read {self._socket_record} ({error.strerror}): start the server first"
            ) from error

    def make_socket_folder(self, account: ServerAccount) -> Path:
        """Make the short private folder of the socket, the one of the last start when nobody has taken it."""
        with suppress(EmbeddedServerError, OSError):
            folder = self.socket_folder()
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
                account.give(folder)
            status = folder.lstat()
            # Others can write in the folder above: what they may have put there is not ours to use.
            if (
                stat.S_ISDIR(status.st_mode)
                and status.st_uid == account.user_id
                and not status.st_mode & _MODE_OF_OTHERS
            ):
                # Left by a server that was killed; the caller has made sure that none is running.
                for left in folder.iterdir():
                    left.unlink()
                return folder
        folder = Path(tempfile.mkdtemp(prefix="tallystick-", dir=self._temporary_folder(account)))
        account.give(folder)
        _write_private(self._socket_record, str(folder))
        return folder

    def remove_socket_folder(self) -> None:
        """Remove the folder of the socket after the server has stopped; its name stays reserved."""
        with suppress(EmbeddedServerError, OSError):
            self.socket_folder().rmdir()

    @staticmethod
    def _temporary_folder(account: ServerAccount) -> Path:
        name = f"/tallystick-12345678/.s.PGSQL.{SOCKET_PORT}.lock"
        for folder in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108 - mkdtemp
            short = len(os.fsencode(folder)) + len(name) <= _SOCKET_PATH_BYTES_MAX
            # PostgreSQL takes a list of folders, so that a comma or a quote would need care.
            plain = re.fullmatch(r"[A-Za-z0-9/._+-]+", str(folder)) is not None
            if short and plain and os.access(folder, os.W_OK | os.X_OK) and account.can_enter(folder):
                return folder
        raise EmbeddedServerError(
            "there is no short folder for the socket of PostgreSQL: set TMPDIR to one, such as /tmp"
        )

    # The end

    def remove(self) -> None:
        """Remove the cluster, wherever it is kept, and everything else that we have put into the folder."""
        if self.cluster.is_symlink():
            target = self.cluster.readlink()
            shutil.rmtree(target, ignore_errors=True)
            target.with_name(f"{target.name}.lock").unlink(missing_ok=True)  # no other cluster has this name
            self.cluster.unlink()
        elif self.cluster.is_dir():
            shutil.rmtree(self.cluster)
        self.remove_socket_folder()
        files = [self._socket_record, self.log_path, self.log_path.with_suffix(".log.1")]
        files += [self.folder / f"{role}.password" for role in (OWNER_ROLE, LOGIN_ROLE)]
        for path in files:
            path.unlink(missing_ok=True)


def _write_private(path: Path, text: str, account: ServerAccount | None = None) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if account is not None:
        account.give(partial)
    partial.replace(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
