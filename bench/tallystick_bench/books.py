"""Accounts to measure with: opened and funded through the ledger itself, many in one batch."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Final

from tallystick.domain import limits
from tallystick.domain.accounts import DEFAULT_MIN_BALANCE, AccountKind
from tallystick.domain.commands import Command, OpenAccount, Transfer
from tallystick.domain.identifiers import Prefix, format_identifier, make_identifier
from tallystick.domain.outcomes import Refused
from tallystick.ledger.shard import Shard
from tallystick_bench.errors import BenchError
from tallystick_bench.progress import Phase, ProgressBar
from tallystick_bench.settings import ASSET, FUNDS_PER_ACCOUNT

_COMMANDS_PER_REQUEST: Final = limits.BATCH_COMMANDS_MAX
_CONNECT_SECONDS_MAX: Final = 30.0
_POLL_SECONDS: Final = 0.02


async def open_books(
    shard: Shard, tenant: int, account_count: int, run: str, progress: ProgressBar
) -> list[str]:
    """Open a treasury and this many wallets. The treasury pays the same amount to each wallet.

    Returns:
        The identifiers of the wallets, then that of the treasury.
    """
    await _until_connected(shard)
    phase = progress.phase(f"opening {account_count:,} accounts", 2 * account_count + 1)
    treasury = _opening(shard, tenant, f"bench {run} treasury", AccountKind.SYSTEM)
    wallets = [
        _opening(shard, tenant, f"bench {run} {number}", AccountKind.WALLET)
        for number in range(account_count)
    ]
    await _post(shard, [treasury, *wallets], phase)
    funding = [
        Transfer(
            tenant=tenant,
            source=treasury.account,
            destination=wallet.account,
            amount=FUNDS_PER_ACCOUNT,
            asset=ASSET,
        )
        for wallet in wallets
    ]
    await _post(shard, funding, phase)
    return [format_identifier(Prefix.ACCOUNT, opened.account) for opened in (*wallets, treasury)]


async def _until_connected(shard: Shard) -> None:
    deadline = time.monotonic() + _CONNECT_SECONDS_MAX
    while not shard.batcher.available:
        if time.monotonic() > deadline:
            raise BenchError("PostgreSQL cannot be reached: start it, or correct the address")
        await asyncio.sleep(_POLL_SECONDS)


def _opening(shard: Shard, tenant: int, owner: str, kind: AccountKind) -> OpenAccount:
    return OpenAccount(
        tenant=tenant,
        account=make_identifier(shard.number, 1 + secrets.randbelow(limits.LOCAL_NUMBER_MAX)),
        owner=owner,
        asset=ASSET,
        kind=kind,
        min_balance=DEFAULT_MIN_BALANCE[kind],
        max_balance=None,
    )


async def _post(shard: Shard, commands: Sequence[Command], phase: Phase) -> None:
    for start in range(0, len(commands), _COMMANDS_PER_REQUEST):
        chunk = commands[start : start + _COMMANDS_PER_REQUEST]
        for answer in await shard.batcher.submit(chunk):
            if isinstance(answer.outcome, Refused):
                raise BenchError(f"the ledger refused to open or fund an account: {answer.outcome.code.text}")
        phase.advance(len(chunk))
