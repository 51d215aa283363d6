"""The file with the keys that encrypt the secrets of webhooks: one in each line. The first key encrypts."""

import os
import stat
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from tallystick.files import file_mark, partial_of, write_private
from tallystick.followers.webhooks.secret_keys import SecretKey, SecretKeys
from tallystick.service.configuration import ConfigurationError

_log = structlog.get_logger(__name__)

_COMMENT: Final = "#"


class KeyFile:
    """A file of keys that is followed: a change takes effect at the next check."""

    def __init__(self, path: Path | None) -> None:
        """Read the file. Without a path there is no key.

        Raises:
            ConfigurationError: it cannot be read, holds something else, or others may read it.
        """
        self._path = path
        self._seen = None if path is None else file_mark(path)
        self.keys = SecretKeys(read_keys(path) if path is not None else ())

    def look(self) -> None:
        """Read the file again if it has changed. An error is logged once, and the keys stay as they were."""
        if self._path is None or (mark := file_mark(self._path)) == self._seen:
            return
        self._seen = mark
        try:
            self.keys.replace(read_keys(self._path))
        except ConfigurationError as error:
            _log.error("the keys of webhooks stay as they were", reason=str(error))
        else:
            _log.info("the keys of webhooks were read again", keys=self.keys.names)


def read_keys(path: Path) -> list[SecretKey]:
    """The keys of a file, in its order. Empty lines and comments after a `#` are ignored.

    Raises:
        ConfigurationError: it cannot be read, has another content, or others may read it. The message has no key.
    """
    keys: list[SecretKey] = []
    for number, line in enumerate(_read_private(path).splitlines(), 1):
        if text := line.partition(_COMMENT)[0].strip():
            try:
                keys.append(SecretKey.read(text))
            except ValueError as error:
                raise ConfigurationError(f"webhooks_key_file {path}, line {number}: {error}") from None
    if not keys:
        raise ConfigurationError(
            f"webhooks_key_file {path} holds no key: make one with `tallystick webhooks make-key`"
        )
    if len({key.name for key in keys}) < len(keys):
        raise ConfigurationError(f"webhooks_key_file {path} holds a key twice: remove one of the lines")
    return keys


def add_key(path: Path) -> SecretKey:
    """Create a key and put it before all others in a file. Only its owner can read a new file.

    Raises:
        ConfigurationError: the file cannot be read or written.
    """
    path = path.resolve()
    before = None
    if path.exists():
        read_keys(path)  # a wrong file must be corrected first
        before = _read_private(path)
    key = SecretKey.new()
    made = f"# {key.name}, made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n{key.text()}\n"
    try:
        write_private(
            path,
            made + (before or ""),
            prepare=None if before is None else partial(_copy_rights, path.stat()),
            alone=True,
        )
    except FileExistsError:
        raise ConfigurationError(
            f"{partial_of(path)} is there: another make-key is at work, or was ended in the middle; then remove it"
        ) from None
    except OSError as error:
        what = "name another file" if before is None else "do it as its owner"
        raise ConfigurationError(f"cannot write {path} ({error.strerror}): {what}") from None
    return key


def _copy_rights(source: os.stat_result, target: Path) -> None:
    """Give a file the owner and the mode of another: servers may run as another user, or read it by their group."""
    os.chown(target, source.st_uid, source.st_gid, follow_symlinks=False)
    target.chmod(stat.S_IMODE(source.st_mode))


def _read_private(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
                raise ConfigurationError(f"webhooks_key_file {path} is open to all users: chmod o= {path}")
            return file.read()
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no webhooks_key_file {path}: bring it back, or make one with `tallystick webhooks make-key`"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"webhooks_key_file {path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"webhooks_key_file {path} holds something else than keys") from None
