"""Runs all checks of an installation."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tallystick.domain import limits
from tallystick.extras import MissingExtraError
from tallystick.ledger.clock import Clock
from tallystick.ledger.crossing.ways import way_of
from tallystick.service.configuration import (
    Configuration,
    ConfigurationError,
    ShardConfiguration,
    owner_file_of,
    read_configuration,
    read_owner_configuration,
)
from tallystick.service.doctor.cache_checks import CACHE_CHECKS
from tallystick.service.doctor.certificates import certificate_file, certificate_of_server
from tallystick.service.doctor.file_checks import configuration_file, owner_file
from tallystick.service.doctor.findings import Finding, Judgement, Severity, fine, unknown, warning, wrong
from tallystick.service.doctor.server_checks import SERVER_CHECKS, connections
from tallystick.service.doctor.shard_checks import (
    clocks,
    disk,
    protection_of_the_log,
    rights_and_schema,
    sessions,
)
from tallystick.service.migration import check_shards
from tallystick.service.webhooks.key_risks import risks_of_secrets
from tallystick.store.address import tls_of
from tallystick.store.cache.address import read_cache_address
from tallystick.store.cache.balances import CacheError
from tallystick.store.cache.examination import cache_servers, examine_cache
from tallystick.store.errors import PreparationError, SchemaError, ShardUnavailableError
from tallystick.store.examination import Examination, examine

# The writer, what it reads ahead with, the lease of webhooks, and the pulse.
_CONNECTIONS_BESIDE_POOLS: Final = 4

_FILES: Final = "files"
_SHARDS: Final = "shards"
_CACHE: Final = "cache"
_WEBHOOKS: Final = "webhooks"


class _ExaminedShard(NamedTuple):
    """A shard that was examined: its server, if it can be reached, and whether it could be served."""

    number: int
    server: Examination | None
    ready: bool
    findings: list[Finding]


async def examine_installation(path: Path, owner_path: Path | None, processes: int) -> list[Finding]:
    """Run all checks. Shards are examined at the same time.

    Args:
        path: the configuration file.
        owner_path: the owner's file; None for the usual one, if it exists.
        processes: how many processes of servers use these databases: all workers of all servers.

    Raises:
        ConfigurationError: the configuration file cannot be read, or is wrong.
    """
    configuration = read_configuration(path)
    found = [_finding(_FILES, configuration_file, path)]
    owned = configuration
    if (owner := owner_path or owner_file_of(path)) is not None:
        found.append(_finding(_FILES, owner_file, owner, path))
        owned = _as_owner(path, owner) or configuration
    tolerance_seconds = configuration.clock_tolerance_seconds
    shards = await asyncio.gather(
        *(
            asyncio.to_thread(_examined, shard, owner_dsn, tolerance_seconds)
            for shard, owner_dsn in zip(configuration.shards, owned.owner_dsns.values(), strict=True)
        )
    )
    for shard, examined in zip(configuration.shards, shards, strict=True):
        found += examined.findings
        if examined.server is not None:
            found.append(Finding("sessions", _name(shard.number), *await sessions(shard)))
    found += _of_connections(configuration, shards, processes)
    found += await asyncio.to_thread(_of_all_shards, configuration, shards)
    found += await _of_cache(configuration)
    found += await asyncio.to_thread(_of_certificates, configuration)
    return found


def _finding(about: str, check: Callable[..., Judgement], *facts: Any) -> Finding:
    return Finding(check.__name__.replace("_", " "), about, *check(*facts))


def _name(number: int) -> str:
    return f"shard {number}"


def _as_owner(path: Path, owner_path: Path) -> Configuration | None:
    """The configuration with the owner's addresses; None if this user may not read them, as servers may not."""
    try:
        return read_owner_configuration(path, owner_path)
    except ConfigurationError:
        return None


def _examined(shard: ShardConfiguration, owner_dsn: str, tolerance_seconds: float) -> _ExaminedShard:
    about = _name(shard.number)
    asked_at_us = Clock.own_us()
    try:
        server = examine(shard.dsn)
    except ShardUnavailableError as error:
        away = wrong(f"PostgreSQL cannot be reached ({error}): start it, or correct the dsn")
        return _ExaminedShard(shard.number, None, ready=False, findings=[Finding("reachable", about, *away)])
    ready = _finding(about, rights_and_schema, shard)
    found = [
        *(_finding(about, check, server) for check in SERVER_CHECKS),
        ready,
        _finding(about, protection_of_the_log, shard),
        _finding(about, disk, [shard.dsn, owner_dsn]),
    ]
    is_ready = ready.severity is Severity.FINE
    if is_ready:
        found.append(_finding(about, clocks, shard, server, asked_at_us, tolerance_seconds))
    return _ExaminedShard(shard.number, server, is_ready, found)


