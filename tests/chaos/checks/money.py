"""Checks of the log: money is neither made nor lost, and no account leaves its bounds."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.checks.evidence import CLEARING, Evidence
from tests.chaos.messages import Account, Entry


def positions_follow_one_another(evidence: Evidence) -> Iterator[str]:
    """The positions of each shard's log only grow, in the log and in the feed: none comes twice."""
    for name, by_shard in (("log", evidence.final.log), ("feed", evidence.final.feed)):
        for shard, events in by_shard.items():
            for before, event in pairwise(events):
                if event.position <= before.position:
                    yield f"{name} of shard {shard}: position {event.position} comes after {before.position}"


def entries_balance(evidence: Evidence) -> Iterator[str]:
    """The entries of each position sum to zero in each asset: nothing is made or lost in one transaction."""
    for shard, events in evidence.final.log.items():
        for event in events:
            sums: Counter[str] = Counter()
            for entry in event.entries:
                sums[entry.asset] += entry.amount
            for asset, total in sums.items():
                if total:
                    yield f"shard {shard}, position {event.position}: {total} {asset} too much"


def money_is_conserved(evidence: Evidence) -> Iterator[str]:
    """All accounts of clients sum to zero in each asset, over all shards; and so do all clearing accounts.

    The accounts that pay money in are below zero, so what they paid is what the others have. When no payment is on
    its way, what one shard owes another is what the other is owed.
    """
    clearing = {
        event.account.id
        for events in evidence.final.log.values()
        for event in events
        if event.account is not None and event.account.kind == CLEARING
    }
    sums: dict[str, Counter[str]] = {"clients": Counter(), "the clearing accounts": Counter()}
    for account, states in evidence.states.items():
        whose = "the clearing accounts" if account in clearing else "clients"
        sums[whose][evidence.assets[account]] += states[-1].balance
    for whose, by_asset in sums.items():
        for asset, total in by_asset.items():
            if total:
                yield f"{whose} have {total} {asset} too much"


def balances_follow_from_entries(evidence: Evidence) -> Iterator[str]:
    """The balance and the held amount after each entry are those before it plus its change."""
    funds: dict[str, tuple[int, int]] = {}
    for shard, events in evidence.final.log.items():
        for event in events:
            for entry in event.entries:
                balance, held = funds.get(entry.account, (0, 0))
                expected = balance + entry.amount, held + entry.held
                found = entry.balance or 0, entry.held_after or 0
                if found != expected:
                    yield (
                        f"shard {shard}, position {event.position}: {entry.account} has {found},"
                        f" and {expected} follows from its entries"
                    )
                funds[entry.account] = found


def balances_stay_within_bounds(evidence: Evidence) -> Iterator[str]:
    """After no entry is an account beyond a bound that the entry moved it towards, nor is less than nothing held."""
    accounts: dict[str, Account] = {}
    for shard, events in evidence.final.log.items():
        for event in events:
            if event.account is not None:
                accounts[event.account.id] = event.account
            for entry in event.entries:
                account = accounts.get(entry.account)
                if account is None:
                    yield f"shard {shard}, position {event.position}: {entry.account} was never opened"
                elif _is_beyond(entry, account):
                    yield (
                        f"shard {shard}, position {event.position}: {entry.account} has {entry.balance} and"
                        f" {entry.held_after} of it held, with bounds {account.min_balance} to {account.max_balance}"
                    )


def _is_beyond(entry: Entry, account: Account) -> bool:
    balance, held = entry.balance or 0, entry.held_after or 0
    lowers = entry.amount < entry.held
    return (
        held < 0
        or (lowers and account.min_balance is not None and balance - held < account.min_balance)
        or (entry.amount > 0 and account.max_balance is not None and balance > account.max_balance)
    )
