"""Private files, such as configuration and secrets, and marks that show whether a file was changed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PRIVATE_MODE = 0o600


class FileMark(NamedTuple):
    """A mark that distinguishes one state of a file from another."""

    changed_ns: int
    inode: int
    size: int


def file_mark(path: Path) -> FileMark | None:
    """The mark of a file as it is now; None if it cannot be found."""
    try:
        status = path.stat()
    except OSError:
        return None
    return FileMark(status.st_mtime_ns, status.st_ino, status.st_size)


def write_private(
    path: Path, text: str, *, prepare: Callable[[Path], None] | None = None, alone: bool = False
) -> None:
    """Write a file that only its owner can read, whole or not at all. It is on the disk when this returns.

    It is first written under the name `partial_of`, and then replaces the old file.

    Args:
        path: the file.
        text: the whole content.
        prepare: called with the partial file before it replaces the old one, for example to change its owner.
        alone: refuse to write while another process does, or after one that was killed. Otherwise what such a
            process left is removed.

    Raises:
        FileExistsError: the partial file exists, and `alone` is set.
        OSError: it cannot be written. The old file stays unchanged.
    """
    partial = partial_of(path)
    if not alone:
        partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_MODE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if prepare is not None:
            prepare(partial)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def reason_of(error: Exception, path: str | os.PathLike[str] | None = None) -> str:
    """Why a file cannot be used, in the system's words: without the number of the error, and without its content.

    `path` is what the message names anyway. Another one is named here.
    """
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8"
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    if error.filename is None or (path is not None and os.fsdecode(error.filename) == os.fspath(path)):
        return error.strerror
    return f"{error.strerror}: {os.fsdecode(error.filename)}"


def partial_of(path: Path) -> Path:
    """The name under which a file is first written."""
    return path.with_name(f"{path.name}.partial")
