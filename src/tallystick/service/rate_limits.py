"""Limits: the rates at which a tenant and a key may use the ledger."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec
from limits import RateLimitItem, parse

from tallystick.domain import limits
from tallystick.ledger import metrics
from tallystick.service.errors import RateLimitedError
from tallystick.store.cache.rate_counters import RateCounters


class Budget(StrEnum):
    """What is counted separately. Writes are counted in transfers, everything else in requests.

    Refusals are counted when they are recorded: see `refusal_budgets`.
    """

    READS = "reads"
    WRITES = "writes"
    STREAMS = "streams"
    ENDPOINT_TESTS = "endpoint_tests"
    REFUSALS = "refusals"


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A rate for each budget, such as `"5000/second"` or `"10/minute"`; None if it is not set here.

    `writes` counts transfers, `streams` opened streams, `refusals` refusals that are recorded under their keys.
    """

    reads: str | None = None
    writes: str | None = None
    streams: str | None = None
    endpoint_tests: str | None = None
    refusals: str | None = None

    def what_is_wrong(self) -> str | None:
        """The first rate that cannot be read, in words."""
        for budget in Budget:
            if (text := getattr(self, budget.value)) is not None:
                try:
                    parse(text)
                except ValueError:
                    return f'{budget.value} = {text!r}: expected a rate, such as "100/second" or "10/minute"'
        return None


NO_RATES: Final = Rates()
_DEFAULTS: Final = Rates(
    endpoint_tests=limits.ENDPOINT_TESTS_RATE_DEFAULT, refusals=limits.REFUSALS_RATE_DEFAULT
)


class TenantConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The settings of one tenant: its weight in the queues of the shards, and its own limits."""

    name: str
    weight: int = 1
    limits: Rates = NO_RATES


class KeyConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The settings of one API key: its limits, in addition to those of its tenant."""

    id: str
    limits: Rates = NO_RATES


class RateLimits:
    """Counts the requests of tenants and keys, and refuses those beyond a rate.

    Budgets without a rate are not counted.
    """

    def __init__(
        self,
        counters: RateCounters,
        tenants: Rates = NO_RATES,
        keys: Rates = NO_RATES,
        by_key: Mapping[str, Rates] | None = None,
    ) -> None:
        """`limits` apply to every tenant, `key_limits` to every key, and the others to single keys."""
        self._counters = counters
        self._of_tenants = _limits(tenants, _DEFAULTS)
        self._of_keys = _limits(keys)
        self._by_key = {key: _limits(rates, keys) for key, rates in (by_key or {}).items()}
        self._tenants = tenants
        self._by_tenant: dict[int, dict[Budget, RateLimitItem]] = {}

    def set_tenant(self, tenant: int, rates: Rates) -> None:
        """Set the rates of one tenant."""
        self._by_tenant[tenant] = _limits(rates, self._tenants, _DEFAULTS)

    def rate(self, budget: Budget, tenant: int) -> RateLimitItem | None:
        """The rate of a tenant's budget; None if it is not limited."""
        return self._by_tenant.get(tenant, self._of_tenants).get(budget)

    def limited(self, budget: Budget, tenant: int) -> bool:
        """Whether any rate may limit this budget of a tenant: of the tenant, or of a key."""
        of_tenant = self._by_tenant.get(tenant, self._of_tenants)
        return budget in of_tenant or budget in self._of_keys or bool(self._by_key)

    async def spend(self, budget: Budget, tenant: int, key: str, count: int = 1) -> None:
        """Count a request against its budget.

        Raises:
            RateLimitedError: the budget is used up. Nothing was done.
        """
        rate = self._by_key.get(key, self._of_keys).get(budget)
        if rate is not None:
            await self._take(rate, budget, "key", key, count)
        rate = self.rate(budget, tenant)
        if rate is not None:
            await self._take(rate, budget, "tenant", str(tenant), count)

    async def _take(self, rate: RateLimitItem, budget: Budget, whose: str, name: str, count: int) -> None:
        names = (budget.value, whose, name)
        if await self._counters.take(rate, *names, count=count):
            return
        left = await self._counters.left(rate, *names)
        metrics.RATE_LIMITED.labels(budget.value, whose).inc()
        raise RateLimitedError(
            policy=f"{whose}-{budget.value}",
            quota=rate.amount,
            window_seconds=rate.get_expiry(),
            left=left.amount,
            after_seconds=max(1, math.ceil(left.more_in_seconds)),
            why=f"This asks for {count} of {left.amount} left",
        )


def _limits(*rates: Rates) -> dict[Budget, RateLimitItem]:
    """The rate of each budget: the first that is set."""
    found = {
        budget: next((text for one in rates if (text := getattr(one, budget.value)) is not None), None)
        for budget in Budget
    }
    return {budget: parse(text) for budget, text in found.items() if text is not None}
