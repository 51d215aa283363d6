"""Read one shard: accounts, balances, histories and records. Each read is a few index descents."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from tallystick.domain.accounts import AccountState
from tallystick.domain.commands import ACCOUNT_KINDS, HOLD_KINDS, SAGA_KINDS, Kind
from tallystick.domain.holds import HoldState
from tallystick.domain.limits import INT64_MAX
from tallystick.domain.outcomes import Asked, Posted
from tallystick.domain.record import Record
from tallystick.domain.rows import EntryRow, TransactionRow
from tallystick.domain.sagas import SagaState, credit_request
from tallystick.domain.snapshot import RecordedRequest
from tallystick.store.connection import Database
from tallystick.store.log import Row, account_state, hold_state, recorded_request, saga_state


class PastBalance(NamedTuple):
    """An account's balance at a time, its held part (None: not known at that time), and the position."""

    balance: int
    held: int | None
    position: int


class HistoryRow(NamedTuple):
    """One entry of an account with its transaction."""

    entry: EntryRow
    transaction: TransactionRow


class HoldToExpire(NamedTuple):
    """A hold that has expired. `open` is False if it ended in another way before."""

    hold: int
    expires_at_us: int
    tenant: int
    open: bool


class PassedEntries(NamedTuple):
    """Entries of a part of the log, in order, as columns: the change of each account, and the state after it."""

    account: list[int]
    position: list[int]
    amount: list[int]
    balance: list[int]
    held: list[int]
    held_after: list[int]
    tenant: list[int]
    asset: list[str]


class UnfinishedSaga(NamedTuple):
    """A saga that has not ended: the position that reserved it, and microseconds since then by the shard's clock."""

    saga: int
    age_us: int


