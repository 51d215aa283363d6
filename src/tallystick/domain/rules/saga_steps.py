"""The steps of a saga: the payer's shard reserves, and finalizes or releases; the payees' shard credits.

Steps that only a saga with payees on several shards has are in `split_saga_steps`.

A step that was taken before changes nothing, and gets the same answer: for a credit by its key, for the other steps
by the state of the saga.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from tallystick.domain.accounts import AccountState
from tallystick.domain.books import Books, Movement, judge
from tallystick.domain.commands import NO_NOTE, Kind, Leg, Note
from tallystick.domain.holds import HOLD_TRANSITIONS, HoldEvent, HoldState
from tallystick.domain.identifiers import local_of, shard_of
from tallystick.domain.invariants import BrokenInvariantError, required
from tallystick.domain.limits import AMOUNT_MAX
from tallystick.domain.outcomes import Outcome, Posted, RefusalCode, Refused, refuse
from tallystick.domain.saga_commands import Credit, Finalize, Promise, RefuseCredit, Release
from tallystick.domain.sagas import (
    SAGA_TRANSITIONS,
    SPLIT_TRANSITIONS,
    SagaEvent,
    SagaState,
    SagaStatus,
    SagaTerms,
    asked_of,
)


class SagaConflictError(BrokenInvariantError):
    """A bug: a driver asks for a step that contradicts the state of its saga, or the saga does not exist."""


def reserve(books: Books, tenant: int, terms: SagaTerms, note: Note) -> Outcome:
    """Set the debits aside for the other shard, if the rules of this shard allow it.

    What a hold has set aside already stays with the hold.
    """
    set_aside = [] if terms.operation is Kind.HOLD_CAPTURED else _reservations(terms.debits)
    assets = {leg.asset for leg in terms.debits}
    refusal = books.first_refusal(tenant, set_aside, assets.pop() if len(assets) == 1 else None)
    if refusal is not None:
        return refusal
    for there in terms.payee_shards:
        # The refusal names the payer's field, or, with payees on several shards, the payee's.
        legs = terms.credits_on(there) if terms.is_split else terms.debits
        if (taken := taken_clearing(books, there, tenant, legs)) is not None:
            return taken
    posted = books.append(tenant, Kind.TRANSFER_RESERVED, note, terms.refers_to)
    for movement in set_aside:
        books.append_entry(movement)
    saga = SagaState(
        posted.position,
        posted.position,
        SagaStatus.RESERVED,
        tenant,
        terms,
        note,
        reserved_at_us=books.now_us,
    )
    books.append_saga(saga)
    return posted


def credit(books: Books, command: Credit) -> Outcome:
    """Pay the payees from the clearing account of the payer's shard."""
    payees = [Movement(leg.account, leg.amount, 0, leg.param) for leg in command.terms.credits]
    return receive(books, command, Kind.TRANSFER_CREDITED, command.terms.credits, payees)


def receive(
    books: Books, command: Credit | Promise, kind: Kind, legs: tuple[Leg, ...], payees: list[Movement]
) -> Outcome:
    """Credit the payees of this shard, if their accounts and the clearing account allow it."""
    assets = {leg.asset for leg in legs}
    refusal = books.first_refusal(command.tenant, payees, assets.pop() if len(assets) == 1 else None)
    if refusal is not None:
        return refusal
    other_shard = shard_of(command.saga)
    if (taken := taken_clearing(books, other_shard, command.tenant, legs)) is not None:
        return taken
    totals = totals_of(legs)
    for asset, total in totals.items():
        clearing = clearing_state(books, other_shard, command.tenant, asset)
        # (A reservation is never more than one entry can hold.)
        if total > AMOUNT_MAX or judge(clearing, -total, 0) is not None:
            return refuse(RefusalCode.BALANCE_LIMIT_EXCEEDED, legs[0].param)
    clearings = clearing_movements(books, other_shard, command.tenant, totals, -1)
    posted = books.append(command.tenant, kind, command.note, refers_to=command.saga)
    for movement in (*clearings, *payees):
        books.append_entry(movement)
    return msgspec.structs.replace(posted, asked=asked_of(other_shard, command.terms))


