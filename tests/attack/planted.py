"""Bugs that are planted in what serves, to see that an attack finds them. Nothing in the package itself changes.

A bug is one replacement in one file: in a copy of the package that a server process imports in its place, or in the
functions of a server that runs.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Client
from pathlib import Path
from typing import Final, NamedTuple

import tallystick
from tests import planting
from tests.waiting import wait_for

PACKAGE: Final = Path(str(tallystick.__file__)).parent


class Bug(NamedTuple):
    """A text of a file of the package, which stands there once, and what stands there in its place."""

    file: str
    right: str
    wrong: str


def package_with(bugs: Sequence[Bug], folder: Path) -> Path:
    """Copy the package with bugs in it. Returns the folder that the copy is imported from."""
    # With what was compiled, which stays right for every file that is the same.
    shutil.copytree(PACKAGE, folder / "tallystick")
    for file, source in _sources(bugs).items():
        (folder / "tallystick" / file).write_text(source)
    return folder


def package_for_planting(folder: Path) -> Path:
    """Copy the package, so that what serves it takes bugs while it runs, from a socket in the folder.

    Returns the folder that the copy is imported from.
    """
    begins = "    guard_connections(port, connections_per_address)\n"
    listens = f"    __import__('planting').listen({str(_socket(folder))!r})\n"
    shutil.copy(planting.__file__, folder)
    return package_with([Bug("cli/serve.py", begins, begins + listens)], folder)


@contextmanager
def planted(bugs: Sequence[Bug], folder: Path) -> Iterator[None]:
    """What serves from this folder has the bugs for a while."""
    wait_for(_socket(folder).exists)
    sources = _sources(bugs)
    with Client(str(_socket(folder))) as server:

        def lend(file: str, source: str) -> None:
            server.send((f"tallystick.{file.removesuffix('.py').replace('/', '.')}", source))
            assert server.recv(), f"no function of {file} has changed"

        for file, source in sources.items():
            lend(file, source)
        try:
            yield
        finally:
            for file in sources:
                lend(file, (PACKAGE / file).read_text())


def _sources(bugs: Sequence[Bug]) -> dict[str, str]:
    """The files with bugs in them."""
    sources: dict[str, str] = defaultdict(str)
    for file, right, wrong in bugs:
        text = sources[file] or (PACKAGE / file).read_text()
        assert text.count(right) == 1, f"{file} has {text.count(right)} times: {right!r}"
        sources[file] = text.replace(right, wrong)
    return sources


def _socket(folder: Path) -> Path:
    return folder / "planting"
