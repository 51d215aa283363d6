"""Files that hold secrets, or say where things are, and how to see that a file was changed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PRIVATE_MODE = 0o600


class FileMark(NamedTuple):
    """What tells one state of a file from another."""

    changed_ns: int
    inode: int
    size: int


def file_mark(path: Path) -> FileMark | None:
    """The mark of a file as it is now; None when it cannot be found."""
    try:
        status = path.stat()
    except OSError:
        return None
    return FileMark(status.st_mtime_ns, status.st_ino, status.st_size)


def write_private(
    path: Path, text: str, *, prepare: Callable[[Path], None] | None = None, alone: bool = False
) -> None:
    """Write a file that only its owner can read, whole or not at all, and on the disk when this returns.

    It is written under the name `partial_of` first, which takes the place of what was there before.

    Args:
        path: the file.
        text: all that it is to hold.
        prepare: called with the partial file before it takes its place, for example to give it to another user.
        alone: refuse to write while another process does, or after one that was killed. Otherwise what such a
            process left is removed.

    Raises:
        FileExistsError: the partial file is there, and `alone` was asked for.
        OSError: it cannot be written; what was there before stays as it was.
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


def partial_of(path: Path) -> Path:
    """Where a file is written before it takes its place."""
    return path.with_name(f"{path.name}.partial")
