"""Names that callers choose, chosen so that two accounts of the ledger's own would get one identifier.

The two asset codes were found in a few minutes: an identifier has 51 bits of its own, so sixty million codes are
enough.
"""

import asyncio
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
import pytest
from structlog.testing import capture_logs

from tallystick import Ledger, views
from tallystick.domain import derived_accounts
from tallystick.domain.accounts import AccountKind
from tallystick.domain.commands import OpenAccount
from tallystick.domain.derived_accounts import Derivation
from tallystick.domain.identifiers import make_identifier
from tallystick.domain.limits import (
    ALARM_SECONDS,
    ALARMS_AT_A_TIME,
    LOCAL_NUMBER_MAX,
    SAGA_WAIT_SECONDS_MAX,
    SAGA_WAIT_SECONDS_MIN,
)
from tallystick.domain.outcomes import RefusalCode, Refused
from tallystick.domain.rules import saga_steps
from tallystick.verify.crossings import verify_crossings
from tallystick.verify.log import verify_shard
from tallystick.verify.problems import ProblemKind
from tests.crash.two_shards import (
    AWAY,
    HOME,
    TENANT,
    TwoShards,
    account_name,
    assert_whole_together,
    open_accounts,
    serving,
    shard_in,
)

COLLIDING: Final = ("A008MKB", "A1BKR9S")
FUNDS: Final = 1_000
ASKED_AGAIN: Final = 200


def former_number(other_shard: int, tenant: int, asset: str) -> int:
    """The number of a clearing account as it followed from the names alone."""
    digest = hashlib.sha256(f"tallystick clearing {other_shard} {tenant} {asset}".encode()).digest()
    return 1 + int.from_bytes(digest[:8], "big") % LOCAL_NUMBER_MAX


@contextmanager
def before_shards_had_keys() -> Iterator[None]:
    """Let identifiers follow from the names alone."""
    right = derived_accounts._identifiers

    def from_names(derivation: Derivation, name: bytes) -> tuple[int, int]:
        _, former = right(derivation, name)
        return former, former

    forget()
    derived_accounts._identifiers = from_names
    try:
        yield
    finally:
        derived_accounts._identifiers = right
        forget()


def forget() -> None:
    derived_accounts._clearing.cache_clear()
    derived_accounts._of_system_owner.cache_clear()


class Wallets:
    """A wallet on each shard in each of the two assets; the one on shard 1 has money."""

    def __init__(self) -> None:
        self.payers: dict[str, int] = {}
        self.payees: dict[str, int] = {}

    async def open(self, ledger: Ledger) -> None:
        for asset in COLLIDING:
            (bank,) = await open_accounts(ledger, HOME, 1, kind=AccountKind.SYSTEM, asset=asset)
            (self.payers[asset],) = await open_accounts(ledger, HOME, 1, asset=asset)
            (self.payees[asset],) = await open_accounts(ledger, AWAY, 1, asset=asset)
            funded = await ledger.transfer(
                account_name(bank), account_name(self.payers[asset]), FUNDS, asset, idempotency_key=f"{bank}"
            )
            assert isinstance(funded, views.Transaction)

    async def pay(self, ledger: Ledger, asset: str, key: str) -> views.Transaction | Refused:
        payer, payee = self.payers[asset], self.payees[asset]
        return await ledger.transfer(
            account_name(payer), account_name(payee), 10, asset, idempotency_key=f"{asset} {key}"
        )


def assert_verified(shards: TwoShards) -> None:
    assert_whole_together(shards, assets=COLLIDING)
    report = verify_crossings(shards.dsns)
    assert report.ok, report.problems


async def test_assets_chosen_to_collide_both_cross(shards: TwoShards) -> None:
    first, second = (former_number(AWAY, TENANT, asset) for asset in COLLIDING)
    assert first == second
    async with serving(shards.dsns) as ledger:
        wallets = Wallets()
        await wallets.open(ledger)
        for asset in COLLIDING:
            found = await wallets.pay(ledger, asset, "attack")
            assert isinstance(found, views.Transaction)
            assert found.state == "posted", f"{asset} can never end"
    await asyncio.to_thread(assert_verified, shards)


async def test_what_was_opened_before_shards_had_keys_stays_and_harms_no_other(shards: TwoShards) -> None:
    earlier, later = COLLIDING
    wallets = Wallets()
    with before_shards_had_keys():
        async with serving(shards.dsns) as ledger:
            await wallets.open(ledger)
            assert isinstance(await wallets.pay(ledger, earlier, "before"), views.Transaction)
            assert isinstance(
                await ledger.transfer(
                    "@bank", account_name(wallets.payees[earlier]), 5, earlier, idempotency_key="bank before"
                ),
                views.Transaction,
            )
    opened = shards.clearing_account(HOME, earlier)
    assert opened == make_identifier(HOME, former_number(AWAY, TENANT, earlier))
    async with serving(shards.dsns) as ledger:
        for asset in COLLIDING:
            found = await wallets.pay(ledger, asset, "since")
            assert isinstance(found, views.Transaction)
            assert found.state == "posted"
        banked = await ledger.transfer(
            "@bank", account_name(wallets.payees[earlier]), 5, earlier, idempotency_key="bank since"
        )
        assert isinstance(banked, views.Transaction)
        banks = (await ledger.accounts("@bank")).items
    assert len(banks) == 1
    assert banks[0].balance == -10
    assert shards.clearing_account(HOME, earlier) == opened
    assert shards.clearing_account(HOME, later) not in (0, opened)
    assert shards.funds()[opened].balance == 20
    await asyncio.to_thread(assert_verified, shards)


