"""The key that the servers and ledgers of a test run share, and the file that it stands in."""

from pathlib import Path
from typing import Final

from tallystick.followers.webhooks.secret_keys import SecretKey

KEY: Final = SecretKey.new()


def key_file(folder: Path, *keys: SecretKey, name: str = "webhook_keys") -> str:
    """Write keys into a private file, that of all tests when none is named, and say where it is."""
    path = folder / name
    path.touch(0o600)
    path.write_text("".join(f"{key.text()}\n" for key in keys or (KEY,)), encoding="ascii")
    return str(path)
