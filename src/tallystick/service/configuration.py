"""The configuration file: which nodes and shards there are, how to reach their databases, and how they are used."""

import os
import ssl
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import tomli_w

from tallystick.domain import limits
from tallystick.store.address import database_place
from tallystick.store.cache_address import read_cache_address

CONFIGURATION_VARIABLE: Final = "TALLYSTICK_CONFIG"
"""The environment variable with the path of the configuration file."""

ShardState = Literal["open", "full", "draining"]
CrossShard = Literal["saga", "two_phase"]


class ConfigurationError(Exception):
    """The configuration file is missing or wrong; the message says where, and what would be right."""


class ShardConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One shard.

    `dsn` is what the server connects with, `owner_dsn` what `migrate` does (default: the same). A shard that is
    `open` takes new owners; one that is `full` does not, nor does one that is `draining`, which is being emptied by
    hand. Owners who live there stay, and open further accounts there: an owner's accounts are never apart.
    """

    number: int
    dsn: str
    owner_dsn: str | None = None
    state: ShardState = "open"

    def __repr__(self) -> str:
        """Without the connection strings, which may hold passwords."""
        return f"ShardConfiguration({self.number}, state={self.state!r})"

    @property
    def owner(self) -> str:
        """What `migrate` connects with."""
        return self.owner_dsn or self.dsn


class NodeConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A PostgreSQL server with a name of its own, and the shards that it carries."""

    name: str
    shard: list[ShardConfiguration]


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An installation: `[[node]]` tables with the `[[node.shard]]` tables that they carry.

    A shard stands below its node and does not name it, so that no name in the file can point at nothing. Whoever has
    one server writes `[[shard]]` tables and no nodes. `cross_shard` is how a transfer crosses shards;
    `saga_wait_seconds` how long its caller waits before the answer is `pending`;
    `cache` the address of a Valkey or Redis for balances, which are read from PostgreSQL when there is none. Webhooks
    go to https at public addresses, unless `webhooks_allow_http` and `webhooks_allow_private` say otherwise;
    certificates of the authorities in `webhooks_ca_file` (PEM) are trusted beside those that the machine trusts.
    """

    shard: list[ShardConfiguration] = []
    node: list[NodeConfiguration] = []
    cross_shard: CrossShard = "saga"
    saga_wait_seconds: float = limits.SAGA_WAIT_SECONDS_DEFAULT
    cache: str | None = None
    webhooks_allow_http: bool = False
    webhooks_allow_private: bool = False
    webhooks_ca_file: str | None = None

    def __repr__(self) -> str:
        """Without passwords."""
        cache = None if self.cache is None else read_cache_address(self.cache)
        return f"Configuration(shards={self.shards}, cross_shard={self.cross_shard!r}, cache={cache})"

    @property
    def shards(self) -> list[ShardConfiguration]:
        """All shards, by number."""
        carried = [shard for node in self.node for shard in node.shard]
        return sorted([*self.shard, *carried], key=lambda shard: shard.number)

    @property
    def dsns(self) -> dict[int, str]:
        """The connection string of each shard, by number."""
        return {shard.number: shard.dsn for shard in self.shards}

    @property
    def owner_dsns(self) -> dict[int, str]:
        """The connection string of each shard for `migrate`, by number."""
        return {shard.number: shard.owner for shard in self.shards}

    @property
    def open_shards(self) -> list[int]:
        """The shards that take new owners, in order."""
        return [shard.number for shard in self.shards if shard.state == "open"]


def read_configuration(path: Path) -> Configuration:
    """Read and check a configuration file (TOML)."""
    try:
        configuration = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Configuration)
    except FileNotFoundError:
        raise ConfigurationError(f"there is no configuration file {path}: name one with --config") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    wrong = _what_is_wrong(configuration)
    if wrong is not None:
        raise ConfigurationError(f"{path}: {wrong}")
    return configuration


def _what_is_wrong(configuration: Configuration) -> str | None:
    """The first thing that is wrong, in words."""
    shards = configuration.shards
    if not shards:
        return "expected at least one [[shard]], or [[node]] with a [[node.shard]]"
    wait_seconds = configuration.saga_wait_seconds
    if not limits.SAGA_WAIT_SECONDS_MIN <= wait_seconds <= limits.SAGA_WAIT_SECONDS_MAX:
        return (
            f"saga_wait_seconds {wait_seconds} is outside {limits.SAGA_WAIT_SECONDS_MIN} "
            f"to {limits.SAGA_WAIT_SECONDS_MAX}"
        )
    if configuration.cache is not None:
        try:
            read_cache_address(configuration.cache)
        except ValueError as error:
            return str(error)
    if configuration.webhooks_ca_file is not None:
        try:
            ssl.create_default_context(cafile=configuration.webhooks_ca_file)
        except OSError as error:
            why = error.strerror or "no certificate in it"
            return f"webhooks_ca_file ({why}): expected a file of certificates as PEM"
    return _wrong_nodes(configuration.node) or _wrong_shards(shards)


def _wrong_nodes(nodes: list[NodeConfiguration]) -> str | None:
    for node in nodes:
        if not 0 < len(node.name) <= limits.NODE_NAME_CHARACTERS_MAX or not node.name.isprintable():
            return f"the name of a node has 1 to {limits.NODE_NAME_CHARACTERS_MAX} printable characters"
    if (name := _repeated(node.name for node in nodes)) is not None:
        return f"node {name!r} is named twice"
    return None


def _wrong_shards(shards: list[ShardConfiguration]) -> str | None:
    for shard in shards:
        if not limits.SHARD_NUMBER_MIN <= shard.number <= limits.SHARD_NUMBER_MAX:
            return (
                f"shard number {shard.number} is outside "
                f"{limits.SHARD_NUMBER_MIN} to {limits.SHARD_NUMBER_MAX}"
            )
    if (number := _repeated(shard.number for shard in shards)) is not None:
        return f"shard {number} is listed twice"
    places = {shard.number: database_place(shard.dsn) for shard in shards}
    for number, place in places.items():
        if place is None:
            return f"the dsn of shard {number} is no libpq connection string"
    if (place := _repeated(places.values())) is not None:
        same = [str(number) for number in places if places[number] == place]
        return f"shards {' and '.join(same)} have the same database: each needs one of its own"
    if all(shard.state != "open" for shard in shards):
        return 'no shard is open: new owners need one with state = "open"'
    return None


def _repeated(values: Iterable[Any]) -> Any | None:
    return next((value for value, count in Counter(values).items() if count > 1), None)


def write_configuration(path: Path, configuration: Configuration) -> None:
    """Write a configuration file that only its owner can read, for it holds passwords: whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(tomli_w.dumps(msgspec.to_builtins(configuration)))
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path} ({error.strerror}): choose another folder") from None
