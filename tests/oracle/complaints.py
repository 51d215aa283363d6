"""Everything that can be said against a command. Of all complaints the one that comes first in PRECEDENCE counts.

They come in the order of the command's fields, so that of equal ones the first is given.
"""

from collections.abc import Iterator
from dataclasses import replace

from tests.oracle.history import History
from tests.oracle.words import (
    KEEP,
    LARGEST,
    REVERSIBLE,
    SHARD_NOT_CONFIGURED,
    SHARD_NOT_REACHABLE,
    SMALLEST,
    Capture,
    Change,
    ClaimKey,
    Command,
    Complaint,
    Confirm,
    Credit,
    Event,
    Expire,
    Finalize,
    GiveUp,
    Hold,
    Open,
    RefuseCredit,
    Release,
    Reverse,
    Revoke,
    Settle,
    Terms,
    Transaction,
    Transfer,
    Void,
    asset_elsewhere,
    shard_of,
)


def complaints(history: History, command: Command, now: int) -> Iterator[Complaint]:
    """What can be told from a command's fields and from what they name."""
    found: Iterator[Complaint] = iter(())
    match command:
        case Transfer() | Hold():
            found = _about_payment(history, command)
        case Transaction():
            found = _about_entries(history, command)
        case Capture() | Void() | Expire():
            found = _about_hold(history, command, now)
        case Reverse():
            found = _about_reversal(history, command)
        case Change():
            found = _about_change(history, command)
        case Open():
            found = _about_bounds(command.min_balance, command.max_balance)
        case Credit():
            found = _about_credit(history, command)
        case RefuseCredit():
            found = iter([("transfer_cancelled", None)])
        case ClaimKey():
            found = iter([("idempotency_key_claimed", str(command.shard))])
        case Finalize() | Release() | GiveUp() | Settle() | Confirm() | Revoke():
            # Nothing can be said any more against what was reserved, or promised.
            pass
        case _:
            raise TypeError(command)
    return found


def _about_payment(history: History, command: Transfer | Hold) -> Iterator[Complaint]:
    if command.source == command.destination:
        yield "same_account", "destination"
    if not 1 <= command.amount <= LARGEST:
        yield "amount_invalid", "amount"
    for account, param in ((command.source, "source"), (command.destination, "destination")):
        if shard_of(account):
            yield from _about_payee_elsewhere(command)
            continue
        terms = history.terms_for(account, command.tenant)
        if terms is None:
            yield "account_not_found", param
            continue
        if terms.asset != command.asset:
            yield "asset_mismatch", param
        if terms.status == "closed":
            yield "account_closed", param
        if terms.status == "frozen" and param == "source":
            yield "account_frozen", param


def _about_payee_elsewhere(command: Transfer | Hold) -> Iterator[Complaint]:
    asset = asset_elsewhere(command.destination, command.tenant)
    if isinstance(command, Transfer):
        # All else the other shard will say.
        if shard_of(command.destination) == SHARD_NOT_CONFIGURED:
            yield "shard_unavailable", "destination"
        if shard_of(command.destination) == SHARD_NOT_REACHABLE:
            yield "shard_unavailable", "destination"
    # A hold goes there much later: better to hear it now.
    elif asset is None:
        yield "account_not_found", "destination"
    elif asset != command.asset:
        yield "asset_mismatch", "destination"


def _about_entries(history: History, command: Transaction) -> Iterator[Complaint]:
    seen: set[int] = set()
    sums: dict[str, int] = {}
    for index, (account, amount) in enumerate(command.entries):
        terms = history.terms_for(account, command.tenant)
        asset = terms.asset if terms else asset_elsewhere(account, command.tenant)
        if account in seen:
            yield "same_account", f"entries[{index}].account"
        seen.add(account)
        if not 1 <= abs(amount) <= LARGEST:
            yield "amount_invalid", f"entries[{index}].amount"
        if asset is None:
            yield "account_not_found", f"entries[{index}].account"
            continue
        sums[asset] = sums.get(asset, 0) + amount
        if terms and terms.status == "closed":
            yield "account_closed", f"entries[{index}].account"
        if terms and terms.status == "frozen" and amount < 0:
            yield "account_frozen", f"entries[{index}].account"
    if not 2 <= len(command.entries) <= 100 or any(sums.values()):
        yield "entries_unbalanced", "entries"
    if {shard_of(account) for account, _ in command.entries} - {0}:
        paying = {shard_of(account) for account, amount in command.entries if amount < 0}
        paid = {shard_of(account) for account, amount in command.entries if amount > 0}
        if paying != {0} or 0 in paid:
            yield "crosses_too_many_shards", "entries"


