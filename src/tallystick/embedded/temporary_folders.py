"""Temporary folders that say whose they are, so that one whose process was killed can be found and removed."""

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
"""The file in such a folder that says which process it is of, and since when that has been running."""

_SAME_START_SECONDS: Final = 2.0


def claim(folder: Path, account: ServerAccount | None = None) -> None:
    """Say that a folder is this process's."""
    started = psutil.Process().create_time()
    write_private(
        folder / OWNER_NAME,
        f"{os.getpid()} {started}\n",
        prepare=None if account is None else account.give,
    )


def abandoned(parent: Path, pattern: str, user_ids: Collection[int]) -> list[Path]:
    """The claimed folders of these users in a folder whose processes have ended. What others can write in is none."""
    found = []
    for folder in sorted(parent.glob(pattern)):
        # Others come and go while we look, and what says nothing of its owner is not ours to judge.
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
