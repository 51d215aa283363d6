"""How many refusals of a tenant are kept. A refusal costs its tenant nothing, and is kept for ever.

What is kept is counted after the commit, so a budget may be overdrawn by what was under way; it is paid back before
anything more is kept. On the average no more is kept than the rate allows.
"""

import math
import time
from collections import Counter
from typing import NamedTuple

from tallystick.domain.decide import Decision
from tallystick.domain.outcomes import Refused
from tallystick.ledger import metrics
from tallystick.service.errors import RateLimitedError
from tallystick.service.rate_limits import Budget, RateLimits


class _Left(NamedTuple):
    """How many refusals may be kept as of a moment; less than none when too many were."""

    tokens: float
    as_of_seconds: float


class RefusalBudgets:
    """Counts the refusals that this process keeps, for each tenant, against the rate of its limits."""

    def __init__(self, rates: RateLimits) -> None:
        self._rates = rates
        self._left: dict[int, _Left] = {}

    def allows(self, tenant: int) -> bool:
        """Whether another refusal of a tenant may be kept."""
        return tenant not in self._left or self._now_left(tenant) >= 1

    def committed(self, decision: Decision) -> None:
        """Count what a batch has kept."""
        for tenant, count in Counter(decision.refused_tenants).items():
            self._left[tenant] = _Left(self._now_left(tenant) - count, time.monotonic())

    def error(self, tenant: int, refused: Refused) -> RateLimitedError:
        """What the caller is told in place of a refusal that is not kept."""
        rate = self._rates.rate(Budget.REFUSALS, tenant)
        metrics.RATE_LIMITED.labels(Budget.REFUSALS.value, "tenant").inc()
        quota, seconds = (0, 1) if rate is None else (rate.amount, rate.get_expiry())
        missing = 1 - self._now_left(tenant)
        return RateLimitedError(
            policy="tenant-refusals",
            quota=quota,
            window_seconds=seconds,
            left=0,
            after_seconds=max(1, math.ceil(missing * seconds / max(quota, 1))),
            why=refused.detail.rstrip("."),
        )

    def _now_left(self, tenant: int) -> float:
        rate = self._rates.rate(Budget.REFUSALS, tenant)
        if rate is None:
            return math.inf
        now = time.monotonic()
        left = self._left.get(tenant)
        if left is None:
            return rate.amount
        more = (now - left.as_of_seconds) * rate.amount / rate.get_expiry()
        return min(rate.amount, left.tokens + more)
