"""Two shards, accounts on each of them, and what must be true of both together when no saga is open."""

import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import combinations, count, product
from typing import NamedTuple

import psycopg

from tallystick import Ledger
from tallystick.domain.accounts import AccountKind, AccountStatus
from tallystick.domain.commands import ChangeAccount, OpenAccount, Transfer
from tallystick.domain.derived_accounts import clearing_owner
from tallystick.domain.fingerprint import request_key
from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier
from tallystick.domain.limits import LOCAL_NUMBER_MAX
from tallystick.domain.outcomes import Posted
from tallystick.domain.sagas import SagaState
from tallystick.embedded.postgres import EmbeddedPostgres
from tallystick.ledger.shard import Shard
from tallystick.service.engine import Engine
from tallystick.service.transactions import TransferRequest
from tallystick.verify.crossings import verify_crossings
from tallystick.verify.log import verify_shard
from tests.crash.databases import ShardDatabase, one_value, temporary_database

HOME, AWAY, FURTHER = 1, 2, 3
TENANT = 1
_owners = count(1)

NEWEST_ENTRIES = (
    "SELECT DISTINCT ON (account) account, balance, coalesce(held_after, 0) FROM entries"
    " ORDER BY account, position DESC"
)
OPEN_SAGAS = (
    "SELECT count(*) FROM sagas AS reserved WHERE status = 1 AND NOT EXISTS"
    " (SELECT FROM sagas AS ended WHERE ended.saga = reserved.saga"
    " AND (ended.status IN (3, 5) OR ended.counterpart IS NOT NULL))"
)


class Funds(NamedTuple):
    """What an account has, and what of it is held."""

    balance: int
    held: int


class TwoShards(tuple[ShardDatabase, ...]):
    """The databases of shard 1 and of shard 2."""

    __slots__ = ()

    @property
    def home(self) -> ShardDatabase:
        return self[0]

    @property
    def away(self) -> ShardDatabase:
        return self[1]

    @property
    def dsns(self) -> dict[int, str]:
        return {number: database.server_dsn for number, database in enumerate(self, HOME)}

    def open_sagas(self) -> int:
        """How many sagas have not ended."""
        return sum(one_value(database.owner_dsn, OPEN_SAGAS) for database in self)

    def requests(self) -> int:
        """How many keys are taken, by requests and by claims."""
        return sum(one_value(database.owner_dsn, "SELECT count(*) FROM requests") for database in self)

    def clearing_account(self, number: int, asset: str, other: int | None = None) -> int:
        """The clearing account of one of the shards with the other; 0 when there is none yet."""
        other = other or (AWAY if number == HOME else HOME)
        return one_value(
            self[number - HOME].owner_dsn,
            "SELECT coalesce((SELECT account FROM accounts WHERE kind = 3 AND owner = %s AND asset = %s), 0)",
            clearing_owner(other),
            asset,
        )

    def funds(self) -> dict[int, Funds]:
        """The newest state of all accounts that were ever moved."""
        found = {}
        for database in self:
            with psycopg.connect(database.owner_dsn) as connection:
                for account, balance, held in connection.execute(NEWEST_ENTRIES):
                    found[account] = Funds(balance, held)
        return found


class ThreeShards(TwoShards):
    """The same, and the database of shard 3."""

    __slots__ = ()


@contextmanager
def two_shards(server: EmbeddedPostgres, other_server: EmbeddedPostgres | None = None) -> Iterator[TwoShards]:
    """Two empty shards: on one server, or on two."""
    with (
        temporary_database(server) as one,
        temporary_database(other_server or server, number=AWAY) as other,
    ):
        yield TwoShards((one, other))


@contextmanager
def three_shards(server: EmbeddedPostgres) -> Iterator[ThreeShards]:
    """Three empty shards on one server."""
    with two_shards(server) as two, temporary_database(server, number=FURTHER) as third:
        yield ThreeShards((*two, third))


@asynccontextmanager
async def serving(dsns: dict[int, str], *, workers: bool = True) -> AsyncIterator[Ledger]:
    """A ledger over both shards, in this process. Without its workers it does nothing but what it is asked."""
    engine = Engine(dsns)
    if workers:
        await engine.start()
    else:
        for shard in engine.router.shards:
            await shard.start()
    try:
        await engine.connected()
        yield Ledger(engine, TENANT)
    finally:
        await engine.stop()


