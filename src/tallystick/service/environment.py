"""Secrets from the environment, in place of those in the configuration files.

`TALLYSTICK_…` has the value. `TALLYSTICK_…_FILE` names a file that has it, as container platforms give secrets.
"""

import re
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

from tallystick.files import reason_of
from tallystick.store.address import with_password

CACHE: Final = "TALLYSTICK_CACHE"
CACHE_KEY: Final = "TALLYSTICK_CACHE_KEY"
WEBHOOKS_KEY_FILE: Final = "TALLYSTICK_WEBHOOKS_KEY_FILE"
"""The path of the file of keys itself: servers read it again when it changes."""
TLS_CERTIFICATE_FILE: Final = "TALLYSTICK_TLS_CERTIFICATE_FILE"
TLS_KEY_FILE: Final = "TALLYSTICK_TLS_KEY_FILE"
PASSWORD: Final = "TALLYSTICK_PASSWORD"  # nosec B105  # noqa: S105 - a name
OWNER_PASSWORD: Final = "TALLYSTICK_OWNER_PASSWORD"  # nosec B105  # noqa: S105 - a name

_FILE: Final = "_FILE"
_OF_SHARD: Final = re.compile(r"TALLYSTICK_SHARD_([0-9]+)_(DSN|OWNER_DSN)(?:_FILE)?")
# Variables that have the path itself: what is in these files is not read here.
_PATHS: Final = {
    "webhooks_key_file": WEBHOOKS_KEY_FILE,
    "tls_certificate": TLS_CERTIFICATE_FILE,
    "tls_key": TLS_KEY_FILE,
}
_ALONE: Final = (CACHE, CACHE_KEY, PASSWORD, OWNER_PASSWORD)

Document = dict[str, Any]


class EnvironmentSecretError(ValueError):
    """A variable cannot be used. The message names it, and has no secret."""


class Secrets:
    """The secrets of an environment. `used` are the names of the variables that were asked for and are set."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.used: list[str] = []

    def get(self, name: str) -> str | None:
        """A secret, from its variable or from its file; None if neither is set.

        Raises:
            EnvironmentSecretError: both are set, or the secret is empty or cannot be read.
        """
        path_name = f"{name}{_FILE}"
        if name in self._environment and path_name in self._environment:
            raise EnvironmentSecretError(f"{name} and {path_name} are both set: remove one of them")
        if name in self._environment:
            return self._taken(name, self._environment[name])
        if path_name not in self._environment:
            return None
        path = self._environment[path_name]
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise EnvironmentSecretError(
                f"{path_name}: {path} cannot be read: {reason_of(error, path)}"
            ) from None
        return self._taken(path_name, text.rstrip("\r\n"))

    def path(self, name: str) -> str | None:
        """The path in a variable that names a file for itself."""
        found = self._environment.get(name)
        return None if found is None else self._taken(name, found)

    def of_shards(self, what: str) -> dict[int, str]:
        """The secrets of this name (`DSN`, `OWNER_DSN`) of each shard that has one."""
        found = {}
        for variable in self._environment:
            matched = _OF_SHARD.fullmatch(variable)
            if matched is not None and matched[2] == what:
                number = int(matched[1])
                secret = self.get(variable.removesuffix(_FILE))
                if secret is not None:
                    found[number] = secret
        return found

    def _taken(self, name: str, secret: str) -> str:
        if not secret:
            raise EnvironmentSecretError(f"{name} is empty: set it, or remove it")
        if name not in self.used:
            self.used.append(name)
        return secret


def add_secrets(document: Document, secrets: Secrets) -> None:
    """Put secrets into a configuration file that was read as TOML."""
    for name, setting in (("cache", CACHE), ("cache_key", CACHE_KEY)):
        if (secret := secrets.get(setting)) is not None:
            document[name] = secret
    for name, setting in _PATHS.items():
        if (path := secrets.path(setting)) is not None:
            document[name] = path
    shards = _shards(document)
    for number, dsn in secrets.of_shards("DSN").items():
        _shard(shards, number, "DSN")["dsn"] = dsn
    _add_password(shards, "dsn", secrets, PASSWORD)


def add_owner_secrets(document: Document, secrets: Secrets) -> None:
    """Put secrets into an owner's file that was read as TOML. A shard that it lacks is added."""
    shards = _shards(document)
    for number, dsn in secrets.of_shards("OWNER_DSN").items():
        if number not in shards:
            shards[number] = {"number": number}
            document.setdefault("shard", []).append(shards[number])
        shards[number]["owner_dsn"] = dsn
    _add_password(shards, "owner_dsn", secrets, OWNER_PASSWORD)


def remove_secrets(environment: MutableMapping[str, str]) -> list[str]:
    """Remove all variables of this module. Returns their names."""
    names = [
        name
        for name in environment
        if name.removesuffix(_FILE) in _ALONE or name in _PATHS.values() or _OF_SHARD.fullmatch(name)
    ]
    for name in names:
        del environment[name]
    return names


def _shards(document: Document) -> dict[int, Document]:
    """The tables of shards, by number. What is no such table is left to the check of the whole file."""
    nodes = _tables(document.get("node"))
    tables = [*_tables(document.get("shard")), *(one for node in nodes for one in _tables(node.get("shard")))]
    return {table["number"]: table for table in tables if isinstance(table.get("number"), int)}


def _tables(found: object) -> list[Document]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _shard(shards: Mapping[int, Document], number: int, what: str) -> Document:
    if number not in shards:
        raise EnvironmentSecretError(
            f"TALLYSTICK_SHARD_{number}_{what} is set, and the file has no shard {number}: add it, or remove this"
        )
    return shards[number]


def _add_password(shards: Mapping[int, Document], name: str, secrets: Secrets, variable: str) -> None:
    password = secrets.get(variable)
    if password is None:
        return
    for table in shards.values():
        if isinstance(dsn := table.get(name), str):
            table[name] = with_password(dsn, password)
