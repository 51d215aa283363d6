"""Folders for the data of servers that tests start: in memory where it has room, for files cost much time."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import psutil

from tallystick.embedded.errors import EmbeddedServerError
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.temporary_folders import abandoned, claim

MEMORY: Final = Path("/dev/shm")
_PREFIX: Final = "tallystick-faults-"
# For some processes of tests, with a few servers each.
_MEMORY_BYTES_MIN: Final = 4 * 1024**3


@contextmanager
def data_folder(*, durable: bool) -> Iterator[Path]:
    """A folder that the user of a server may pass through; it is removed at the end.

    It is on the disk if the data must survive the machine. Else they need to survive only the end of a process, which
    they also do in memory.
    """
    parent = Path(tempfile.gettempdir()) if durable else _quick_parent()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        folder.chmod(0o711)
        claim(folder)
        yield folder
    finally:
        shutil.rmtree(folder)


@cache
def _quick_parent() -> Path:
    if not _has_room(MEMORY):
        return Path(tempfile.gettempdir())
    _remove_abandoned(MEMORY)
    return MEMORY


def _has_room(folder: Path) -> bool:
    """Whether files can be made in memory here, and how much there is of it lets others work too."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    return min(shutil.disk_usage(folder).free, psutil.virtual_memory().available) >= _MEMORY_BYTES_MIN


def _remove_abandoned(parent: Path) -> None:
    """Remove what tests that were killed have left: it would take memory until the machine starts again."""
    for folder in abandoned(parent, f"{_PREFIX}*", {os.geteuid()}):
        server = EmbeddedPostgres(folder / "postgres")
        try:
            server.kill()
            server.remove()
        except (EmbeddedServerError, OSError):
            continue  # other tests remove it at the same time
        shutil.rmtree(folder, ignore_errors=True)
