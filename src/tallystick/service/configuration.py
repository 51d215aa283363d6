"""The configuration file: the nodes and shards, the addresses of their databases, and settings."""

import os
import re
import ssl
import stat
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import structlog
import tomli_w

from tallystick.domain import limits
from tallystick.domain.networks import read_networks
from tallystick.files import reason_of, write_private
from tallystick.ledger.crossing.ways import WAYS
from tallystick.service.environment import EnvironmentSecretError, Secrets, add_owner_secrets, add_secrets
from tallystick.service.rate_limits import NO_RATES, KeyConfiguration, Rates, TenantConfiguration
from tallystick.store.address import database_places, flaw_of
from tallystick.store.cache.address import read_cache_address

CONFIGURATION_VARIABLE: Final = "TALLYSTICK_CONFIG"
"""The environment variable with the path of the configuration file."""
OWNER_VARIABLE: Final = "TALLYSTICK_OWNER_CONFIG"
"""The environment variable with the path of the owner's file."""
OWNER_FILE: Final = "owner.toml"
"""The default name of the owner's file, in the folder of the configuration file."""

_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")
ShardState = Literal["open", "full", "draining"]

_log = structlog.get_logger(__name__)


class ConfigurationError(Exception):
    """The configuration file is missing or wrong. The message says where, and what is expected."""


class ShardConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One shard.

    `dsn` is the connection string of servers, `owner_dsn` that of `migrate` and `keys` (default: the same).
    `owner_dsn` is in the owner's file, which servers do not read. An `open` shard takes new owners. A `full` one does
    not, nor does a `draining` one, which is being emptied by hand. Owners that live there stay, and open further
    accounts there: all accounts of an owner are on one shard.
    """

    number: int
    dsn: str
    owner_dsn: str | None = None
    state: ShardState = "open"

    def __repr__(self) -> str:
        """The shard without its connection strings, which may contain passwords."""
        return f"ShardConfiguration({self.number}, state={self.state!r})"

    @property
    def owner(self) -> str:
        """The connection string of `migrate` and `keys`."""
        return self.owner_dsn or self.dsn


class _OwnedShard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: int
    owner_dsn: str


class _OwnerFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The owner's file: the connection string of each shard's owner."""

    shard: list[_OwnedShard] = []


class NodeConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A PostgreSQL server: its name, and the shards that it carries."""

    name: str
    shard: list[ShardConfiguration]


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An installation: `[[node]]` tables with the `[[node.shard]]` tables that they carry.

    A shard is written below its node and does not name it, so no name in the file can be wrong. With one server, use
    `[[shard]]` tables and no nodes. `cross_shard` is the way in which a transfer crosses shards. `saga_wait_seconds`
    is how long its caller waits before the answer is `pending`. `clock_tolerance_seconds` is the largest allowed
    difference between the clocks of databases, servers and the log. `cache` is the address of a Valkey or Redis for
    balances; without it they are read from PostgreSQL. `cache_key` is a secret, the same for all servers, that seals
    balances in the cache. Webhooks go to https at public addresses, unless `webhooks_allow_http` and
    `webhooks_allow_private` allow more. `webhooks_ca_file` (PEM) has certificates of authorities that are trusted in
    addition to those of the machine. `webhooks_key_file` has the keys that encrypt the secrets of endpoints.
    `effective_at_max_days_back` bounds the effective time of new transactions. `accounts_per_tenant` and
    `streams_per_tenant` (open at one server) are quotas. `limits` apply to each tenant, `key_limits` to each key;
    `[[tenant]]` and `[[key]]` tables to single ones. `trusted_proxies` are networks of proxies in front of the
    servers: what they say of the address of a client (`X-Forwarded-For`) is believed. With
    `tls_certificate` and `tls_key` (paths, PEM) servers speak HTTPS, of `tls_minimum` or newer.
    `cors_allowed_origins` are the origins whose pages browsers let call the API, such as `https://app.example`, or
    `["*"]`: by default none.
    """

    shard: list[ShardConfiguration] = []
    node: list[NodeConfiguration] = []
    cross_shard: str = "saga"
    saga_wait_seconds: float = limits.SAGA_WAIT_SECONDS_DEFAULT
    clock_tolerance_seconds: float = limits.CLOCK_TOLERANCE_SECONDS_DEFAULT
    cache: str | None = None
    cache_key: str | None = None
    webhooks_allow_http: bool = False
    webhooks_allow_private: bool = False
    webhooks_ca_file: str | None = None
    webhooks_key_file: str | None = None
    effective_at_max_days_back: int = limits.EFFECTIVE_AT_DAYS_BACK_DEFAULT
    accounts_per_tenant: int = limits.ACCOUNTS_PER_TENANT_DEFAULT
    streams_per_tenant: int = limits.STREAMS_PER_TENANT_DEFAULT
    cors_allowed_origins: list[str] = []
    limits: Rates = NO_RATES
    key_limits: Rates = NO_RATES
    trusted_proxies: list[str] = []
    tls_certificate: str | None = None
    tls_key: str | None = None
    tls_minimum: Literal["1.2", "1.3"] = "1.2"
    tenant: list[TenantConfiguration] = []
    key: list[KeyConfiguration] = []

    def __repr__(self) -> str:
        """The configuration without passwords."""
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
        """The connection string of each shard's owner, by number."""
        return {shard.number: shard.owner for shard in self.shards}

    def with_shards(self, change: Callable[[ShardConfiguration], ShardConfiguration]) -> "Configuration":
        """The configuration with each shard changed."""
        nodes = [msgspec.structs.replace(node, shard=list(map(change, node.shard))) for node in self.node]
        return msgspec.structs.replace(self, shard=list(map(change, self.shard)), node=nodes)

    def as_owner(self) -> "Configuration":
        """The configuration with the connection strings of the owner."""
        return self.with_shards(lambda shard: msgspec.structs.replace(shard, dsn=shard.owner, owner_dsn=None))

    @property
    def open_shards(self) -> list[int]:
        """The shards that take new owners, in order."""
        return [shard.number for shard in self.shards if shard.state == "open"]


def read_configuration(path: Path) -> Configuration:
    """Read and check a configuration file (TOML), with the secrets of the environment: see `environment`."""
    secrets = Secrets(os.environ)
    document = _document(path, "--config")
    with _about(path, secrets):
        add_secrets(document, secrets)
        return _checked(msgspec.convert(document, Configuration))


def read_owner_configuration(path: Path, owner_path: Path | None = None) -> Configuration:
    """Read a configuration file with the owner's file, for commands that act as the owner of the tables.

    `owner_path`: by default the path in TALLYSTICK_OWNER_CONFIG, or else owner.toml beside the configuration file, if
    it exists.
    """
    configuration = read_configuration(path)
    owner_path = owner_path or owner_file_of(path)
    secrets = Secrets(os.environ)
    document = {} if owner_path is None else _document(owner_path, "--owner-config")
    with _about(owner_path or path, secrets):
        add_owner_secrets(document, secrets)
        owned = {one.number: one.owner_dsn for one in msgspec.convert(document, _OwnerFile).shard}
        if unknown := owned.keys() - configuration.dsns.keys():
            raise _WrongError(f"shard {min(unknown)} is not in {path}")
        if owner_path is not None and owner_path.stat().st_mode & stat.S_IROTH:
            _log.warning(
                "every user of this machine can read the owner's file: chmod 600", path=str(owner_path)
            )
        return _checked(
            configuration.with_shards(
                lambda shard: msgspec.structs.replace(
                    shard, owner_dsn=owned.get(shard.number, shard.owner_dsn)
                )
            )
        )


def owner_file_of(path: Path) -> Path | None:
    """The owner's file that belongs to a configuration file; None if there is none."""
    if named := os.environ.get(OWNER_VARIABLE):
        return Path(named)
    beside = path.with_name(OWNER_FILE)
    return beside if beside.exists() else None