def shard_in(ledger: Ledger, number: int) -> Shard:
    """One of the shards that a ledger serves."""
    return next(shard for shard in ledger._engine.router.shards if shard.number == number)


async def open_accounts(
    ledger: Ledger,
    number: int,
    how_many: int,
    *,
    kind: AccountKind = AccountKind.WALLET,
    max_balance: int | None = None,
    asset: str = "USD",
) -> list[int]:
    """New accounts on a shard, wherever their owners would be placed."""
    accounts = [make_identifier(number, 1 + secrets.randbelow(LOCAL_NUMBER_MAX)) for _ in range(how_many)]
    minimum = 0 if kind is AccountKind.WALLET else None
    answers = await shard_in(ledger, number).batcher.submit(
        [
            OpenAccount(
                tenant=TENANT,
                account=account,
                owner=f"owner {next(_owners)}",
                asset=asset,
                kind=kind,
                min_balance=minimum,
                max_balance=max_balance,
            )
            for account in accounts
        ]
    )
    assert len(answers) == how_many
    return accounts


async def fund(ledger: Ledger, number: int, accounts: Sequence[int], amount: int) -> None:
    """Give each of these accounts of a shard an amount, from a bank that may go below zero."""
    (bank,) = await open_accounts(ledger, number, 1, kind=AccountKind.SYSTEM)
    commands = [transfer_command(ledger, bank, account, amount, f"fund {account}") for account in accounts]
    for answer in await shard_in(ledger, number).batcher.submit(commands):
        assert answer.appended, answer


async def set_status(ledger: Ledger, number: int, accounts: Sequence[int], status: AccountStatus) -> None:
    """Open, freeze or close accounts of a shard."""
    commands = [ChangeAccount(tenant=TENANT, account=account, status=status) for account in accounts]
    for answer in await shard_in(ledger, number).batcher.submit(commands):
        assert answer.appended, answer


def transfer_command(ledger: Ledger, source: int, destination: int, amount: int, key: str) -> Transfer:
    """The command that `Ledger.transfer` submits for the same request."""
    request = TransferRequest(account_name(source), account_name(destination), amount, "USD", key)
    return ledger._transfer_command(request, "")


async def reserve(ledger: Ledger, pairs: Sequence[tuple[int, int]], amount: int, key: str) -> list[SagaState]:
    """Begin to transfer from shard 1 to shard 2, with keys that begin so, and go no further."""
    shard = shard_in(ledger, HOME)
    commands = [transfer_command(ledger, source, to, amount, f"{key} {source}") for source, to in pairs]
    answers = await shard.batcher.submit(commands)
    positions = [answer.outcome.position for answer in answers if isinstance(answer.outcome, Posted)]
    assert len(positions) == len(pairs), answers
    sagas = await shard.reader.sagas(positions)
    return [sagas[position] for position in positions]


def key_at_home_on(ledger: Ledger, number: int, name: str) -> str:
    """An idempotency key that begins so and whose home is a shard."""
    placement = ledger._engine.router.placement
    keys = (f"{name} {turn}" for turn in count())
    return next(key for key in keys if placement.homes_of_key(request_key(TENANT, key)) == [number])


def account_name(account: int) -> str:
    """An account as callers name it."""
    return format_identifier(Prefix.ACCOUNT, account)


def assert_whole_together(
    shards: TwoShards, *, assets: Sequence[str] = ("USD",), verified: bool = True
) -> None:
    """No saga is open, money is conserved on each shard and over both, the clearing accounts mirror each other."""
    assert shards.open_sagas() == 0
    for database in shards:
        unbalanced = one_value(
            database.owner_dsn,
            "SELECT count(*) FROM (SELECT asset FROM entries GROUP BY asset HAVING sum(amount) <> 0) AS wrong",
        )
        assert unbalanced == 0
    funds = shards.funds()
    for asset, (one, other) in product(assets, combinations(shards.dsns, 2)):
        here = funds.get(shards.clearing_account(one, asset, other), Funds(0, 0))
        there = funds.get(shards.clearing_account(other, asset, one), Funds(0, 0))
        assert here.balance == -there.balance, f"{asset}: {here} on shard {one}, {there} on shard {other}"
    if verified:
        for number, dsn in shards.dsns.items():
            report = verify_shard(dsn, number)
            assert report.ok, report.problems
        crossings = verify_crossings(shards.dsns)
        assert crossings.ok, crossings.problems
