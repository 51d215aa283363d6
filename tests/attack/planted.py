"""Bugs that are planted in what serves, to see that an attack finds them. Nothing in the package itself changes.

A bug is one replacement in one file, in a copy of the package that a server process imports in its place.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tallystick


class Bug(NamedTuple):
    """A text of a file of the package, which stands there once, and what stands there in its place."""

    file: str
    right: str
    wrong: str


def package_with(bugs: Bug | Sequence[Bug], folder: Path) -> Path:
    """Copy the package with bugs in it. Returns the folder that the copy is imported from."""
    package = folder / "tallystick"
    # With what was compiled, which stays right for every file that is the same.
    shutil.copytree(Path(str(tallystick.__file__)).parent, package)
    for file, right, wrong in [bugs] if isinstance(bugs, Bug) else bugs:
        path = package / file
        text = path.read_text()
        assert text.count(right) == 1, f"{file} has {text.count(right)} times: {right!r}"
        path.write_text(text.replace(right, wrong))
    return folder
