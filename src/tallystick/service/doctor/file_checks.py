"""Checks of the files that hold secrets: who may read and change them."""

import re
import stat
from pathlib import Path
from typing import Final

from tallystick.service.doctor.findings import Judgement, fine, unknown, warning, wrong

_SECRET: Final = re.compile(r"password|cache_key|://[^/\s]*:[^/\s]*@")


def configuration_file(path: Path) -> Judgement:
    """Whether only the right users can read and change the configuration file."""
    mode, text = path.stat().st_mode, path.read_text(encoding="utf-8")
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return wrong(f"other users can change {path}, and with it what servers connect to: chmod go-w {path}")
    if mode & stat.S_IROTH and _SECRET.search(text):
        return wrong(f"{path} has secrets, and every user of this machine can read it: chmod o= {path}")
    return fine(f"{path}, mode {stat.S_IMODE(mode):o}")


def owner_file(path: Path, configuration_path: Path) -> Judgement:
    """Whether the owner's file is closed to everyone, servers included."""
    try:
        found = path.stat()
    except OSError as error:
        return unknown(f"{path}: {error.strerror}")
    if found.st_mode & stat.S_IRWXO:
        return wrong(
            f"every user of this machine can read {path}, and with it change the books: chmod 600 {path}"
        )
    if found.st_uid == configuration_path.stat().st_uid:
        return warning(
            f"{path} and {configuration_path} belong to one user: who takes over a server can act as the owner of "
            "the tables: keep the owner's file with another user, or on another machine"
        )
    return fine(f"{path}, mode {stat.S_IMODE(found.st_mode):o}")