def _about_hold(history: History, command: Capture | Void | Expire, now: int) -> Iterator[Complaint]:
    placed = history.event(command.id)
    if placed is None or placed.reservation is None or placed.tenant != command.tenant:
        yield "hold_not_found", "id"
        return
    if history.is_being_captured(placed.position):
        yield "hold_busy", "id"
        return
    is_over = now >= placed.reservation.expires_at
    if history.end_of_hold(placed.position) or is_over != isinstance(command, Expire):
        # What the state of the hold allows is judged before what is asked of it.
        yield "hold_not_open", "id"
        return
    amount = command.amount if isinstance(command, Capture) else None
    if amount is not None and amount <= 0:
        yield "amount_invalid", "amount"
    if amount is not None and amount > history.remaining(placed):
        yield "capture_exceeds_hold", "amount"
    if isinstance(command, Capture):
        payee = history.terms(placed.reservation.payee)
        if payee and payee.status == "closed":
            yield "account_closed", "id"


def _about_reversal(history: History, command: Reverse) -> Iterator[Complaint]:
    if command.amount is not None and command.amount <= 0:
        yield "amount_invalid", "amount"
    original = history.event(command.id)
    if original is None or original.tenant != command.tenant:
        yield "transaction_not_found", "id"
        return
    if original.kind not in REVERSIBLE:
        yield "transaction_not_reversible", "id"
        return
    if original.kind == "transfer_credited" and not command.payers:
        # Nobody is known whom it could go back to.
        yield "transaction_not_reversible", "id"
        return
    left = history.left_to_reverse(original)
    is_wide = len(original.entries) > 2 or len(command.payers) > 1
    if left == 0 or (command.amount or 0) > left:
        yield "reversal_exceeds_original", "amount"
    elif is_wide and command.amount not in {None, left}:
        yield "transaction_not_reversible", "amount"
    for account, amount in original.entries:
        terms = history.terms(account)
        assert terms
        if terms.status == "closed":
            yield "account_closed", "id"
        if terms.status == "frozen" and amount > 0:
            yield "account_frozen", "id"


def changed(terms: Terms, command: Change) -> Terms:
    """An account's terms after a change."""
    asked = {name: getattr(command, name) for name in ("status", "min_balance", "max_balance", "metadata")}
    return replace(terms, **{name: value for name, value in asked.items() if value != KEEP})


def _about_change(history: History, command: Change) -> Iterator[Complaint]:
    terms = history.terms_for(command.id, command.tenant)
    if terms is None:
        yield "account_not_found", "id"
        return
    if not command.fits:
        yield "precondition_failed", "If-Match"
    after = changed(terms, command)
    if after.status == "closed" and (history.balance(command.id) or history.held(command.id)):
        yield "account_not_empty", "status"
    yield from _about_bounds(after.min_balance, after.max_balance)


def _about_bounds(min_balance: int | None, max_balance: int | None) -> Iterator[Complaint]:
    if min_balance is not None and max_balance is not None and min_balance > max_balance:
        yield "bounds_invalid", "min_balance"


def _about_credit(history: History, command: Credit) -> Iterator[Complaint]:
    for part in command.parts:
        terms = history.terms_for(part.account, command.tenant)
        if terms is None:
            yield "account_not_found", part.param
            continue
        if terms.asset != part.asset:
            yield "asset_mismatch", part.param
        if terms.status == "closed":
            yield "account_closed", part.param


def complaints_about_balances(history: History, events: list[Event], command: Command) -> Iterator[Complaint]:
    """What is found by trying: what would the balances be?"""
    if isinstance(command, Finalize | Release | GiveUp | Settle | Confirm | Revoke):
        # Nothing can be said any more against what was reserved.
        return
    after = history.and_then(*events)
    for view in after.entry_views(events[-1]):
        account = view.account
        terms = after.terms(account)
        assert terms
        param = _param_of_change(command, account)
        falls = after.available(account) < history.available(account)
        rises = after.balance(account) > history.balance(account)
        if falls and terms.min_balance is not None and after.available(account) < terms.min_balance:
            if terms.kind == "clearing" and isinstance(command, Credit):
                # The payee cannot help it.
                yield "balance_limit_exceeded", command.parts[0].param
            else:
                yield "insufficient_funds", param
        if rises and terms.max_balance is not None and after.balance(account) > terms.max_balance:
            yield "balance_limit_exceeded", param
        if isinstance(command, Credit) and abs(view.amount) > LARGEST:
            # No entry can hold that.
            yield "balance_limit_exceeded", command.parts[0].param
        numbers = (after.balance(account), after.available(account), after.held(account))
        if not all(SMALLEST <= number <= LARGEST for number in numbers):
            yield "balance_limit_exceeded", param
    crossing = events[-1].crossing
    if crossing:
        for asset in {part.asset for part in crossing.debits}:
            if sum(part.amount for part in crossing.debits if part.asset == asset) > LARGEST:
                # No clearing account could carry it.
                yield "balance_limit_exceeded", "entries"


def _param_of_change(command: Command, account: int) -> str:
    match command:
        case Transfer() | Hold():
            return "source" if account == command.source else "destination"
        case Transaction():
            accounts = [one for one, _ in command.entries]
            return f"entries[{accounts.index(account)}].account"
        case Credit():
            return next((part.param for part in command.parts if part.account == account), "")
        case _:
            return "id"
