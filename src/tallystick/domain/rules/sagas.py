"""The steps of a saga: reserve and finalize or release on the payer's shard, credit on the payees'.

A step that was taken before changes nothing and is answered as it was: by the key of the credit, and by the state of
the saga for all others.
"""

from collections.abc import Iterable, Mapping

import msgspec

from tallystick.domain.accounts import (
    DEFAULT_MIN_BALANCE,
    AccountKind,
    AccountState,
    AccountStatus,
    AccountTerms,
)
from tallystick.domain.books import Books, Movement, judge
from tallystick.domain.commands import NO_NOTE, Kind, Leg, Note
from tallystick.domain.holds import HOLD_TRANSITIONS, HoldEvent
from tallystick.domain.identifiers import local_of, shard_of
from tallystick.domain.limits import AMOUNT_MAX
from tallystick.domain.outcomes import Outcome, Posted, RefusalCode, Refused, refuse
from tallystick.domain.saga_commands import Credit, Finalize, RefuseCredit, Release
from tallystick.domain.sagas import (
    SAGA_TRANSITIONS,
    SagaEvent,
    SagaState,
    SagaStatus,
    SagaTerms,
    clearing_account,
    clearing_owner,
)


class SagaConflictError(Exception):
    """A bug: somebody asks a saga to end in another way than it did, or one that does not exist."""


def reserve(books: Books, tenant: int, terms: SagaTerms, note: Note) -> Outcome:
    """Set the debits aside for the other shard, if their accounts allow it. Judged by the shard's rules alone.

    What a hold has set aside already stays with the hold.
    """
    set_aside = [] if terms.operation is Kind.HOLD_CAPTURED else _reservations(terms.debits)
    assets = {leg.asset for leg in terms.debits}
    refusal = books.first_refusal(tenant, set_aside, assets.pop() if len(assets) == 1 else None)
    if refusal is not None:
        return refusal
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
    assets = {leg.asset for leg in command.terms.credits}
    refusal = books.first_refusal(command.tenant, payees, assets.pop() if len(assets) == 1 else None)
    if refusal is not None:
        return refusal
    other_shard = shard_of(command.saga)
    totals = totals_of(command.terms.credits)
    for asset, total in totals.items():
        clearing = clearing_state(books, other_shard, command.tenant, asset)
        # (What was reserved never comes to more than one entry can hold.)
        if total > AMOUNT_MAX or judge(clearing, -total, 0) is not None:
            return refuse(RefusalCode.BALANCE_LIMIT_EXCEEDED, command.terms.credits[0].param)
    clearings = clearing_movements(books, other_shard, command.tenant, totals, -1)
    posted = books.append(command.tenant, Kind.TRANSFER_CREDITED, command.note, refers_to=command.saga)
    for movement in (*clearings, *payees):
        books.append_entry(movement)
    return posted


def refuse_credit(_: Books, __: RefuseCredit) -> Outcome:
    """Refuse a credit that has not been answered: whoever brings it later finds this under its key."""
    return refuse(RefusalCode.TRANSFER_CANCELLED)


def finalize(books: Books, command: Finalize) -> Outcome:
    """Let what was reserved leave for the other shard, which has credited it."""
    state, status = _next(books, command.saga, SagaEvent.FINALIZE)
    if state.status is status:
        return Posted(state.position, replayed=True)
    terms = state.terms
    clearings = clearing_movements(books, terms.other_shard, state.tenant, totals_of(terms.debits), 1)
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
            state, position=posted.position, status=status, counterpart=command.counterpart
        )
    )
    return posted


def release(books: Books, command: Release) -> Outcome:
    """Give back what was reserved, because the credit is recorded as refused."""
    state, status = _next(books, command.saga, SagaEvent.RELEASE)
    if state.status is status:
        return Posted(state.position, replayed=True)
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
        msgspec.structs.replace(state, position=posted.position, status=status, refusal=command.refusal)
    )
    return posted


def _next(books: Books, saga: int, event: SagaEvent) -> tuple[SagaState, SagaStatus]:
    """The saga, and the status that the event leads to; they are alike when it was led there before."""
    state = books.sagas.get(local_of(saga))
    if state is None:
        raise SagaConflictError(f"saga {saga} does not exist")
    wanted = SAGA_TRANSITIONS[SagaStatus.RESERVED, event]
    if state.status is not wanted and SAGA_TRANSITIONS.get((state.status, event)) is None:
        raise SagaConflictError(f"saga {saga} is {state.status.name}, and cannot {event.name}")
    return state, wanted


def _end_capture(books: Books, state: SagaState, *, captured: bool) -> int:
    """Let the hold of a capture go on, or end; returns how much of what it had set aside goes away."""
    hold = books.holds[state.terms.refers_to or 0]
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


def _reservations(debits: Iterable[Leg]) -> list[Movement]:
    return [Movement(leg.account, 0, leg.amount, leg.param) for leg in debits]


def foreign_refusal(
    books: Books, account: int, asset: str, foreign_assets: Mapping[int, str | None]
) -> Refused | None:
    """Why an account of another shard cannot be paid later, as far as that is known; None for one of this shard."""
    if books.is_local(account):
        return None
    held_there = foreign_assets.get(account)
    if held_there is None:
        return refuse(RefusalCode.ACCOUNT_NOT_FOUND, "destination")
    return None if held_there == asset else refuse(RefusalCode.ASSET_MISMATCH, "destination")


def totals_of(legs: Iterable[Leg]) -> dict[str, int]:
    """What legs sum to in each asset."""
    totals: dict[str, int] = {}
    for leg in legs:
        asset = leg.asset or ""
        totals[asset] = totals.get(asset, 0) + leg.amount
    return totals


def clearing_movements(
    books: Books, other_shard: int, tenant: int, totals: dict[str, int], sign: int
) -> list[Movement]:
    """The other side of a step, opening the clearing account of an asset that never crossed before."""
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
    account = clearing_account(books.shard, other_shard, tenant, asset)
    known = books.account(account)
    if known is None:
        terms = AccountTerms(
            account,
            tenant,
            clearing_owner(other_shard),
            asset,
            AccountKind.CLEARING,
            AccountStatus.OPEN,
            DEFAULT_MIN_BALANCE[AccountKind.CLEARING],
            None,
        )
        return AccountState(terms)
    if known.terms.kind is not AccountKind.CLEARING:
        raise SagaConflictError(f"account {account} should be a clearing account, and is not")
    return known