async def test_what_was_stuck_is_named_and_goes_on_when_shards_have_keys(
    shards: TwoShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was: identifiers follow from names, and nothing is compared before money is set aside."""
    wallets = Wallets()
    first, second = COLLIDING
    with monkeypatch.context() as patched, before_shards_had_keys():
        patched.setattr(saga_steps, "taken_clearing", lambda *_: None)
        async with serving(shards.dsns) as ledger:
            ledger._engine.saga_wait_seconds = SAGA_WAIT_SECONDS_MIN
            await wallets.open(ledger)
            assert isinstance(await wallets.pay(ledger, first, "first"), views.Transaction)
            stuck = await wallets.pay(ledger, second, "second")
            assert isinstance(stuck, views.Transaction)
            assert stuck.state == "pending"
            began = time.monotonic()
            with capture_logs() as logs:
                for _ in range(ASKED_AGAIN):
                    await wallets.pay(ledger, second, "second")
            minutes = 1 + int((time.monotonic() - began) / ALARM_SECONDS)
            alarms = [one for one in logs if str(one["event"]).startswith("ALARM")]
            # Each sort of alarm is bounded: a command that failed, a saga that cannot go on, one that is old.
            assert len(alarms) <= 3 * ALARMS_AT_A_TIME * (1 + minutes), alarms[0]
        report = await asyncio.to_thread(verify_shard, shards.home.server_dsn, HOME)
        assert report.counts == {ProblemKind.SAGA_STUCK: 1}
    assert shards.open_sagas() == 1
    async with serving(shards.dsns) as ledger:
        ledger._engine.saga_wait_seconds = SAGA_WAIT_SECONDS_MAX
        ended = await wallets.pay(ledger, second, "second")
        assert isinstance(ended, views.Transaction)
        assert ended.state == "posted"
    await asyncio.to_thread(assert_verified, shards)


@pytest.mark.parametrize("way", ["transfer", "transaction", "hold"])
async def test_an_identifier_that_is_taken_is_refused_before_anything_is_held(
    shards: TwoShards, way: str
) -> None:
    first, second = COLLIDING
    wallets = Wallets()
    with before_shards_had_keys():
        async with serving(shards.dsns) as ledger:
            await wallets.open(ledger)
            assert isinstance(await wallets.pay(ledger, first, "first"), views.Transaction)
            payer, payee = account_name(wallets.payers[second]), account_name(wallets.payees[second])
            if way == "transfer":
                refused: object = await wallets.pay(ledger, second, "second")
            elif way == "transaction":
                refused = await ledger.post([(payer, -10), (payee, 10)], idempotency_key="second")
            else:
                refused = await ledger.hold(payer, payee, 10, second, idempotency_key="second")
            assert isinstance(refused, Refused)
            assert refused.code is RefusalCode.IDENTIFIER_TAKEN
            state = await ledger.account(payer)
            assert isinstance(state, views.Account)
            assert (state.balance, state.held) == (FUNDS, 0)
    assert shards.open_sagas() == 0


async def test_an_account_that_has_the_identifier_of_a_payees_clearing_account_gives_the_money_back(
    shards: TwoShards,
) -> None:
    """The payees' shard finds out when it is to credit: it refuses, and the saga ends."""
    wallets = Wallets()
    asset = COLLIDING[0]
    async with serving(shards.dsns) as ledger:
        ledger._engine.saga_wait_seconds = SAGA_WAIT_SECONDS_MAX
        await wallets.open(ledger)
        there = shard_in(ledger, AWAY)
        identifier = there.batcher.derivation.clearing(HOME, TENANT, asset).account
        await there.batcher.submit(
            [
                OpenAccount(
                    tenant=TENANT,
                    account=identifier,
                    owner="by chance",
                    asset=asset,
                    kind=AccountKind.CLEARING,
                    min_balance=None,
                    max_balance=None,
                )
            ]
        )
        found = await wallets.pay(ledger, asset, "in vain")
        assert isinstance(found, Refused)
        assert found.code is RefusalCode.IDENTIFIER_TAKEN
        state = await ledger.account(account_name(wallets.payers[asset]))
        assert isinstance(state, views.Account)
        assert (state.balance, state.held) == (FUNDS, 0)
    assert shards.open_sagas() == 0


async def test_a_system_owner_takes_no_account_of_another_tenant(shards: TwoShards) -> None:
    """Who could aim at the identifiers of another tenant's fees could open them first."""
    wallets = Wallets()
    asset = COLLIDING[0]
    async with serving(shards.dsns) as ledger:
        await wallets.open(ledger)
        shard = shard_in(ledger, HOME)
        derived = shard.batcher.derivation.of_system_owner(TENANT, "@fees", asset)
        await shard.batcher.submit(
            [
                OpenAccount(
                    tenant=TENANT + 1,
                    account=derived.former,
                    owner="@fees",
                    asset=asset,
                    kind=AccountKind.SYSTEM,
                    min_balance=None,
                    max_balance=None,
                )
            ]
        )
        paid = await ledger.transfer(
            account_name(wallets.payers[asset]), "@fees", 10, asset, idempotency_key="fee"
        )
        assert isinstance(paid, views.Transaction)
        assert account_name(derived.account) in {entry.account for entry in paid.entries}


def test_the_key_of_a_shard_is_drawn_once_and_kept(shards: TwoShards) -> None:
    keys = set()
    for database in shards:
        with psycopg.connect(database.server_dsn) as connection:
            (row,) = connection.execute("SELECT key, since_position FROM account_key").fetchall()
        keys.add(row[0])
        assert row[1] == 0
        with (
            psycopg.connect(database.owner_dsn) as connection,
            pytest.raises(psycopg.errors.IntegrityConstraintViolation),
        ):
            connection.execute("UPDATE account_key SET since_position = 1")
    assert len(keys) == len(shards)