class _WrongError(Exception):
    """Something in a file is wrong. The message says what."""


def _document(path: Path, option: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"there is no configuration file {path}: name one with {option}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: {reason_of(error, path)}") from None


@contextmanager
def _about(path: Path, secrets: Secrets) -> Iterator[None]:
    """Name the file and the variables that were used, in an error about their content."""
    try:
        yield
    except EnvironmentSecretError as error:
        raise ConfigurationError(str(error)) from None
    except (_WrongError, msgspec.ValidationError) as error:
        where = ", ".join([str(path), *secrets.used])
        raise ConfigurationError(f"{where}: {error}") from None


def _checked(configuration: Configuration) -> Configuration:
    wrong = _what_is_wrong(configuration)
    if wrong is not None:
        raise _WrongError(wrong)
    return configuration


def configuration_of(dsns: Iterable[tuple[int, str]], cross_shard: str = "saga") -> Configuration:
    """The configuration of shards without a file: the number of each shard and its connection string."""
    shards = [ShardConfiguration(number, dsn) for number, dsn in dsns]
    configuration = Configuration(shard=shards, cross_shard=cross_shard)
    wrong = _what_is_wrong(configuration) if shards else "no database is named, and no configuration file"
    if wrong is not None:
        raise ConfigurationError(wrong)
    return configuration


def _what_is_wrong(configuration: Configuration) -> str | None:
    """The first error of a configuration, in words; None if there is none."""
    shards = configuration.shards
    if not shards:
        return "expected at least one [[shard]], or [[node]] with a [[node.shard]]"
    if (wrong := _wrong_crossing(configuration)) is not None:
        return wrong
    if not configuration.clock_tolerance_seconds >= limits.CLOCK_TOLERANCE_SECONDS_MIN:
        return f"clock_tolerance_seconds is at least {limits.CLOCK_TOLERANCE_SECONDS_MIN}"
    if (wrong := _wrong_cache(configuration)) is not None:
        return wrong
    if configuration.webhooks_ca_file is not None:
        try:
            ssl.create_default_context(cafile=configuration.webhooks_ca_file)
        except OSError as error:
            why = error.strerror or "no certificate in it"
            return f"webhooks_ca_file ({why}): expected a file of certificates as PEM"
    return (
        _wrong_nodes(configuration.node)
        or _wrong_shards(shards)
        or _wrong_limits(configuration)
        or _wrong_quotas(configuration)
        or _wrong_proxies(configuration)
        or _wrong_origins(configuration.cors_allowed_origins)
    )


def _wrong_crossing(configuration: Configuration) -> str | None:
    if configuration.cross_shard not in WAYS:
        known = " or ".join(f'"{name}"' for name in WAYS)
        return f'expected {known} as cross_shard, not "{configuration.cross_shard}"'
    wait_seconds = configuration.saga_wait_seconds
    if not limits.SAGA_WAIT_SECONDS_MIN <= wait_seconds <= limits.SAGA_WAIT_SECONDS_MAX:
        return (
            f"saga_wait_seconds {wait_seconds} is outside {limits.SAGA_WAIT_SECONDS_MIN} "
            f"to {limits.SAGA_WAIT_SECONDS_MAX}"
        )
    return None


def _wrong_cache(configuration: Configuration) -> str | None:
    if configuration.cache is not None:
        try:
            read_cache_address(configuration.cache)
        except ValueError as error:
            return str(error)
    if configuration.cache_key is not None and len(configuration.cache_key) < limits.CACHE_KEY_CHARACTERS_MIN:
        return f"cache_key is a secret of at least {limits.CACHE_KEY_CHARACTERS_MIN} characters"
    return None


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
    if (wrong := _wrong_addresses(shards)) is not None:
        return wrong
    places = {shard.number: database_places(shard.dsn) for shard in shards}
    if (place := _repeated(place for of_shard in places.values() for place in of_shard)) is not None:
        same = [str(number) for number in places if place in places[number]]
        return f"shards {' and '.join(same)} have the same database: each needs one of its own"
    if all(shard.state != "open" for shard in shards):
        return 'no shard is open: new owners need one with state = "open"'
    return None


