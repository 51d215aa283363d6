"""Sagas on one shard: each is reserved once and ended once, and its entries do what its terms say.

The comparison of shards judges whether the other shard agrees.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tallystick.domain.accounts import AccountKind
from tallystick.domain.commands import Kind
from tallystick.domain.limits import LOCAL_NUMBER_MAX
from tallystick.domain.rows import EntryRow
from tallystick.domain.sagas import SagaStatus, SagaTerms
from tallystick.verify.checks.accounts import Accounts, name
from tallystick.verify.checks.holds import Holds
from tallystick.verify.checks.requests import RECORDED_CODES
from tallystick.verify.checks.sides import Moves, Sides
from tallystick.verify.checks.terms import readable_terms, totals, wrong_terms
from tallystick.verify.problems import Findings, ProblemKind
from tallystick.verify.rows import HoldChange, SagaChange, TransactionHead

# The status that each kind of transaction leaves a saga in.
_STATUS_AFTER: Final[dict[int, int]] = {
    Kind.TRANSFER_RESERVED: SagaStatus.RESERVED,
    Kind.TRANSFER_FINALIZED: SagaStatus.FINALIZED,
    Kind.TRANSFER_RELEASED: SagaStatus.RELEASED,
    Kind.TRANSFER_GIVEN_UP: SagaStatus.GIVEN_UP,
    Kind.TRANSFER_SETTLED: SagaStatus.SETTLED,
}
# The kinds that may follow each kind, for an open saga, and for a split one.
_AFTER: Final[dict[int, frozenset[int]]] = {
    Kind.TRANSFER_RESERVED: frozenset({Kind.TRANSFER_FINALIZED, Kind.TRANSFER_RELEASED}),
}
_AFTER_IN_SPLIT: Final[dict[int, frozenset[int]]] = {
    Kind.TRANSFER_RESERVED: frozenset({Kind.TRANSFER_FINALIZED, Kind.TRANSFER_GIVEN_UP}),
    Kind.TRANSFER_FINALIZED: frozenset({Kind.TRANSFER_SETTLED}),
    Kind.TRANSFER_GIVEN_UP: frozenset({Kind.TRANSFER_RELEASED}),
}
# After these kinds a split saga is still open.
_GO_ON: Final = frozenset({Kind.TRANSFER_FINALIZED, Kind.TRANSFER_GIVEN_UP})
_MOVE_NOTHING: Final = frozenset({Kind.TRANSFER_GIVEN_UP, Kind.TRANSFER_SETTLED})


class OpenSaga(NamedTuple):
    """A saga that was reserved and has not ended, the kind of its last change, and why it was given up."""

    tenant: int
    terms: SagaTerms
    kind: int = Kind.TRANSFER_RESERVED
    reason: int | None = None


class Sagas:
    """A saga is reserved once and ended once, its terms may cross shards, and its entries do what they say.

    It keeps the open sagas as of the last position that was judged, and forgets those that ended.
    """

    def __init__(
        self, shard: int, accounts: Accounts, holds: Holds, sides: Sides, findings: Findings
    ) -> None:
        self._shard = shard
        self._accounts = accounts
        self._sides = sides
        self._holds = holds
        self._findings = findings
        self._open: dict[int, OpenSaga] = {}

    def set_aside(self) -> Iterator[tuple[int, int]]:
        """The amounts that each open saga has set aside, by account.

        Amounts of a captured hold stay with the hold.
        """
        for saga in self._open.values():
            if saga.terms.operation != Kind.HOLD_CAPTURED and saga.kind != Kind.TRANSFER_FINALIZED:
                for leg in saga.terms.debits:
                    yield leg.account, leg.amount

    def captured(self) -> set[int]:
        """The holds that open sagas capture."""
        return {
            saga.terms.refers_to or 0
            for saga in self._open.values()
            if saga.terms.operation == Kind.HOLD_CAPTURED
        }

    def stuck(self) -> Iterator[str]:
        """The open sagas that cannot be finalized."""
        for position, saga in self._open.items():
            terms, details = saga.terms, []
            clears = [
                (there, asset) for there in terms.payee_shards for asset in totals(terms.credits_on(there))
            ]
            for there, asset in [] if saga.kind == Kind.TRANSFER_FINALIZED else clears:
                account = self._accounts.cannot_clear(there, saga.tenant, asset)
                if account is not None:
                    details.append(
                        f"account {name(account)} has the identifier of its clearing account in {asset}"
                    )
            if terms.operation == Kind.HOLD_CAPTURED and not self._holds.is_capturing(terms.refers_to or 0):
                details.append(f"the hold of position {terms.refers_to} is not being captured")
            for detail in details:
                yield f"the saga of position {position} cannot be finalized: {detail}"

    def change(
        self,
        transaction: TransactionHead,
        change: SagaChange,
        holds: Sequence[HoldChange],
        entries: Sequence[EntryRow],
    ) -> None:
        """Judge a saga's beginning or end: its row, the hold that it captures, its entries."""
        if transaction.kind == Kind.TRANSFER_RESERVED:
            terms = readable_terms(change.terms)
            if terms is None:
                self._note(change, "has no terms that can be read")
                return
            saga = OpenSaga(transaction.tenant, terms)
            details = [
                *self._wrong_reservation(transaction, change, terms),
                *_wrong_row(transaction, change, terms),
            ]
            self._open[change.saga] = saga
        else:
            before = self._open.pop(change.saga, None)
            if before is None:
                self._note(change, "is not open: it was never reserved, or it ended before")
                return
            saga = before
            details = [*_wrong_end(transaction, change, saga), *_wrong_row(transaction, change, saga.terms)]
            if before.terms.is_split and transaction.kind in _GO_ON:
                self._open[change.saga] = before._replace(kind=transaction.kind, reason=change.code)
        released = 0
        if saga.terms.operation == Kind.HOLD_CAPTURED:
            if len(holds) == 1:
                released = self._holds.capture_elsewhere(transaction, saga.terms, holds[0])
            else:
                details.append("captures a hold that does not change")
        elif holds:
            details.append("changes a hold, and captures none")
        clearings: Moves = {}
        if transaction.kind == Kind.TRANSFER_FINALIZED:
            clearings = self._clearings(saga)
        sides = _expected_sides(transaction.kind, saga.terms, released)
        details.extend(self._sides.wrong_entries(entries, sides, clearings))
        for detail in details:
            self._note(change, detail)

    def _clearings(self, saga: OpenSaga) -> Moves:
        """The changes of the clearing accounts when the money of a saga leaves."""
        clearings: Moves = {}
        for there in saga.terms.payee_shards:
            clearings |= self._sides.clearings(there, saga.tenant, saga.terms.credits_on(there), 1)
        return clearings

    def _wrong_reservation(
        self, transaction: TransactionHead, change: SagaChange, terms: SagaTerms
    ) -> Iterator[str]:
        if change.saga != change.position:
            yield f"is reserved at position {change.position}, and must have its number"
        if change.saga in self._open:
            yield "is reserved a second time"
        if transaction.refers_to != terms.refers_to:
            yield f"refers to {terms.refers_to}, its transaction to {transaction.refers_to}"
        yield from wrong_terms(terms, self._shard)
        for leg in terms.debits:
            account = self._accounts.terms(leg.account)
            if account is None:
                yield f"takes from account {name(leg.account)}, which was never opened"
            elif (account.tenant, account.asset) != (transaction.tenant, leg.asset):
                yield f"takes {leg.asset} from account {name(leg.account)}, of another tenant or asset"
            elif account.kind == AccountKind.CLEARING:
                yield f"takes from the clearing account {name(leg.account)}"

    def _note(self, change: SagaChange, detail: str) -> None:
        self._findings.at_position(
            ProblemKind.SAGA_WRONG, change.position, f"the saga of position {change.saga} {detail}"
        )


