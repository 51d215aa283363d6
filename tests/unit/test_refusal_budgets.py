"""On the average no more refusals of a tenant are kept than its rate allows, however many are under way at once."""

import pytest

from tallystick.domain.decide import NOTHING_DECIDED
from tallystick.domain.outcomes import RefusalCode, refuse
from tallystick.service import refusal_budgets
from tallystick.service.rate_limits import RateLimits, Rates
from tallystick.service.refusal_budgets import RefusalBudgets
from tallystick.store.cache.rate_counters import RateCounters
from tests.waiting import HandClock

TENANT, OTHER = 7, 8
REFUSED = refuse(RefusalCode.INSUFFICIENT_FUNDS)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    clock = HandClock()
    monkeypatch.setattr(refusal_budgets, "time", clock)
    return clock


def budgets(rate: str) -> RefusalBudgets:
    return RefusalBudgets(RateLimits(RateCounters(None), Rates(refusals=rate)))


def keep(found: RefusalBudgets, count: int, tenant: int = TENANT) -> None:
    found.committed(NOTHING_DECIDED._replace(refused_tenants=[tenant] * count))


def test_what_was_kept_too_many_is_paid_back(clock: HandClock) -> None:
    found = budgets("60/minute")
    assert found.allows(TENANT)
    # As many as were under way when the budget was spent.
    keep(found, 160)
    assert not found.allows(TENANT)
    assert found.allows(OTHER)
    assert found.error(TENANT, REFUSED).after_seconds == 101
    clock.seconds += 100
    assert not found.allows(TENANT)
    clock.seconds += 1
    assert found.allows(TENANT)


def test_on_the_average_no_more_is_kept_than_the_rate(clock: HandClock) -> None:
    found, kept = budgets("60/minute"), 0
    for _ in range(10_000):
        if found.allows(TENANT):
            keep(found, 500)
            kept += 500
        clock.seconds += 0.5
    assert kept <= 60 + 500 + 5_000


def test_what_is_not_used_is_not_saved_up(clock: HandClock) -> None:
    found = budgets("60/minute")
    keep(found, 1)
    clock.seconds += 1_000_000
    keep(found, 60)
    assert not found.allows(TENANT)