def refuse_credit(_: Books, __: RefuseCredit) -> Outcome:
    """Record a refusal under the key of a credit that has no answer yet. A credit that comes later finds it."""
    return refuse(RefusalCode.TRANSFER_CANCELLED)


def finalize(books: Books, command: Finalize) -> Outcome:
    """Debit what was reserved: the other shard has credited it, or several shards have promised it."""
    state = saga_of(books, command.saga)
    if (answered := answer_of(state, SagaEvent.FINALIZE)) is not None:
        return answered
    terms = state.terms
    clearings = [
        movement
        for there in terms.payee_shards
        for movement in clearing_movements(books, there, state.tenant, totals_of(terms.credits_on(there)), 1)
    ]
    posted = books.append(state.tenant, Kind.TRANSFER_FINALIZED, state.note, refers_to=state.saga)
    if terms.operation is Kind.HOLD_CAPTURED:
        held = -_end_capture(books, state, captured=True)
        payers = [Movement(leg.account, -leg.amount, held, leg.param) for leg in terms.debits]
    else:
        payers = [Movement(leg.account, -leg.amount, -leg.amount, leg.param) for leg in terms.debits]
    for movement in (*payers, *clearings):
        books.append_entry(movement)
    books.append_saga(
        msgspec.structs.replace(
            state,
            position=posted.position,
            status=SagaStatus.FINALIZED,
            counterpart=command.counterpart,
        )
    )
    return posted


def release(books: Books, command: Release) -> Outcome:
    """Release what was reserved, because the credit is recorded as refused, or the saga was given up."""
    state = saga_of(books, command.saga)
    if (answered := answer_of(state, SagaEvent.RELEASE)) is not None:
        return answered
    terms = state.terms
    posted = books.append(state.tenant, Kind.TRANSFER_RELEASED, state.note, refers_to=state.saga)
    if terms.operation is Kind.HOLD_CAPTURED:
        if released := _end_capture(books, state, captured=False):
            books.append_entry(Movement(terms.debits[0].account, 0, -released, "id"))
    else:
        for leg in terms.debits:
            books.append_entry(Movement(leg.account, 0, -leg.amount, leg.param))
    if terms.operation is Kind.REVERSAL and terms.refers_to is not None:
        books.return_reversed(terms.refers_to, sum(leg.amount for leg in terms.debits))
    books.append_saga(
        msgspec.structs.replace(
            state,
            position=posted.position,
            status=SagaStatus.RELEASED,
            refusal=state.refusal or command.refusal,
        )
    )
    return posted


def saga_of(books: Books, saga: int) -> SagaState:
    """A saga as it is now, by its identifier."""
    state = books.sagas.get(local_of(saga))
    if state is None:
        raise SagaConflictError(f"saga {saga} does not exist")
    return state


def answer_of(state: SagaState, event: SagaEvent) -> Outcome | None:
    """The answer if an event has happened before, or cannot happen any more; None if it may happen now."""
    transitions = SPLIT_TRANSITIONS if state.terms.is_split else SAGA_TRANSITIONS
    if (state.status, event) in transitions:
        return None
    if state.status in _PASSED[event]:
        return Posted(state.position, replayed=True)
    if state.terms.is_split and event is SagaEvent.FINALIZE and state.refusal is not None:
        return state.refusal
    if state.terms.is_split and event is SagaEvent.GIVE_UP:
        return Refused(RefusalCode.TRANSACTION_NOT_REVERSIBLE, None, "The transfer is finalized already.")
    raise SagaConflictError(f"saga {state.saga} is {state.status.name}, and cannot {event.name}")


