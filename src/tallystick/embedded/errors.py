"""Errors of the servers that this product starts itself.

- `EmbeddedServerError`: a server could not be started or used
  - `DataFolderInUseError`: another process uses the data folder
"""


class EmbeddedServerError(Exception):
    """An embedded server could not be started or used. The message is one line that says what to do."""


class DataFolderInUseError(EmbeddedServerError):
    """Another process holds the lock of a data folder."""