def _of_connections(
    configuration: Configuration, shards: Sequence[_ExaminedShard], processes: int
) -> list[Finding]:
    """The connections of each PostgreSQL server, which may carry several shards."""
    for_each = (
        _CONNECTIONS_BESIDE_POOLS
        + limits.READ_CONNECTIONS_MAX
        + limits.HOLDING_CONNECTIONS_MAX
        + way_of(configuration.cross_shard).connections_to_shard(len(shards))
    )
    by_server: defaultdict[int, list[_ExaminedShard]] = defaultdict(list)
    for shard in shards:
        if shard.server is not None:
            by_server[shard.server.system_identifier].append(shard)
    return [
        _finding(
            " and ".join(_name(shard.number) for shard in carried),
            connections,
            [shard.server for shard in carried],
            for_each,
            processes,
        )
        for carried in by_server.values()
    ]


def _of_all_shards(configuration: Configuration, shards: Sequence[_ExaminedShard]) -> list[Finding]:
    not_ready = [shard.number for shard in shards if not shard.ready]
    return [
        _finding(_SHARDS, recorded_shards, configuration, not_ready),
        _finding(_SHARDS, crossing, configuration),
        *(Finding("secrets", _WEBHOOKS, *one) for one in _of_secrets(configuration, not_ready)),
    ]


def recorded_shards(configuration: Configuration, not_ready: Sequence[int]) -> Judgement:
    """Whether the file has the shards that were migrated together."""
    if not_ready:
        return unknown("not all shards can be served: see there")
    try:
        check_shards(configuration)
    except (ConfigurationError, SchemaError) as error:
        return wrong(str(error))
    return fine(", ".join(map(str, configuration.dsns)))


def crossing(configuration: Configuration) -> Judgement:
    """Whether servers are set up for the way to cross shards."""
    try:
        way_of(configuration.cross_shard).check(configuration.dsns)
    except PreparationError as error:
        return wrong(str(error))
    return fine(configuration.cross_shard)


def _of_secrets(configuration: Configuration, not_ready: Sequence[int]) -> list[Judgement]:
    try:
        risks = risks_of_secrets(configuration, not_ready)
    except ConfigurationError as error:
        return [wrong(str(error))]
    except MissingExtraError as error:
        return [unknown(str(error))]
    return [warning(risk) for risk in risks] or [fine("encrypted, and their keys are there")]


async def _of_cache(configuration: Configuration) -> list[Finding]:
    if configuration.cache is None:
        return []
    found = []
    for address in cache_servers(read_cache_address(configuration.cache)):
        try:
            server = await examine_cache(address)
        except (CacheError, MissingExtraError) as error:
            away = wrong(f"the cache cannot be used ({error}): balances are read from PostgreSQL")
            found.append(Finding("reachable", _CACHE, *away))
            continue
        if server is None:
            hidden = unknown("its user may not run INFO, so its version and its memory are not known")
            found.append(Finding("memory", _CACHE, *hidden))
        else:
            found += [_finding(_CACHE, check, server) for check in CACHE_CHECKS]
    sealed = (
        fine("sealed")
        if configuration.cache_key is not None
        else warning(
            "who can write to the cache can show any balance: set cache_key (see docs/reading-balances.md)"
        )
    )
    return [*found, Finding("seals", _CACHE, *sealed)]


def _of_certificates(configuration: Configuration) -> list[Finding]:
    servers: dict[tuple[str, int], bool] = {}
    files: dict[str, None] = {}
    for dsn in configuration.dsns.values():
        if (tls := tls_of(dsn)) is not None:
            servers.update(dict.fromkeys(tls.hosts, True))
            files.update(dict.fromkeys(tls.files))
    if configuration.cache is not None:
        address = read_cache_address(configuration.cache)
        if address.tls is not None:
            servers.update(dict.fromkeys(address.hosts, False))
            files.update(
                dict.fromkeys(path for path in (address.tls.ca_path, address.tls.certificate_path) if path)
            )
    files.update(
        dict.fromkeys(
            path
            for path in (configuration.webhooks_ca_file, configuration.tls_certificate)
            if path is not None
        )
    )
    judged: Mapping[str, Judgement] = {
        **{
            f"{host}:{port}": certificate_of_server(host, port, is_postgresql=is_postgresql)
            for (host, port), is_postgresql in servers.items()
        },
        **{path: certificate_file(Path(path)) for path in files},
    }
    return [Finding("certificate", about, *judgement) for about, judgement in judged.items()]
