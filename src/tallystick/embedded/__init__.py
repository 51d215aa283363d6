"""Real servers from wheels, started and stopped by us: nothing to install with a system package manager."""

from tallystick.embedded.errors import DataFolderInUseError, EmbeddedServerError
from tallystick.embedded.lock import DataFolderLock
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.embedded.valkey import EmbeddedValkey

__all__ = [
    "DataFolderInUseError",
    "DataFolderLock",
    "EmbeddedPostgres",
    "EmbeddedServerError",
    "EmbeddedValkey",
]
