"""The user that a server runs as: ourselves, or a user of its own when we are root."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tallystick.embedded.errors import EmbeddedServerError

SYSTEM_USER = "tallystick"
SHORT_COMMAND_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ServerAccount:
    """Whom a server runs as, and how to start a program as that user."""

    name: str
    user_id: int
    group_id: int
    switches: bool
    """We are root and the server is somebody else: each program drops to the user before it runs."""

    def run(
        self, command: Sequence[str | Path], *, timeout_seconds: float = SHORT_COMMAND_TIMEOUT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a short program as this user and return what it said; it may fail."""
        try:
            return subprocess.run(  # noqa: S603 - the program is ours and there is no shell
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=timeout_seconds,
                cwd="/",  # the folder that we are in may be closed to this user
                env=_environment(),
                user=self.user_id if self.switches else None,
                group=self.group_id if self.switches else None,
                extra_groups=[] if self.switches else None,
                umask=0o077,
                start_new_session=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            # The program may be out of this user's reach, or the kernel may refuse the change of user.
            return subprocess.CompletedProcess(list(map(str, command)), 127, "", str(error))

    def start(self, command: Sequence[str | Path], *, output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a long-lived program as this user, in a session of its own, with its output in a file.

        The session keeps Ctrl-C of the terminal away from it: we stop our servers in order ourselves.
        """
        return subprocess.Popen(  # noqa: S603 - the program is ours and there is no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=_environment(),
            user=self.user_id if self.switches else None,
            group=self.group_id if self.switches else None,
            extra_groups=[] if self.switches else None,
            umask=0o077,
            start_new_session=True,
        )

    def can_enter(self, folder: Path) -> bool:
        """Whether this user can pass through a folder and all above it; the kernel is asked, as the user."""
        if not self.switches:
            return os.access(folder, os.X_OK)
        return self.run(["/bin/sh", "-c", 'test -d "$1" && test -x "$1"', "sh", folder]).returncode == 0

    def give(self, path: Path) -> None:
        """Make this user the owner of a file or folder that we have just made."""
        if self.switches:
            os.chown(path, self.user_id, self.group_id, follow_symlinks=False)


def account_for(cluster: Path) -> ServerAccount:
    """Return whom the server of a data directory runs as.

    An ordinary user runs it as itself. Root runs it as the owner of the directory, which PostgreSQL demands,
    and a new one as the system user, which is made when it is missing.
    """
    own_id = os.geteuid()
    owner_id = cluster.stat().st_uid if cluster.is_dir() else None
    if own_id != 0:
        if owner_id not in {None, own_id}:
            raise EmbeddedServerError(
                f"{cluster} belongs to user {_user_name(owner_id)}: run as that user or as root, "
                f"or choose another data folder"
            )
        return ServerAccount(_user_name(own_id), own_id, os.getegid(), switches=False)
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


def _environment() -> Mapping[str, str]:
    # Nothing of ours reaches the servers: no PGDATA, no PGOPTIONS, no locale, no secret.
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _user_name(user_id: int | None) -> str:
    if user_id is None:
        return "nobody"
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    search_path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    program = shutil.which("useradd", path=search_path)
    shell = shutil.which("nologin", path=search_path) or "/bin/false"
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    command += ["--shell", shell, "--comment", "Tallystick database server", SYSTEM_USER]
    reason = "there is no useradd"
    if program is not None:
        made = subprocess.run(  # noqa: S603 - the program is the system's own and there is no shell
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SHORT_COMMAND_TIMEOUT_SECONDS,
        )
        reason = made.stderr.strip().replace("\n", "; ")
    try:
        # Another process may have made the user while ours failed to.
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise EmbeddedServerError(
            f"PostgreSQL refuses to run as root and the system user '{SYSTEM_USER}' could not be made "
            f"({reason}): make it with '{' '.join(command)}', or run as an ordinary user"
        ) from None
