"""Checks that all views of the final state say the same: accounts, balances, histories, feed and log."""

from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.checks.evidence import Evidence


def accounts_are_as_the_log_has_them(evidence: Evidence) -> Iterator[str]:
    """At the end each account has the balance, and what is held of it, that its newest entry has."""
    for account in evidence.final.accounts.values():
        states = evidence.states.get(account.id)
        expected = (states[-1].balance, states[-1].held) if states else (0, 0)
        if (account.balance, account.held) != expected:
            yield f"{account.id} has {account.balance} with {account.held} held, and its log has {expected}"
        if account.available != account.balance - account.held:
            yield f"{account.id}: {account.available} of {account.balance} less {account.held} is available"


def balances_are_as_the_log_has_them(evidence: Evidence) -> Iterator[str]:
    """At the end each server answers a strong read with the newest entry, and a fast one with one that existed."""
    for seen in evidence.final.balances:
        read = seen.read
        states = evidence.states.get(read.account)
        if not states:
            if read.balance:
                yield f"{seen.server}: {read.account} has {read.balance}, and no entry"
            continue
        state = states[-1] if seen.consistency == "strong" else evidence.state_at(read.account, read.position)
        if state is None or (read.position, read.balance) != (state.position, state.balance):
            yield f"{seen.server}, {seen.consistency}: {read}, and its log has {state}"


def histories_are_as_the_feed_has_them(evidence: Evidence) -> Iterator[str]:
    """Each account's history has a line for each of its payments, once, and each line's balance follows."""
    expected: dict[str, dict[str, int]] = {}
    for payment in evidence.payments.values():
        for account, amount in payment.moved.items():
            expected.setdefault(account, {})[payment.id] = amount
    for account in evidence.final.accounts:
        lines = evidence.final.histories.get(account, [])
        found = [(line.transaction, line.amount) for line in reversed(lines)]
        wanted = expected.get(account, {})
        if len(found) != len(wanted) or dict(found) != wanted:
            more, less = dict(found).items() - wanted.items(), wanted.items() - dict(found).items()
            yield f"{account}: its history has {sorted(more)} beyond the feed, and lacks {sorted(less)}"
        for newer, older in pairwise(lines):
            if newer.balance - newer.amount != older.balance:
                yield f"{account}: {newer.balance} at {newer.position} does not follow {older.balance}"
