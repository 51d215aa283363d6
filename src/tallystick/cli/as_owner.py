"""Root works in the folder of an ordinary user as that user, so that the user can go on there without root.

The Makefile runs this file as a program, before the environment exists: it needs only Python.
`as_owner.py FOLDER` prints the user, or nothing; `as_owner.py FOLDER COMMAND...` runs a command as the user.
"""

import os
import pwd
import subprocess  # nosec B404  # only to start programs of ours, without a shell
import sys
from pathlib import Path
from typing import NoReturn

PROBE_TIMEOUT_SECONDS = 30.0
_ACCESSIBLE = 'test -r "$1" && test -w "$1" && test -x "$1"'


def ordinary_owner(folder: Path) -> pwd.struct_passwd | None:
    """The ordinary user who owns a folder in which root runs; None if root should stay root.

    If the folder is missing, the nearest existing one above it counts. None if the folder is root's, or if its owner
    has no name on this system (as in a container) or cannot work there.
    """
    if os.geteuid() != 0:
        return None
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        owner = pwd.getpwuid(folder.stat().st_uid)
    except KeyError:
        return None
    if owner.pw_uid == 0 or not can_run(owner, ["/bin/sh", "-c", _ACCESSIBLE, "sh", str(folder)]):
        return None
    return owner


def can_run(user: pwd.struct_passwd, command: list[str]) -> bool:
    """Whether a short command succeeds as this user."""
    try:
        done = subprocess.run(  # nosec B603  # noqa: S603 - the program is ours, without a shell of others
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_TIMEOUT_SECONDS,
            check=False,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=os.getgrouplist(user.pw_name, user.pw_gid),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def run_as(user: pwd.struct_passwd, command: list[str]) -> NoReturn:
    """Become this user for good, and replace this program by the command."""
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    for name in list(os.environ):
        # These name folders of root, which this user cannot write to.
        if name.startswith("XDG_") or (
            name == "TMPDIR" and not os.access(os.environ[name], os.W_OK | os.X_OK)
        ):
            del os.environ[name]
    os.execvp(command[0], command)  # nosec B606  # noqa: S606 - it is what was asked for


def main(arguments: list[str]) -> None:
    """Print the user, or run the command."""
    folder, command = Path(arguments[0]).resolve(), arguments[1:]
    owner = ordinary_owner(folder)
    if owner is not None and not can_run(owner, [sys.executable, "-I", "-c", ""]):
        owner = None  # its owner could not use an environment that is made with this Python
    if not command:
        sys.stdout.write("" if owner is None else f"{owner.pw_name}\n")
        return
    if owner is not None:
        sys.stderr.write(f"Running as {owner.pw_name}, who owns {folder}, and not as root\n")
        run_as(owner, command)
    os.execvp(command[0], command)  # nosec B606  # noqa: S606 - it is what was asked for


if __name__ == "__main__":
    main(sys.argv[1:])
