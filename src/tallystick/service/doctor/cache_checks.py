"""Checks of a cache server by what it says about itself. Each is a pure function of that."""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from tallystick.domain import limits
from tallystick.service.doctor.findings import Judgement, fine, warning, wrong
from tallystick.store.cache.examination import CacheExamination

CacheCheck: TypeAlias = Callable[[CacheExamination], Judgement]


def cache_version(cache: CacheExamination) -> Judgement:
    """The version of the cache."""
    if cache.version < limits.CACHE_VERSION_MIN:
        return wrong(f"{cache.program} is too old: Valkey, or Redis {limits.CACHE_VERSION_MIN} or newer")
    return fine(cache.program)


def cache_memory(cache: CacheExamination) -> Judgement:
    """Whether the cache has a bound, and drops old balances when it is full."""
    if not cache.memory_bytes_max:
        return warning(
            "the cache has no bound, and grows with the number of accounts until its machine has no memory left: set "
            "maxmemory, and maxmemory-policy allkeys-lru"
        )
    if not cache.policy.startswith("allkeys"):
        return wrong(
            f"maxmemory-policy is {cache.policy}: when the cache is full, it takes no new balances, and reads go to "
            "PostgreSQL: set maxmemory-policy allkeys-lru"
        )
    return fine(f"{cache.memory_bytes_max / 2**20:.0f} MiB, {cache.policy}")


CACHE_CHECKS: Final[Sequence[CacheCheck]] = (cache_version, cache_memory)
