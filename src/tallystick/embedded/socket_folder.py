"""The folder of an embedded server's socket: private, with a short path, and the same at each start."""

import os
import re
import socket
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from tallystick.embedded.errors import EmbeddedServerError
from tallystick.embedded.server_account import ServerAccount
from tallystick.embedded.temporary_folders import OWNER_NAME, abandoned, claim
from tallystick.files import write_private

_PREFIX = "tallystick-"
_MODE_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SOCKET_PATH_BYTES_MAX = 100
"""The kernel allows 107 (103 on macOS), and a data folder may have a longer path."""


_PATTERN = f"{_PREFIX}{'?' * 8}"


class SocketFolder:
    """A temporary folder. A file in the data folder has its name.

    So a killed run leaves at most one folder, which the next run uses again. If the data folder is gone, the next run
    of another data folder removes it.
    """

    def __init__(self, record: Path, longest_name: str) -> None:
        """`record` is the file with its name, `longest_name` the longest name of a file that the server makes."""
        self._record = record
        self._longest_name = longest_name

    def path(self) -> Path:
        """The folder of the last start. It may be missing while the server does not run."""
        try:
            return Path(self._record.read_text(encoding="utf-8").strip())
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot read {self._record} ({error.strerror}): start the server first"
            ) from error

    def make(self, account: ServerAccount) -> Path:
        """Make the folder, or empty and use that of the last start, unless another user has taken its name."""
        parent = self._temporary_folder(account)
        if parent is not None:
            self._remove_abandoned(parent, account)
        with suppress(EmbeddedServerError, OSError):
            folder = self.path()
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
                account.give(folder)
            status = folder.lstat()
            # Other users can write in the folder above, so an existing folder may be theirs.
            if (
                stat.S_ISDIR(status.st_mode)
                and status.st_uid == account.user_id
                and not status.st_mode & _MODE_OF_OTHERS
            ):
                # A killed server left it. The caller has checked that no server runs.
                for left in folder.iterdir():
                    left.unlink()
                claim(folder, account)
                return folder
        if parent is None:
            raise EmbeddedServerError(
                "there is no short folder for the socket of a server: set TMPDIR to one, such as /tmp"
            )
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        account.give(folder)
        claim(folder, account)
        write_private(self._record, str(folder))
        return folder

    def remove(self) -> None:
        """Remove the folder after the server has stopped; its name stays reserved."""
        with suppress(EmbeddedServerError, OSError):
            folder = self.path()
            # A later start removes the folder of a killed server. This file names its owner.
            if {path.name for path in folder.iterdir()} <= {OWNER_NAME}:
                (folder / OWNER_NAME).unlink(missing_ok=True)
                folder.rmdir()

    def forget(self) -> None:
        """Remove the folder, and forget its name."""
        self.remove()
        self._record.unlink(missing_ok=True)

    @staticmethod
    def _remove_abandoned(parent: Path, account: ServerAccount) -> None:
        """Remove the folders of killed runs, if no server answers there."""
        for folder in abandoned(parent, _PATTERN, {os.geteuid(), account.user_id}):
            with suppress(OSError):
                content = list(folder.iterdir())
                if not any(_answers(path) for path in content):
                    for path in content:
                        path.unlink()
                    folder.rmdir()

    def _temporary_folder(self, account: ServerAccount) -> Path | None:
        """The folder to make it in: one that the server can enter, with a short path. None: there is none."""
        name = f"/tallystick-12345678/{self._longest_name}"
        for folder in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # nosec B108  # noqa: S108 - mkdtemp
            short = len(os.fsencode(folder)) + len(name) <= _SOCKET_PATH_BYTES_MAX
            # PostgreSQL reads a list of folders, so a comma or a quote would need escaping.
            plain = re.fullmatch(r"[A-Za-z0-9/._+-]+", str(folder)) is not None
            if short and plain and os.access(folder, os.W_OK | os.X_OK) and account.can_enter(folder):
                return folder
        return None


def _answers(path: Path) -> bool:
    """Whether a server listens on a socket, also a server whose `up` was killed."""
    if not stat.S_ISSOCK(path.lstat().st_mode):
        return False
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            # It exists and does not answer, or belongs to another user. It is left as it is.
            return True
    return True
