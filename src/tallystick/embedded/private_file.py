"""Files that hold secrets, or say where things are."""

import os
from pathlib import Path

from tallystick.embedded.server_account import ServerAccount


def write_private(path: Path, text: str, account: ServerAccount | None = None) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if account is not None:
        account.give(partial)
    partial.replace(path)
