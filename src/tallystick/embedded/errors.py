"""What goes wrong with the servers that we start ourselves."""


class EmbeddedServerError(Exception):
    """An embedded server could not do what was asked; the message is one line that says what to do."""


class DataFolderInUseError(EmbeddedServerError):
    """Another process holds the lock of a data folder."""
