"""Temporary folders that name their process, so that those of killed processes can be found and removed."""

import os
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from tallystick.embedded.server_account import ServerAccount
from tallystick.files import write_private

OWNER_NAME: Final = "owner"
"""The file in such a folder with the number of its process, and the time at which the process started."""

_SAME_START_SECONDS: Final = 2.0


def claim(folder: Path, account: ServerAccount | None = None) -> None:
    """Mark a folder as one of this process."""
    started = psutil.Process().create_time()
    write_private(
        folder / OWNER_NAME,
        f"{os.getpid()} {started}\n",
        prepare=None if account is None else account.give,
    )


def abandoned(parent: Path, pattern: str, user_ids: Collection[int]) -> list[Path]:
    """The claimed folders of these users whose processes have ended.

    Folders that others can write to do not count.
    """
    found = []
    for folder in sorted(parent.glob(pattern)):
        # Other folders may appear and vanish meanwhile. A folder that does not name its owner is left alone.
        with suppress(OSError, ValueError, psutil.AccessDenied):
            status = folder.lstat()
            private = stat.S_ISDIR(status.st_mode) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if private and status.st_uid in user_ids and not _owner_lives(folder):
                found.append(folder)
    return found


def _owner_lives(folder: Path) -> bool:
    number, started = (folder / OWNER_NAME).read_text(encoding="ascii").split()
    try:
        return abs(psutil.Process(int(number)).create_time() - float(started)) < _SAME_START_SECONDS
    except psutil.NoSuchProcess:
        return False
