"""The calls about accounts: open and change them, read balances and histories."""

import asyncio
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from tallystick import views
from tallystick.domain import limits
from tallystick.domain.accounts import DEFAULT_MIN_BALANCE, AccountKind, AccountStatus
from tallystick.domain.commands import ChangeAccount, Command, OpenAccount, RequestKey
from tallystick.domain.fingerprint import Field, RequestKind
from tallystick.domain.identifiers import Prefix, make_identifier, shard_of
from tallystick.domain.invariants import required
from tallystick.domain.outcomes import RefusalCode, Refused, refuse
from tallystick.domain.rules.accounts import IdentifierTakenError
from tallystick.followers.cache.balances import FoundBalance
from tallystick.followers.errors import PositionNotReachedError
from tallystick.ledger.errors import FaultyCommandError
from tallystick.service import parameters
from tallystick.service.cursor import read_cursor, write_cursor
from tallystick.service.errors import AccountNotFoundError, ParameterError, TooManyOpenedAccountsError
from tallystick.service.history import History
from tallystick.service.served_shard import ServedShard
from tallystick.service.tenancy import UNSET, Amount, Metadata, Tenancy, Unset

# Only transfers between shards open clearing accounts.
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
        near: str | None = None,
        idempotency_key: str | None = None,
    ) -> views.Account | Refused:
        """Open an account. A wallet may not be overdrawn (`min_balance` 0) by default.

        Without a key, each call opens another account. With a key, the call can be repeated.

        `near` is an account or an owner: a new owner is placed on the same shard.

        Raises:
            OwnerPlacementError: the owner lives elsewhere, or no new owner may live there.
        """
        parameters.ordinary_owner(owner, "owner")
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
            idempotency_key,
            RequestKind.OPEN_ACCOUNT,
            owner,
            asset,
            kind,
            lower,
            upper,
            written_metadata,
            near,
        )
        beside = None if near is None else await self._shard_beside(near)
        if isinstance(beside, Refused):
            return beside
        await self._require_room(request)
        async with self._engine.router.opening(self._tenant, owner, beside) as shard:
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

    async def _require_room(self, request: RequestKey | None) -> None:
        """Refuse an account beyond the quota, unless it was opened before under this key."""
        try:
            await self._engine.account_quota.require_room(self._tenant)
        except TooManyOpenedAccountsError:
            if request is None:
                raise
            for shard in self._engine.router.shards:
                if await shard.reader.requests([request.key]):
                    return
            raise

    async def change_account(
        self,
        account: str,
        *,
        status: str | Unset = UNSET,
        min_balance: Amount | None | Unset = UNSET,
        max_balance: Amount | None | Unset = UNSET,
        metadata: Metadata | Unset = UNSET,
        metadata_changes: Mapping[str, str | None] | None = None,
        if_match: Collection[str] | None = None,
        idempotency_key: str | None = None,
    ) -> views.Account | Refused:
        """Freeze, unfreeze (`status="open"`), close, reopen; change bounds or metadata. None removes a bound.

        `metadata` replaces all metadata; `metadata_changes` sets single keys, and None removes one. `if_match`:
        change the account only if its `tag` is one of these; else it is refused as `precondition_failed`.
        """
        identifier = parameters.account(account, "id")
        new_status = status if isinstance(status, Unset) else parameters.choice(status, _STATUSES, "status")
        lower = min_balance if isinstance(min_balance, Unset) else _optional(min_balance, "min_balance")
        upper = max_balance if isinstance(max_balance, Unset) else _optional(max_balance, "max_balance")
        written_metadata = metadata if isinstance(metadata, Unset) else parameters.metadata(metadata)
        changes = (new_status, lower, upper, written_metadata)
        fields = [_change_field(change) for change in changes]
        if metadata_changes:
            if not isinstance(metadata, Unset):
                raise ParameterError("metadata_changes", "expected only one of metadata and metadata_changes")
            fields[-1] = f"merge{parameters.metadata_changes(metadata_changes)}"
        elif metadata_changes is None and all(isinstance(change, Unset) for change in changes):
            raise ParameterError(
                "status", "expected at least one of status, min_balance, max_balance, metadata"
            )
        # The tags are not a part of it: a request that is sent again has its answer, whatever the tag is then.
        request = self._optional_request(idempotency_key, RequestKind.CHANGE_ACCOUNT, identifier, *fields)
        shard = self._shard(identifier)
        command = ChangeAccount(
            tenant=self._tenant,
            request=request,
            account=identifier,
            status=new_status,
            min_balance=lower,
            max_balance=upper,
            metadata=written_metadata,
            metadata_changes=metadata_changes or {},
            tags=None if if_match is None else frozenset(if_match),
        )
        return await self._account_answer(shard, command)

    async def account(self, account: str) -> views.Account:
        """An account as it is now, from the database."""
        return views.account_view(await self._state(account))

    async def accounts(
        self, owner: str, *, cursor: str | None = None, limit: int = limits.PAGE_ROWS_DEFAULT
    ) -> views.Page[views.Account]:
        """An owner's accounts: the wallet, one page at a time."""
        parameters.text(owner, "owner", limits.OWNER_CHARACTERS_MAX)
        limit = parameters.page_limit(limit)
        after = read_cursor(cursor) or 0
        states = await self._engine.router.accounts_of_owner(self._tenant, owner, after, limit + 1)
        last = states[limit - 1].terms.account if len(states) > limit else None
        return views.Page(
            [views.account_view(state) for state in states[:limit]],
            None if last is None else write_cursor(last),
        )

    async def system_owner_balances(self, owner: str) -> views.SystemOwnerBalances:
        """The sums of a system owner's accounts on all shards, in each asset.

        Each shard is read at its own moment. Money on its way between two shards is in neither sum.
        """
        parameters.system_owner(owner, "owner")
        totals: dict[str, views.AssetTotal] = {}
        after: int | None = 0
        while after is not None:
            states = await self._engine.router.accounts_of_owner(
                self._tenant, owner, after, limits.PAGE_ROWS_MAX
            )
            for state in states:
                asset = state.terms.asset
                totals[asset] = totals.get(asset, views.AssetTotal.of_none(asset)).plus(state)
            after = states[-1].terms.account if len(states) == limits.PAGE_ROWS_MAX else None
        return views.SystemOwnerBalances(owner, [totals[asset] for asset in sorted(totals)])

    async def balance(
        self,
        account: str,
        *,
        at: datetime | None = None,
        effective_at: datetime | None = None,
        min_position: int = 0,
        strong: bool = False,
        standby: bool = False,
    ) -> views.Balance:
        """An account's balance: now, as recorded at a past time (`at`), or by effective time (`effective_at`).

        The balance now may come from the cache, unless `strong`, or comes from a standby, with `standby`. The balance
        at a past time is an index descent; `effective_at` sums the account's history. Each is read from a log that
        has reached `min_position`, such as the position of a transfer's answer.

        Raises:
            PositionNotReachedError: the log of the account's shard has not reached the position. Try again.
            NoStandbyError, StandbyUnavailableError: there is no standby, or none that answers in time.
        """
        parameters.between(min_position, "min_position", 0, limits.LOCAL_NUMBER_MAX)
        if standby and (at is not None or effective_at is not None):
            name = "effective_at" if at is None else "at"
            raise ParameterError(name, "expected no time in a read of a standby, which has the balance now")
        if at is not None and effective_at is not None:
            raise ParameterError("effective_at", "expected only one of at and effective_at")
        at_us = None if at is None else parameters.past_time(at, "at")
        effective_us = None if effective_at is None else parameters.past_time(effective_at, "effective_at")
        if at_us is None and effective_us is None:
            return await self._balance_now(account, min_position, strong=strong, standby=standby)
        identifier = parameters.account(account, "id")
        shard = self._shard(identifier)
        if min_position:
            await shard.balances.require_reached(min_position)
        state = await self._state(account)
        async with shard.expensive_reads.turn(self._tenant):
            if at_us is not None:
                then = await shard.reader.balance_at(identifier, at_us)
            else:
                then = await shard.reader.balance_effective(
                    identifier, required(effective_us, "the time that was asked for")
                )
        return views.logged_balance_view(state, then.balance, then.held, then.position)

    async def _balance_now(
        self, account: str, min_position: int, *, strong: bool, standby: bool
    ) -> views.Balance:
        _require_one(strong=strong, standby=standby)
        identifier = parameters.account(account, "id")
        parameters.between(min_position, "min_position", 0, limits.LOCAL_NUMBER_MAX)
        shard = self._shard(identifier)
        read = await shard.newest_balances(
            [identifier], min_position=min_position, strong=strong, standby=standby
        )
        found = read.get(identifier)
        if found is None or found.balance.tenant != self._tenant:
            raise AccountNotFoundError(account)
        return _newest_balance(account, found)

    async def balances(
        self,
        accounts: Sequence[str],
        *,
        min_positions: Mapping[str, int] | None = None,
        strong: bool = False,
        standby: bool = False,
    ) -> views.Balances:
        """The current balances of up to 1,000 accounts on any shards; each once, in the order of the request.

        `min_positions`: by account, the position of its shard that the balance must be as new as. `strong` and
        `standby` are as for `balance`.

        Raises:
            PositionNotReachedError: the log of an account's shard has not reached a position. Try again.
            NoStandbyError, StandbyUnavailableError: a shard has no standby, or none that answers in time.
        """
        _require_one(strong=strong, standby=standby)
        parameters.between(len(accounts), "accounts", 1, limits.BALANCES_PER_REQUEST_MAX)
        wanted = {parameters.account(account, "accounts"): account for account in accounts}
        # All accounts of a shard are read as new as the newest of their positions.
        newest: dict[int, int] = {}
        for account, position in (min_positions or {}).items():
            identifier = parameters.account(account, "min_positions")
            if identifier not in wanted:
                raise ParameterError("min_positions", "expected only accounts that are among `accounts`")
            parameters.between(position, f"min_positions.{account}", 0, limits.LOCAL_NUMBER_MAX)
            number = shard_of(identifier)
            newest[number] = max(position, newest.get(number, 0))
        by_shard: dict[int, list[int]] = {}
        for identifier in wanted:
            by_shard.setdefault(shard_of(identifier), []).append(identifier)
        reads = [
            shard.newest_balances(
                identifiers, min_position=newest.get(shard.number, 0), strong=strong, standby=standby
            )
            for shard, identifiers in [(self._shard(mine[0]), mine) for mine in by_shard.values()]
        ]
        found: dict[int, FoundBalance] = {}
        try:
            for read in await asyncio.gather(*reads):
                found.update(read)
        except PositionNotReachedError as error:
            error.param = "min_positions"
            raise
        balances, not_found = [], []
        for identifier, account in wanted.items():
            one = found.get(identifier)
            if one is None or one.balance.tenant != self._tenant:
                not_found.append(account)
            else:
                balances.append(_newest_balance(account, one))
        return views.Balances(balances, not_found)

    async def entries(
        self,
        account: str,
        *,
        cursor: str | None = None,
        limit: int = limits.PAGE_ROWS_DEFAULT,
        stages: bool = False,
    ) -> views.Page[views.HistoryEntry]:
        """An account's history with its running balance, newest first, one page at a time.

        A payment has one line, also a payment between shards: where it is pending, or where it was posted. `stages`
        asks for the lines of the log, with each stage of a transfer between shards.
        """
        limit = parameters.page_limit(limit)
        before = read_cursor(cursor)
        state = await self._state(account)
        shard = self._shard(state.terms.account)
        history = History(shard, self._engine.earlier_credits, stages=stages)
        async with shard.expensive_reads.turn(self._tenant):
            lines, last = await history.page(state.terms.account, before, limit)
        return views.Page(lines, None if last is None else write_cursor(last))

    async def _shard_beside(self, near: str) -> int | Refused:
        """The shard of an account or of an owner."""
        parameters.text(near, "near", limits.OWNER_CHARACTERS_MAX)
        if near.startswith(f"{Prefix.ACCOUNT}_"):
            try:
                state = await self._state(near, "near")
            except AccountNotFoundError:
                return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "near")
            return shard_of(state.terms.account)
        parameters.ordinary_owner(near, "near")
        home = await self._engine.router.home_of_owner(self._tenant, near)
        return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "near") if home is None else home

    async def _account_answer(self, shard: ServedShard, command: Command) -> views.Account | Refused:
        found = await self._submit(shard, command)
        if isinstance(found, Refused):
            return found
        if found.account is None:
            raise FaultyCommandError("the transaction changed no account")
        return views.account_view(found.account)


def _require_one(*, strong: bool, standby: bool) -> None:
    if strong and standby:
        raise ParameterError("standby", "expected only one of strong and standby")


def _newest_balance(account: str, found: FoundBalance) -> views.Balance:
    return views.balance_view(account, found.balance, found.source)


def _optional(value: Amount | None, param: str) -> int | None:
    return None if value is None else parameters.integer(value, param)


def _change_field(change: AccountStatus | int | str | None | Unset) -> Field:
    # None removes a bound, which is another request than leaving the bound unchanged.
    if isinstance(change, Unset):
        return None
    return "none" if change is None else change
