"""The data folder of `tallystick up`. It is made, or refused with advice if this user cannot write to it."""

import os
import pwd
import shlex
from pathlib import Path

from tallystick.cli.errors import CommandError
from tallystick.domain import limits


def make_data_folder(folder: Path) -> None:
    """Make the folder if it is missing. Everything in it must belong to this user, unless the user is root.

    Raises:
        CommandError: it cannot be made, or something in it is another user's.
    """
    try:
        missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
        for one in reversed(missing):
            one.mkdir(mode=0o700, exist_ok=True)
            # The user of the database server may enter it; each secret in it has a mode of its own.
            one.chmod(0o711)
    except OSError as error:
        raise CommandError(
            f"cannot make the data folder {folder} ({error.strerror}): choose another with --data"
        ) from None
    if os.geteuid() != 0 and (others := _of_others(folder)):
        _refuse(folder, others)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise CommandError(
            f"cannot write in the data folder {folder}: open it, or choose another with --data"
        )


def _of_others(folder: Path) -> list[Path]:
    """The paths that belong to other users: the folder, its content, and that of its nodes' folders."""
    nodes = [folder / name for name in ("postgres", *_node_names())]
    found = [folder, *_content(folder), *(path for node in nodes for path in (node, *_content(node)))]
    clusters = [place for node in nodes if (place := _elsewhere(node)) is not None]
    # A cluster that is kept elsewhere has its lock beside it.
    found += [path for cluster in clusters for path in (cluster, cluster.with_name(f"{cluster.name}.lock"))]
    own_id = os.geteuid()
    return [path for path in dict.fromkeys(found) if os.path.lexists(path) and path.lstat().st_uid != own_id]


def _node_names() -> list[str]:
    return [f"postgres_{number}" for number in range(1, limits.EMBEDDED_NODES_MAX + 1)]


def _elsewhere(node: Path) -> Path | None:
    try:
        return (node / "cluster").readlink()
    except OSError:
        return None  # the cluster is in the node's folder, or does not exist yet


def _content(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []  # it is missing, or cannot be read and then belongs to another user


def _refuse(folder: Path, others: list[Path]) -> None:
    own = _user_name(os.geteuid())
    whose = " and ".join(sorted({_user_name(path.lstat().st_uid) for path in others}))
    inside = [path for path in others if path.is_relative_to(folder)]
    outside = [path for path in others if path not in inside]
    to_give = [*([folder] if inside else []), *outside]
    raise CommandError(
        f"{inside[0] if inside else outside[0]} belongs to {whose}: {folder} was last used by another user. "
        f"To go on with the same books as {own}, stop what runs there and give it back: "
        f"sudo chown -R {own}: {shlex.join(map(str, to_give))}; or choose another folder with --data"
    )


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)
