"""Budgets of recorded refusals. A refusal costs its tenant nothing, and is recorded for ever.

Refusals are counted after the commit, so a budget may be overdrawn by those that were under way. The debt is paid
back before more are recorded. On average the rate is kept.
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
    """How many refusals may be recorded as of a moment; negative if the budget is overdrawn."""

    tokens: float
    as_of_seconds: float


class RefusalBudgets:
    """Counts the refusals that this process records for each tenant, against the tenant's rate."""

    def __init__(self, rates: RateLimits) -> None:
        self._rates = rates
        self._left: dict[int, _Left] = {}

    def allows(self, tenant: int) -> bool:
        """Whether another refusal of a tenant may be recorded."""
        return tenant not in self._left or self._now_left(tenant) >= 1

    def committed(self, decision: Decision) -> None:
        """Count the refusals that a batch has recorded."""
        for tenant, count in Counter(decision.refused_tenants).items():
            self._left[tenant] = _Left(self._now_left(tenant) - count, time.monotonic())

    def error(self, tenant: int, refused: Refused) -> RateLimitedError:
        """The error in place of a refusal that is not recorded."""
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