class Reader:
    """Reads one shard's log. When it cannot, every method raises what the database's `rows` raises."""

    def __init__(self, database: Database) -> None:
        self._rows = database.rows

    async def ping(self) -> None:
        """Make one round trip."""
        await self._rows("ping")

    async def accounts(self, accounts: Collection[int]) -> dict[int, AccountState]:
        """The newest state of accounts, by identifier; unknown ones are left out."""
        rows = await self._rows("account_states", list(accounts), [], [])
        return {row[0]: account_state(row) for row in rows}

    async def account_count(self, tenant: int) -> int:
        """The number of a tenant's accounts on this shard. The cost grows with them."""
        (row,) = await self._rows("account_count", tenant)
        return int(row[0])

    async def accounts_of_owner(
        self, tenant: int, owner: str, after: int, row_count: int
    ) -> list[AccountState]:
        """One page of an owner's accounts, in the order of their identifiers."""
        rows = await self._rows("accounts_of_owner", tenant, owner, after, row_count)
        identifiers = [row[0] for row in rows]
        states = await self.accounts(identifiers)
        return [states[account] for account in identifiers]

    async def balance_at(self, account: int, at_us: int) -> PastBalance:
        """The balance as it was recorded at a past time: two index descents."""
        rows = await self._rows("balance_at", account, at_us)
        return PastBalance(*rows[0]) if rows else PastBalance(0, 0, 0)

    async def balance_effective(self, account: int, at_us: int) -> PastBalance:
        """The balance by effective time. It sums the account's history, and the cost grows with that."""
        rows = await self._rows("balance_effective", account, at_us)
        balance, position = rows[0]
        return PastBalance(int(balance), None, position)

    async def history(self, account: int, before: int | None, row_count: int) -> list[HistoryRow]:
        """One page of an account's entries below a position, newest first."""
        rows = await self._rows("history", account, before or INT64_MAX, row_count)
        return [history_row(account, row) for row in rows]

    async def records(self, positions: Collection[int]) -> dict[int, Record]:
        """The records of the transactions at these positions. Unknown positions are left out."""
        wanted = list(positions)
        found: dict[int, tuple[TransactionRow, list[EntryRow]]] = {}
        for row in await self._rows("records", wanted):
            transaction = _transaction_row(row[:8])
            _, entries = found.setdefault(transaction.position, (transaction, []))
            if row[8] is not None:
                account, amount, balance, held, held_after, bound, asset = row[8:]
                entries.append(
                    EntryRow(account, transaction.position, amount, balance, held, held_after, bound, asset)
                )
        accounts: dict[int, AccountState] = {}
        holds: dict[int, HoldState] = {}
        sagas: dict[int, SagaState] = {}
        kinds = {transaction.kind for transaction, _ in found.values()}
        if kinds & ACCOUNT_KINDS:
            accounts = {row[0]: account_state(row[1:]) for row in await self._rows("record_accounts", wanted)}
        if kinds & (HOLD_KINDS | SAGA_KINDS):
            holds = {row[1]: hold_state(row) for row in await self._rows("record_holds", wanted)}
        if kinds & SAGA_KINDS:
            sagas = await self._sagas_at(transaction for transaction, _ in found.values())
        asked = await self._asked(transaction for transaction, _ in found.values())
        asked |= await self._asked_before(sagas)
        return {
            position: Record(
                transaction,
                tuple(entries),
                accounts.get(position),
                holds.get(position),
                sagas.get(position),
                asked=asked.get(position),
            )
            for position, (transaction, entries) in found.items()
        }

    async def _asked(self, transactions: Iterable[TransactionRow]) -> dict[int, Asked]:
        """What was asked for, as credits record it, by the position of the credit."""
        keys = {
            credit_request(row.reference).key: row.position
            for row in transactions
            if row.kind is Kind.TRANSFER_CREDITED
        }
        claims = await self.requests(keys) if keys else {}
        return {
            keys[key]: claim.outcome.asked
            for key, claim in claims.items()
            if isinstance(claim.outcome, Posted) and claim.outcome.asked is not None
        }

    async def _asked_before(self, sagas: Mapping[int, SagaState]) -> dict[int, Asked]:
        """The payments that sagas reverse whose terms do not name them, by the position of the transaction."""
        credits_of = {
            position: saga.terms.reference
            for position, saga in sagas.items()
            if saga.terms.operation is Kind.REVERSAL and saga.terms.reverses is None
        }
        if not credits_of:
            return {}
        rows = await self._rows("records", list(set(credits_of.values())))
        payments = {
            credit.position: credit.refers_to for credit in (_transaction_row(row[:8]) for row in rows)
        }
        return {position: Asked(Kind.REVERSAL, payments[credit]) for position, credit in credits_of.items()}

    async def _sagas_at(self, transactions: Iterable[TransactionRow]) -> dict[int, SagaState]:
        """The newest state of the sagas of these transactions, by the transaction's position."""
        steps = {
            row.position: row.position if row.kind is Kind.TRANSFER_RESERVED else row.reference
            for row in transactions
            if row.kind in SAGA_KINDS
        }
        sagas = await self.sagas(set(steps.values()))
        return {position: sagas[saga] for position, saga in steps.items()}

    async def sagas(self, sagas: Collection[int]) -> dict[int, SagaState]:
        """The newest state of sagas, by the position that reserved them."""
        return {row[0]: saga_state(row) for row in await self._rows("saga_states", list(sagas))}

    async def still_open_sagas(self, sagas: Collection[int]) -> list[UnfinishedSaga]:
        """Those of these sagas that have not ended."""
        return [UnfinishedSaga(*row) for row in await self._rows("still_open_sagas", list(sagas))]

    async def requests(self, keys: Iterable[bytes]) -> dict[bytes, RecordedRequest]:
        """The recorded requests, by their keys. Unknown ones are left out."""
        rows = await self._rows("requests", [key.hex() for key in keys])
        return {row[0].bytes: recorded_request(*row[1:]) for row in rows}

    async def head_position(self) -> int:
        """The last position of the log."""
        (row,) = await self._rows("log_head")
        return int(row[0])

    async def empty_through(self, after: int, head: int) -> int:
        """The end of the positions without transactions that follow a position: itself, unless the log lost some.

        Followers that find nothing go on there: a restore may have left more positions than can be looked through.
        """
        rows = await self._rows("next_transaction", after)
        return min(head, rows[0][0] - 1) if rows else head

    async def entries_between(self, after: int, last: int) -> PassedEntries:
        """The entries after one position up to another, in order."""
        (row,) = await self._rows("entries_between", after, last)
        return PassedEntries(*row)

    async def open_sagas(self, after: int, row_count: int) -> list[UnfinishedSaga]:
        """Sagas that have not ended, from a position on."""
        return [UnfinishedSaga(*row) for row in await self._rows("open_sagas", after, row_count)]

    async def holds(self, holds: Collection[int]) -> dict[int, HoldState]:
        """The newest state of holds, by the position that placed them."""
        return {row[0]: hold_state(row) for row in await self._rows("hold_states", list(holds))}

    async def hold_change(self, hold: int) -> int:
        """The position of a hold's newest change, without captures that another shard refused."""
        (row,) = await self._rows("hold_change", hold)
        return int(row[0])

    async def holds_to_expire(self, after_us: int, after_hold: int, row_count: int) -> list[HoldToExpire]:
        """Expired holds, from a point in the order of their expiry."""
        rows = await self._rows("holds_to_expire", after_us, after_hold, row_count)
        return [HoldToExpire(hold, at_us, tenant, status == 1) for hold, at_us, tenant, status in rows]


def _transaction_row(row: Row) -> TransactionRow:
    position, recorded_at_us, tenant, kind, effective_at_us, refers_to, description, metadata = row
    return TransactionRow(
        position, recorded_at_us, tenant, Kind(kind), effective_at_us, refers_to, description, metadata
    )


def history_row(account: int, row: Row) -> HistoryRow:
    """An entry and its transaction, from a row of `history` or `statement_entries`."""
    position, amount, balance, held, held_after, bound, asset, recorded_at_us, *rest = row
    entry = EntryRow(account, position, amount, balance, held, held_after, bound, asset)
    return HistoryRow(entry, _transaction_row((position, recorded_at_us, *rest)))