def _expected_sides(kind: int, terms: SagaTerms, released: int) -> Moves:
    """The changes of the payers in a step. `released` is how much less a captured hold sets aside."""
    captures = terms.operation == Kind.HOLD_CAPTURED
    if kind in _MOVE_NOTHING:
        return {}
    if kind == Kind.TRANSFER_FINALIZED:
        return {leg.account: (-leg.amount, -released if captures else -leg.amount) for leg in terms.debits}
    if captures:
        return {leg.account: (0, -released) for leg in terms.debits} if released else {}
    sign = 1 if kind == Kind.TRANSFER_RESERVED else -1
    return {leg.account: (0, sign * leg.amount) for leg in terms.debits}


def _wrong_row(transaction: TransactionHead, change: SagaChange, terms: SagaTerms) -> Iterator[str]:
    """What is wrong with the columns of a saga's row."""
    kind = transaction.kind
    if change.status != _STATUS_AFTER[kind]:
        yield f"has status {change.status} after an event of kind {kind}"
    if (change.terms is not None) != (kind == Kind.TRANSFER_RESERVED):
        yield "has terms in another row than its first"
    if (change.counterpart is not None) != (kind == Kind.TRANSFER_FINALIZED and not terms.is_split):
        yield f"has the counterpart {change.counterpart} after an event of kind {kind}"
    elif change.counterpart is not None and not 0 < change.counterpart <= LOCAL_NUMBER_MAX:
        yield f"has the counterpart {change.counterpart}, which is no position"
    if (change.code is not None) != (kind in {Kind.TRANSFER_RELEASED, Kind.TRANSFER_GIVEN_UP}):
        yield f"has the refusal {change.code} after an event of kind {kind}"
    elif change.code is not None and change.code not in RECORDED_CODES:
        yield f"was refused with the code {change.code}, which is none"


def _wrong_end(transaction: TransactionHead, change: SagaChange, saga: OpenSaga) -> Iterator[str]:
    if transaction.refers_to != change.saga:
        yield f"ends in a transaction that refers to {transaction.refers_to}"
    if transaction.tenant != saga.tenant:
        yield f"is of tenant {saga.tenant}, its end of tenant {transaction.tenant}"
    if transaction.kind not in (_AFTER_IN_SPLIT if saga.terms.is_split else _AFTER)[saga.kind]:
        yield f"comes to an event of kind {transaction.kind} after one of kind {saga.kind}"
    elif saga.kind == Kind.TRANSFER_GIVEN_UP and change.code != saga.reason:
        yield f"is released for the reason {change.code}, and was given up for {saga.reason}"