def _wrong_limits(configuration: Configuration) -> str | None:
    named = [
        ("limits", configuration.limits),
        ("key_limits", configuration.key_limits),
        *((f"limits of tenant {one.name!r}", one.limits) for one in configuration.tenant),
        *((f"limits of key {one.id!r}", one.limits) for one in configuration.key),
    ]
    for name, rates in named:
        if (wrong := rates.what_is_wrong()) is not None:
            return f"{name}: {wrong}"
    for tenant in configuration.tenant:
        if not 1 <= tenant.weight <= limits.TENANT_WEIGHT_MAX:
            return f"the weight of tenant {tenant.name!r} is outside 1 to {limits.TENANT_WEIGHT_MAX}"
    for what, names in (
        ("tenant", [one.name for one in configuration.tenant]),
        ("key", [one.id for one in configuration.key]),
    ):
        if (repeated := _repeated(names)) is not None:
            return f"{what} {repeated!r} is named twice"
    return None


def _wrong_quotas(configuration: Configuration) -> str | None:
    if any(
        rates.refusals for rates in (configuration.key_limits, *(one.limits for one in configuration.key))
    ):
        return "refusals are limited for each tenant, and not for each key"
    if not 1 <= configuration.effective_at_max_days_back <= limits.EFFECTIVE_AT_DAYS_BACK_MAX:
        return f"effective_at_max_days_back is outside 1 to {limits.EFFECTIVE_AT_DAYS_BACK_MAX}"
    if configuration.accounts_per_tenant < 1:
        return "accounts_per_tenant is at least 1"
    if not 1 <= configuration.streams_per_tenant <= limits.STREAMS_MAX:
        return f"streams_per_tenant is outside 1 to {limits.STREAMS_MAX}"
    return None


def _wrong_proxies(configuration: Configuration) -> str | None:
    for text in configuration.trusted_proxies:
        try:
            read_networks([text])
        except ValueError as error:
            return f"trusted_proxies: expected networks such as 10.0.0.0/8 ({error})"
    return None


def _wrong_origins(origins: list[str]) -> str | None:
    if origins == ["*"]:
        return None
    for origin in origins:
        if origin == "*":
            return 'cors_allowed_origins is ["*"] for every origin, or names each'
        if not _ORIGIN.fullmatch(origin):
            return f"cors_allowed_origins: expected an origin, such as https://app.example, not {origin!r}"
    return None


def _wrong_addresses(shards: list[ShardConfiguration]) -> str | None:
    for shard in shards:
        for name, dsn in (("dsn", shard.dsn), ("owner_dsn", shard.owner)):
            if (flaw := flaw_of(dsn)) is not None:
                return f"the {name} of shard {shard.number} {flaw}"
    return None


def _repeated(values: Iterable[Any]) -> Any | None:
    return next((value for value, count in Counter(values).items() if count > 1), None)


def write_configuration(path: Path, configuration: Configuration) -> None:
    """Write a configuration file, and the owner's file beside it if an owner is given; each whole or not at all.

    Only the user who writes them can read them, because they contain passwords.
    """
    owned = [
        _OwnedShard(one.number, one.owner_dsn) for one in configuration.shards if one.owner_dsn is not None
    ]
    if owned:
        _write(path.with_name(OWNER_FILE), _OwnerFile(owned))
    _write(path, configuration.with_shards(lambda shard: msgspec.structs.replace(shard, owner_dsn=None)))


def _write(path: Path, content: Configuration | _OwnerFile) -> None:
    try:
        write_private(path, tomli_w.dumps(msgspec.to_builtins(content)))
    except OSError as error:
        raise ConfigurationError(f"cannot write {path} ({error.strerror}): choose another folder") from None
