"""The user that a server runs as: the current user, or a separate user if this process runs as root."""

import grp
import os
import pwd
import shlex
import shutil
import subprocess  # nosec B404  # only to start programs of ours, without a shell
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tallystick.embedded.errors import DataFolderInUseError, EmbeddedServerError
from tallystick.embedded.lock import DataFolderLock
from tallystick.embedded.system_folder import system_folder

SYSTEM_USER = "tallystick"
SHORT_COMMAND_TIMEOUT_SECONDS = 30.0
"""Longer than the 15 s for which `useradd` waits while another program changes users."""
USER_LOCK_TIMEOUT_SECONDS = 60.0
NAME_TIMEOUT_SECONDS = 5.0
_POLL_INTERVAL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class ServerAccount:
    """The user that a server runs as, and how to start a program as that user."""

    name: str
    user_id: int
    group_id: int
    switches: bool
    """This process runs as root, and the server does not: each program changes to the user before it runs."""

    def run(
        self, command: Sequence[str | Path], *, timeout_seconds: float = SHORT_COMMAND_TIMEOUT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a short program as this user and return its output. It may fail."""
        try:
            return subprocess.run(  # nosec B603  # noqa: S603 - the program is ours and there is no shell
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=timeout_seconds,
                cwd="/",  # the current folder may be closed to this user
                env=_environment(),
                user=self.user_id if self.switches else None,
                group=self.group_id if self.switches else None,
                extra_groups=[] if self.switches else None,
                umask=0o077,
                start_new_session=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            # This user may not reach the program, or the kernel may refuse the change of user.
            return subprocess.CompletedProcess(list(map(str, command)), 127, "", str(error))

    def start(
        self,
        command: Sequence[str | Path],
        *,
        output: IO[bytes],
        folder: Path = Path("/"),
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a long-lived program as this user, in a session of its own, with its output in a file.

        The session keeps Ctrl-C of the terminal away from it, so that servers can be stopped in order. It works in
        `folder`. `environment` replaces the short one that servers usually have.
        """
        return subprocess.Popen(  # nosec B603  # noqa: S603 - the program is ours and there is no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=_environment() if environment is None else environment,
            user=self.user_id if self.switches else None,
            group=self.group_id if self.switches else None,
            extra_groups=[] if self.switches else None,
            umask=0o077,
            start_new_session=True,
        )

    def can_enter(self, folder: Path) -> bool:
        """Whether this user can enter a folder and all folders above it, by trying it as the user."""
        if not self.switches:
            return os.access(folder, os.X_OK)
        return self.run(["/bin/sh", "-c", 'test -d "$1" && test -x "$1"', "sh", folder]).returncode == 0

    def check_name(self) -> None:
        """Refuse a user that has a number and no name, because `initdb` needs the name."""
        try:
            pwd.getpwuid(self.user_id)
        except KeyError:
            raise EmbeddedServerError(
                f"PostgreSQL makes no database as user {self.user_id}, which has no name on this system: "
                f"give the user one in /etc/passwd, or run as another user"
            ) from None

    def give(self, path: Path) -> None:
        """Make this user the owner of a new file or folder."""
        if self.switches:
            os.chown(path, self.user_id, self.group_id, follow_symlinks=False)


def account_for(cluster: Path) -> ServerAccount:
    """The user that the server of a data directory runs as.

    An ordinary user runs it as itself. Root runs it as the owner of the directory, as PostgreSQL requires. For a new
    directory root uses the system user, which is made if it is missing.
    """
    own_id = os.geteuid()
    owner_id = cluster.stat().st_uid if cluster.is_dir() else None
    if own_id != 0:
        if owner_id not in {None, own_id}:
            raise EmbeddedServerError(
                f"{cluster} belongs to user {_user_name(owner_id)}: run as that user or as root, "
                f"or choose another data folder"
            )
        return own_account()
    if owner_id == 0:
        raise EmbeddedServerError(
            f"{cluster} belongs to root, and PostgreSQL refuses to run as root: "
            f"give it to the user of the server with: chown -R {SYSTEM_USER}: '{cluster}'"
        )
    if owner_id is not None:
        group_id = cluster.stat().st_gid
        return ServerAccount(_user_name(owner_id), owner_id, group_id, switches=True)
    entry = _system_user()
    return ServerAccount(entry.pw_name, entry.pw_uid, entry.pw_gid, switches=True)


def own_account() -> ServerAccount:
    """The current user."""
    own_id = os.geteuid()
    return ServerAccount(_user_name(own_id), own_id, os.getegid(), switches=False)


def _environment() -> Mapping[str, str]:
    # The servers inherit nothing: no PGDATA, no PGOPTIONS, no locale, no secret.
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _user_name(user_id: int | None) -> str:
    if user_id is None:
        return "nobody"
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)


def _system_user() -> pwd.struct_passwd:
    """The system user. It is made if it is missing, by one process at a time.

    `useradd` checks whether a name is free before it takes its own lock. So two at once would both make the user, and
    the second would give it another number, while a server may already run with the first number.
    """
    found = _named(SYSTEM_USER)
    if found is not None:
        return found
    lock = DataFolderLock(system_folder(), name="user.lock")
    try:
        lock.acquire(timeout_seconds=USER_LOCK_TIMEOUT_SECONDS)
    except DataFolderInUseError as error:
        raise EmbeddedServerError(
            f"another process has been making the system user '{SYSTEM_USER}' for "
            f"{USER_LOCK_TIMEOUT_SECONDS:.0f} s: end it and start again ({error})"
        ) from None
    try:
        return _named(SYSTEM_USER) or _make_system_user()
    finally:
        lock.release()


def _make_system_user() -> pwd.struct_passwd:
    search_path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    shell = shutil.which("nologin", path=search_path) or "/bin/false"
    command = ["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", shell]
    command += ["--comment", "Tallystick database server"]
    # The group may be left from a user that was removed.
    command += ["--gid", SYSTEM_USER] if _group_exists(SYSTEM_USER) else ["--user-group"]
    command.append(SYSTEM_USER)
    reason = _run_useradd(shutil.which("useradd", path=search_path), command[1:])
    # If names are cached, a new one may not be visible at once.
    deadline = time.monotonic() + (NAME_TIMEOUT_SECONDS if not reason else 0.0)
    while (made := _named(SYSTEM_USER)) is None:
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"PostgreSQL refuses to run as root, and the system user '{SYSTEM_USER}' could not be made "
                f"({reason or 'it was made, and is not known'}): make it with '{shlex.join(command)}', "
                f"or run as an ordinary user"
            )
        time.sleep(_POLL_INTERVAL_SECONDS)
    return made


def _run_useradd(program: str | None, arguments: Sequence[str]) -> str:
    """Run it, and return why it failed, or nothing. `useradd` itself waits for other programs that change users."""
    if program is None:
        return "there is no program useradd"
    try:
        done = subprocess.run(  # nosec B603  # noqa: S603 - the program is the system's own and there is no shell
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=SHORT_COMMAND_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    said = "; ".join(done.stderr.split("\n")).strip("; ")
    return (said or f"useradd: status {done.returncode}") if done.returncode else ""


def _named(name: str) -> pwd.struct_passwd | None:
    """A user that is known by name and by number."""
    try:
        entry = pwd.getpwnam(name)
        pwd.getpwuid(entry.pw_uid)
    except KeyError:
        return None
    return entry


def _group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
