"""Disks of a cluster's machines that can be full: each is a file system of its own, in memory."""

import asyncio
import errno
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

DISK_MIB: Final = 1_024
"""Several times what a run of an hour fills."""
PIECES: Final = (bytes(1024 * 1024), bytes(4096))
AGAIN_SECONDS: Final = 0.05


def move_to_own_disk(folder: Path) -> None:
    """Move what is in a folder to a file system of a bounded size. Takes root, and a mount namespace of its own."""
    aside = folder.with_name(f"{folder.name}.before")
    folder.rename(aside)
    folder.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", folder)
    _run("cp", "-a", f"{aside}/.", f"{folder}/")
    owner = aside.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    folder.chmod(owner.st_mode & 0o777)
    shutil.rmtree(aside)


def take_disk_away(folder: Path) -> None:
    """Unmount the file system of a folder, with all that is on it."""
    _run("umount", folder)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


@asynccontextmanager
async def full_disk(folder: Path) -> AsyncIterator[Callable[[], str]]:
    """Keep the disk of a folder full until the end of the block. What is given free meanwhile is taken again.

    What it yields tells how.
    """
    ballast = folder / "ballast"
    times = 0

    async def keep_full() -> None:
        nonlocal times
        while True:
            await asyncio.to_thread(_fill, ballast)
            times += 1
            await asyncio.sleep(AGAIN_SECONDS)

    await asyncio.to_thread(_fill, ballast)
    filling = asyncio.create_task(keep_full())
    try:
        yield lambda: f"the disk was full, {times + 1} times anew"
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
        ballast.unlink(missing_ok=True)


def _fill(ballast: Path) -> None:
    """Write until nothing more fits, in large pieces and then in small ones."""
    with ballast.open("ab", buffering=0) as file:
        for piece in PIECES:
            try:
                while True:
                    file.write(piece)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
