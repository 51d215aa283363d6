"""Folders of root outside of the data folder, which the server's user can reach."""

from pathlib import Path

from tallystick.embedded.errors import EmbeddedServerError

SYSTEM_FOLDER = Path("/var/lib/tallystick")

_PASSABLE = 0o711
"""All users may enter, and only root may write."""


def system_folder(*names: str) -> Path:
    """`SYSTEM_FOLDER`, or a folder in it. It is made if it is missing."""
    folder = SYSTEM_FOLDER.joinpath(*names)
    for made in (SYSTEM_FOLDER, folder):
        try:
            made.mkdir(mode=_PASSABLE, parents=True, exist_ok=True)
            # The umask may have removed rights. A second process may come here before the first one has set the mode.
            if made.stat().st_mode & _PASSABLE != _PASSABLE:
                made.chmod(_PASSABLE)
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot make {made} ({error.strerror}): run as an ordinary user instead of root"
            ) from error
    return folder
