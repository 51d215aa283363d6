"""Transfers, transactions of several entries, and reversals.

A transfer to another shard begins a saga, unless the caller of a rule passes another way to cross.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from tallystick.domain.accounts import AccountKind, AccountStatus
from tallystick.domain.books import Books, Movement
from tallystick.domain.commands import (
    RECEIVED_KINDS,
    Kind,
    Leg,
    Note,
    PostTransaction,
    Reach,
    Reverse,
    Transfer,
)
from tallystick.domain.identifiers import local_of, shard_of
from tallystick.domain.limits import AMOUNT_MAX, ENTRIES_PER_TRANSACTION_MAX, INT64_MAX, INT64_MIN
from tallystick.domain.outcomes import Outcome, Posted, RefusalCode, not_configured, refuse
from tallystick.domain.rules.saga_steps import reserve, totals_of
from tallystick.domain.sagas import SEVERAL_SHARDS, SagaTerms
from tallystick.domain.snapshot import Original

REVERSIBLE_KINDS: Final = frozenset({Kind.TRANSFER, Kind.TRANSACTION, Kind.HOLD_CAPTURED})
# The kinds of a credit from another shard in the payees' log. Its reversal gives the money back.
_CREDIT_KINDS: Final = frozenset({Kind.TRANSFER_CREDITED, *RECEIVED_KINDS.values()})
_TWO_ENTRIES: Final = 2

Cross = Callable[[Books, int, SagaTerms, Note], Outcome]


def transfer(books: Books, command: Transfer, cross: Cross = reserve) -> Outcome:
    """Move an amount from one account to another."""
    if (posted := _usual_transfer(books, command)) is not None:
        return posted
    amount = command.amount
    if command.source == command.destination:
        return refuse(RefusalCode.SAME_ACCOUNT, "destination")
    if not 0 < amount <= AMOUNT_MAX:
        return refuse(RefusalCode.AMOUNT_INVALID, "amount")
    if not books.is_local(command.destination):
        return _cross_transfer(books, command, cross)
    movements = (
        Movement(command.source, -amount, 0, "source"),
        Movement(command.destination, amount, 0, "destination"),
    )
    return books.move(command.tenant, Kind.TRANSFER, movements, command.note, asset=command.asset)


def _usual_transfer(books: Books, command: Transfer) -> Posted | None:
    """Post a transfer inside the shard that is clearly allowed; None: the other rules must decide it.

    Nearly all transfers are of this sort. Deciding them here takes a third less time.
    """
    amount, source, destination = command.amount, command.source, command.destination
    payer = books.accounts.get(source) or books.known_accounts.get(source)
    payee = books.accounts.get(destination) or books.known_accounts.get(destination)
    if payer is None or payee is None or source == destination or not 0 < amount <= AMOUNT_MAX:
        return None
    paying, paid = payer.terms, payee.terms
    left, balance = payer.balance - amount, payee.balance + amount
    floor = INT64_MIN if paying.min_balance is None else paying.min_balance
    ceiling = INT64_MAX if paid.max_balance is None else paid.max_balance
    if (
        paying.tenant != command.tenant
        or paid.tenant != command.tenant
        or paying.asset != command.asset
        or paid.asset != command.asset
        or paying.status is not AccountStatus.OPEN
        or paid.status is not AccountStatus.OPEN
        or paying.kind is AccountKind.CLEARING
        or paid.kind is AccountKind.CLEARING
        or left - payer.held < floor
        or balance > ceiling
        or left < INT64_MIN
        or balance - payee.held < INT64_MIN
    ):
        return None
    posted = books.append(command.tenant, Kind.TRANSFER, command.note)
    books.append_plain(payer, left, -amount, paying.min_balance)
    books.append_plain(payee, balance, amount, paid.max_balance)
    return posted


def post_transaction(books: Books, command: PostTransaction, cross: Cross = reserve) -> Outcome:
    """Post several entries that sum to zero in each asset."""
    seen: set[int] = set()
    totals: dict[str, int] = {}
    for index, (account, _) in enumerate(command.entries):
        if account in seen:
            return refuse(RefusalCode.SAME_ACCOUNT, f"entries[{index}].account")
        seen.add(account)
    for index, (_, amount) in enumerate(command.entries):
        if not amount or not -AMOUNT_MAX <= amount <= AMOUNT_MAX:
            return refuse(RefusalCode.AMOUNT_INVALID, f"entries[{index}].amount")
    for index, (account, amount) in enumerate(command.entries):
        asset = _asset(books, command, account)
        if asset is None:
            return refuse(RefusalCode.ACCOUNT_NOT_FOUND, f"entries[{index}].account")
        totals[asset] = totals.get(asset, 0) + amount
    if any(totals.values()) or not _TWO_ENTRIES <= len(command.entries) <= ENTRIES_PER_TRANSACTION_MAX:
        return refuse(RefusalCode.ENTRIES_UNBALANCED, "entries")
    if not all(books.is_local(account) for account, _ in command.entries):
        return _cross_transaction(books, command, cross)
    movements = [
        Movement(account, amount, 0, f"entries[{index}].account")
        for index, (account, amount) in enumerate(command.entries)
    ]
    return books.move(command.tenant, Kind.TRANSACTION, movements, command.note)


def reverse(books: Books, command: Reverse) -> Outcome:
    """Reverse a transaction. All its reversals together never exceed the original."""
    if command.amount is not None and command.amount <= 0:
        return refuse(RefusalCode.AMOUNT_INVALID, "amount")
    original = books.original(local_of(command.transaction))
    if original is None or original.tenant != command.tenant:
        return refuse(RefusalCode.TRANSACTION_NOT_FOUND, "id")
    crosses = original.kind in _CREDIT_KINDS and bool(command.payers)
    if original.kind not in REVERSIBLE_KINDS and not crosses:
        return refuse(RefusalCode.TRANSACTION_NOT_REVERSIBLE, "id")
    whole = sum(amount for _, amount in original.entries if amount > 0)
    remaining = whole - original.reversed_amount
    amount = remaining if command.amount is None else command.amount
    if not 0 < amount <= remaining:
        return refuse(RefusalCode.REVERSAL_EXCEEDS_ORIGINAL, "amount")
    if amount != whole and len(original.entries) + max(0, len(command.payers) - 1) != _TWO_ENTRIES:
        return refuse(RefusalCode.TRANSACTION_NOT_REVERSIBLE, "amount")
    if crosses:
        outcome = _reserve_reversal(books, command, original, amount, whole)
    else:
        outcome = _post_reversal(books, command, original, amount, whole)
    if isinstance(outcome, Posted):
        reversed_amount = original.reversed_amount + amount
        books.originals[original.position] = msgspec.structs.replace(
            original, reversed_amount=reversed_amount
        )
    return outcome


def _post_reversal(books: Books, command: Reverse, original: Original, amount: int, whole: int) -> Outcome:
    movements = [
        Movement(account, _opposite(entry, amount, whole), 0, "id") for account, entry in original.entries
    ]
    return books.move(command.tenant, Kind.REVERSAL, movements, command.note, refers_to=original.position)


def _reserve_reversal(books: Books, command: Reverse, original: Original, amount: int, whole: int) -> Outcome:
    """Begin the saga that gives back a credit from another shard: the former payees pay."""
    debits: list[Leg] = []
    for account, entry in original.entries:
        state = books.account(account)
        if entry > 0 and state is not None:
            debits.append(Leg(account, -_opposite(entry, amount, whole), state.terms.asset, "id"))
    payees = [
        Leg(payer.account, payer.amount if amount == whole else amount, payer.asset, "id")
        for payer in command.payers
    ]
    terms = SagaTerms(
        operation=Kind.REVERSAL,
        other_shard=shard_of(command.payers[0].account),
        debits=tuple(debits),
        credits=tuple(payees),
        refers_to=original.position,
        reverses=original.refers_to,
    )
    return reserve(books, command.tenant, terms, command.note)


def _cross_transfer(books: Books, command: Transfer, cross: Cross) -> Outcome:
    asset = command.asset
    terms = SagaTerms(
        operation=Kind.TRANSFER,
        other_shard=shard_of(command.destination),
        debits=(Leg(command.source, command.amount, asset, "source"),),
        credits=(Leg(command.destination, command.amount, asset, "destination"),),
    )
    if command.reach is Reach.UNREACHABLE:
        return refuse(RefusalCode.SHARD_UNAVAILABLE, "destination")
    if command.reach is Reach.NOT_CONFIGURED:
        return not_configured(terms.other_shard, "destination")
    return cross(books, command.tenant, terms, command.note)


def _cross_transaction(books: Books, command: PostTransaction, cross: Cross) -> Outcome:
    """Begin a transaction whose debits are all on this shard and whose credits are all on others."""
    debits: list[Leg] = []
    payees: list[Leg] = []
    for index, (account, amount) in enumerate(command.entries):
        leg = Leg(account, abs(amount), _asset(books, command, account), f"entries[{index}].account")
        (debits if amount < 0 else payees).append(leg)
    others = {shard_of(leg.account) for leg in payees}
    if books.shard in others or not all(books.is_local(leg.account) for leg in debits):
        return refuse(RefusalCode.CROSSES_TOO_MANY_SHARDS, "entries")
    if any(total > AMOUNT_MAX for total in totals_of(debits).values()):
        payers = [Movement(leg.account, 0, leg.amount, leg.param) for leg in debits]
        refusal = books.first_refusal(command.tenant, payers, None)
        return refusal or refuse(RefusalCode.BALANCE_LIMIT_EXCEEDED, "entries")
    terms = SagaTerms(
        operation=Kind.TRANSACTION,
        other_shard=others.pop() if len(others) == 1 else SEVERAL_SHARDS,
        debits=tuple(debits),
        credits=tuple(payees),
        opens=tuple(one for one in command.opens if not books.is_local(one.account)),
    )
    return cross(books, command.tenant, terms, command.note)


def _asset(books: Books, command: PostTransaction, account: int) -> str | None:
    """The asset of an account of the tenant; None if the account does not exist."""
    if not books.is_local(account):
        return command.foreign_assets.get(account)
    state = books.account(account)
    if state is None or state.terms.tenant != command.tenant or state.terms.kind is AccountKind.CLEARING:
        return None
    return state.terms.asset


def _opposite(entry: int, amount: int, whole: int) -> int:
    """The reversal of an entry: all of it, or `amount` of it where the original has two entries."""
    if amount == whole:
        return -entry
    return -amount if entry > 0 else amount
