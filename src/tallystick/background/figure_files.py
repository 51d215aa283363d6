"""The files in which the workers of a server keep their figures, and what they add up to.

The files are mapped into memory, so counting writes no file, and what a worker had counted is there after `kill -9`.
Each worker has a number, and a lock that shows that it lives. One that replaces a killed worker takes its number and
goes on with its counters. So no counter goes back, and the number of files does not grow.
"""

import fcntl
import itertools
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from prometheus_client import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.samples import Sample

_PREFIX: Final = "tallystick-figures-"
_LOCK: Final = ".lock"
_OF_THE_LIVING: Final = "gauge_live"
# Room for some thousand figures. It is taken at once: on a full disk a later page would end the process (SIGBUS).
_FILE_BYTES: Final = 1024 * 1024


@contextmanager
def figures_folder() -> Iterator[Path]:
    """A private temporary folder for the workers of a server. It is removed at the end.

    Folders of servers that were killed are removed, too.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    folder, lock = _locked_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder() -> tuple[Path, int]:
    """A new folder, and its lock, which the workers inherit. Those who clean temporary folders leave it alone."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        with suppress(FileNotFoundError):  # another start took it for an abandoned one before it was locked
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def claim_number(folder: Path, gauge_modes: Sequence[str]) -> int:
    """Take the lowest number that no living worker has, until this process ends, and make the files for it.

    `gauge_modes`: the modes of gauges that there are, in the library's words.
    """
    for number in itertools.count():
        # It stays open for as long as the process lives.
        lock = os.open(folder / f"{number}{_LOCK}", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # Not `flock`: a process that the server forks while the lock is looked at would inherit that.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        break
    # The gauges of the worker that had this number.
    mark_process_dead(number, str(folder))  # type: ignore[no-untyped-call]  # of the library
    for kind in ("counter", "histogram", *(f"gauge_{mode}" for mode in gauge_modes)):
        path = folder / f"{kind}_{number}.db"
        if not path.exists():
            # It has its name when it has its size: a scrape cannot read an empty file.
            begun = path.with_suffix(".new")
            file = os.open(begun, os.O_RDWR | os.O_CREAT, 0o600)
            os.posix_fallocate(file, 0, _FILE_BYTES)
            os.close(file)
            begun.replace(path)
    os.pwrite(lock, f"{os.getpid()}\n".encode("ascii"), 0)
    return number


class FiguresOfWorkers:
    """All figures of the workers of a folder, as a collector of the library."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """The figures now. Counters include those of workers that have ended."""
        living = dict(_living(self._folder))
        files = [
            str(path)
            for path in self._folder.glob("*.db")
            if not path.name.startswith(_OF_THE_LIVING) or int(path.stem.rpartition("_")[2]) in living
        ]
        for metric in MultiProcessCollector.merge(files):  # type: ignore[no-untyped-call]  # of the library
            metric.samples = [one for one in metric.samples if not math.isnan(one.value)]
            yield metric
        yield from _of_processes(living)


def _living(folder: Path) -> Iterator[tuple[int, int]]:
    """The numbers of the workers that live, and of their processes."""
    for path in folder.glob(f"*{_LOCK}"):
        lock = os.open(path, os.O_RDWR)
        try:
            fcntl.lockf(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            with suppress(ValueError):  # it has just started, and has not written its number yet
                yield int(path.stem), int(os.pread(lock, 32, 0))
        finally:
            os.close(lock)


def _of_processes(living: dict[int, int]) -> Iterable[Metric]:
    """What the system says about the processes: memory, processor time, open files."""
    found: dict[str, Metric] = {}
    for number, process in living.items():
        for metric in ProcessCollector(pid=partial(str, process), registry=None).collect():
            samples = found.setdefault(metric.name, metric).samples
            of_process = [_with_number(one, number) for one in metric.samples]
            samples[:] = of_process if found[metric.name] is metric else samples + of_process
    return found.values()


def _with_number(sample: Sample, number: int) -> Sample:
    return Sample(sample.name, {**sample.labels, "process": str(number)}, sample.value)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or another start removes it, too
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
            finally:
                os.close(lock)
