"""A lock of the kernel that lets only one process use a data folder."""

import fcntl
import os
import time
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tallystick.embedded.errors import DataFolderInUseError, EmbeddedServerError

_RETRY_INTERVAL_SECONDS = 0.05


class DataFolderLock:
    """A lock on `<folder>/<name>` that the kernel releases when its process ends, however it ends.

    The file has the number of the process that holds the lock, for the error messages of others. It is never removed:
    a file that is removed and made again could be locked twice.
    """

    def __init__(self, folder: Path, *, name: str = "lock") -> None:
        self._folder = Path(folder)
        self._path = self._folder / name
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object has the lock."""
        return self._descriptor is not None

    @property
    def holder(self) -> int | None:
        """The number of the process that has the lock, or had it and was killed; None if it was released."""
        try:
            return int(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def acquire(self, *, timeout_seconds: float = 0.0) -> None:
        """Take the lock, or raise `DataFolderInUseError` after the time-out. Taking it twice is harmless."""
        if self._descriptor is not None:
            return
        try:
            # Python opens files with O_CLOEXEC, so child processes do not inherit the lock.
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot open the lock file {self._path} ({error.strerror}): "
                f"run as the user who owns the folder, or choose another data folder"
            ) from error
        try:
            self._lock(descriptor, time.monotonic() + timeout_seconds)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        _HELD.add(self)

    def _lock(self, descriptor: int, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(_RETRY_INTERVAL_SECONDS)
                    continue
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                raise DataFolderInUseError(
                    f"the data folder {self._folder} is already in use by process {holder}: "
                    f"stop that process, or choose another data folder"
                ) from None
            except OSError as error:
                raise EmbeddedServerError(
                    f"cannot lock {self._path} ({error.strerror}): choose a data folder on a local disk"
                ) from error
            return

    def release(self) -> None:
        """Release the lock. Harmless if it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.ftruncate(descriptor, 0)
            os.close(descriptor)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _forget_after_fork(self) -> None:
        # Closing the copy of a forked child leaves the lock with the parent, and with the parent alone:
        # a child that kept it would hold the folder after the parent was killed.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)


_HELD: weakref.WeakSet[DataFolderLock] = weakref.WeakSet()


def _forget_all_after_fork() -> None:
    for lock in list(_HELD):
        lock._forget_after_fork()  # noqa: SLF001 - the same module


os.register_at_fork(after_in_child=_forget_all_after_fork)
