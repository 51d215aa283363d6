"""The calls about accounts: open and change them, read balances and histories."""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from tallystick.domain import limits
from tallystick.domain.accounts import DEFAULT_MIN_BALANCE, AccountKind, AccountStatus
from tallystick.domain.commands import ChangeAccount, Command, OpenAccount
from tallystick.domain.fingerprint import Field, Operation
from tallystick.domain.identifiers import make_identifier, shard_of
from tallystick.domain.outcomes import RefusalCode, Refused, refuse
from tallystick.domain.rules.accounts import IdentifierTakenError
from tallystick.ledger.balances import FoundBalance
from tallystick.ledger.errors import FaultyCommandError
from tallystick.ledger.shard import Shard
from tallystick.service import parameters, views
from tallystick.service.cursor import read_cursor, write_cursor
from tallystick.service.errors import ParameterError
from tallystick.service.tenancy import UNSET, Amount, Metadata, Tenancy, Unset

# Clearing accounts are opened by what crosses shards, and by nobody else.
_KINDS: Final = {kind.name.lower(): kind for kind in (AccountKind.WALLET, AccountKind.SYSTEM)}
_STATUSES: Final = {status.name.lower(): status for status in AccountStatus}
_DRAWS_MAX: Final = 3


class AccountCalls(Tenancy):
    """Open, change and read one tenant's accounts."""

    async def open_account(
        self,
        owner: str,
        asset: str,
        *,
        kind: str = "wallet",
        min_balance: Amount | None | Unset = UNSET,
        max_balance: Amount | None = None,
        metadata: Metadata = None,
        idempotency_key: str | None = None,
    ) -> views.Account | Refused:
        """Open an account. A wallet may not be overdrawn (`min_balance` 0) unless it is said otherwise."""
        parameters.text(owner, "owner", limits.OWNER_CHARACTERS_MAX)
        account_kind = parameters.choice(kind, _KINDS, "kind")
        lower = (
            DEFAULT_MIN_BALANCE[account_kind]
            if isinstance(min_balance, Unset)
            else _optional(min_balance, "min_balance")
        )
        upper = _optional(max_balance, "max_balance")
        written_metadata = parameters.metadata(metadata)
        if await self._engine.assets.find(self._tenant, asset) is None:
            raise ParameterError("asset", "expected the code of an asset: see GET /v1/assets")
        request = self._optional_request(
            idempotency_key, Operation.OPEN_ACCOUNT, owner, asset, kind, lower, upper, written_metadata
        )
        async with self._engine.router.opening(self._tenant, owner) as shard:
            for _ in range(_DRAWS_MAX):
                command = OpenAccount(
                    tenant=self._tenant,
                    request=request,
                    account=make_identifier(shard.number, 1 + secrets.randbelow(limits.LOCAL_NUMBER_MAX)),
                    owner=owner,
                    asset=asset,
                    kind=account_kind,
                    min_balance=lower,
                    max_balance=upper,
                    metadata=written_metadata,
                )
                try:
                    return await self._account_answer(shard, command)
                except IdentifierTakenError:
                    continue
        raise FaultyCommandError("three random identifiers in a row were taken")

    async def change_account(
        self,
        account: str,
        *,
        status: str | Unset = UNSET,
        min_balance: Amount | None | Unset = UNSET,
        max_balance: Amount | None | Unset = UNSET,
        metadata: Metadata | Unset = UNSET,
        idempotency_key: str | None = None,
    ) -> views.Account | Refused:
        """Freeze, unfreeze (`status="open"`), close, reopen; change bounds or metadata. None removes a bound."""
        identifier = parameters.account(account, "id")
        new_status = status if isinstance(status, Unset) else parameters.choice(status, _STATUSES, "status")
        lower = min_balance if isinstance(min_balance, Unset) else _optional(min_balance, "min_balance")
        upper = max_balance if isinstance(max_balance, Unset) else _optional(max_balance, "max_balance")
        written_metadata = metadata if isinstance(metadata, Unset) else parameters.metadata(metadata)
        changes = (new_status, lower, upper, written_metadata)
        if all(isinstance(change, Unset) for change in changes):
            raise ParameterError(
                "status", "expected at least one of status, min_balance, max_balance, metadata"
            )
        request = self._optional_request(
            idempotency_key, Operation.CHANGE_ACCOUNT, identifier, *map(_change_field, changes)
        )
        shard = self._shard(identifier)
        if shard is None:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "id")
        command = ChangeAccount(
            tenant=self._tenant,
            request=request,
            account=identifier,
            status=new_status,
            min_balance=lower,
            max_balance=upper,
            metadata=written_metadata,
        )
        return await self._account_answer(shard, command)

    async def account(self, account: str) -> views.Account | Refused:
        """An account as it is now, from the database."""
        found = await self._state(account)
        return found if isinstance(found, Refused) else views.account_view(found)

    async def accounts(
        self, owner: str, *, cursor: str | None = None, limit: int = limits.PAGE_ROWS_DEFAULT
    ) -> views.Page[views.Account]:
        """An owner's accounts: the wallet, one page at a time."""
        parameters.text(owner, "owner", limits.OWNER_CHARACTERS_MAX)
        parameters.between(limit, "limit", 1, limits.PAGE_ROWS_MAX)
        after = read_cursor(cursor) or 0
        states = await self._engine.router.accounts_of_owner(self._tenant, owner, after, limit + 1)
        last = states[limit - 1].terms.account if len(states) > limit else None
        return views.Page(
            [views.account_view(state) for state in states[:limit]],
            None if last is None else write_cursor(last),
        )

    async def balance(
        self,
        account: str,
        *,
        at: datetime | None = None,
        effective_at: datetime | None = None,
        min_position: int = 0,
        strong: bool = False,
    ) -> views.Balance | Refused:
        """An account's balance now, as recorded at a past time (`at`), or of what was effective by then.

        The balance now may come from the cache, unless `strong`; it is at least as new as `min_position`, such as
        the position of a transfer's answer. The balance at a past time is an index descent; `effective_at` sums the
        account's history.
        """
        if at is not None and effective_at is not None:
            raise ParameterError("effective_at", "expected only one of at and effective_at")
        at_us = None if at is None else parameters.past_time(at, "at")
        effective_us = None if effective_at is None else parameters.past_time(effective_at, "effective_at")
        if at_us is None and effective_us is None:
            return await self._balance_now(account, min_position, strong=strong)
        state = await self._state(account)
        if isinstance(state, Refused):
            return state
        identifier = state.terms.account
        shard = self._shard(identifier)
        if shard is None:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "id")
        if at_us is not None:
            then = await shard.reader.balance_at(identifier, at_us)
        else:
            then = await shard.reader.balance_effective(identifier, effective_us or 0)
        return msgspec.structs.replace(
            views.logged_balance_view(state),
            balance=then.balance,
            held=then.held,
            available=None if then.held is None else then.balance - then.held,
            position=then.position,
        )

    async def _balance_now(self, account: str, min_position: int, *, strong: bool) -> views.Balance | Refused:
        identifier = parameters.account(account, "id")
        shard = self._shard(identifier)
        if shard is None:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "id")
        read = await shard.balances.read([identifier], min_position=min_position, strong=strong)
        found = read.get(identifier)
        if found is None or found.balance.tenant != self._tenant:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "id")
        return views.balance_view(account, found)

    async def balances(self, accounts: Sequence[str], *, strong: bool = False) -> views.Balances:
        """The balances of up to 1,000 accounts now, on whichever shards; each once, in the order asked for."""
        parameters.between(len(accounts), "accounts", 1, limits.BALANCES_PER_REQUEST_MAX)
        wanted = {parameters.account(account, "accounts"): account for account in accounts}
        by_shard: dict[int, list[int]] = {}
        for identifier in wanted:
            by_shard.setdefault(shard_of(identifier), []).append(identifier)
        reads = [
            shard.balances.read(identifiers, strong=strong)
            for identifiers in by_shard.values()
            if (shard := self._shard(identifiers[0])) is not None
        ]
        found: dict[int, FoundBalance] = {}
        for read in await asyncio.gather(*reads):
            found.update(read)
        balances, not_found = [], []
        for identifier, account in wanted.items():
            one = found.get(identifier)
            if one is None or one.balance.tenant != self._tenant:
                not_found.append(account)
            else:
                balances.append(views.balance_view(account, one))
        return views.Balances(balances, not_found)

    async def entries(
        self, account: str, *, cursor: str | None = None, limit: int = limits.PAGE_ROWS_DEFAULT
    ) -> views.Page[views.HistoryEntry] | Refused:
        """An account's history with its running balance, newest first, one page at a time."""
        parameters.between(limit, "limit", 1, limits.PAGE_ROWS_MAX)
        before = read_cursor(cursor)
        state = await self._state(account)
        if isinstance(state, Refused):
            return state
        shard = self._shard(state.terms.account)
        if shard is None:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "id")
        rows = await shard.reader.history(state.terms.account, before, limit + 1)
        last = rows[limit - 1].entry.position if len(rows) > limit else None
        return views.Page(
            [views.history_view(shard.number, row.entry, row.transaction) for row in rows[:limit]],
            None if last is None else write_cursor(last),
        )

    async def _account_answer(self, shard: Shard, command: Command) -> views.Account | Refused:
        found = await self._submit(shard, command)
        if isinstance(found, Refused):
            return found
        if found.account is None:
            raise FaultyCommandError("the transaction changed no account")
        return views.account_view(found.account)


def _optional(value: Amount | None, param: str) -> int | None:
    return None if value is None else parameters.integer(value, param)


def _change_field(change: AccountStatus | int | str | None | Unset) -> Field:
    # None removes a bound, which is another request than leaving it as it is.
    if isinstance(change, Unset):
        return None
    return "none" if change is None else change
