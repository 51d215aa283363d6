"""The configuration file: which shards there are, and how to reach their databases."""

import os
import tomllib
from pathlib import Path
from typing import Final

import msgspec
import tomli_w

from tallystick.domain.limits import SHARD_NUMBER_MAX, SHARD_NUMBER_MIN

CONFIGURATION_VARIABLE: Final = "TALLYSTICK_CONFIG"
"""The environment variable with the path of the configuration file."""


class ConfigurationError(Exception):
    """The configuration file is missing or wrong; the message says where, and what would be right."""


class ShardConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One shard. `dsn` is what the server connects with, `owner_dsn` what `migrate` does (default: the same)."""

    number: int
    dsn: str
    owner_dsn: str | None = None


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All shards of an installation: `[[shard]]` tables with `number`, `dsn` and `owner_dsn`."""

    shard: list[ShardConfiguration]

    @property
    def dsns(self) -> dict[int, str]:
        """The connection string of each shard, by number."""
        return {shard.number: shard.dsn for shard in self.shard}


def read_configuration(path: Path) -> Configuration:
    """Read and check a configuration file (TOML)."""
    try:
        configuration = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Configuration)
    except FileNotFoundError:
        raise ConfigurationError(f"there is no configuration file {path}: name one with --config") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    numbers = [shard.number for shard in configuration.shard]
    if not numbers:
        raise ConfigurationError(f"{path}: expected at least one [[shard]]")
    for number in numbers:
        if not SHARD_NUMBER_MIN <= number <= SHARD_NUMBER_MAX:
            raise ConfigurationError(
                f"{path}: shard number {number} is outside {SHARD_NUMBER_MIN} to {SHARD_NUMBER_MAX}"
            )
        if numbers.count(number) > 1:
            raise ConfigurationError(f"{path}: shard {number} is listed twice")
    return configuration


def write_configuration(path: Path, configuration: Configuration) -> None:
    """Write a configuration file that only its owner can read, for it holds passwords: whole or not at all."""
    shards = [
        {name: value for name, value in msgspec.to_builtins(shard).items() if value is not None}
        for shard in configuration.shard
    ]
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(tomli_w.dumps({"shard": shards}))
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path} ({error.strerror}): choose another folder") from None