# Where a saga is once an event has happened.
_PASSED: Final = {
    SagaEvent.FINALIZE: frozenset({SagaStatus.FINALIZED, SagaStatus.SETTLED}),
    SagaEvent.SETTLE: frozenset({SagaStatus.SETTLED}),
    SagaEvent.GIVE_UP: frozenset({SagaStatus.GIVEN_UP, SagaStatus.RELEASED}),
    SagaEvent.RELEASE: frozenset({SagaStatus.RELEASED}),
}


def _end_capture(books: Books, state: SagaState, *, captured: bool) -> int:
    """End the capture of a hold. The hold goes on or ends, too. Returns how much less it sets aside."""
    hold = _captured_hold(books, state)
    amount = state.terms.debits[0].amount if captured else 0
    event = HoldEvent.END_CAPTURE
    if captured and state.terms.final:
        event = HoldEvent.END_CAPTURE_FINAL
    elif books.now_us >= hold.expires_at_us:
        event = HoldEvent.END_CAPTURE_LATE
    after = msgspec.structs.replace(
        hold,
        position=books.position,
        status=HOLD_TRANSITIONS[hold.status, event],
        captured=hold.captured + amount,
    )
    books.append_hold(after)
    return hold.remaining - after.remaining


def _captured_hold(books: Books, state: SagaState) -> HoldState:
    hold = state.terms.reference
    return required(books.holds.get(hold), f"the hold of position {hold}, which saga {state.saga} captures,")


def _reservations(debits: Iterable[Leg]) -> list[Movement]:
    return [Movement(leg.account, 0, leg.amount, leg.param) for leg in debits]


def foreign_refusal(
    books: Books, account: int, asset: str, foreign_assets: Mapping[int, str | None]
) -> Refused | None:
    """Why an account of another shard cannot be paid, as far as is known; None for an account of this shard."""
    if books.is_local(account):
        return None
    held_there = foreign_assets.get(account)
    if held_there is None:
        return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "destination")
    return None if held_there == asset else refuse(RefusalCode.ASSET_MISMATCH, "destination")


def totals_of(legs: Iterable[Leg]) -> dict[str, int]:
    """The sum of legs in each asset."""
    totals: dict[str, int] = {}
    for leg in legs:
        asset = leg.known_asset
        totals[asset] = totals.get(asset, 0) + leg.amount
    return totals


def clearing_movements(
    books: Books, other_shard: int, tenant: int, totals: dict[str, int], sign: int
) -> list[Movement]:
    """The movements of the clearing accounts in a step. A clearing account that does not exist is opened."""
    movements = []
    for asset, total in totals.items():
        state = clearing_state(books, other_shard, tenant, asset)
        if books.account(state.terms.account) is None:
            books.append(tenant, Kind.ACCOUNT_OPENED, NO_NOTE)
            books.append_terms(state.terms, state)
        movements.append(Movement(state.terms.account, sign * total, 0, ""))
    return movements


def clearing_state(books: Books, other_shard: int, tenant: int, asset: str) -> AccountState:
    """The clearing account with another shard as it is, or as it will be opened."""
    clearing = books.derivation.clearing(other_shard, tenant, asset)
    known = clearing.among(books.account)
    if known is not None:
        return known
    if books.account(clearing.account) is not None:
        raise SagaConflictError(f"account {clearing.account} should be a clearing account, and is not")
    return AccountState(clearing.terms())


def taken_clearing(books: Books, other_shard: int, tenant: int, legs: Iterable[Leg]) -> Refused | None:
    """The refusal if another account has the identifier of the clearing account; None if it is free.

    The probability is 1 in 2^51 for each account. A reservation in spite of it could never be finalized.
    """
    for leg in legs:
        clearing = books.derivation.clearing(other_shard, tenant, leg.known_asset)
        if clearing.among(books.account) is None and books.account(clearing.account) is not None:
            return refuse(RefusalCode.IDENTIFIER_TAKEN, leg.param)
    return None
