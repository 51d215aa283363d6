"""What was posted is what was asked for: a request's fingerprint against the rows of the position that it claims.

Who rewrites the log would have to rewrite the fingerprints, too, and then a caller who repeats a request is told that
it was another one. Longer texts and lists of entries stand in a fingerprint as digests, and are not compared.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from tallystick.domain.commands import SENT_KINDS, Kind
from tallystick.domain.fingerprint import FIELDS, Operation, asked_for
from tallystick.domain.identifiers import local_of
from tallystick.domain.rows import EntryRow
from tallystick.domain.sagas import read_terms
from tallystick.verify.checks.rows import AccountChange, HoldChange, SagaChange, TransactionHead

# What may be posted for a request, by what it asked for.
_KINDS: Final[Mapping[Operation, frozenset[Kind]]] = {
    Operation.OPEN_ACCOUNT: frozenset({Kind.ACCOUNT_OPENED}),
    Operation.CHANGE_ACCOUNT: frozenset({Kind.ACCOUNT_CHANGED}),
    Operation.TRANSFER: frozenset({Kind.TRANSFER, Kind.TRANSFER_RESERVED, SENT_KINDS[Kind.TRANSFER]}),
    Operation.TRANSACTION: frozenset(
        {Kind.TRANSACTION, Kind.TRANSFER_RESERVED, SENT_KINDS[Kind.TRANSACTION]}
    ),
    Operation.HOLD: frozenset({Kind.HOLD_PLACED}),
    Operation.CAPTURE: frozenset({Kind.HOLD_CAPTURED, Kind.TRANSFER_RESERVED}),
    Operation.VOID: frozenset({Kind.HOLD_VOIDED}),
    Operation.REVERSE: frozenset({Kind.REVERSAL, Kind.TRANSFER_RESERVED}),
}


class Posting(NamedTuple):
    """A transaction and its rows."""

    transaction: TransactionHead
    entries: Sequence[EntryRow]
    accounts: Sequence[AccountChange]
    holds: Sequence[HoldChange]
    sagas: Sequence[SagaChange]


def contradiction(fingerprint: bytes, posting: Posting) -> str | None:
    """What of a request was posted otherwise than it was asked for, in words; None: nothing that can be told."""
    asked = asked_for(fingerprint)
    if asked is None:
        return "the fingerprint of the request that claims this position cannot be read"
    operation, values = asked
    kind = posting.transaction.kind
    if kind not in _KINDS[operation]:
        return f"a request for {_name(operation)} claims this position, which is of another kind"
    judge = _JUDGES.get((operation, Kind(kind)))
    if judge is None:
        return None
    field = judge(dict(zip(FIELDS[operation], values, strict=False)), posting)
    return None if field is None else f"it was posted with another {field} than the request asked for"


def _name(operation: Operation) -> str:
    return operation.name.lower().replace("_", " ")


_Asked = Mapping[str, object]


def _transfer(asked: _Asked, posting: Posting) -> str | None:
    moved = {entry.account: entry for entry in posting.entries}
    amount = asked.get("amount")
    if not all(_moves(entry, amount, asked.get("asset")) for entry in posting.entries):
        return "amount or asset"
    payer = next((account for account, entry in moved.items() if entry.amount < 0), None)
    payee = next((account for account, entry in moved.items() if entry.amount > 0), None)
    return _first_other((("source", payer), ("destination", payee)), asked)


def _moves(entry: EntryRow, amount: object, asset: object) -> bool:
    return entry.asset == asset and amount in {entry.amount, -entry.amount}


def _reserved_transfer(asked: _Asked, posting: Posting) -> str | None:
    if len(posting.sagas) != 1 or posting.sagas[0].terms is None:
        return None  # its shape says that it is wrong
    terms = read_terms(posting.sagas[0].terms)
    for legs, field in ((terms.debits, "source"), (terms.credits, "destination")):
        for leg in legs:
            if (leg.amount, leg.asset) != (asked.get("amount"), asked.get("asset")):
                return "amount or asset"
            if (found := _first_other(((field, leg.account),), asked)) is not None:
                return found
    return None


def _hold(asked: _Asked, posting: Posting) -> str | None:
    for hold in posting.holds:
        if hold.amount != asked.get("amount"):
            return "amount"
        return _first_other((("source", hold.account), ("destination", hold.destination)), asked)
    return None


def _capture(asked: _Asked, posting: Posting) -> str | None:
    return _of_hold(asked, posting) or _part(asked, posting)


def _of_hold(asked: _Asked, posting: Posting) -> str | None:
    said = asked.get("id")
    return None if isinstance(said, int) and local_of(said) == posting.transaction.refers_to else "hold"


def _part(asked: _Asked, posting: Posting) -> str | None:
    """The amount of a capture or a reversal, where it was said; a transaction of several payers is reversed whole."""
    amount = asked.get("amount")
    received = [entry.amount for entry in posting.entries if entry.amount > 0]
    return "amount" if isinstance(amount, int) and len(received) == 1 and received[0] != amount else None


def _opened(asked: _Asked, posting: Posting) -> str | None:
    for account in posting.accounts:
        # A long owner stands as its digest.
        if isinstance(asked.get("owner"), str) and asked["owner"] != account.owner:
            return "owner"
        return "asset" if asked.get("asset") != account.asset else None
    return None


def _changed(asked: _Asked, posting: Posting) -> str | None:
    for account in posting.accounts:
        return _first_other((("id", account.account),), asked)
    return None


def _first_other(found: Sequence[tuple[str, int | None]], asked: _Asked) -> str | None:
    """The first account that is another one than was said. A system owner was said by its name, not by an account."""
    return next(
        (field for field, account in found if isinstance(asked.get(field), int) and asked[field] != account),
        None,
    )


_JUDGES: Final[Mapping[tuple[Operation, Kind], Callable[[_Asked, Posting], str | None]]] = {
    (Operation.TRANSFER, Kind.TRANSFER): _transfer,
    (Operation.TRANSFER, Kind.TRANSFER_RESERVED): _reserved_transfer,
    (Operation.HOLD, Kind.HOLD_PLACED): _hold,
    (Operation.CAPTURE, Kind.HOLD_CAPTURED): _capture,
    (Operation.VOID, Kind.HOLD_VOIDED): _of_hold,
    (Operation.REVERSE, Kind.REVERSAL): _part,
    (Operation.OPEN_ACCOUNT, Kind.ACCOUNT_OPENED): _opened,
    (Operation.CHANGE_ACCOUNT, Kind.ACCOUNT_CHANGED): _changed,
}
