"""Clocks that jump: a wrong time never comes into the log, and what was written before and after is right."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from tests.crash.databases import ShardDatabase
from tests.crash.two_shards import (
    AWAY,
    HOME,
    TwoShards,
    account_name,
    assert_whole_together,
    fund,
    open_accounts,
)
from tests.engines import running

from tallystick import Ledger, UnavailableError, views
from tallystick.background.alarms import Alarm
from tallystick.domain import limits
from tallystick.ledger.clock import Clock, ClockError
from tallystick.service.engine import Engine

pytestmark = pytest.mark.timeout(180)

DAY_SECONDS = 86_400
CLOSE_SECONDS = 60.0
SECOND_US = 1_000_000

# What the server's role finds before the function of the system.
CLOCK = """
    CREATE SCHEMA clock;
    CREATE TABLE clock.ahead (seconds float8 NOT NULL);
    INSERT INTO clock.ahead VALUES (0);
    CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
        RETURN pg_catalog.clock_timestamp() + (SELECT make_interval(secs => seconds) FROM clock.ahead);
    GRANT USAGE ON SCHEMA clock TO tallystick_login;
    GRANT SELECT ON clock.ahead TO tallystick_login;
"""


def make_clock(database: ShardDatabase) -> None:
    """Give a database a clock that can be set."""
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        connection.execute(CLOCK)
        name = connection.info.dbname
        connection.execute(
            f'ALTER ROLE tallystick_login IN DATABASE "{name}" SET search_path = clock, pg_catalog, public'.encode()
        )


def take_clock_away(database: ShardDatabase) -> None:
    """Leave the database as others check it."""
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER ROLE tallystick_login IN DATABASE "{name}" RESET search_path'.encode())
        connection.execute("DROP SCHEMA clock CASCADE")


def set_clock(database: ShardDatabase, ahead_seconds: float) -> None:
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute("UPDATE clock.ahead SET seconds = %s", (ahead_seconds,))


def is_now(answer: object) -> bool:
    assert isinstance(answer, views.Transaction), answer
    return abs(answer.recorded_at - datetime.now(UTC)) < timedelta(seconds=CLOSE_SECONDS)


async def becomes_payable(ledger: Ledger, source: str, destination: str, key: str) -> object:
    """Ask again and again, as callers do."""
    async with asyncio.timeout(CLOSE_SECONDS):
        while True:
            try:
                return await ledger.transfer(source, destination, 1, "USD", idempotency_key=key)
            except UnavailableError:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("ahead_seconds", [30 * DAY_SECONDS, -30 * DAY_SECONDS, 60])
@pytest.mark.parametrize("cross_shard", ["saga", "two_phase"])
async def test_a_clock_that_jumps_is_not_written(
    shards: TwoShards, ahead_seconds: int, cross_shard: str
) -> None:
    for database in shards:
        make_clock(database)
    async with running(Engine(shards.dsns, cross_shard=cross_shard)) as engine:
        ledger = Ledger(engine, 1)
        (payer,), (payee,) = await open_accounts(ledger, HOME, 1), await open_accounts(ledger, AWAY, 1)
        await fund(ledger, HOME, [payer], 100)
        source, destination = account_name(payer), account_name(payee)
        assert is_now(await becomes_payable(ledger, source, destination, "before"))
        for database in shards:
            set_clock(database, ahead_seconds)
        with capture_logs() as logs:
            for number in range(3):
                with pytest.raises(UnavailableError):
                    await ledger.transfer(source, destination, 1, "USD", idempotency_key=f"while {number}")
        assert any(
            line["event"] == Alarm.CLOCKS_DIFFER.text and "NTP" in str(line["reason"]) for line in logs
        )
        difference = REGISTRY.get_sample_value("tallystick_clock_difference_seconds", {"shard": str(HOME)})
        assert difference == pytest.approx(ahead_seconds, abs=CLOSE_SECONDS)
        for database in shards:
            set_clock(database, 0)
        assert is_now(await becomes_payable(ledger, source, destination, "after"))
        balance = await ledger.balance(source, strong=True)
        assert isinstance(balance, views.Balance)
        # What was asked for while the clock was wrong was not done.
        assert balance.balance == 98
    for database in shards:
        take_clock_away(database)
    await asyncio.to_thread(assert_whole_together, shards)


async def test_a_log_that_is_ahead_goes_on_with_a_larger_tolerance(
    shards: TwoShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Books of a time in which all clocks were wrong."""
    make_clock(shards.home)
    set_clock(shards.home, 20)
    dsns = {HOME: shards.home.server_dsn}
    async with running(Engine(dsns, clock_tolerance_seconds=60)) as engine:
        ledger = Ledger(engine, 1)
        one, other = (account_name(account) for account in await open_accounts(ledger, HOME, 2))
    set_clock(shards.home, 0)
    monkeypatch.setattr(limits, "CONNECT_TIMEOUT_SECONDS", 2)
    strict = Engine(dsns)
    await strict.start()
    try:
        with pytest.raises(UnavailableError):
            await strict.connected()
    finally:
        await strict.stop()
    async with running(Engine(dsns, clock_tolerance_seconds=60)) as engine:
        refused = await Ledger(engine, 1).transfer(one, other, 1, "USD", idempotency_key="one")
        assert not isinstance(refused, views.Transaction)


@pytest.mark.parametrize(
    ("database_seconds", "head_seconds", "asked_seconds_ago", "right"),
    [
        (0, 0, 0, True),
        (9, 0, 0, True),
        (-9, 0, 0, True),
        (11, 0, 0, False),
        (-11, 0, 0, False),
        # It was said at any moment since the question.
        (-20, 0, 30, True),
        (-45, 0, 30, False),
        (0, 9, 0, True),
        (0, 11, 0, False),
    ],
)
def test_what_agrees(database_seconds: int, head_seconds: int, asked_seconds_ago: int, right: bool) -> None:
    clock = Clock(HOME)
    now_us = clock.own_us()
    database_us = now_us + database_seconds * SECOND_US
    head_us = now_us + head_seconds * SECOND_US if head_seconds else 0
    asked_at_us = now_us - asked_seconds_ago * SECOND_US
    if right:
        assert clock.recorded_at_us(database_us, head_us, asked_at_us) == max(database_us, head_us)
    else:
        with pytest.raises(ClockError):
            clock.recorded_at_us(database_us, head_us, asked_at_us)
